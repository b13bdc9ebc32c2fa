//! Mount options of an instance, `hidepid`, `gid`, `subset` and `pidns`: proc(5), "Mount options".
//!
//! What may change with a remount is in atomics, so that lookups take no lock.

use crate::pid::Subject;
use abi::Errno;
use alloc::string::String;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use vfs::config::Log;
use vfs::{Kind, Param, Value, number};

/// How much of a process `hidepid` hides from who may not trace it; the numbers are those of the option.
pub mod hide {
    /// Nothing.
    pub const OFF: u8 = 0;
    /// What its directory holds.
    pub const NO_ACCESS: u8 = 1;
    /// That it exists.
    pub const INVISIBLE: u8 = 2;
    /// That it exists, from members of the group too.
    pub const NOT_PTRACEABLE: u8 = 4;
}

/// Values of `hidepid` by name and number.
const HIDE: [(&str, u8); 4] = [
    ("off", hide::OFF),
    ("noaccess", hide::NO_ACCESS),
    ("invisible", hide::INVISIBLE),
    ("ptraceable", hide::NOT_PTRACEABLE),
];

/// The parameters of a mount.
pub const TABLE: &[Param] =
    &[("gid", Kind::Number(0)), ("hidepid", Kind::Text), ("subset", Kind::Text), ("pidns", Kind::FileOrText)];

/// What a mount or remount asks for.
#[derive(Default)]
pub struct Asked {
    hide: Option<u8>,
    gid: Option<u32>,
    only_processes: Option<bool>,
}

impl Asked {
    /// Takes over a parameter of [`TABLE`] that is no namespace.
    pub fn set(&mut self, name: &'static str, value: Value<'_>, log: &mut Log) -> Result<(), Errno> {
        match (name, value) {
            ("gid", Value::Number(gid)) => self.gid = Some(gid),
            ("hidepid", Value::Text(text)) => match parse_hide(text) {
                Some(hide) => self.hide = Some(hide),
                None => return Err(refused(log, "unknown value of hidepid", text)),
            },
            ("subset", Value::Text(text)) => {
                for part in text.split(|b| *b == b',').filter(|part| !part.is_empty()) {
                    if part != b"pid" {
                        return Err(refused(log, "unsupported subset option", part));
                    }
                    self.only_processes = Some(true);
                }
                self.only_processes = Some(self.only_processes.unwrap_or(false));
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
    /// Only processes are to be shown.
    pub fn only_processes(&self) -> bool {
        self.only_processes.unwrap_or(false)
    }
}

/// What is wrong with a value, with the empty line that Linux adds.
fn refused(log: &mut Log, what: &str, value: &[u8]) -> Errno {
    log.invalid(format_args!("proc: {what} - {}\n", String::from_utf8_lossy(value)))
}

fn parse_hide(text: &[u8]) -> Option<u8> {
    let number = number::unsigned::<u32>(text, 0);
    let named = |(name, n): &&(&str, u8)| match number {
        Ok(number) => number == u32::from(*n),
        Err(_) => name.as_bytes() == text,
    };
    HIDE.iter().find(named).map(|(_, n)| *n)
}

/// The options in force.
pub struct Options {
    hide: AtomicU8,
    /// Members of this group see everything unless `hidepid=ptraceable`.
    gid: AtomicU32,
    /// The root directory shows processes only (`subset=pid`).
    pub only_processes: bool,
}

impl Options {
    /// The options of a new instance.
    pub fn new(asked: &Asked) -> Options {
        let only_processes = asked.only_processes();
        let options = Options { hide: AtomicU8::new(hide::OFF), gid: AtomicU32::new(0), only_processes };
        options.set(asked);
        options
    }
    /// Takes over what a remount asks for; which files there are cannot change.
    pub fn change(&self, asked: &Asked, log: &mut Log) -> Result<(), Errno> {
        if asked.only_processes.is_some_and(|only| only != self.only_processes) {
            return Err(log.invalid(format_args!("proc: subset=pid cannot be changed\n")));
        }
        self.set(asked);
        Ok(())
    }
    fn set(&self, asked: &Asked) {
        if let Some(gid) = asked.gid {
            // A number without a meaning in the caller's user namespace is nobody's group.
            let kgid = crate::current().map_or(Some(gid), |me| me.cred().user_ns.kgid(gid));
            self.gid.store(kgid.unwrap_or(u32::MAX), Relaxed);
        }
        if let Some(hide) = asked.hide {
            self.hide.store(hide, Relaxed);
        }
    }
    /// Whether the caller sees of `subject` what is hidden from level `least` on.
    pub fn shows(&self, subject: &Subject, least: u8) -> bool {
        let hide = self.hide.load(Relaxed);
        if hide < least {
            return true;
        }
        let Some(me) = crate::current() else { return true };
        let cred = me.cred();
        hide != hide::NOT_PTRACEABLE && cred.in_group(self.gid.load(Relaxed)) || subject.may_trace(&cred).is_ok()
    }
    /// Whether anything is hidden from anybody.
    pub fn hides(&self) -> bool {
        self.hide.load(Relaxed) != hide::OFF
    }
    /// What who may not enter a process's directory is told.
    pub fn refusal(&self) -> Errno {
        if self.hide.load(Relaxed) == hide::INVISIBLE { Errno::ENOENT } else { Errno::EPERM }
    }
    /// A process that the caller may not trace is not even found by its number.
    pub fn finds(&self, subject: &Subject) -> bool {
        self.hide.load(Relaxed) != hide::NOT_PTRACEABLE || self.shows(subject, hide::NOT_PTRACEABLE)
    }
    /// Appends the options that are not the usual ones, each with its comma.
    pub fn show(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let gid = self.gid.load(Relaxed);
        if gid != 0 {
            write!(out, ",gid={gid}")?;
        }
        let hide = self.hide.load(Relaxed);
        if let Some((name, _)) = HIDE.iter().find(|(_, n)| *n == hide && hide != hide::OFF) {
            write!(out, ",hidepid={name}")?;
        }
        if self.only_processes { out.write_str(",subset=pid") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(params: &[(&'static str, &str)]) -> Result<String, Errno> {
        let (mut asked, mut log) = (Asked::default(), Log::kept("proc"));
        for (name, text) in params {
            asked.set(name, Value::Text(text.as_bytes()), &mut log)?;
        }
        let mut out = String::new();
        Options { hide: AtomicU8::new(asked.hide.unwrap_or(0)), ..Options::new(&asked) }.show(&mut out).unwrap();
        Ok(out)
    }

    #[test]
    fn options_are_checked_and_shown() {
        assert_eq!(shown(&[]).unwrap(), "");
        assert_eq!(shown(&[("hidepid", "2"), ("subset", "pid,")]).unwrap(), ",hidepid=invisible,subset=pid");
        assert_eq!(shown(&[("hidepid", "ptraceable")]).unwrap(), ",hidepid=ptraceable");
        for bad in [("hidepid", "3"), ("hidepid", "of"), ("subset", "net"), ("gid", "x")] {
            assert_eq!(shown(&[bad]), Err(Errno::EINVAL));
        }
    }
    proptest! {
        #[test]
        fn any_value_is_taken_or_refused(name in proptest::sample::select(alloc::vec!["gid", "hidepid", "subset", "pidns", "x"]), text in "[0-9a-z,]{0,12}|.*") {
            let refused = shown(&[(name, &text)]).err();
            prop_assert!(refused.is_none_or(|e| e == Errno::EINVAL));
        }
    }
}

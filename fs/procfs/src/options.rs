//! Mount options of an instance, `hidepid`, `gid`, `subset` and `pidns`: proc(5), "Mount options".
//!
//! What may change with a remount is in atomics, so that lookups take no lock.

use crate::pid::Subject;
use abi::Errno;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

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

/// What a mount or remount asks for.
#[derive(Default)]
pub struct Asked {
    hide: Option<u8>,
    gid: Option<u32>,
    only_processes: Option<bool>,
}

impl Asked {
    /// Reads an option string; `pidns` takes the value of that option.
    pub fn parse(data: &[u8], pidns: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<Asked, Errno> {
        let mut asked = Asked::default();
        for (name, value) in vfs::parse_options(data) {
            let value = value.ok_or(Errno::EINVAL)?;
            match name {
                b"hidepid" => asked.hide = Some(parse_hide(value)?),
                b"gid" => asked.gid = Some(parse(value).ok_or(Errno::EINVAL)?),
                b"subset" => match value {
                    b"pid" => asked.only_processes = Some(true),
                    b"" => asked.only_processes = Some(asked.only_processes.unwrap_or(false)),
                    _ => return Err(Errno::EINVAL),
                },
                b"pidns" => pidns(value)?,
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(asked)
    }
}

fn parse(value: &[u8]) -> Option<u32> {
    core::str::from_utf8(value).ok()?.parse().ok()
}

fn parse_hide(value: &[u8]) -> Result<u8, Errno> {
    let number = parse(value);
    let found = HIDE.iter().find(|(name, n)| name.as_bytes() == value || number == Some(u32::from(*n)));
    found.map(|(_, n)| *n).ok_or(Errno::EINVAL)
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
        let only_processes = asked.only_processes.unwrap_or(false);
        let options = Options { hide: AtomicU8::new(hide::OFF), gid: AtomicU32::new(0), only_processes };
        options.set(asked);
        options
    }
    /// Takes over what a remount asks for; which files there are cannot change.
    pub fn change(&self, asked: &Asked) -> Result<(), Errno> {
        if asked.only_processes.is_some_and(|only| only != self.only_processes) {
            return Err(Errno::EINVAL);
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
    use alloc::string::String;

    fn shown(data: &[u8]) -> Result<String, Errno> {
        let asked = Asked::parse(data, &mut |_| Err(Errno::EBUSY))?;
        let mut out = String::new();
        Options { hide: AtomicU8::new(asked.hide.unwrap_or(0)), ..Options::new(&asked) }.show(&mut out).unwrap();
        Ok(out)
    }

    #[test]
    fn options_are_checked_and_shown() {
        assert_eq!(shown(b"").unwrap(), "");
        assert_eq!(shown(b"hidepid=2,subset=pid").unwrap(), ",hidepid=invisible,subset=pid");
        assert_eq!(shown(b"hidepid=ptraceable").unwrap(), ",hidepid=ptraceable");
        for bad in [&b"hidepid=3"[..], b"hidepid", b"subset=net", b"gid=x", b"other=1"] {
            assert_eq!(shown(bad), Err(Errno::EINVAL));
        }
        assert_eq!(shown(b"pidns=/x"), Err(Errno::EBUSY));
    }
}

//! Mount options. They hold for the hierarchy, which is one: the last mount decides.

use abi::Errno;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use task::cgroup::{attach::NSDELEGATE, pids::LOCAL_EVENTS};

/// What a mount asks for.
#[derive(Default)]
pub struct Options {
    nsdelegate: bool,
    pids_localevents: bool,
}

impl Options {
    /// Reads an option string; EINVAL for what this kernel does not have.
    pub fn parse(data: &[u8]) -> Result<Options, Errno> {
        let mut options = Options::default();
        for (name, value) in vfs::parse_options(data) {
            match (name, value) {
                (b"nsdelegate", None) => options.nsdelegate = true,
                (b"pids_localevents", None) => options.pids_localevents = true,
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }
    /// Puts them into force.
    pub fn apply(&self) {
        NSDELEGATE.store(self.nsdelegate, Relaxed);
        LOCAL_EVENTS.store(self.pids_localevents, Relaxed);
    }
}

/// The options in force, for /proc/mounts.
pub fn show(out: &mut dyn fmt::Write) -> fmt::Result {
    let options: [(&AtomicBool, &str); 2] = [(&NSDELEGATE, ",nsdelegate"), (&LOCAL_EVENTS, ",pids_localevents")];
    options.iter().filter(|(on, _)| on.load(Relaxed)).try_for_each(|(_, name)| out.write_str(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_are_taken() {
        assert!(Options::parse(b"nsdelegate,pids_localevents").is_ok_and(|o| o.nsdelegate && o.pids_localevents));
        for bad in [&b"name=x"[..], b"nsdelegate=1", b"memory_recursiveprot"] {
            assert_eq!(Options::parse(bad).err(), Some(Errno::EINVAL));
        }
    }
}

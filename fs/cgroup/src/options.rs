//! Mount parameters. They hold for the hierarchy, which is one: the last mount from the first cgroup namespace decides.

use crate::Cgroup2;
use abi::Errno;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use task::cgroup::{attach::NSDELEGATE, pids::LOCAL_EVENTS};
use vfs::ns::{Namespace, NsKind};
use vfs::{Configure, Inode, Kind, Mounting, Param, SbFlags, SuperBlock, UserNamespace, Value};

/// What a mount or remount asks for.
#[derive(Default)]
pub struct Asked {
    nsdelegate: bool,
    pids_localevents: bool,
}

impl Asked {
    /// Puts it into force.
    fn apply(&self) {
        let inside = task::ns::current().is_some_and(|ns| ns.cgroup.id() != NsKind::Cgroup.first().id);
        if !inside {
            NSDELEGATE.store(self.nsdelegate, Relaxed);
            LOCAL_EVENTS.store(self.pids_localevents, Relaxed);
        }
    }
}

impl Configure for Asked {
    fn params(&self) -> &'static [Param] {
        &[("nsdelegate", Kind::Flag), ("pids_localevents", Kind::Flag)]
    }
    fn set(&mut self, name: &'static str, _: Value<'_>, _: &mut Mounting<'_>) -> Result<(), Errno> {
        match name {
            "nsdelegate" => self.nsdelegate = true,
            _ => self.pids_localevents = true,
        }
        Ok(())
    }
    fn user_ns(&self) -> Option<Arc<UserNamespace>> {
        task::ns::current().map(|ns| ns.cgroup.owner())
    }
    fn create(&mut self, _: Option<&[u8]>, _: SbFlags, _: &mut Mounting<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let root = Cgroup2::root();
        self.apply();
        Ok(root)
    }
    fn reconfigure(&mut self, _: &Arc<SuperBlock>, _: &mut Mounting<'_>) -> Result<(), Errno> {
        self.apply();
        Ok(())
    }
}

/// The options in force, for /proc/mounts.
pub fn show(out: &mut dyn fmt::Write) -> fmt::Result {
    let options: [(&AtomicBool, &str); 2] = [(&NSDELEGATE, ",nsdelegate"), (&LOCAL_EVENTS, ",pids_localevents")];
    options.iter().filter(|(on, _)| on.load(Relaxed)).try_for_each(|(_, name)| out.write_str(name))
}

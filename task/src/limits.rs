//! Resource limits of a process. Soft limits are read on hot paths, so each is an atomic; writers take a lock.
//! Source: getrlimit(2).

use abi::Errno;
use abi::resource::{RLIM_INFINITY, RLIM_NLIMITS, Resource, Rlimit};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::sync::SpinLock;
use vfs::fdtable::nr_open;

/// Soft and hard limits.
pub struct Limits {
    soft: [AtomicU64; RLIM_NLIMITS],
    hard: [AtomicU64; RLIM_NLIMITS],
    writer: SpinLock<()>,
}

impl Limits {
    /// What the first process starts with; `tasks` bounds processes and queued signals.
    pub fn initial(tasks: u64) -> Limits {
        const INF: u64 = RLIM_INFINITY;
        let of = |r: &Resource| match r {
            Resource::Stack => (8 << 20, INF),
            Resource::Core => (0, INF),
            Resource::Nproc | Resource::Sigpending => (tasks, tasks),
            Resource::Nofile => (1024, 4096),
            Resource::Memlock => (8 << 20, 8 << 20),
            Resource::Msgqueue => (819_200, 819_200),
            Resource::Nice | Resource::Rtprio => (0, 0),
            _ => (INF, INF),
        };
        Limits {
            soft: Resource::ALL.each_ref().map(|r| AtomicU64::new(of(r).0)),
            hard: Resource::ALL.each_ref().map(|r| AtomicU64::new(of(r).1)),
            writer: SpinLock::new(()),
        }
    }

    /// A copy for a child.
    pub fn fork(&self) -> Limits {
        let _still = self.writer.lock();
        let copy = |all: &[AtomicU64; RLIM_NLIMITS]| all.each_ref().map(|v| AtomicU64::new(v.load(Ordering::Relaxed)));
        Limits { soft: copy(&self.soft), hard: copy(&self.hard), writer: SpinLock::new(()) }
    }

    /// Lowers the soft stack limit to at most `most` (a program that gained rights).
    pub(crate) fn cap_stack(&self, most: u64) {
        let _one_writer = self.writer.lock();
        if let Some(soft) = self.soft.get(Resource::Stack as usize) {
            soft.fetch_min(most, Ordering::Relaxed);
        }
    }

    /// The soft limit.
    #[inline]
    pub fn soft(&self, which: Resource) -> u64 {
        self.soft.get(which as usize).map_or(RLIM_INFINITY, |v| v.load(Ordering::Relaxed))
    }

    /// How many descriptors there may be; no table holds more than the result can say.
    #[inline]
    pub fn nofile(&self) -> u32 {
        u32::try_from(self.soft(Resource::Nofile)).unwrap_or(u32::MAX)
    }

    /// Both limits.
    pub fn get(&self, which: Resource) -> Rlimit {
        let _still = self.writer.lock();
        let max = self.hard.get(which as usize).map_or(RLIM_INFINITY, |v| v.load(Ordering::Relaxed));
        Rlimit { cur: self.soft(which), max }
    }

    /// Replaces both and gives the old ones. Raising the hard limit needs `privileged` (CAP_SYS_RESOURCE).
    pub fn set(&self, which: Resource, new: Rlimit, privileged: bool) -> Result<Rlimit, Errno> {
        if new.cur > new.max {
            return Err(Errno::EINVAL);
        }
        if which == Resource::Nofile && new.max > u64::from(nr_open()) {
            return Err(Errno::EPERM);
        }
        let (Some(soft), Some(hard)) = (self.soft.get(which as usize), self.hard.get(which as usize)) else {
            return Err(Errno::EINVAL);
        };
        let _one_writer = self.writer.lock();
        let old = Rlimit { cur: soft.load(Ordering::Relaxed), max: hard.load(Ordering::Relaxed) };
        if new.max > old.max && !privileged {
            return Err(Errno::EPERM);
        }
        soft.store(new.cur, Ordering::Relaxed);
        hard.store(new.max, Ordering::Relaxed);
        Ok(old)
    }

    /// Moves a soft limit from one value to another, which may be above the hard one; nothing if somebody has set it meanwhile.
    pub fn raise_soft(&self, which: Resource, from: u64, to: u64) {
        let _one_writer = self.writer.lock();
        if let Some(soft) = self.soft.get(which as usize).filter(|soft| soft.load(Ordering::Relaxed) == from) {
            soft.store(to, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_privilege_raises_a_hard_limit() {
        let l = Limits::initial(100);
        let r = Resource::Core;
        assert_eq!(l.set(r, Rlimit { cur: 5, max: 4 }, true), Err(Errno::EINVAL));
        assert!(l.set(r, Rlimit { cur: 3, max: 4 }, false).is_ok());
        assert_eq!(l.set(r, Rlimit { cur: 3, max: 5 }, false), Err(Errno::EPERM));
        assert_eq!(l.set(r, Rlimit { cur: 3, max: 5 }, true), Ok(Rlimit { cur: 3, max: 4 }));
        assert_eq!(l.fork().get(r), Rlimit { cur: 3, max: 5 });
        let nofile = Rlimit { cur: 1, max: u64::from(nr_open()) + 1 };
        assert_eq!(l.set(Resource::Nofile, nofile, true), Err(Errno::EPERM));
    }
}

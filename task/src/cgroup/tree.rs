//! A group and its place in the hierarchy.
//!
//! All counters and flags of a [`Cgroup`] are written under [`HIERARCHY`]; they are atomics only so that a reader who does not
//! mind an old value needs no lock.

use super::cpu::Cpu;
use super::notice::{Changes, Directory, Notice};
use super::pids::Pids;
use super::usage::NiceTime;
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use bitflags::bitflags;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};
use machine::sync::{Once, SpinGuard, SpinLock};

bitflags! {
    /// Controllers of the hierarchy, in Linux's order.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Controllers: u16 {
        /// CPU time.
        const CPU = 1;
        /// Number of tasks.
        const PIDS = 1 << 1;
    }
}

impl Controllers {
    /// Their names.
    pub const NAMES: [(&'static str, Controllers); 2] = [("cpu", Controllers::CPU), ("pids", Controllers::PIDS)];
    /// Those that a threaded group may have.
    pub const THREADED: Controllers = Controllers::CPU.union(Controllers::PIDS);

    /// The controller with this name.
    pub fn named(name: &str) -> Option<Controllers> {
        Controllers::NAMES.iter().find(|(n, _)| *n == name).map(|(_, c)| *c)
    }
}

/// Proof that the lock of the hierarchy is held.
pub(super) struct Held(());

static HIERARCHY: SpinLock<Held> = SpinLock::new(Held(()));

/// Takes the lock of the hierarchy.
pub(super) fn lock() -> SpinGuard<'static, Held> {
    HIERARCHY.lock()
}

/// A limit that is not set.
pub const NO_LIMIT: usize = i32::MAX as usize;

/// A control group.
pub struct Cgroup {
    id: u64,
    name: Box<[u8]>,
    parent: Option<Arc<Cgroup>>,
    level: usize,
    children: SpinLock<Vec<Arc<Cgroup>>>,
    dead: AtomicBool,
    /// Controllers its children have.
    control: AtomicU16,
    /// It shares its parent's resource domain.
    pub(super) threaded: AtomicBool,
    pub(super) threaded_children: AtomicUsize,
    /// Threads that are in this very group and have not begun to exit.
    pub(super) tasks: AtomicUsize,
    /// Forks into it under way.
    pub(super) reserved: AtomicUsize,
    populated: AtomicBool,
    populated_children: AtomicUsize,
    descendants: AtomicUsize,
    /// The most descendants and the most levels below it.
    pub max_descendants: AtomicUsize,
    /// See `max_descendants`.
    pub max_depth: AtomicUsize,
    pub(super) freezer: super::freezer::Freezer,
    pub(super) pids: Pids,
    pub(super) cpu: Cpu,
    pub(super) nice_time: NiceTime,
    directory: SpinLock<Option<Weak<dyn Directory>>>,
}

/// The root of the hierarchy: everything is in it that was not put elsewhere.
pub fn root() -> &'static Arc<Cgroup> {
    static ROOT: Once<Arc<Cgroup>> = Once::new();
    ROOT.get_or_init(|| Arc::new(Cgroup::new(Box::default(), None)))
}

impl Cgroup {
    fn new(name: Box<[u8]>, parent: Option<Arc<Cgroup>>) -> Cgroup {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let cpu = Cpu::new(parent.as_ref().map(|p| &p.cpu));
        Cgroup {
            id: NEXT_ID.fetch_add(1, Relaxed),
            name,
            level: parent.as_ref().map_or(0, |p| p.level + 1),
            parent,
            children: SpinLock::new(Vec::new()),
            dead: AtomicBool::new(false),
            control: AtomicU16::new(0),
            threaded: AtomicBool::new(false),
            threaded_children: AtomicUsize::new(0),
            tasks: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
            populated: AtomicBool::new(false),
            populated_children: AtomicUsize::new(0),
            descendants: AtomicUsize::new(0),
            max_descendants: AtomicUsize::new(NO_LIMIT),
            max_depth: AtomicUsize::new(NO_LIMIT),
            freezer: super::freezer::Freezer::default(),
            pids: Pids::new(),
            cpu,
            nice_time: NiceTime::default(),
            directory: SpinLock::new(None),
        }
    }
    /// A number no other group has or had.
    pub fn id(&self) -> u64 {
        self.id
    }
    /// Its name in its parent.
    pub fn name(&self) -> &[u8] {
        &self.name
    }
    /// The group it is in.
    pub fn parent(&self) -> Option<&Arc<Cgroup>> {
        self.parent.as_ref()
    }
    /// It is the root of the hierarchy.
    #[inline]
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }
    /// It has been removed.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }
    /// A thread is in it or below it.
    pub fn is_populated(&self) -> bool {
        self.populated.load(Relaxed)
    }
    /// Groups below it.
    pub fn descendants(&self) -> usize {
        self.descendants.load(Relaxed)
    }
    /// The groups right below it.
    pub fn children(&self) -> Vec<Arc<Cgroup>> {
        self.children.lock().clone()
    }
    pub(super) fn any_child(&self, test: impl FnMut(&Arc<Cgroup>) -> bool) -> bool {
        self.children.lock().iter().any(test)
    }
    pub(super) fn child_count(&self) -> usize {
        self.children.lock().len()
    }
    /// It is `of` or lies below it.
    pub fn is_within(&self, of: &Cgroup) -> bool {
        let mut at = self;
        while at.level > of.level {
            let Some(up) = &at.parent else { return false };
            at = up;
        }
        at.id == of.id
    }
    /// Itself and the groups above it, the root last.
    pub fn ancestry(self: &Arc<Cgroup>) -> impl Iterator<Item = &Arc<Cgroup>> {
        core::iter::successors(Some(self), |g| g.parent.as_ref())
    }
    /// Itself and all groups below it, parents first.
    pub fn subtree(self: &Arc<Cgroup>) -> Vec<Arc<Cgroup>> {
        let mut all = alloc::vec![self.clone()];
        let mut next = 0;
        while let Some(group) = all.get(next).cloned() {
            all.extend(group.children());
            next += 1;
        }
        all
    }
    /// Controllers its children have (`cgroup.subtree_control`).
    pub fn control(&self) -> Controllers {
        Controllers::from_bits_retain(self.control.load(Relaxed))
    }
    pub(super) fn set_control(&self, _: &Held, control: Controllers) {
        self.control.store(control.bits(), Relaxed);
    }
    /// Controllers it can give to its children (`cgroup.controllers`).
    pub fn available(&self) -> Controllers {
        match &self.parent {
            None => Controllers::all(),
            Some(parent) if self.is_threaded() => parent.control() & Controllers::THREADED,
            Some(parent) => parent.control(),
        }
    }
    /// The path from `from`, or from the root when it does not lie below `from` (with `..` then), as /proc/PID/cgroup shows it.
    pub fn path_from(self: &Arc<Cgroup>, from: &Arc<Cgroup>) -> Vec<u8> {
        let common = self.ancestry().find(|g| from.is_within(g)).map_or(0, |g| g.level);
        let mut path = Vec::new();
        for _ in common..from.level {
            path.extend_from_slice(b"/..");
        }
        let mut names: Vec<_> = self.ancestry().take(self.level - common).map(|g| &g.name).collect();
        while let Some(name) = names.pop() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }
    /// Hangs the file system's object on the group.
    pub fn set_directory(&self, directory: Weak<dyn Directory>) {
        *self.directory.lock() = Some(directory);
    }
    /// The file system's object.
    pub fn directory(&self) -> Option<Arc<dyn Directory>> {
        self.directory.lock().as_ref().and_then(Weak::upgrade)
    }

    /// Makes a group below this one; `attach` runs before anybody else can see it.
    pub fn make_child(
        self: &Arc<Cgroup>,
        name: &[u8],
        attach: impl FnOnce(&Arc<Cgroup>),
    ) -> Result<Arc<Cgroup>, Errno> {
        // A line end would break /proc/PID/cgroup.
        if name.contains(&b'\n') {
            return Err(Errno::EINVAL);
        }
        let mut copy = Vec::new();
        copy.try_reserve_exact(name.len()).map_err(|_| Errno::ENOMEM)?;
        copy.extend_from_slice(name);
        let child = Arc::new(Cgroup::new(copy.into_boxed_slice(), Some(self.clone())));
        attach(&child);
        let mut changes = Changes::new();
        {
            let held = lock();
            if self.is_dead() {
                return Err(Errno::ENODEV);
            }
            for (depth, above) in self.ancestry().enumerate() {
                if above.descendants() >= above.max_descendants.load(Relaxed)
                    || depth + 1 > above.max_depth.load(Relaxed)
                {
                    return Err(Errno::EAGAIN);
                }
            }
            {
                let mut children = self.children.lock();
                children.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                children.push(child.clone());
            }
            for above in self.ancestry() {
                above.descendants.fetch_add(1, Relaxed);
            }
            child.cpu.enable(self.control().contains(Controllers::CPU));
            super::freezer::born(&held, &child, &mut changes);
        }
        changes.announce();
        Ok(child)
    }

    /// Removes the group, which must have neither tasks nor groups below it.
    pub fn remove(self: &Arc<Cgroup>) -> Result<(), Errno> {
        let Some(parent) = &self.parent else { return Err(Errno::EBUSY) };
        let mut changes = Changes::new();
        {
            let held = lock();
            if self.is_dead() {
                return Err(Errno::ENODEV);
            }
            if self.is_populated() || self.reserved.load(Relaxed) != 0 || self.child_count() != 0 {
                return Err(Errno::EBUSY);
            }
            self.dead.store(true, Relaxed);
            if self.is_threaded() {
                parent.threaded_children.fetch_sub(1, Relaxed);
            }
            for above in parent.ancestry() {
                above.descendants.fetch_sub(1, Relaxed);
            }
            parent.nice_time.take_over(&self.nice_time);
            parent.children.lock().retain(|c| c.id != self.id);
            super::freezer::removed(&held, self, &mut changes);
        }
        changes.announce();
        Ok(())
    }

    /// Brings `populated` up to date after a change of the number of tasks, here and above.
    pub(super) fn update_populated(self: &Arc<Cgroup>, _: &Held, changes: &mut Changes) {
        for group in self.ancestry() {
            let now = group.tasks.load(Relaxed) != 0 || group.populated_children.load(Relaxed) != 0;
            if group.populated.swap(now, Relaxed) == now {
                return;
            }
            changes.add(group, Notice::Events);
            if let Some(parent) = &group.parent {
                if now {
                    parent.populated_children.fetch_add(1, Relaxed);
                } else {
                    parent.populated_children.fetch_sub(1, Relaxed);
                }
            }
        }
    }
}

impl Drop for Cgroup {
    /// A removed group may be the last to hold a long line of removed parents: they go one by one, not by recursion.
    fn drop(&mut self) {
        let mut up = self.parent.take();
        while let Some(parent) = up {
            up = Arc::into_inner(parent).and_then(|mut p| p.parent.take());
        }
    }
}

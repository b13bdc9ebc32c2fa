//! Pid namespaces (pid_namespaces(7)): their numbers, their first process, their end.
//!
//! The first namespace has no table of its own: its numbers are the keys of [`crate::tree`]. A nested one maps each of its numbers to the
//! global one. When its first process ends, everything in it is killed and nothing can be born there any more.
//!
//! ```text
//! tree::TREE
//!   PidNamespace::table of the deepest level, one at a time
//! ```

use crate::process::Process;
use crate::signal::send_process;
use crate::task::Task;
use crate::{exit, tree};
use abi::Errno;
use abi::signal::{SIG_IGN, SigAction, SigInfo, Signal};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, Ordering};
use machine::sync::{Once, SpinLock};
use vfs::ns::{self, Namespace, NsHead, NsKind};
use vfs::user_ns::UserNamespace;

/// Namespaces are nested at most this deep below the first.
pub const MAX_LEVEL: u32 = 32;
/// No namespace counts higher (`PID_MAX_LIMIT`).
pub const PID_MAX_LIMIT: i32 = 4_194_304;
/// After the first wrap-around numbers below this are left alone.
pub const RESERVED: i32 = 300;

/// A pid namespace.
pub struct PidNamespace {
    head: NsHead,
    level: u32,
    parent: Option<Arc<PidNamespace>>,
    /// Numbers stay below this (`kernel.pid_max`).
    pid_max: AtomicI32,
    table: SpinLock<Table>,
}

struct Table {
    /// Own number to global number.
    numbers: BTreeMap<i32, i32>,
    /// The number given out last.
    last: i32,
    /// The first process, once it was born.
    reaper: Option<Weak<Process>>,
    /// The first process has ended, or is about to.
    closed: bool,
    /// The signal that the first process shall seem to have died of (reboot(2)).
    reboot: Option<Signal>,
}

static FIRST: Once<Arc<PidNamespace>> = Once::new();

impl PidNamespace {
    fn new(head: NsHead, level: u32, parent: Option<Arc<PidNamespace>>, max: i32) -> Arc<PidNamespace> {
        let table = Table { numbers: BTreeMap::new(), last: 0, reaper: None, closed: false, reboot: None };
        ns::enlist(Arc::new(PidNamespace {
            head,
            level,
            parent,
            pid_max: AtomicI32::new(max),
            table: SpinLock::new(table),
        }))
    }
    /// The namespace of the first process.
    #[inline]
    pub fn first() -> &'static Arc<PidNamespace> {
        FIRST.get_or_init(|| PidNamespace::new(NsHead::first(NsKind::Pid), 0, None, tree::PID_MAX))
    }
    /// A new one below `parent`.
    pub fn child_of(parent: &Arc<PidNamespace>, owner: &Arc<UserNamespace>) -> Result<Arc<PidNamespace>, Errno> {
        if !owner.is_in(parent.head.owner()) {
            return Err(Errno::EINVAL);
        }
        if parent.level >= MAX_LEVEL {
            return Err(Errno::ENOSPC);
        }
        let head = NsHead::next(NsKind::Pid, owner);
        Ok(PidNamespace::new(head, parent.level + 1, Some(parent.clone()), PID_MAX_LIMIT))
    }
    /// How many namespaces it is nested in.
    #[inline]
    pub fn level(&self) -> u32 {
        self.level
    }
    /// The namespace it is nested in; `None` for the first.
    pub fn parent(&self) -> Option<&Arc<PidNamespace>> {
        self.parent.as_ref()
    }
    /// Whether this is `other` or lies below it.
    pub fn is_in(&self, other: &PidNamespace) -> bool {
        let mut at = self;
        while at.level > other.level {
            let Some(up) = &at.parent else { return false };
            at = up;
        }
        at.id() == other.id()
    }
    /// Numbers stay below this.
    pub fn pid_max(&self) -> i32 {
        self.pid_max.load(Ordering::Relaxed)
    }
    /// Sets `kernel.pid_max`.
    pub fn set_pid_max(&self, max: i32) -> Result<(), Errno> {
        if !(RESERVED + 1..=PID_MAX_LIMIT).contains(&max) {
            return Err(Errno::EINVAL);
        }
        self.pid_max.store(max, Ordering::Relaxed);
        Ok(())
    }
    /// The number given out last (`kernel.ns_last_pid`).
    pub fn last_number(&self) -> i32 {
        if self.level == 0 { tree::lock().last_number() } else { self.table.lock().last }
    }
    /// The next number is looked for after this one.
    pub fn set_last_number(&self, last: i32) -> Result<(), Errno> {
        if !(0..=self.pid_max()).contains(&last) {
            return Err(Errno::EINVAL);
        }
        if self.level == 0 {
            tree::lock().set_last_number(last);
        } else {
            self.table.lock().last = last;
        }
        Ok(())
    }
    /// The global number of what is called `nr` here. Stays true as long as the caller holds the tree lock.
    pub(crate) fn global_of(&self, nr: i32) -> Option<i32> {
        if self.level == 0 { Some(nr) } else { self.table.lock().numbers.get(&nr).copied() }
    }
    /// What the thing with this global number is called here; 0 when it is not visible.
    pub fn nr_of(&self, global: i32) -> i32 {
        if self.level == 0 {
            return global;
        }
        tree::lock().number(global).map_or(0, |n| n.nr_in(self))
    }
    /// The thread that is called `nr` here.
    pub fn find_task(&self, nr: i32) -> Option<Arc<Task>> {
        let tree = tree::lock();
        tree.task(self.global_of(nr)?).cloned()
    }
    /// The process that is called `nr` here, zombies included.
    pub fn find_process(&self, nr: i32) -> Option<Arc<Process>> {
        let tree = tree::lock();
        tree.process(self.global_of(nr)?).cloned()
    }
    /// The first process called `from` or higher, with its number.
    pub fn next_process(&self, from: i32) -> Option<(i32, Arc<Process>)> {
        let tree = tree::lock();
        if self.level == 0 {
            return tree.processes(from).next().map(|p| (p.pid(), p.clone()));
        }
        let table = self.table.lock();
        table.numbers.range(from..).find_map(|(nr, global)| Some((*nr, tree.process(*global)?.clone())))
    }
    /// All processes that have a number here.
    pub fn processes(&self) -> Vec<Arc<Process>> {
        if self.level == 0 {
            return tree::all_processes();
        }
        let tree = tree::lock();
        let table = self.table.lock();
        table.numbers.values().filter_map(|global| tree.process(*global).cloned()).collect()
    }
    /// The first process, which orphans go to, while it runs.
    pub fn reaper(&self) -> Option<Arc<Process>> {
        self.table.lock().reaper.as_ref()?.upgrade()
    }
    /// Its first process was born: others can be from now on.
    pub(crate) fn set_reaper(&self, process: &Arc<Process>) {
        self.table.lock().reaper = Some(Arc::downgrade(process));
    }
    /// Somebody could be born here: ENOMEM once the first process has ended.
    pub(crate) fn check_open(&self) -> Result<(), Errno> {
        if self.table.lock().closed { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Reserves `wanted`, or the next free number, for the thing that will have a global number soon. Tree lock held.
    pub(crate) fn reserve(&self, wanted: Option<i32>) -> Result<i32, Errno> {
        let max = self.pid_max();
        let mut table = self.table.lock();
        if table.numbers.is_empty() {
            // Also when an earlier attempt to make the first process failed.
            table.last = 0;
        }
        let nr = match wanted {
            Some(nr) if table.numbers.contains_key(&nr) => return Err(Errno::EEXIST),
            Some(nr) => nr,
            None => {
                let free = next_free(table.last, max, |nr| table.numbers.contains_key(&nr));
                table.last = free.ok_or(Errno::EAGAIN)?;
                table.last
            }
        };
        if table.reaper.is_none() && nr != 1 {
            return Err(Errno::EINVAL);
        }
        table.numbers.insert(nr, 0);
        Ok(nr)
    }
    /// Says what a reserved number stands for.
    pub(crate) fn bind(&self, nr: i32, global: i32) {
        self.table.lock().numbers.insert(nr, global);
    }
    /// A number is free again. Tree lock held.
    pub(crate) fn release(&self, nr: i32) {
        let waiter = {
            let mut table = self.table.lock();
            table.numbers.remove(&nr);
            // Only the first process on its way out waits, and it keeps itself alive meanwhile.
            if table.closed { table.reaper.as_ref().and_then(Weak::upgrade) } else { None }
        };
        if let Some(first) = waiter {
            first.child_wait.wake_all();
        }
    }

    /// reboot(2) in this namespace: its first process dies as if of `signal`.
    pub fn reboot(&self, signal: Signal) {
        let first = {
            let mut table = self.table.lock();
            table.reboot = Some(signal);
            table.reaper.as_ref().and_then(Weak::upgrade)
        };
        if let Some(first) = first {
            // A process that ends already does not need to be told.
            let _ = send_process(&first, Signal::KILL, &SigInfo::kernel(Signal::KILL));
        }
    }

    /// The first process ends: kills everything else that has a number here and waits until all of it is gone. `own` numbers stay: those of the
    /// caller itself. Gives the signal the first process shall seem to have died of.
    pub(crate) fn shut_down(&self, first: &Arc<Process>, own: usize) -> Option<Signal> {
        self.table.lock().closed = true;
        // Children that end now vanish by themselves.
        first.sig().hand.set(Signal::CHLD, SigAction { handler: SIG_IGN, ..SigAction::default() });
        for p in self.processes().iter().filter(|p| !Arc::ptr_eq(p, first)) {
            // Zombies need no signal.
            let _ = send_process(p, Signal::KILL, &SigInfo::kernel(Signal::KILL));
        }
        first.child_wait.wait(|| {
            let reaped = exit::reap_all(first);
            drop(reaped);
            (self.table.lock().numbers.len() <= own).then_some(())
        });
        self.table.lock().reboot
    }
}

/// The first number after `last` that is not taken, starting again at [`RESERVED`] after the highest.
pub(crate) fn next_free(last: i32, max: i32, taken: impl Fn(i32) -> bool) -> Option<i32> {
    let mut candidate = last.saturating_add(1);
    let low = if last > RESERVED { RESERVED } else { 1 };
    for _ in 0..max {
        if candidate >= max {
            candidate = low;
        }
        if !taken(candidate) {
            return Some(candidate);
        }
        candidate += 1;
    }
    None
}

impl Namespace for PidNamespace {
    fn head(&self) -> &NsHead {
        &self.head
    }
}

impl Drop for PidNamespace {
    /// Lets go of a chain of ancestors without nesting as deep as the chain.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut ns) = next.and_then(Arc::into_inner) {
            next = ns.parent.take();
        }
    }
}

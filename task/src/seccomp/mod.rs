//! seccomp(2): what a thread may still call.
//!
//! A thread in a mode has [`crate::entry::SECCOMP`] set, so that each of its calls comes to [`check`]. Filters form a tree: a thread
//! points at the youngest of its own, each points at the one installed before it, and children inherit the pointer. [`attach`]
//! makes new ones and joins other threads to the caller's (TSYNC), [`enforce`] runs them and does what they ask for, [`notify`]
//! is the way to a listener in another process, [`log`] keeps which actions are told to the kernel log.
//!
//! The truth is [`Seccomp`] in the task, which other threads may change; the thread itself keeps a copy in its `Cx` ([`Seen`]) and
//! looks there first.
//!
//! Lock order:
//! ```text
//! Process::sig
//!   Seccomp::state (of one task at a time)
//! Notifier::state (alone)
//! ```
//! Sources: seccomp(2), seccomp_unotify(2), the kernel's userspace-api/seccomp_filter.

pub mod attach;
mod enforce;
pub mod filter;
pub mod log;
pub mod notify;

pub use enforce::{Verdict, check};
pub use filter::Filter;

use crate::entry;
use crate::task::Task;
use abi::Errno;
use abi::seccomp::mode;
use alloc::sync::Arc;
use alloc::vec::Vec;
use cbpf::Insn;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::SpinLock;

/// A thread's confinement.
#[derive(Clone, Default)]
pub(crate) struct State {
    mode: u8,
    filter: Option<Arc<Filter>>,
    /// Filters on the path.
    count: u32,
    /// Another thread set no_new_privs along with the filter.
    no_new_privs: bool,
}

/// A thread's confinement as others may see and change it.
#[derive(Default)]
pub struct Seccomp {
    /// Moves with every change of `state`.
    version: AtomicU32,
    state: SpinLock<State>,
}

/// The thread's own copy of its state.
#[derive(Default)]
pub struct Seen {
    version: u32,
    mode: u8,
    filter: Option<Arc<Filter>>,
}

impl Seccomp {
    /// The mode (`abi::seccomp::mode`).
    pub fn mode(&self) -> u8 {
        self.state.lock().mode
    }
    /// Number of filters.
    pub fn count(&self) -> u32 {
        self.state.lock().count
    }
    /// The thread ends: its filters have one user less. Mode and count stay for /proc.
    pub(crate) fn release(&self) {
        let gone = self.state.lock().filter.take();
        drop(gone);
    }
    fn change<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = f(&mut state);
        self.version.fetch_add(1, Ordering::Release);
        result
    }
}

/// A new thread is confined as its maker is now. The caller holds the maker's signal lock, so that no TSYNC passes it by.
pub(crate) fn inherit(child: &Task, maker: &Task) {
    if !maker.entry.has(entry::SECCOMP) {
        return;
    }
    let state = maker.seccomp.state.lock().clone();
    child.seccomp.change(|s| *s = state);
    child.entry.set(entry::SECCOMP);
}

/// The instructions of the filter that was installed as number `nth`, and whether it logs (PTRACE_SECCOMP_GET_FILTER and
/// _GET_METADATA). EINVAL without filters, ENOENT when there are not as many.
pub fn nth_filter(task: &Task, nth: u64) -> Result<(Vec<Insn>, bool), Errno> {
    let (youngest, count) = {
        let state = task.seccomp.state.lock();
        (state.filter.clone().filter(|_| state.mode == mode::FILTER), state.count)
    };
    let mut at = Some(youngest.as_ref().ok_or(Errno::EINVAL)?);
    // The oldest is number 0.
    let mut number = u64::from(count);
    while let Some(filter) = at {
        number = number.saturating_sub(1);
        if number == nth {
            return Ok((filter.source()?, filter.logs()));
        }
        at = filter.prev();
    }
    Err(Errno::ENOENT)
}

//! Priority-inheriting words: the kernel knows who owns them (the thread number in the word), hands them over, and lends the
//! priority of who waits to who owns, along chains of owners that wait themselves.
//!
//! [`World`] has an entry for each word that someone waits for. Its lock is held while the word is read and changed, so that word
//! and entry agree; an access that faults is given up, the fault resolved without the lock, and the operation begun again.
//! At an unlock the word and its entry pass to the waiter of the highest priority in one step, so nobody can overtake. When an
//! owner ends it may not reach the word (other threads have it mapped elsewhere): then only the entry passes on, *unsettled*, and
//! the new owner writes the word when it wakes.
//!
//! - [`chain`]: owners, waiters, lent priorities, circles
//! - [`word`]: FUTEX_LOCK_PI, FUTEX_TRYLOCK_PI, FUTEX_UNLOCK_PI
//! - [`requeue`]: FUTEX_WAIT_REQUEUE_PI, FUTEX_CMP_REQUEUE_PI

mod chain;
mod requeue;
#[cfg(test)]
mod tests;
mod word;

pub(super) use chain::WORLD;
pub use chain::priority_changed;
pub use requeue::{requeue, wait_requeue};
pub use word::{lock, unlock};

use crate::Task;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU8;
use machine::aspace::CopyFault;
use machine::sync::SpinLock;
use mm::{FutexKey, Mm};
use sched::{Thread, WaitQueue};

/// A thread as an owner of words.
pub trait Locker: Send + Sync {
    /// Its part of the chains.
    fn links(&self) -> &Links;
    /// The scheduler's record.
    fn thread(&self) -> Option<&Arc<Thread>>;
    /// Whether it runs in the address space of this id.
    fn runs_in(&self, mm: u64) -> bool;
    /// The thread it knows by this number.
    fn find(&self, nr: u32) -> Option<Arc<dyn Locker>>;
    /// The number by which it knows another thread.
    fn number_of(&self, other: &dyn Locker) -> u32;
    /// The number of the thread in the first pid namespace.
    fn global(&self) -> i32;
}

impl Locker for Task {
    fn links(&self) -> &Links {
        &self.pi
    }
    fn thread(&self) -> Option<&Arc<Thread>> {
        Task::thread(self)
    }
    fn runs_in(&self, mm: u64) -> bool {
        self.uses_mm(mm)
    }
    fn find(&self, nr: u32) -> Option<Arc<dyn Locker>> {
        Some(self.find_task(i32::try_from(nr).ok()?)?)
    }
    fn number_of(&self, other: &dyn Locker) -> u32 {
        self.nr_of(other.global()) as u32
    }
    fn global(&self) -> i32 {
        self.tid()
    }
}

/// What a thread waits for and what it owns that others wait for; changed with [`WORLD`] locked.
pub struct Links(SpinLock<Held>);

#[derive(Default)]
struct Held {
    blocked_on: Option<FutexKey>,
    owns: Vec<FutexKey>,
    life: Life,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Life {
    #[default]
    Alive,
    /// It walks its robust list; who wants a word of it waits for the end of that.
    Leaving,
    /// Its words are free; it owns none any more.
    Gone,
}

/// Threads that wait for an owner to be done with its robust list.
static LEAVING: WaitQueue = WaitQueue::new();

impl Links {
    /// Of a thread that waits for nothing.
    pub const fn new() -> Links {
        Links(SpinLock::new(Held { blocked_on: None, owns: Vec::new(), life: Life::Alive }))
    }
    /// The thread begins to give up its words.
    pub(super) fn begin_leaving(&self) {
        self.0.lock().life = Life::Leaving;
    }
    /// It has given them up; whether the world still has words of it.
    pub(super) fn end_leaving(&self) -> bool {
        let mut held = self.0.lock();
        let watched = held.life == Life::Leaving;
        held.life = Life::Gone;
        let owns = !held.owns.is_empty();
        drop(held);
        if watched {
            LEAVING.wake_all();
        }
        owns
    }
    /// After exec it may own words again.
    pub(super) fn revive(&self) {
        self.0.lock().life = Life::Alive;
    }
    fn life(&self) -> Life {
        self.0.lock().life
    }
}

impl Default for Links {
    fn default() -> Links {
        Links::new()
    }
}

/// What a [`super::Waiter`] has if it waits, or may come to wait, for a priority-inheriting word.
pub(super) struct Side {
    party: Arc<dyn Locker>,
    /// The priority by which it stands in its queue.
    rank: AtomicU8,
    /// Waits for a plain word until it is moved to this one.
    target: Option<FutexKey>,
}

/// Who asks.
pub struct Asker<'a> {
    /// The calling thread.
    pub me: Arc<dyn Locker>,
    /// Its address space.
    pub mm: &'a Mm,
}

impl Asker<'_> {
    fn number(&self, other: &Arc<dyn Locker>) -> u32 {
        self.me.number_of(&**other)
    }
}

/// Why an operation has to leave the lock of the world.
enum Stuck {
    /// The word was not there.
    Fault(CopyFault),
    /// The owner is ending.
    Leaving(Arc<dyn Locker>),
    /// The word has changed.
    Changed,
    /// The operation ends.
    Failed(Errno),
}

impl From<CopyFault> for Stuck {
    fn from(fault: CopyFault) -> Stuck {
        Stuck::Fault(fault)
    }
}

impl From<Errno> for Stuck {
    fn from(e: Errno) -> Stuck {
        Stuck::Failed(e)
    }
}

impl Stuck {
    /// Does what is needed before the operation can be tried again, without any lock.
    fn resolve(self, mm: &Mm) -> Result<(), Errno> {
        match self {
            Stuck::Fault(fault) => mm.resolve_word(fault),
            Stuck::Failed(e) => Err(e),
            Stuck::Changed => {
                sched::cond_resched();
                Ok(())
            }
            Stuck::Leaving(owner) => {
                let left = || (owner.links().life() != Life::Leaving).then_some(());
                LEAVING.wait_killable(left).map_err(|_| Errno::ERESTARTNOINTR)
            }
        }
    }
}

fn same(a: &Arc<dyn Locker>, b: &Arc<dyn Locker>) -> bool {
    core::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

//! The scheduler: kernel threads, run queues, wait queues, sleeping locks, timers, deferred work, clocks.
//!
//! Which thread runs next is decided here; how a thread is entered and left is `machine`'s. Kernel code is never preempted: a
//! thread gives up its CPU in [`schedule`], which is called by the wait primitives when they sleep, by [`cond_resched`] in long
//! loops, and by the task loop before it returns to user mode when [`Thread::flags`] says so. Interrupts only set flags; what
//! they ask for (timer callbacks, a switch) is done at those points, with interrupts on.
//!
//! Lock order (each masks interrupts; none is held over a switch):
//! ```text
//! wait queue
//!   listener (poll, epoll)
//!     run queue of one CPU (never two at once)
//! timer (one object)
//!   timer queue of one CPU
//! time-out (one object)
//!   wheel of one CPU
//! events of a group of sleeping CPUs
//!   those of the group above
//! ```
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod balance;
mod change;
pub mod clock;
mod completion;
mod cpu;
mod cpuset;
mod defer;
mod fair;
pub mod group;
mod idle;
mod kthread;
mod listen;
pub mod load;
mod mutex;
mod placement;
pub mod policy;
mod pull;
pub mod rcu;
mod runq;
mod rwlock;
mod switch;
#[cfg(test)]
mod tests;
mod thread;
mod timeout;
mod timer;
mod wait;

pub use completion::Completion;
pub use cpuset::CpuSet;
pub use defer::defer;
pub use group::{Group, GroupStat};
pub use idle::run_cpu;
pub use kthread::next_kernel_thread;
pub use listen::{Listener, Subscription};
pub use load::{CpuStats, cpu_stats, load_average};
pub use mutex::{Mutex, MutexGuard};
pub use policy::Policy;
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use switch::{
    cond_resched, current, exit_thread, in_wait, init_boot_cpu, look_in, need_resched, schedule, set_tick_hook, spawn,
    with_current, with_current_ext, yield_now,
};
pub use thread::{CpuTimes, Flags, Thread, ThreadExt};
pub use timeout::{Scope, Timeout};
pub use timer::Timer;
pub use wait::{Interrupted, WaitError, WaitQueue, park, sleep_until};

/// A moment on the clock of [`now`], in nanoseconds.
pub type Instant = u64;

/// Nanoseconds since boot (the monotonic clock).
#[inline]
pub fn now() -> Instant {
    machine::time::now_ns()
}

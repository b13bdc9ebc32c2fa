//! Processes: threads and thread groups, the pid table, fork and exec, exit and wait, signals, sessions and job control,
//! credentials and limits.
//!
//! The life of a thread is [`run::run`]: enter user mode, hand each system call to the dispatcher that the kernel crate installs,
//! answer faults through the thread's address space, and look at one flag word ([`work`]) before going back. All that is rare
//! (signals, stops, exits, restartable sequences) hangs on that word.
//!
//! Who owns what: a [`Cx`] is a thread's own view (its registers and plain references to what it uses) and lives on its kernel
//! stack; a [`Task`] is what other threads can see of it; a [`Process`] is what the threads of a group share.
//!
//! Lock order, outer first:
//! ```text
//! tree::TREE                 shape of the family tree, sessions and groups
//!   Process::family          one process's links (parent's before child's)
//!     tree::PIDS             number -> task, process, group, session
//!   Process::sig             pending signals, stops, the list of threads
//!     SigHand                the action table
//!       scheduler's locks
//! Task::shared               handles on mm, files, fs, credentials (leaf)
//! ```
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod access;
pub mod cgroup;
pub mod coredump;
pub mod cx;
pub mod entry;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod futex;
pub mod helper;
pub mod ids;
pub mod init;
pub mod jobs;
pub mod kthread;
pub mod limits;
pub mod ns;
pub mod oom;
mod oops;
pub mod pid;
pub mod pidfd;
pub mod process;
pub mod regset;
pub mod rseq;
pub mod run;
pub mod seccomp;
pub mod sigio;
pub mod signal;
pub mod signalfd;
pub mod sud;
pub mod sysv;
pub mod task;
pub mod timers;
pub mod trace;
pub mod tree;
pub mod usage;
pub mod users;
pub mod wait;
pub mod work;
pub mod worker;
pub mod yama;

pub use cx::Cx;
pub use jobs::current;
pub use process::Process;
pub use run::set_dispatch;
pub use task::Task;

/// Joins this floor to the ones below: job control for terminals, victims for the memory allocator.
pub fn init() {
    jobs::init();
    oom::init();
    oops::init();
    timers::init();
    ns::init();
}

//! System V IPC: shared memory, semaphores, message queues. The work is done in the `ipc` crate; here pointers are followed, in Linux's
//! order, and process numbers are translated.

mod msg;
mod sem;
mod shm;

pub use msg::{msgctl, msgget, msgrcv, msgsnd};
pub use sem::{semctl, semget, semop, semtimedop};
pub use shm::{shmat, shmctl, shmdt, shmget};

use ::ipc::{IpcNamespace, Who};
use alloc::sync::Arc;
use task::Cx;

/// The caller's namespace.
fn namespace(_cx: &Cx) -> &Arc<IpcNamespace> {
    ::ipc::first()
}

/// The caller, as objects of its namespace judge it.
fn who(cx: &Cx) -> Who<'_> {
    Who { cred: cx.cred(), pid: cx.process().pid(), over: namespace(cx).user_ns() }
}

//! System V IPC (shared memory, semaphores, message queues) and POSIX message queues. The work is done in the `ipc` crate; here pointers are followed, in Linux's
//! order, and process numbers are translated.

mod mq;
mod msg;
mod sem;
mod shm;

pub use mq::{mq_getsetattr, mq_notify, mq_open, mq_timedreceive, mq_timedsend, mq_unlink};
pub use msg::{msgctl, msgget, msgrcv, msgsnd};
pub use sem::{semctl, semget, semop, semtimedop};
pub use shm::{shmat, shmctl, shmdt, shmget};

use ::ipc::mqueue::Hooks;
use ::ipc::{IpcNamespace, Who};
use abi::resource::Resource;
use alloc::sync::Arc;
use task::Cx;

/// The caller's namespace.
fn namespace(cx: &Cx) -> &Arc<IpcNamespace> {
    &cx.ns().ipc
}

/// The caller, as objects of its namespace judge it.
fn who(cx: &Cx) -> Who<'_> {
    Who { cred: cx.cred(), pid: cx.process().pid(), over: namespace(cx).user_ns() }
}

/// What the file system of message queues asks about the calling thread.
pub fn mqueue_hooks() -> Hooks {
    fn limit() -> u64 {
        task::current().map_or(u64::MAX, |t| t.process().limits.soft(Resource::Msgqueue))
    }
    Hooks {
        namespace: || task::ns::current().map_or_else(|| ::ipc::first().clone(), |ns| ns.ipc.clone()),
        byte_limit: limit,
        nr_of: |global| task::current().map_or(global, |t| t.nr_of(global)),
    }
}

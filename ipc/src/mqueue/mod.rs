//! POSIX message queues (mq_overview(7)): a file system whose files are queues.
//!
//! - [`queue`] is a queue: messages by priority, threads that wait, the one notification;
//! - [`root`] is the one directory of a namespace, [`file`] its files and what mount(2) knows as `mqueue`;
//! - [`limits`] counts queues of a namespace and bytes of a user.
//!
//! mq_open(2) and mq_unlink(2) work on the directory through a mount of their own; whoever mounts the file system sees the same files. A
//! message goes from the sender to a waiting receiver, and room from the receiver to a waiting sender, without the woken thread having to
//! compete for it.
//!
//! Lock order: the directory's inode lock (sleeping), then its entries or one queue (spin). A notification is sent without them.

mod file;
pub mod limits;
mod open;
mod queue;
mod root;

pub use file::{MqFile, MqueueFs};
pub use open::{open, unlink};
pub use queue::{Message, Notice, Notification};
pub use root::Home;

use crate::IpcNamespace;
use alloc::sync::Arc;
use machine::sync::Once;

/// What lies on floors that this crate does not know, all about the calling thread.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Its IPC namespace.
    pub namespace: fn() -> Arc<IpcNamespace>,
    /// RLIMIT_MSGQUEUE.
    pub byte_limit: fn() -> u64,
    /// Its number for the process with this global number.
    pub nr_of: fn(i32) -> i32,
}

static HOOKS: Once<Hooks> = Once::new();

/// Makes `mqueue` known to mount(2).
pub fn init(hooks: Hooks) {
    let _ = HOOKS.set(hooks);
    vfs::register_fs(&MqueueFs);
}

fn namespace() -> Arc<IpcNamespace> {
    HOOKS.get().map_or_else(|| crate::first().clone(), |hooks| (hooks.namespace)())
}

fn byte_limit() -> u64 {
    HOOKS.get().map_or(u64::MAX, |hooks| (hooks.byte_limit)())
}

fn nr_of(global: i32) -> i32 {
    HOOKS.get().map_or(global, |hooks| (hooks.nr_of)(global))
}

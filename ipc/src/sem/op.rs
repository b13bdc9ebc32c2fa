//! semop(2) and semtimedop(2).

use super::set::{Attempt, Ops, Waiter};
use super::undo::UndoList;
use crate::IpcNamespace;
use crate::perm::{self, Who};
use abi::Errno;
use abi::ipc::SEM_UNDO;
use alloc::sync::Arc;
use sched::{Instant, WaitError};

/// Does `ops` together, waiting until that is possible. `undo` gives the caller's list when one is needed.
pub fn operate(
    ns: &IpcNamespace,
    who: Who<'_>,
    id: i32,
    ops: Ops,
    deadline: Option<Instant>,
    undo: impl FnOnce() -> Arc<UndoList>,
) -> Result<(), Errno> {
    let entry = ns.sem.find(id)?;
    let list = ops.iter().any(|o| o.flags & SEM_UNDO != 0).then(undo);
    let changes = ops.iter().any(|o| o.op != 0);
    let mut state = entry.lock();
    if ops.iter().any(|o| usize::from(o.num) >= state.body.len()) {
        return Err(Errno::EFBIG);
    }
    state.perm.check(who, if changes { perm::WRITE } else { perm::READ })?;
    if state.removed {
        return Err(Errno::EIDRM);
    }
    let undo = match &list {
        None => None,
        Some(list) => {
            list.include(&entry)?;
            state.body.add_undo(list.id())?;
            Some(list.id())
        }
    };
    let at = match state.body.attempt(&ops, undo, who.pid)? {
        Attempt::Done => {
            if changes {
                state.body.retry();
            }
            return Ok(());
        }
        Attempt::Waits(at) => at,
    };
    let waiter = Waiter::new(ops, undo, who.pid, at);
    state.body.wait(&waiter)?;
    drop(state);
    match sched::park(deadline, || waiter.result()) {
        Ok(result) => result,
        Err(why) => {
            let mut state = entry.lock();
            // It may have been finished in the meantime.
            if let Some(result) = waiter.result() {
                return result;
            }
            state.body.leave(&waiter);
            Err(if why == WaitError::TimedOut { Errno::EAGAIN } else { Errno::EINTR })
        }
    }
}

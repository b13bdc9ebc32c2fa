//! System V semaphores (semget(2), semop(2), semctl(2)).
//!
//! A [`Set`] holds its values, the operations that wait, and what each process has to take back at its end ([`undo`]). An operation that
//! cannot go on waits in the set's list; whoever changes a value tries the waiting ones again in their order and hands each its result, so a
//! woken thread never has to try by itself ([`op`]).

mod control;
mod op;
mod set;
mod undo;

pub use control::{all_values, control, count, info, last_pid, set_all, set_value, stat, value};
pub use op::operate;
pub use set::{Ops, Set};
pub use undo::UndoList;

use crate::IpcNamespace;
use crate::perm::Who;
use abi::Errno;

/// semget(2).
pub fn get(ns: &IpcNamespace, who: Who<'_>, key: i32, count: i32, flags: u32) -> Result<i32, Errno> {
    let [per_set, all, _, sets] = ns.limits.sem();
    let count = usize::try_from(count).ok().filter(|_| count <= per_set).ok_or(Errno::EINVAL)?;
    let fits = |set: &Set| if count > set.len() { Err(Errno::EINVAL) } else { Ok(()) };
    let make = || {
        if count == 0 {
            return Err(Errno::EINVAL);
        }
        Set::new(count, ns.sems.take(count as u64, all.max(0) as u64)?)
    };
    Ok(ns.sem.get((key, flags), who, sets.max(0) as usize, fits, make)?.id())
}

//! semget(2), semop(2), semctl(2).

use super::{namespace, who};
use ::ipc::sem::{self, Ops};
use abi::Errno;
use abi::ipc::cmd::*;
use abi::ipc::{IpcPerm, Sembuf, SemidDs, Seminfo};
use abi::time::Timespec;
use machine::VirtAddr;
use mm::user::{UserPtr, UserSlice};
use task::Cx;

/// semget(2).
pub fn semget(cx: &mut Cx, key: i32, count: i32, flags: u32) -> Result<i32, Errno> {
    sem::get(namespace(cx), who(cx), key, count, flags)
}

/// semop(2).
pub fn semop(cx: &mut Cx, id: i32, ops: UserPtr<Sembuf>, count: u32) -> Result<(), Errno> {
    operate(cx, id, ops, count, None)
}

/// semtimedop(2).
pub fn semtimedop(
    cx: &mut Cx,
    id: i32,
    ops: UserPtr<Sembuf>,
    count: u32,
    timeout: UserPtr<Timespec>,
) -> Result<(), Errno> {
    let timeout = match timeout.non_null() {
        Some(at) => Some(at.read(cx.mm())?),
        None => None,
    };
    operate(cx, id, ops, count, timeout)
}

fn operate(cx: &mut Cx, id: i32, ops: UserPtr<Sembuf>, count: u32, timeout: Option<Timespec>) -> Result<(), Errno> {
    let [_, _, most, _] = namespace(cx).limits.sem();
    if i64::from(count) > i64::from(most) {
        return Err(Errno::E2BIG);
    }
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    let mut list = Ops::new();
    list.try_reserve(count as usize).map_err(|_| Errno::ENOMEM)?;
    list.resize(count as usize, Sembuf::default());
    ops.slice(count as usize).read_into(cx.mm(), &mut list)?;
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let deadline = match timeout {
        Some(t) => Some(sched::now().saturating_add(t.to_ns().ok_or(Errno::EINVAL)?)),
        None => None,
    };
    let mut sysv = core::mem::take(&mut cx.sysv);
    let result = sem::operate(namespace(cx), who(cx), id, list, deadline, || sysv.undo());
    cx.sysv = sysv;
    cx.show_undo();
    result
}

/// semctl(2). `arg`: a number or a pointer, as the command wants.
pub fn semctl(cx: &mut Cx, id: i32, index: i32, cmd: i32, arg: VirtAddr) -> Result<i32, Errno> {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let (ns, who) = (namespace(cx), who(cx));
    match cmd {
        IPC_INFO | SEM_INFO => {
            let (info, highest) = sem::info(ns, cmd);
            UserPtr::<Seminfo>::new(arg).write(cx.mm(), &info)?;
            Ok(highest)
        }
        IPC_STAT | SEM_STAT | SEM_STAT_ANY => {
            let (ds, number) = sem::stat(ns, who, id, cmd)?;
            UserPtr::<SemidDs>::new(arg).write(cx.mm(), &ds)?;
            Ok(if cmd == IPC_STAT { 0 } else { number })
        }
        GETALL => {
            let values = sem::all_values(ns, who, id)?;
            UserSlice::new(arg, values.len()).write_from(cx.mm(), &values)?;
            Ok(0)
        }
        SETALL => {
            let read = |count| UserSlice::<u16>::new(arg, count).read_vec(cx.mm());
            sem::set_all(ns, who, id, read).map(|()| 0)
        }
        GETVAL => sem::value(ns, who, id, index),
        GETPID => sem::last_pid(ns, who, id, index).map(|pid| cx.nr_of(pid)),
        GETNCNT => sem::count(ns, who, id, index, false),
        GETZCNT => sem::count(ns, who, id, index, true),
        SETVAL => sem::set_value(ns, who, id, index, arg.0 as i32).map(|()| 0),
        IPC_SET => {
            let new = UserPtr::<SemidDs>::new(arg).read(cx.mm())?;
            sem::control(ns, who, id, cmd, &new.perm).map(|()| 0)
        }
        IPC_RMID => sem::control(ns, who, id, cmd, &IpcPerm::default()).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

//! shmget(2), shmop(2), shmctl(2).

use super::{namespace, who};
use ::ipc::shm;
use abi::Errno;
use abi::ipc::cmd::*;
use abi::ipc::{IpcPerm, ShmInfo, ShmInfo64, ShmidDs};
use abi::resource::Resource;
use machine::VirtAddr;
use mm::user::UserPtr;
use task::Cx;

/// shmget(2).
pub fn shmget(cx: &mut Cx, key: i32, size: u64, flags: u32) -> Result<i32, Errno> {
    let mut owner = cx.sysv.owner.take();
    let id = shm::get(namespace(cx), who(cx), &mut owner, key, size, flags);
    cx.sysv.owner = owner;
    id
}

/// shmat(2).
pub fn shmat(cx: &mut Cx, id: i32, addr: VirtAddr, flags: u32) -> Result<VirtAddr, Errno> {
    shm::attach(namespace(cx), who(cx), cx.mm(), id, addr, flags)
}

/// shmdt(2).
pub fn shmdt(cx: &mut Cx, addr: VirtAddr) -> Result<(), Errno> {
    shm::detach(cx.mm(), addr)
}

/// shmctl(2).
pub fn shmctl(cx: &mut Cx, id: i32, cmd: i32, buf: UserPtr<ShmidDs>) -> Result<i32, Errno> {
    if cmd < 0 || id < 0 {
        return Err(Errno::EINVAL);
    }
    let (ns, who) = (namespace(cx), who(cx));
    match cmd {
        IPC_INFO => {
            let (info, highest) = shm::info(ns);
            buf.cast::<ShmInfo64>().write(cx.mm(), &info)?;
            Ok(highest)
        }
        SHM_INFO => {
            let (info, highest) = shm::totals(ns);
            buf.cast::<ShmInfo>().write(cx.mm(), &info)?;
            Ok(highest)
        }
        SHM_STAT | SHM_STAT_ANY | IPC_STAT => {
            let (mut ds, number) = shm::stat(ns, who, id, cmd)?;
            (ds.cpid, ds.lpid) = (cx.nr_of(ds.cpid), cx.nr_of(ds.lpid));
            buf.write(cx.mm(), &ds)?;
            Ok(if cmd == IPC_STAT { 0 } else { number })
        }
        IPC_SET => {
            let new = buf.read(cx.mm())?;
            shm::control(ns, who, id, cmd, &new.perm).map(|()| 0)
        }
        IPC_RMID => shm::control(ns, who, id, cmd, &IpcPerm::default()).map(|()| 0),
        SHM_LOCK => shm::lock(ns, who, id, cx.process().limits.soft(Resource::Memlock)).map(|()| 0),
        SHM_UNLOCK => shm::unlock(ns, who, id).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

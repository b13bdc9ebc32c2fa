//! msgctl(2).

use crate::perm::{self, Who};
use crate::{IpcNamespace, seconds};
use abi::Errno;
use abi::ipc::cmd::{IPC_RMID, IPC_SET, MSG_INFO, MSG_STAT, MSG_STAT_ANY};
use abi::ipc::{Msginfo, MsqidDs};
use core::sync::atomic::Ordering::Relaxed;
use vfs::Cap;

/// IPC_INFO and MSG_INFO: limits, for MSG_INFO with what is in use; and the highest index.
pub fn info(ns: &IpcNamespace, cmd: i32) -> (Msginfo, i32) {
    let capped = |n: u64| i32::try_from(n).unwrap_or(i32::MAX);
    let (msgpool, msgmap, msgtql) = if cmd == MSG_INFO {
        (ns.msg.used() as i32, capped(ns.messages.get()), capped(ns.message_bytes.get()))
    } else {
        // Constants of the default limits, as Linux has them: nothing here is sized by them.
        (32000 * 16384 / 1024, 16384, 16384)
    };
    let info = Msginfo {
        msgpool,
        msgmap,
        msgmax: ns.limits.msgmax.load(Relaxed),
        msgmnb: ns.limits.msgmnb.load(Relaxed),
        msgmni: ns.limits.msgmni.load(Relaxed),
        msgssz: 16,
        msgtql,
        msgseg: u16::MAX,
        pad: 0,
    };
    (info, ns.msg.max_index())
}

/// IPC_STAT, MSG_STAT, MSG_STAT_ANY: the state and the id. Process numbers are global.
pub fn stat(ns: &IpcNamespace, who: Who<'_>, number: i32, cmd: i32) -> Result<(MsqidDs, i32), Errno> {
    let entry = ns.msg.find_for_stat(number, matches!(cmd, MSG_STAT | MSG_STAT_ANY))?;
    let state = entry.lock();
    if cmd != MSG_STAT_ANY {
        state.perm.check(who, perm::READ)?;
    }
    if state.removed {
        return Err(Errno::EIDRM);
    }
    let q = &state.body;
    let ds = MsqidDs {
        perm: entry.show_perm(&state, &who.cred.user_ns),
        stime: q.stime,
        rtime: q.rtime,
        ctime: q.ctime,
        cbytes: q.bytes,
        qnum: q.messages.len() as u64,
        qbytes: q.max_bytes,
        lspid: q.lspid,
        lrpid: q.lrpid,
        ..MsqidDs::default()
    };
    Ok((ds, entry.id()))
}

/// IPC_SET (with `new`) and IPC_RMID.
pub fn control(ns: &IpcNamespace, who: Who<'_>, id: i32, cmd: i32, new: &MsqidDs) -> Result<(), Errno> {
    let entry = ns.msg.find(id)?;
    let mut state = entry.controlled(who)?;
    let room = state.body.room.clone();
    match cmd {
        IPC_SET => {
            let most = ns.limits.msgmnb.load(Relaxed).max(0) as u64;
            if new.qbytes > most && !who.cred.capable(Cap::SysResource) {
                return Err(Errno::EPERM);
            }
            state.perm.set(who, &new.perm)?;
            state.body.max_bytes = new.qbytes;
            state.body.ctime = seconds();
            // Receivers may no longer be allowed to read, senders may fit now.
            state.body.expel(Errno::EAGAIN);
            drop(state);
        }
        IPC_RMID => {
            state.removed = true;
            state.body.expel(Errno::EIDRM);
            let gone = core::mem::take(&mut state.body.messages);
            ns.messages.sub(gone.len() as u64);
            ns.message_bytes.sub(core::mem::take(&mut state.body.bytes));
            drop(state);
            ns.msg.remove(&entry);
            drop(gone);
        }
        _ => return Err(Errno::EINVAL),
    }
    room.wake_all();
    Ok(())
}

//! msgget(2), msgop(2), msgctl(2).

use super::{namespace, who};
use ::ipc::msg::{self, Message, Want};
use abi::Errno;
use abi::ipc::Msginfo;
use abi::ipc::MsqidDs;
use abi::ipc::cmd::*;
use core::sync::atomic::Ordering::Relaxed;
use mm::user::UserPtr;
use task::Cx;

/// Bytes of the type before the text (`struct msgbuf`).
const TEXT: usize = size_of::<i64>();

/// msgget(2).
pub fn msgget(cx: &mut Cx, key: i32, flags: u32) -> Result<i32, Errno> {
    msg::get(namespace(cx), who(cx), key, flags)
}

/// msgsnd(2).
pub fn msgsnd(cx: &mut Cx, id: i32, buf: UserPtr<i64>, len: usize, flags: u32) -> Result<(), Errno> {
    let kind = buf.read(cx.mm())?;
    let ns = namespace(cx);
    if len > ns.limits.msgmax.load(Relaxed).max(0) as usize || id < 0 || kind < 1 {
        return Err(Errno::EINVAL);
    }
    let text = buf.byte_add::<u8>(TEXT).slice(len).read_vec(cx.mm())?;
    msg::send(ns, who(cx), id, Message { kind, text }, flags)
}

/// msgrcv(2).
pub fn msgrcv(cx: &mut Cx, id: i32, buf: UserPtr<i64>, len: usize, kind: i64, flags: u32) -> Result<usize, Errno> {
    if id < 0 || isize::try_from(len).is_err() {
        return Err(Errno::EINVAL);
    }
    let ns = namespace(cx);
    let message = msg::receive(ns, who(cx), id, Want { kind, max: len, flags })?;
    let text = message.text.get(..len).unwrap_or(&message.text);
    buf.write(cx.mm(), &message.kind)?;
    buf.byte_add::<u8>(TEXT).slice(text.len()).write_from(cx.mm(), text)?;
    Ok(text.len())
}

/// msgctl(2).
pub fn msgctl(cx: &mut Cx, id: i32, cmd: i32, buf: UserPtr<MsqidDs>) -> Result<i32, Errno> {
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL);
    }
    let (ns, who) = (namespace(cx), who(cx));
    match cmd {
        IPC_INFO | MSG_INFO => {
            let (info, highest) = msg::info(ns, cmd);
            buf.cast::<Msginfo>().write(cx.mm(), &info)?;
            Ok(highest)
        }
        MSG_STAT | MSG_STAT_ANY | IPC_STAT => {
            let (mut ds, number) = msg::stat(ns, who, id, cmd)?;
            (ds.lspid, ds.lrpid) = (cx.nr_of(ds.lspid), cx.nr_of(ds.lrpid));
            buf.write(cx.mm(), &ds)?;
            Ok(if cmd == IPC_STAT { 0 } else { number })
        }
        IPC_SET => {
            let new = buf.read(cx.mm())?;
            msg::control(ns, who, id, cmd, &new).map(|()| 0)
        }
        IPC_RMID => msg::control(ns, who, id, cmd, &MsqidDs::default()).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

//! msgsnd(2) and msgrcv(2).

use super::queue::{Message, Receiver, Selection};
use crate::IpcNamespace;
use crate::perm::{self, Who};
use abi::Errno;
use abi::ipc::{IPC_NOWAIT, MSG_COPY, MSG_EXCEPT, MSG_NOERROR};
use alloc::vec::Vec;

/// msgsnd(2); the length of the text was checked.
pub fn send(ns: &IpcNamespace, who: Who<'_>, id: i32, message: Message, flags: u32) -> Result<(), Errno> {
    let entry = ns.msg.find(id)?;
    let room = entry.lock().body.room.clone();
    let len = message.text.len();
    let mut message = Some(message);
    let mut attempt = || -> Option<Result<(), Errno>> {
        let mut state = entry.lock();
        if let Err(e) = state.perm.check(who, perm::WRITE) {
            return Some(Err(e));
        }
        if state.removed {
            return Some(Err(Errno::EIDRM));
        }
        if !state.body.has_room(len) {
            return (flags & IPC_NOWAIT != 0).then_some(Err(Errno::EAGAIN));
        }
        let queued = match state.body.put(message.take()?, who.pid) {
            Ok(queued) => queued,
            Err(e) => return Some(Err(e)),
        };
        if queued {
            ns.messages.add(1);
            ns.message_bytes.add(len as u64);
        }
        Some(Ok(()))
    };
    match room.wait_interruptible(&mut attempt) {
        Ok(result) => result,
        Err(_) => Err(Errno::ERESTARTNOHAND),
    }
}

/// What a receiver asks for.
#[derive(Clone, Copy)]
pub struct Want {
    /// The type argument of msgrcv.
    pub kind: i64,
    /// Longest text.
    pub max: usize,
    /// The flags of msgrcv.
    pub flags: u32,
}

impl Want {
    fn selection(&self) -> Selection {
        match self.kind {
            0 => Selection::Any,
            i64::MIN..0 => Selection::UpTo(self.kind.checked_neg().unwrap_or(i64::MAX)),
            kind if self.flags & MSG_EXCEPT != 0 => Selection::Except(kind),
            kind => Selection::Only(kind),
        }
    }
}

/// msgrcv(2): the message, not cut.
pub fn receive(ns: &IpcNamespace, who: Who<'_>, id: i32, want: Want) -> Result<Message, Errno> {
    let copies = want.flags & MSG_COPY != 0;
    if copies && (want.flags & MSG_EXCEPT != 0 || want.flags & IPC_NOWAIT == 0) {
        return Err(Errno::EINVAL);
    }
    let selection = want.selection();
    let entry = ns.msg.find(id)?;
    loop {
        let mut state = entry.lock();
        state.perm.check(who, perm::READ)?;
        if state.removed {
            return Err(Errno::EIDRM);
        }
        let found = if copies {
            usize::try_from(want.kind).ok().filter(|n| *n < state.body.messages.len())
        } else {
            state.body.find(selection)
        };
        if let Some(at) = found {
            let len = state.body.messages.get(at).map_or(0, |m| m.text.len());
            if len > want.max && want.flags & MSG_NOERROR == 0 {
                return Err(Errno::E2BIG);
            }
            if copies {
                return copy(state.body.messages.get(at));
            }
            let message = state.body.take(at, who.pid).ok_or(Errno::ENOMSG)?;
            ns.messages.sub(1);
            ns.message_bytes.sub(len as u64);
            let room = state.body.room.clone();
            drop(state);
            room.wake_all();
            return Ok(message);
        }
        if want.flags & IPC_NOWAIT != 0 {
            return Err(Errno::ENOMSG);
        }
        let max = if want.flags & MSG_NOERROR != 0 { usize::MAX } else { want.max };
        let receiver = Receiver::new(selection, max, who.pid);
        state.body.wait(&receiver)?;
        drop(state);
        let result = match sched::park(None, || receiver.take()) {
            Ok(result) => result,
            Err(_) => {
                let mut state = entry.lock();
                // It may have been served in the meantime.
                match receiver.take() {
                    Some(result) => result,
                    None => {
                        state.body.leave(&receiver);
                        return Err(Errno::ERESTARTNOHAND);
                    }
                }
            }
        };
        match result {
            // The queue has changed under it: it has to be asked anew.
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
}

fn copy(message: Option<&Message>) -> Result<Message, Errno> {
    let message = message.ok_or(Errno::ENOMSG)?;
    let mut text = Vec::new();
    text.try_reserve_exact(message.text.len()).map_err(|_| Errno::ENOMEM)?;
    text.extend_from_slice(&message.text);
    Ok(Message { kind: message.kind, text })
}

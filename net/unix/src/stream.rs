//! Sending and receiving on streams.

use crate::flight::Flight;
use crate::queue::{Attached, Extras};
use crate::socket::{Phase, UnixSocket, sender_of};
use abi::Errno;
use abi::socket::MsgFlags;
use alloc::boxed::Box;
use net::{Common, Flag, RecvMsg, SendMsg};
use vfs::PollEvents;

impl UnixSocket {
    /// What goes along with a message: files, and credentials where either end wants them. Files in flight are counted.
    pub fn attach(&self, msg: &mut SendMsg<'_, '_>, peer: &UnixSocket) -> Result<Option<Box<Attached>>, Errno> {
        let files = core::mem::take(&mut msg.control.files);
        let wanted = self.passes_sender() || peer.passes_sender();
        let mut process = msg.control.process.take();
        let creds = msg.control.creds.take().or_else(|| {
            wanted.then(|| {
                process = vfs::jobs().process_id();
                sender_of(msg.cred)
            })
        });
        if files.is_empty() && creds.is_none() {
            return Ok(None);
        }
        let flight = match files.len() {
            0 => None,
            count => Some(Flight::take(msg.cred, count, msg.control.file_limit)?),
        };
        crate::gc::note_in_flight(&files);
        Ok(Some(Box::new(Attached { files, flight, creds, process, from: None })))
    }

    /// send on a stream: all of it, waiting for room.
    pub fn send_stream(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize, Errno> {
        // The last byte of an out-of-band message is the one that goes out of band.
        let last = usize::from(msg.flags.contains(MsgFlags::OOB));
        if msg.src.remaining() < last {
            return Err(Errno::EOPNOTSUPP);
        }
        let connected = self.phase() == Phase::Connected;
        if msg.addr.is_some() {
            return Err(if connected { Errno::EISCONN } else { Errno::EOPNOTSUPP });
        }
        let peer = self.peer().ok_or(Errno::ENOTCONN)?;
        if self.is_write_shut() {
            return Err(Errno::EPIPE);
        }
        let mut attached = self.attach(msg, &peer)?;
        let (start, nonblock) = (msg.src.done(), msg.flags.contains(MsgFlags::DONTWAIT));
        let sndbuf = self.common.sndbuf();
        let broken = || peer.is_closed() || peer.is_read_shut() || self.is_write_shut();
        let mut deadline = None;
        loop {
            let mut inbox = peer.inbox();
            if broken() {
                return progress(msg.src.done() - start, Errno::EPIPE);
            }
            let mut result = Ok(0);
            while msg.src.remaining() > last && inbox.charge() < sndbuf as usize && result.is_ok() {
                result = inbox.append(msg.src, msg.src.remaining() - last, &mut attached);
            }
            let urgent = last > 0 && msg.src.remaining() == last && inbox.charge() < sndbuf as usize && result.is_ok();
            if urgent {
                result = inbox.append_urgent(msg.src, &mut attached);
            }
            let empty = inbox.is_empty();
            peer.publish(&inbox);
            drop(inbox);
            if urgent && result.is_ok() {
                peer.tell_urgent();
            } else if !empty {
                // Also when there was something: each arrival is an event of its own (EPOLLET, SIGIO).
                peer.readers.wake_sync();
            }
            let done = msg.src.done() - start;
            if let Err(e) = result {
                return progress(done, e);
            }
            if msg.src.remaining() == 0 {
                return Ok(done);
            }
            if deadline.is_none() {
                deadline = self.common.deadline(false);
            }
            let ready = || (peer.charge() < sndbuf as usize || broken()).then_some(());
            if let Err(e) = UnixSocket::wait(&peer.room, nonblock, deadline, ready) {
                return progress(done, e);
            }
        }
    }

    /// recv on a stream.
    pub fn recv_stream(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize, Errno> {
        if self.phase() != Phase::Connected {
            return Err(Errno::EINVAL);
        }
        if msg.flags.contains(MsgFlags::OOB) {
            return self.recv_urgent(msg);
        }
        let (start, nonblock) = (msg.dst.done(), msg.flags.contains(MsgFlags::DONTWAIT));
        let peek = msg.flags.contains(MsgFlags::PEEK);
        let asked = msg.dst.remaining();
        let target = match msg.flags.contains(MsgFlags::WAITALL) {
            true => asked,
            false => asked.min(self.common.rcvlowat() as usize),
        };
        let for_nothing = asked == 0;
        let by_sender = self.passes_sender();
        let mut extras = Extras { inline: self.common.is(Flag::OobInline), ..Extras::default() };
        let mut deadline = None;
        loop {
            let mut result = Ok(0);
            let skip = if peek { self.common.peek_skip() } else { 0 };
            if self.held() > 0 {
                let mut inbox = self.inbox();
                let before = inbox.charge();
                result = match peek {
                    true => inbox.peek_stream(msg.dst, &mut extras, by_sender, skip),
                    false => inbox.read_stream(msg.dst, &mut extras, by_sender),
                };
                self.common.move_peek(result.unwrap_or(0), peek);
                self.publish(&inbox);
                self.wake_senders(before, &inbox);
                let more = !inbox.is_empty();
                drop(inbox);
                if !extras.passed.is_empty() {
                    crate::gc::bury(core::mem::take(&mut extras.passed));
                }
                if more {
                    self.readers.wake_key(1, false, PollEvents::READABLE.passed_on());
                }
            }
            let done = msg.dst.done() - start;
            // A receive of nothing waits for something all the same.
            let enough =
                (done >= target && (!for_nothing || self.held() > 0)) || peek && done > 0 || !extras.files.is_empty();
            if let Err(e) = result
                && done == 0
            {
                return Err(e);
            }
            // Something left over after progress means a bound that one receive does not cross.
            if enough || result.is_err() || done > 0 && self.held() > 0 {
                deliver(msg, extras, &self.common);
                return Ok(done);
            }
            let waited = self.wait_for_bytes(done, peek.then_some(skip), nonblock, &mut deadline);
            match waited {
                Ok(true) => {}
                Err(e) if done == 0 => return Err(e),
                Ok(false) | Err(_) => {
                    deliver(msg, extras, &self.common);
                    return Ok(done);
                }
            }
        }
    }

    /// recv of the out-of-band byte, which never waits.
    fn recv_urgent(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize, Errno> {
        if self.common.is(Flag::OobInline) {
            return Err(Errno::EINVAL);
        }
        let mut extras = Extras::default();
        let mut inbox = self.inbox();
        let before = inbox.charge();
        let result = inbox.read_urgent(msg.dst, &mut extras, msg.flags.contains(MsgFlags::PEEK));
        self.publish(&inbox);
        self.wake_senders(before, &inbox);
        drop(inbox);
        crate::gc::bury(extras.passed);
        result?;
        msg.out_flags |= MsgFlags::OOB;
        Ok(1)
    }

    /// An out-of-band byte came: the owner's signal first, so that who sleeps in a receive finds it when it wakes.
    fn tell_urgent(&self) {
        if let Some(file) = self.common.owned_file() {
            vfs::jobs().urgent(&file);
        }
        self.readers.wake_key(1, true, (PollEvents::READABLE | PollEvents::PRI).key());
    }

    /// Something waits for a receive, or for a peek that passes over this many bytes.
    fn holds_for(&self, peek: Option<usize>) -> bool {
        self.held() > 0 && peek.is_none_or(|skip| self.inbox().can_peek(skip, self.common.is(Flag::OobInline)))
    }

    /// More than `skip` bytes wait.
    pub fn holds_more(&self, skip: usize) -> bool {
        self.held() > 0 && (skip == 0 || self.inbox().bytes() > skip)
    }

    /// Waits until there is something (past the first bytes, for a peek) or nothing will come (false).
    fn wait_for_bytes(
        &self,
        done: usize,
        peek: Option<usize>,
        nonblock: bool,
        deadline: &mut Option<u64>,
    ) -> Result<bool, Errno> {
        if self.holds_for(peek) {
            return Ok(true);
        }
        if done == 0
            && let Some(e) = self.common.take_error()
        {
            return Err(e);
        }
        if deadline.is_none() {
            *deadline = self.common.deadline(true);
        }
        let ready = || match self.holds_for(peek) {
            // The other end may have written and gone between the two looks.
            false => (self.is_read_shut() || self.common.has_error()).then(|| self.holds_for(peek)),
            true => Some(true),
        };
        let more = UnixSocket::wait(&self.readers, nonblock, *deadline, ready)?;
        // A signal that came with an out-of-band byte is handled before the byte is passed by.
        if more && self.is_urgent() && sched::current().interrupted() {
            return Err(Errno::ERESTARTSYS);
        }
        if !more
            && done == 0
            && let Some(e) = self.common.take_error()
        {
            return Err(e);
        }
        Ok(more)
    }
}

/// Hands what came along to the caller.
pub fn deliver(msg: &mut RecvMsg<'_, '_>, extras: Extras, wanted: &Common) {
    if msg.wants_addr {
        msg.addr = extras.from.as_ref().map(|n| n.addr());
    }
    msg.control.files = extras.files;
    if wanted.is(Flag::PassPidfd) {
        msg.control.wants_pidfd = true;
        msg.control.process = extras.process;
    }
    if wanted.is(Flag::PassCred) {
        // What was sent before the option was set has no sender on record.
        let nobody = abi::socket::Ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
        msg.control.creds = Some(extras.creds.unwrap_or(nobody));
    }
}

/// A short count when there was progress, the error when not.
fn progress(done: usize, error: Errno) -> Result<usize, Errno> {
    if done > 0 { Ok(done) } else { Err(error) }
}

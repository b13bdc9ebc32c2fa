//! Sending and receiving whole messages: datagrams and sequenced packets.

use crate::connect::find;
use crate::name::Target;
use crate::queue::{Attached, Extras, Message};
use crate::socket::{Kind, Phase, UnixSocket};
use crate::stream::deliver;
use abi::Errno;
use abi::socket::MsgFlags;
use alloc::boxed::Box;
use alloc::sync::Arc;
use net::{RecvMsg, SendMsg};
use vfs::PollEvents;

/// Overhead a message is charged besides its bytes when it is held against SO_SNDBUF.
const OVERHEAD: usize = 32;

impl UnixSocket {
    /// Where a message goes.
    fn destination(&self, msg: &SendMsg<'_, '_>) -> Result<Arc<UnixSocket>, Errno> {
        let connected = self.phase() == Phase::Connected;
        match msg.addr {
            Some(_) if self.kind == Kind::SeqPacket && !connected => Err(Errno::ENOTCONN),
            Some(addr) if self.kind == Kind::Dgram => {
                let cx = msg.cx.ok_or(Errno::EINVAL)?;
                find(&Target::parse(addr)?, Kind::Dgram, self.net(), cx)
            }
            _ => self.live_peer(),
        }
    }

    /// send of one message.
    pub fn send_message(&self, msg: &mut SendMsg<'_, '_>) -> Result<usize, Errno> {
        if msg.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.kind == Kind::SeqPacket
            && let Some(e) = self.common.take_error()
        {
            return Err(e);
        }
        let other = self.destination(msg)?;
        let len = msg.src.remaining();
        let sndbuf = self.common.sndbuf();
        if len > (sndbuf as usize).saturating_sub(OVERHEAD) {
            return Err(Errno::EMSGSIZE);
        }
        self.check_may_send(&other)?;
        let mut attached = self.attach(msg, &other)?;
        if self.kind == Kind::Dgram
            && let Some(name) = self.name()
        {
            attached.get_or_insert_with(|| Box::new(Attached::default())).from = Some(name);
        }
        let mut message = Some(Message::copy_in(msg.src, attached)?);
        let nonblock = msg.flags.contains(MsgFlags::DONTWAIT);
        let deadline = self.common.deadline(false);
        loop {
            if self.is_write_shut() {
                return Err(Errno::EPIPE);
            }
            if other.takes(self) {
                if other.is_closed() {
                    return Err(if self.kind == Kind::Dgram { Errno::ECONNREFUSED } else { Errno::EPIPE });
                }
                if other.is_read_shut() {
                    return Err(Errno::EPIPE);
                }
                let mut inbox = other.inbox();
                // Another sender may have been faster; a message too many does no harm.
                if let Some(message) = message.take() {
                    inbox.push(message)?;
                }
                other.publish(&inbox);
                drop(inbox);
                other.readers.wake_sync();
                return Ok(len);
            }
            let ready = || (other.takes(self) || self.is_write_shut()).then_some(());
            UnixSocket::wait(&other.room, nonblock, deadline, ready)?;
        }
    }

    /// recv of one message.
    pub fn recv_message(&self, msg: &mut RecvMsg<'_, '_>) -> Result<usize, Errno> {
        if self.kind == Kind::SeqPacket && self.phase() != Phase::Connected {
            return Err(Errno::ENOTCONN);
        }
        if msg.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let peek = msg.flags.contains(MsgFlags::PEEK);
        let nonblock = msg.flags.contains(MsgFlags::DONTWAIT);
        let deadline = self.common.deadline(true);
        let mut extras = Extras::default();
        loop {
            if let Some(e) = self.common.take_error() {
                return Err(e);
            }
            let skip = if peek { self.common.peek_skip() } else { 0 };
            if self.held() > 0 {
                let mut inbox = self.inbox();
                let before = inbox.charge();
                let taken = inbox.read_message(msg.dst, &mut extras, peek.then_some(skip));
                if let Ok(Some((copied, len))) = taken {
                    self.common.move_peek(if peek { copied } else { len }, peek);
                }
                self.publish(&inbox);
                self.wake_senders(before, &inbox);
                let more = !inbox.is_empty();
                drop(inbox);
                if more {
                    self.readers.wake_key(1, false, PollEvents::READABLE.passed_on());
                }
                if let Some((copied, len)) = taken? {
                    let cut = copied < len;
                    msg.out_flags.set(MsgFlags::TRUNC, cut);
                    deliver(msg, extras, &self.common);
                    return Ok(if msg.flags.contains(MsgFlags::TRUNC) { len } else { copied });
                }
            }
            let ready = || match self.holds_more(skip) {
                // The other end may have written and gone between the two looks.
                false => (self.is_read_shut() || self.common.has_error()).then(|| self.holds_more(skip)),
                true => Some(true),
            };
            // A datagram socket that would wait says so even when receiving was shut down.
            if nonblock && self.kind == Kind::Dgram && !self.holds_more(skip) && !self.common.has_error() {
                return Err(Errno::EAGAIN);
            }
            if !UnixSocket::wait(&self.readers, nonblock, deadline, ready)? && !self.common.has_error() {
                return Ok(0);
            }
        }
    }
}

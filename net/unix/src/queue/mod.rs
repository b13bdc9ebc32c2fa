//! What waits to be received: messages made of pieces of page frames, with what was sent beside them.
//!
//! A stream's bytes are merged into the last frame while nothing is attached to either side of the seam; datagrams and packets
//! keep their bounds; [`urgent`] is about bytes sent out of band. A message is charged by its frames, which is what SO_SNDBUF limits.

mod urgent;

use crate::flight::Flight;
use crate::name::Name;
use abi::Errno;
use abi::socket::Ucred;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::PAGE_SIZE;
use machine::mem::Frame;
use mm::{Dst, Src};
use smallvec::SmallVec;
use vfs::{File, ProcessId};

/// What goes along with bytes.
#[derive(Default)]
pub struct Attached {
    /// Open files; taken out by the receive that delivers them.
    pub files: Vec<Arc<File>>,
    /// Counts them.
    pub flight: Option<Flight>,
    /// Who sent it.
    pub creds: Option<Ucred>,
    /// The process that sent it.
    pub process: Option<ProcessId>,
    /// The sender's address (datagrams of bound sockets).
    pub from: Option<Arc<Name>>,
}

struct Piece {
    frame: Frame,
    off: usize,
    len: usize,
}

/// What a message of a stream is besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    /// The out-of-band byte, neither received nor passed by.
    Urgent,
    /// The place of an out-of-band byte that was received; no bytes.
    Spent,
}

/// One message, or one frame's worth of a stream.
pub struct Message {
    pieces: SmallVec<[Piece; 1]>,
    len: usize,
    mark: Mark,
    /// What goes along.
    pub attached: Option<Box<Attached>>,
}

impl Message {
    /// Copies all of `src`, which becomes one message.
    pub fn copy_in(src: &mut Src<'_>, attached: Option<Box<Attached>>) -> Result<Message, Errno> {
        let mut pieces = SmallVec::new();
        pieces.try_reserve(src.remaining().div_ceil(PAGE_SIZE)).map_err(|_| Errno::ENOMEM)?;
        let mut len = 0;
        while src.remaining() > 0 {
            let frame = mm::frames::alloc().map_err(|_| Errno::ENOBUFS)?;
            let want = src.remaining().min(PAGE_SIZE);
            if src.get_frame(&frame, 0, want)? < want {
                return Err(Errno::EFAULT);
            }
            pieces.push(Piece { frame, off: 0, len: want });
            len += want;
        }
        Ok(Message { pieces, len, attached, mark: Mark::None })
    }
    fn charge(&self) -> usize {
        self.pieces.len().max(1) * PAGE_SIZE
    }
    /// Copies up to what fits to `dst`, from byte `skip` on; nothing is used up.
    fn copy_out(&self, dst: &mut Dst<'_>, mut skip: usize) -> Result<usize, Errno> {
        let start = dst.done();
        for piece in &self.pieces {
            if dst.remaining() == 0 {
                break;
            }
            let over = skip.min(piece.len);
            skip -= over;
            let want = (piece.len - over).min(dst.remaining());
            if dst.put_frame(&piece.frame, piece.off + over, want)? < want {
                return Err(Errno::EFAULT);
            }
        }
        Ok(dst.done() - start)
    }
    /// It is only the place of an out-of-band byte.
    pub fn is_spent(&self) -> bool {
        self.mark == Mark::Spent
    }
    /// Files go along.
    pub fn has_files(&self) -> bool {
        !self.files().is_empty()
    }
    /// Its files do not count as in flight any more.
    pub fn land(&mut self) {
        if let Some(attached) = &mut self.attached {
            attached.flight = None;
        }
    }
    fn files(&self) -> &[Arc<File>] {
        self.attached.as_ref().map_or(&[], |a| &a.files)
    }
}

/// What one receive got beside bytes.
#[derive(Default)]
pub struct Extras {
    /// Files.
    pub files: Vec<Arc<File>>,
    /// Credentials of the first message.
    pub creds: Option<Ucred>,
    /// The process that sent it.
    pub process: Option<ProcessId>,
    /// Address of the sender.
    pub from: Option<Arc<Name>>,
    /// The receiver wants out-of-band bytes among the others (SO_OOBINLINE).
    pub inline: bool,
    /// Messages with files that nobody receives, to be dropped without locks held.
    pub passed: VecDeque<Message>,
}

impl Extras {
    fn keep(&mut self, message: Message) {
        if message.has_files() {
            self.passed.push_back(message);
        }
    }
    /// Takes (or, peeking, copies) what is attached. Copying files fails without memory.
    fn gather(&mut self, attached: &mut Option<Box<Attached>>, peek: bool) -> Result<(), Errno> {
        let Some(a) = attached else { return Ok(()) };
        if self.creds.is_none() {
            (self.creds, self.process) = (a.creds, a.process.clone());
        }
        if self.from.is_none() {
            self.from = a.from.clone();
        }
        if peek {
            self.files.try_reserve(a.files.len()).map_err(|_| Errno::ENOMEM)?;
            self.files.extend(a.files.iter().cloned());
        } else {
            if !a.files.is_empty() {
                crate::gc::note_taken();
            }
            self.files = core::mem::take(&mut a.files);
            a.flight = None;
        }
        Ok(())
    }
}

/// The messages, first one first.
#[derive(Default)]
pub struct Inbox {
    queue: VecDeque<Message>,
    bytes: usize,
    charge: usize,
    spare: Option<Frame>,
    /// Messages with a mark.
    marks: usize,
    /// One of them is the out-of-band byte.
    urgent: bool,
}

impl Inbox {
    /// Number of messages.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Memory the messages hold.
    pub fn charge(&self) -> usize {
        self.charge
    }
    /// Length of the first message.
    pub fn first_len(&self) -> usize {
        self.queue.front().map_or(0, |m| m.len)
    }
    /// Adds a message.
    pub fn push(&mut self, message: Message) -> Result<(), Errno> {
        self.queue.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.bytes += message.len;
        self.charge += message.charge();
        self.queue.push_back(message);
        Ok(())
    }
    /// Adds up to one frame of a stream, and no more than `most` bytes. `attached` goes along with its first byte and is taken when there was
    /// progress.
    pub fn append(
        &mut self,
        src: &mut Src<'_>,
        most: usize,
        attached: &mut Option<Box<Attached>>,
    ) -> Result<usize, Errno> {
        if attached.is_none()
            && let Some(last) = self.queue.back_mut()
            && last.attached.is_none()
            && last.mark == Mark::None
            && let Some(piece) = last.pieces.last_mut()
            && piece.off + piece.len < PAGE_SIZE
        {
            let end = piece.off + piece.len;
            let n = src.get_frame(&piece.frame, end, most.min(PAGE_SIZE - end))?;
            piece.len += n;
            last.len += n;
            self.bytes += n;
            return Ok(n);
        }
        self.queue.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let frame = match self.spare.take() {
            Some(frame) => frame,
            None => mm::frames::alloc().map_err(|_| Errno::ENOBUFS)?,
        };
        let n = src.get_frame(&frame, 0, most.min(PAGE_SIZE))?;
        let mut pieces = SmallVec::new();
        pieces.push(Piece { frame, off: 0, len: n });
        self.push(Message { pieces, len: n, attached: attached.take(), mark: Mark::None })?;
        Ok(n)
    }
    /// Receives bytes of a stream: what fits, over the bounds of writes, but not over attached files (after them it stops) nor,
    /// when `by_sender`, from one sender to another.
    pub fn read_stream(&mut self, dst: &mut Dst<'_>, extras: &mut Extras, by_sender: bool) -> Result<usize, Errno> {
        let start = dst.done();
        while dst.remaining() > 0 {
            if self.marks > 0 && self.stops_at_mark(dst.done() > start, extras) {
                break;
            }
            let Some(message) = self.queue.front_mut() else { break };
            let creds = message.attached.as_ref().and_then(|a| a.creds);
            if by_sender && dst.done() > start && creds != extras.creds {
                break;
            }
            let Some(piece) = message.pieces.first_mut() else { break };
            let want = piece.len.min(dst.remaining());
            let n = match dst.put_frame(&piece.frame, piece.off, want) {
                Ok(n) => n,
                Err(e) if dst.done() == start => return Err(e),
                Err(_) => break,
            };
            piece.off += n;
            piece.len -= n;
            message.len -= n;
            self.bytes -= n;
            extras.gather(&mut message.attached, false)?;
            if message.len == 0 {
                self.drop_first();
            }
            if n < want || !extras.files.is_empty() {
                break;
            }
        }
        Ok(dst.done() - start)
    }
    /// As [`Inbox::read_stream`], but all stays, and the first `skip` bytes are passed over (SO_PEEK_OFF).
    pub fn peek_stream(
        &mut self,
        dst: &mut Dst<'_>,
        extras: &mut Extras,
        by_sender: bool,
        mut skip: usize,
    ) -> Result<usize, Errno> {
        let (start, mut passed_over) = (dst.done(), false);
        for message in &mut self.queue {
            let copied = dst.done() > start;
            // At a place that was reached by passing over bytes, marks do not count.
            match message.mark {
                _ if passed_over => {}
                Mark::Spent if copied && !self.urgent => break,
                Mark::Urgent if copied => break,
                Mark::Spent => continue,
                Mark::Urgent if !extras.inline => continue,
                _ => {}
            }
            if skip >= message.len {
                skip -= message.len;
                passed_over = true;
                continue;
            }
            passed_over = false;
            let creds = message.attached.as_ref().and_then(|a| a.creds);
            if dst.remaining() == 0 || by_sender && dst.done() > start && creds != extras.creds {
                break;
            }
            message.copy_out(dst, core::mem::take(&mut skip))?;
            extras.gather(&mut message.attached, true)?;
            if !extras.files.is_empty() {
                break;
            }
        }
        Ok(dst.done() - start)
    }
    /// Receives one message: what fits; the rest is lost unless `peek`, which passes over the first bytes it names (SO_PEEK_OFF). Returns the
    /// bytes copied and the length of what was not passed over.
    pub fn read_message(
        &mut self,
        dst: &mut Dst<'_>,
        extras: &mut Extras,
        peek: Option<usize>,
    ) -> Result<Option<(usize, usize)>, Errno> {
        let (mut skip, mut at) = (peek.unwrap_or(0), 0);
        while let Some(message) = self.queue.get(at).filter(|m| skip > 0 && skip >= m.len) {
            skip -= message.len;
            at += 1;
        }
        let peek = peek.is_some();
        let Some(message) = self.queue.get_mut(at) else { return Ok(None) };
        let len = message.len - skip.min(message.len);
        let copied = message.copy_out(dst, skip);
        if copied.is_ok() || !peek {
            // A receive into a bad buffer still uses the message up, as on Linux.
            extras.gather(&mut message.attached, peek)?;
        }
        if !peek {
            self.drop_first();
        }
        copied.map(|n| Some((n, len)))
    }
    fn take_first(&mut self) -> Option<Message> {
        let message = self.queue.pop_front()?;
        self.bytes -= message.len;
        self.charge -= message.charge();
        if message.mark != Mark::None {
            self.marks -= 1;
            self.urgent &= message.mark != Mark::Urgent;
        }
        Some(message)
    }
    fn drop_first(&mut self) {
        let Some(mut message) = self.take_first() else { return };
        if self.spare.is_none() {
            self.spare = message.pieces.pop().map(|p| p.frame);
        }
    }
    /// Files attached to what waits (for the collector of unreachable sockets).
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.queue.iter().flat_map(|m| m.files())
    }
    /// Takes everything out; the caller drops it without locks held.
    pub fn take_all(&mut self) -> VecDeque<Message> {
        (self.bytes, self.charge, self.marks, self.urgent) = (0, 0, 0, false);
        core::mem::take(&mut self.queue)
    }
}

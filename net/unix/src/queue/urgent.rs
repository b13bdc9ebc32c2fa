//! Out-of-band bytes of a stream (unix(7), "MSG_OOB"): one byte a connection, which stays in its place among the others.
//!
//! A receive never runs over the place of the byte that was sent last with `MSG_OOB`, whether that was received by itself or not; a second
//! such byte makes the one before an ordinary one. A receive that begins at the byte passes it by, or takes it under SO_OOBINLINE.

use super::{Attached, Extras, Inbox, Mark, Message, Piece};
use abi::Errno;
use alloc::boxed::Box;
use mm::{Dst, Src};
use smallvec::SmallVec;

impl Inbox {
    /// The byte sent last with `MSG_OOB` is neither received nor passed by.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }
    /// The next receive begins at the place of the out-of-band byte.
    pub fn at_mark(&self) -> bool {
        match self.queue.front().map(|m| m.mark) {
            Some(Mark::Urgent) => true,
            Some(Mark::Spent) => !self.urgent || self.queue.get(1).is_some_and(|m| m.mark == Mark::Urgent),
            _ => false,
        }
    }
    /// Adds one byte of `src` as the out-of-band byte.
    pub fn append_urgent(&mut self, src: &mut Src<'_>, attached: &mut Option<Box<Attached>>) -> Result<usize, Errno> {
        self.queue.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let frame = mm::frames::alloc().map_err(|_| Errno::ENOBUFS)?;
        let len = src.get_frame(&frame, 0, 1)?;
        let mut pieces = SmallVec::new();
        pieces.push(Piece { frame, off: 0, len });
        self.settle();
        self.push(Message { pieces, len, attached: attached.take(), mark: Mark::Urgent })?;
        (self.urgent, self.marks) = (true, self.marks + 1);
        Ok(len)
    }
    /// The out-of-band byte becomes an ordinary one.
    fn settle(&mut self) {
        if let Some(message) = self.queue.iter_mut().rev().find(|m| m.mark == Mark::Urgent) {
            message.mark = Mark::None;
            (self.urgent, self.marks) = (false, self.marks - 1);
        }
    }
    /// Receives the out-of-band byte by itself: EINVAL if there is none.
    pub fn read_urgent(&mut self, dst: &mut Dst<'_>, extras: &mut Extras, peek: bool) -> Result<(), Errno> {
        let place = self.queue.iter().rposition(|m| m.mark == Mark::Urgent).ok_or(Errno::EINVAL)?;
        let Some(message) = self.queue.get_mut(place) else { return Err(Errno::EINVAL) };
        let copied = message.copy_out(dst, 0);
        if !peek {
            self.bytes -= message.len;
            (message.len, message.mark) = (0, Mark::Spent);
            message.pieces.clear();
            self.urgent = false;
            // Of two places with nothing between them one is enough.
            let before = place.checked_sub(1).filter(|&i| self.queue.get(i).is_some_and(|m| m.mark == Mark::Spent));
            if let Some(message) = before.and_then(|i| self.queue.remove(i)) {
                self.charge -= message.charge();
                self.marks -= 1;
                extras.keep(message);
            }
        }
        copied.map(drop)
    }
    /// Before a receive goes on: whether it must stop here. Otherwise a mark at the front is passed by.
    pub(super) fn stops_at_mark(&mut self, copied: bool, extras: &mut Extras) -> bool {
        let mark = |inbox: &Inbox| inbox.queue.front().map_or(Mark::None, |m| m.mark);
        if mark(self) == Mark::Spent {
            if copied && !self.urgent {
                return true;
            }
            self.pass_first(extras);
        }
        if mark(self) == Mark::Urgent {
            if copied {
                return true;
            }
            match extras.inline {
                true => self.settle(),
                false => self.pass_first(extras),
            }
        }
        false
    }
    fn pass_first(&mut self, extras: &mut Extras) {
        if let Some(message) = self.take_first() {
            extras.keep(message);
        }
    }
    /// A peek finds something after the first `skip` bytes.
    pub fn can_peek(&self, mut skip: usize, inline: bool) -> bool {
        let mut passed_over = false;
        self.queue.iter().any(|m| match m.mark {
            Mark::Spent if !passed_over => false,
            Mark::Urgent if !passed_over && !inline => false,
            _ if skip >= m.len => {
                skip -= m.len;
                passed_over = true;
                false
            }
            _ => true,
        })
    }
}

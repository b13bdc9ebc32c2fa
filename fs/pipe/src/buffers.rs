//! What a pipe holds: a queue of pieces of page frames.
//!
//! Bytes are copied once into a frame and once out of it; frames that tee(2) shares
//! are queued as they are. One slot is one frame, however few bytes it holds: the capacity in bytes (F_SETPIPE_SZ) is slots
//! times the page size. A write is merged into the last frame when all of its odd bytes fit there.

use abi::Errno;
use alloc::collections::VecDeque;
use machine::PAGE_SIZE;
use machine::mem::Frame;
use mm::{Dst, Src};

/// Slots of a new pipe: 64 KiB.
pub const DEFAULT_SLOTS: usize = 16;
/// Drained frames kept for the next writes.
const SPARES: usize = 2;

/// A piece of a page in a pipe.
#[derive(Clone)]
pub struct Piece {
    /// The page.
    pub frame: Frame,
    /// First byte.
    pub off: usize,
    /// Number of bytes.
    pub len: usize,
    /// One packet (O_DIRECT): read on its own, never merged with.
    pub packet: bool,
    /// The pipe allocated the frame and nobody else sees it: later writes may append to it.
    pub own: bool,
}

/// The pieces, first one first.
pub struct Buffers {
    queue: VecDeque<Piece>,
    slots: usize,
    bytes: usize,
    spares: [Option<Frame>; SPARES],
}

impl Default for Buffers {
    fn default() -> Self {
        Buffers::new()
    }
}

impl Buffers {
    /// An empty queue of the default capacity. Allocates nothing.
    pub fn new() -> Buffers {
        Buffers { queue: VecDeque::new(), slots: DEFAULT_SLOTS, bytes: 0, spares: [const { None }; SPARES] }
    }
    /// Slots in use.
    pub fn used(&self) -> usize {
        self.queue.len()
    }
    /// Slots in all.
    pub fn slots(&self) -> usize {
        self.slots
    }
    /// Changes the number of slots; EBUSY when more are in use.
    pub fn set_slots(&mut self, slots: usize) -> Result<(), Errno> {
        if slots < self.used() {
            return Err(Errno::EBUSY);
        }
        self.slots = slots;
        self.queue.shrink_to(slots.min(DEFAULT_SLOTS));
        Ok(())
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
    /// Every slot is in use.
    pub fn is_full(&self) -> bool {
        self.used() >= self.slots
    }

    /// Moves bytes to `dst`, all there are or, when the first piece is a packet, that packet (its rest is dropped).
    pub fn read(&mut self, dst: &mut Dst<'_>) -> Result<usize, Errno> {
        let start = dst.done();
        while dst.remaining() > 0 {
            let Some(piece) = self.queue.front_mut() else { break };
            let want = piece.len.min(dst.remaining());
            let got = match dst.put_frame(&piece.frame, piece.off, want) {
                Ok(got) => got,
                Err(e) if dst.done() == start => return Err(e),
                Err(_) => break,
            };
            let packet = piece.packet;
            let gone = if packet && got == want { piece.len } else { got };
            piece.off += gone;
            piece.len -= gone;
            let drained = piece.len == 0;
            self.bytes -= gone;
            if drained {
                self.drop_first();
            }
            if got < want || packet {
                break;
            }
        }
        Ok(dst.done() - start)
    }

    /// Drops the first piece and keeps its frame when it may be written again.
    fn drop_first(&mut self) {
        let Some(piece) = self.queue.pop_front() else { return };
        self.bytes -= piece.len;
        if piece.own
            && let Some(slot) = self.spares.iter_mut().find(|s| s.is_none())
        {
            *slot = Some(piece.frame);
        }
    }

    /// Puts the odd bytes of a write into the last frame if all of them fit. Returns the bytes moved.
    pub fn merge(&mut self, src: &mut Src<'_>) -> Result<usize, Errno> {
        let odd = src.remaining() % PAGE_SIZE;
        let Some(last) = self.queue.back_mut() else { return Ok(0) };
        let end = last.off + last.len;
        if odd == 0 || !last.own || last.packet || end + odd > PAGE_SIZE {
            return Ok(0);
        }
        let got = src.get_frame(&last.frame, end, odd)?;
        last.len += got;
        self.bytes += got;
        Ok(got)
    }

    /// Fills one free slot (the caller saw that there is one). Returns the bytes moved.
    pub fn append(&mut self, src: &mut Src<'_>, packet: bool) -> Result<usize, Errno> {
        let frame = match self.spares.iter_mut().find_map(Option::take) {
            Some(frame) => frame,
            None => mm::frames::alloc().map_err(|_| Errno::ENOMEM)?,
        };
        self.reserve()?;
        let want = src.remaining().min(PAGE_SIZE);
        let len = src.get_frame(&frame, 0, want)?;
        self.bytes += len;
        self.queue.push_back(Piece { frame, off: 0, len, packet, own: true });
        Ok(len)
    }

    /// Queues a piece of somebody's page (tee). The caller saw a free slot.
    pub fn push(&mut self, piece: Piece) -> Result<(), Errno> {
        self.reserve()?;
        self.bytes += piece.len;
        self.queue.push_back(piece);
        Ok(())
    }

    /// Shares the piece at `index`: from now on nothing is appended to its frame.
    pub fn share(&mut self, index: usize) -> Option<Piece> {
        let piece = self.queue.get_mut(index)?;
        piece.own = false;
        Some(piece.clone())
    }

    /// Queues bytes before all others, whether there are slots for them or not.
    pub fn put_back(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        for chunk in bytes.rchunks(PAGE_SIZE) {
            let frame = mm::frames::alloc().map_err(|_| Errno::ENOMEM)?;
            self.reserve()?;
            let len = Src::kernel(chunk).get_frame(&frame, 0, chunk.len())?;
            self.bytes += len;
            self.queue.push_front(Piece { frame, off: 0, len, packet: false, own: true });
        }
        Ok(())
    }

    fn reserve(&mut self) -> Result<(), Errno> {
        self.queue.try_reserve(1).map_err(|_| Errno::ENOMEM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(b: &mut Buffers, bytes: &[u8], packet: bool) {
        let mut src = Src::kernel(bytes);
        if !packet {
            b.merge(&mut src).unwrap();
        }
        while src.remaining() > 0 {
            b.append(&mut src, packet).unwrap();
        }
    }

    fn read(b: &mut Buffers, len: usize) -> alloc::vec::Vec<u8> {
        let mut out = alloc::vec![0; len];
        let n = b.read(&mut Dst::kernel(&mut out)).unwrap();
        out.truncate(n);
        out
    }

    #[test]
    fn small_writes_share_a_frame() {
        let mut b = Buffers::new();
        for _ in 0..100 {
            write(&mut b, b"0123456789", false);
        }
        assert_eq!((b.used(), b.bytes()), (1, 1000));
        assert_eq!(read(&mut b, 15), b"012345678901234");
        assert_eq!(b.bytes(), 985);
        assert_eq!(read(&mut b, 5000).len(), 985);
        assert!(b.is_empty() && b.bytes() == 0);
    }

    #[test]
    fn a_write_that_does_not_fit_the_last_frame_starts_a_new_one() {
        let mut b = Buffers::new();
        write(&mut b, &[1; 4000], false);
        write(&mut b, &[2; 100], false);
        assert_eq!(b.used(), 2);
        assert_eq!(read(&mut b, 4100)[3999..4001], [1, 2]);
    }

    #[test]
    fn packets_are_read_one_by_one_and_cut() {
        let mut b = Buffers::new();
        write(&mut b, b"first", true);
        write(&mut b, b"second", true);
        assert_eq!(b.used(), 2);
        assert_eq!(read(&mut b, 3), b"fir");
        assert_eq!(read(&mut b, 99), b"second");
        assert_eq!(b.bytes(), 0);
    }

    #[test]
    fn shared_pieces_are_not_appended_to() {
        let mut b = Buffers::new();
        write(&mut b, b"abc", false);
        let twin = b.share(0).unwrap();
        write(&mut b, b"def", false);
        assert_eq!(b.used(), 2);
        let mut other = Buffers::new();
        other.push(twin).unwrap();
        assert_eq!(read(&mut other, 99), b"abc");
        assert_eq!(read(&mut b, 99), b"abcdef");
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let mut b = Buffers::new();
        write(&mut b, b"later", false);
        let long = [7; PAGE_SIZE + 1];
        b.put_back(&long).unwrap();
        assert_eq!((b.used(), b.bytes()), (3, PAGE_SIZE + 6));
        let out = read(&mut b, PAGE_SIZE + 6);
        assert_eq!((&out[..PAGE_SIZE + 1], &out[PAGE_SIZE + 1..]), (&long[..], &b"later"[..]));
    }

    #[test]
    fn slots_cannot_shrink_below_use() {
        let mut b = Buffers::new();
        write(&mut b, &[0; 3 * PAGE_SIZE], false);
        assert_eq!(b.set_slots(2), Err(Errno::EBUSY));
        assert_eq!(b.set_slots(4), Ok(()));
        assert_eq!(b.slots(), 4);
    }
}

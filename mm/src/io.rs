//! The buffer of a read ([`Dst`]) or of a write ([`Src`]): a user buffer, a list of them, or kernel bytes.
//!
//! File systems move data through these without knowing which it is, so that read, readv, sendfile and exec share one path.
//! A copy that faults half-way reports the bytes that went through; only a copy that could not move one byte is EFAULT.
//! Nothing here holds a lock: a copy may fault, and the fault may sleep.

use crate::space::Mm;
use abi::Errno;
use abi::uio::{Iov, MAX_RW_COUNT, UIO_MAXIOV};
use machine::mem::Frame;
use machine::{PAGE_SIZE, USER_MAX, VirtAddr};
use smallvec::SmallVec;

/// A vector of buffers copied in; short ones stay on the stack.
pub type IovVec = SmallVec<[Iov; 8]>;

/// The range lies in user space (it may still be unmapped).
#[inline]
pub fn access_ok(va: VirtAddr, len: usize) -> bool {
    va.0.checked_add(len as u64).is_some_and(|end| end <= USER_MAX)
}

/// Copies an `iovec` array in as readv(2) does: EINVAL for more than 1024 entries or a negative length, EFAULT for buffers
/// outside user space; the total is cut at `MAX_RW_COUNT`.
pub fn import_iov(mm: &Mm, iov: VirtAddr, count: usize) -> Result<IovVec, Errno> {
    if count > UIO_MAXIOV {
        return Err(Errno::EINVAL);
    }
    let mut list = IovVec::new();
    list.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
    list.resize(count, Iov::default());
    crate::user::UserSlice::new(iov, count).read_into(mm, &mut list)?;
    if list.iter().any(|v| v.len > i64::MAX as u64) {
        return Err(Errno::EINVAL);
    }
    let mut total = 0usize;
    for v in &mut list {
        let len = v.len as usize;
        if !access_ok(VirtAddr(v.base), len) {
            return Err(Errno::EFAULT);
        }
        v.len = len.min(MAX_RW_COUNT - total) as u64;
        total += v.len as usize;
    }
    Ok(list)
}

/// A place in a list of user buffers.
struct Cursor<'a> {
    addr: u64,
    seg: usize,
    rest: &'a [Iov],
}

impl Cursor<'_> {
    /// Runs `copy(address, offset, length) -> copied` over `len` bytes of the buffers; stops at the first short copy.
    #[inline]
    fn walk(&mut self, len: usize, mut copy: impl FnMut(VirtAddr, usize, usize) -> usize) -> usize {
        let mut done = 0;
        loop {
            let n = self.seg.min(len - done);
            if n > 0 {
                let got = copy(VirtAddr(self.addr), done, n);
                self.addr += got as u64;
                self.seg -= got;
                done += got;
                if got < n {
                    return done;
                }
            }
            if done == len {
                return done;
            }
            let Some((next, rest)) = self.rest.split_first() else { return done };
            (self.addr, self.seg, self.rest) = (next.base, next.len as usize, rest);
        }
    }
}

enum Place<'a, K> {
    User(&'a Mm, Cursor<'a>),
    Kernel(K),
}

fn total(iov: &[Iov]) -> usize {
    iov.iter().fold(0usize, |sum, v| sum.saturating_add(v.len as usize)).min(MAX_RW_COUNT)
}

/// Where a read puts its bytes.
pub struct Dst<'a> {
    place: Place<'a, &'a mut [u8]>,
    left: usize,
    done: usize,
}

/// `Ok` for progress or an empty request, EFAULT when nothing went through.
#[inline]
fn outcome(asked: usize, done: usize) -> Result<usize, Errno> {
    if done == 0 && asked != 0 { Err(Errno::EFAULT) } else { Ok(done) }
}

impl<'a> Dst<'a> {
    /// One user buffer.
    #[inline]
    pub fn user(mm: &'a Mm, addr: VirtAddr, len: usize) -> Dst<'a> {
        let left = len.min(MAX_RW_COUNT);
        Dst { place: Place::User(mm, Cursor { addr: addr.0, seg: left, rest: &[] }), left, done: 0 }
    }
    /// Several user buffers in order.
    pub fn user_iov(mm: &'a Mm, iov: &'a [Iov]) -> Dst<'a> {
        Dst { place: Place::User(mm, Cursor { addr: 0, seg: 0, rest: iov }), left: total(iov), done: 0 }
    }
    /// Kernel bytes.
    pub fn kernel(buf: &'a mut [u8]) -> Dst<'a> {
        let left = buf.len();
        Dst { place: Place::Kernel(buf), left, done: 0 }
    }
    /// Bytes that still fit.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.left
    }
    /// Bytes put so far.
    #[inline]
    pub fn done(&self) -> usize {
        self.done
    }
    /// Lets no more than `n` further bytes in.
    pub fn limit(&mut self, n: usize) {
        self.left = self.left.min(n);
    }
    #[inline]
    fn moved(&mut self, asked: usize, n: usize) -> Result<usize, Errno> {
        self.left -= n;
        self.done += n;
        outcome(asked, n)
    }
    /// Puts bytes; returns how many fit.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let len = bytes.len().min(self.left);
        let n = match &mut self.place {
            Place::User(mm, cursor) => cursor.walk(len, |va, off, n| {
                let part = bytes.get(off..off + n).unwrap_or_default();
                mm.copy_out(va, part)
            }),
            Place::Kernel(buf) => match (buf.get_mut(self.done..self.done + len), bytes.get(..len)) {
                (Some(to), Some(from)) => {
                    to.copy_from_slice(from);
                    len
                }
                _ => 0,
            },
        };
        self.moved(len, n)
    }
    /// Puts `len` bytes of a page, from `off`.
    #[inline]
    pub fn put_frame(&mut self, frame: &Frame, off: usize, len: usize) -> Result<usize, Errno> {
        let len = len.min(self.left).min(PAGE_SIZE.saturating_sub(off));
        let n = match &mut self.place {
            Place::User(mm, cursor) => cursor.walk(len, |va, at, n| mm.copy_out_frame(va, frame, off + at, n)),
            Place::Kernel(buf) => match buf.get_mut(self.done..self.done + len) {
                Some(to) => frame.read(off, to),
                None => 0,
            },
        };
        self.moved(len, n)
    }
    /// Puts `len` zero bytes.
    pub fn put_zeros(&mut self, len: usize) -> Result<usize, Errno> {
        let len = len.min(self.left);
        let n = match &mut self.place {
            Place::User(mm, cursor) => cursor.walk(len, |va, _, n| mm.zero_out(va, n)),
            Place::Kernel(buf) => match buf.get_mut(self.done..self.done + len) {
                Some(to) => {
                    to.fill(0);
                    len
                }
                None => 0,
            },
        };
        self.moved(len, n)
    }
}

/// Where a write takes its bytes from.
pub struct Src<'a> {
    place: Place<'a, &'a [u8]>,
    left: usize,
    done: usize,
}

impl<'a> Src<'a> {
    /// One user buffer.
    #[inline]
    pub fn user(mm: &'a Mm, addr: VirtAddr, len: usize) -> Src<'a> {
        let left = len.min(MAX_RW_COUNT);
        Src { place: Place::User(mm, Cursor { addr: addr.0, seg: left, rest: &[] }), left, done: 0 }
    }
    /// Several user buffers in order.
    pub fn user_iov(mm: &'a Mm, iov: &'a [Iov]) -> Src<'a> {
        Src { place: Place::User(mm, Cursor { addr: 0, seg: 0, rest: iov }), left: total(iov), done: 0 }
    }
    /// Kernel bytes.
    pub fn kernel(buf: &'a [u8]) -> Src<'a> {
        Src { place: Place::Kernel(buf), left: buf.len(), done: 0 }
    }
    /// Bytes not yet taken.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.left
    }
    /// Bytes taken so far.
    #[inline]
    pub fn done(&self) -> usize {
        self.done
    }
    /// Lets no more than `n` further bytes out.
    pub fn limit(&mut self, n: usize) {
        self.left = self.left.min(n);
    }
    #[inline]
    fn moved(&mut self, asked: usize, n: usize) -> Result<usize, Errno> {
        self.left -= n;
        self.done += n;
        outcome(asked, n)
    }
    /// Takes bytes; returns how many there were.
    #[inline]
    pub fn get(&mut self, out: &mut [u8]) -> Result<usize, Errno> {
        let len = out.len().min(self.left);
        let n = match &mut self.place {
            Place::User(mm, cursor) => cursor.walk(len, |va, off, n| {
                let part = out.get_mut(off..off + n).unwrap_or_default();
                mm.copy_in(va, part)
            }),
            Place::Kernel(buf) => match (buf.get(self.done..self.done + len), out.get_mut(..len)) {
                (Some(from), Some(to)) => {
                    to.copy_from_slice(from);
                    len
                }
                _ => 0,
            },
        };
        self.moved(len, n)
    }
    /// Takes `len` bytes into a page, at `off`.
    #[inline]
    pub fn get_frame(&mut self, frame: &Frame, off: usize, len: usize) -> Result<usize, Errno> {
        let len = len.min(self.left).min(PAGE_SIZE.saturating_sub(off));
        let n = match &mut self.place {
            Place::User(mm, cursor) => cursor.walk(len, |va, at, n| mm.copy_in_frame(va, frame, off + at, n)),
            Place::Kernel(buf) => match buf.get(self.done..self.done + len) {
                Some(from) => frame.write(off, from),
                None => 0,
            },
        };
        self.moved(len, n)
    }
}

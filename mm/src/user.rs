//! Typed user-space addresses: the only form in which system calls see pointers of a program.
//!
//! They are plain numbers until [`UserPtr::read`] and friends copy through an [`Mm`]; nothing here dereferences. Types are
//! plain old data by zerocopy's traits, so no padding of the kernel leaks out and no invalid value comes in.

use crate::space::Mm;
use abi::Errno;
use core::marker::PhantomData;
use machine::VirtAddr;
use smallvec::SmallVec;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Longest path, its NUL included (`PATH_MAX`).
pub const PATH_MAX: usize = 4096;
/// A path name copied in; usual ones stay on the stack.
pub type PathBuf = SmallVec<[u8; PATH_INLINE]>;
const PATH_INLINE: usize = 128;

/// The address of one `T` in user space.
pub struct UserPtr<T>(VirtAddr, PhantomData<fn() -> T>);

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for UserPtr<T> {}

impl<T> core::fmt::Debug for UserPtr<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.0.0)
    }
}

impl<T> UserPtr<T> {
    /// The pointer with this address.
    #[inline]
    pub const fn new(addr: VirtAddr) -> Self {
        UserPtr(addr, PhantomData)
    }
    /// Its address.
    #[inline]
    pub const fn addr(self) -> VirtAddr {
        self.0
    }
    /// It is NULL.
    #[inline]
    pub const fn is_null(self) -> bool {
        self.0.0 == 0
    }
    /// `None` for NULL: for arguments that may be left out.
    #[inline]
    pub const fn non_null(self) -> Option<Self> {
        if self.is_null() { None } else { Some(self) }
    }
    /// The same address as a pointer to another type.
    #[inline]
    pub const fn cast<U>(self) -> UserPtr<U> {
        UserPtr::new(self.0)
    }
    /// The pointer `n` elements further (wrapping: the copy then faults).
    #[inline]
    pub const fn at(self, n: usize) -> Self {
        UserPtr::new(VirtAddr(self.0.0.wrapping_add((n as u64).wrapping_mul(size_of::<T>() as u64))))
    }
    /// The pointer `bytes` further, to another type.
    #[inline]
    pub const fn byte_add<U>(self, bytes: usize) -> UserPtr<U> {
        UserPtr::new(VirtAddr(self.0.0.wrapping_add(bytes as u64)))
    }
    /// The `n` elements from here.
    #[inline]
    pub const fn slice(self, n: usize) -> UserSlice<T> {
        UserSlice { ptr: self, len: n }
    }
}

impl<T: FromBytes + IntoBytes> UserPtr<T> {
    /// Copies the value in.
    #[inline]
    pub fn read(self, mm: &Mm) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        mm.read_bytes(self.0, value.as_mut_bytes())?;
        Ok(value)
    }
}

impl<T: IntoBytes + Immutable> UserPtr<T> {
    /// Copies the value out.
    #[inline]
    pub fn write(self, mm: &Mm, value: &T) -> Result<(), Errno> {
        mm.write_bytes(self.0, value.as_bytes())
    }
    /// Copies the value out unless the pointer is NULL.
    #[inline]
    pub fn write_opt(self, mm: &Mm, value: &T) -> Result<(), Errno> {
        if self.is_null() { Ok(()) } else { self.write(mm, value) }
    }
}

/// Copies an extensible struct in (openat2(2), "Extensibility"): what the caller's `size` leaves out stays as it is in `known`;
/// bytes beyond what the kernel knows must be zero (E2BIG).
pub fn read_extensible(mm: &Mm, at: VirtAddr, size: usize, known: &mut [u8]) -> Result<(), Errno> {
    let mut checked = known.len();
    while checked < size {
        let mut chunk = [0u8; 64];
        let len = chunk.len().min(size - checked);
        let part = chunk.get_mut(..len).unwrap_or_default();
        mm.read_bytes(VirtAddr(at.0.wrapping_add(checked as u64)), part)?;
        if part.iter().any(|b| *b != 0) {
            return Err(Errno::E2BIG);
        }
        checked += len;
    }
    let len = known.len().min(size);
    mm.read_bytes(at, known.get_mut(..len).unwrap_or_default())
}

/// An array of `T` in user space.
pub struct UserSlice<T> {
    ptr: UserPtr<T>,
    len: usize,
}

impl<T> Clone for UserSlice<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for UserSlice<T> {}

impl<T> UserSlice<T> {
    /// `len` elements from `addr`.
    pub const fn new(addr: VirtAddr, len: usize) -> Self {
        UserSlice { ptr: UserPtr::new(addr), len }
    }
    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.len
    }
    /// It has none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Address of the first.
    pub const fn addr(&self) -> VirtAddr {
        self.ptr.addr()
    }
    /// The pointer to element `i` (not checked against the length).
    pub const fn at(&self, i: usize) -> UserPtr<T> {
        self.ptr.at(i)
    }
}

impl<T: FromBytes + IntoBytes> UserSlice<T> {
    /// Copies elements in, as many as both sides have.
    pub fn read_into(&self, mm: &Mm, out: &mut [T]) -> Result<(), Errno> {
        let n = out.len().min(self.len);
        mm.read_bytes(self.addr(), out.get_mut(..n).unwrap_or_default().as_mut_bytes())
    }
    /// Copies all elements into a new vector; ENOMEM when there is no memory for it.
    pub fn read_vec(&self, mm: &Mm) -> Result<alloc::vec::Vec<T>, Errno> {
        let mut v = alloc::vec::Vec::new();
        v.try_reserve_exact(self.len).map_err(|_| Errno::ENOMEM)?;
        v.resize_with(self.len, T::new_zeroed);
        mm.read_bytes(self.addr(), v.as_mut_slice().as_mut_bytes())?;
        Ok(v)
    }
}

impl<T: IntoBytes + Immutable> UserSlice<T> {
    /// Copies elements out, as many as both sides have.
    pub fn write_from(&self, mm: &Mm, from: &[T]) -> Result<(), Errno> {
        let n = from.len().min(self.len);
        mm.write_bytes(self.addr(), from.get(..n).unwrap_or_default().as_bytes())
    }
}

/// The address of a NUL-terminated string in user space.
#[derive(Clone, Copy, Debug)]
pub struct UserCStr(VirtAddr);

impl UserCStr {
    /// The string at this address.
    #[inline]
    pub const fn new(addr: VirtAddr) -> Self {
        UserCStr(addr)
    }
    /// Its address.
    pub const fn addr(self) -> VirtAddr {
        self.0
    }
    /// It is NULL.
    pub const fn is_null(self) -> bool {
        self.0.0 == 0
    }
    /// Calls `f` with a path name, without its NUL; one of usual length never leaves the stack. ENAMETOOLONG at [`PATH_MAX`] bytes,
    /// NUL included.
    #[inline]
    pub fn with_path<R>(self, mm: &Mm, f: impl FnOnce(&[u8]) -> Result<R, Errno>) -> Result<R, Errno> {
        let mut chunk = [0u8; PATH_INLINE];
        match mm.read_cstr(self.0, &mut chunk)? {
            Some(len) => f(chunk.get(..len).unwrap_or_default()),
            None => {
                let mut long = PathBuf::new();
                self.read_path(mm, &mut long)?;
                f(&long)
            }
        }
    }
    /// Copies a path name in, without its NUL. ENAMETOOLONG at [`PATH_MAX`] bytes, NUL included.
    pub fn read_path(self, mm: &Mm, out: &mut PathBuf) -> Result<(), Errno> {
        out.clear();
        let mut chunk = [0u8; PATH_INLINE];
        let mut at = self.0;
        loop {
            let room = (PATH_MAX - out.len()).min(chunk.len());
            let Some(buf) = chunk.get_mut(..room).filter(|b| !b.is_empty()) else { return Err(Errno::ENAMETOOLONG) };
            let got = mm.read_cstr(at, buf)?;
            let bytes = buf.get(..got.unwrap_or(room)).unwrap_or_default();
            out.try_reserve(bytes.len()).map_err(|_| Errno::ENOMEM)?;
            out.extend_from_slice(bytes);
            if got.is_some() {
                return Ok(());
            }
            at = VirtAddr(at.0.wrapping_add(room as u64));
        }
    }
    /// Copies the string in, without its NUL; `too_long` when it has more than `max` bytes.
    pub fn read_string(self, mm: &Mm, max: usize, too_long: Errno) -> Result<alloc::vec::Vec<u8>, Errno> {
        let mut out = alloc::vec::Vec::new();
        let mut chunk = [0u8; PATH_INLINE];
        let mut at = self.0;
        loop {
            let got = mm.read_cstr(at, &mut chunk)?;
            let n = got.unwrap_or(chunk.len());
            if out.len() + n > max {
                return Err(too_long);
            }
            out.try_reserve(n).map_err(|_| Errno::ENOMEM)?;
            out.extend_from_slice(chunk.get(..n).unwrap_or_default());
            if got.is_some() {
                return Ok(out);
            }
            at = VirtAddr(at.0.wrapping_add(chunk.len() as u64));
        }
    }
}

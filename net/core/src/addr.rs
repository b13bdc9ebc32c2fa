//! Socket addresses as user space passes them: a family number and bytes.

use abi::Errno;
use abi::socket::SOCKADDR_STORAGE;
use machine::VirtAddr;
use mm::Mm;
use mm::user::UserSlice;
use smallvec::SmallVec;

/// An address, its family first. At most 128 bytes; usual ones stay on the stack.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SockAddr(SmallVec<[u8; 32]>);

impl SockAddr {
    /// From bytes (cut at 128).
    pub fn new(bytes: &[u8]) -> SockAddr {
        SockAddr(SmallVec::from_slice(bytes.get(..SOCKADDR_STORAGE).unwrap_or(bytes)))
    }
    /// The address of a family followed by bytes.
    pub fn of(family: u16, rest: &[u8]) -> SockAddr {
        let mut addr = SmallVec::from_slice(&family.to_ne_bytes());
        addr.extend_from_slice(rest.get(..SOCKADDR_STORAGE - 2).unwrap_or(rest));
        SockAddr(addr)
    }
    /// Copies one in: EINVAL for a length that is negative or above 128.
    pub fn read(mm: &Mm, at: VirtAddr, len: i32) -> Result<SockAddr, Errno> {
        let len = usize::try_from(len).ok().filter(|&n| n <= SOCKADDR_STORAGE).ok_or(Errno::EINVAL)?;
        let mut bytes = SmallVec::from_elem(0, len);
        if len > 0 {
            UserSlice::new(at, len).read_into(mm, &mut bytes)?;
        }
        Ok(SockAddr(bytes))
    }
    /// Copies it out, cut at `room`; the caller reports [`SockAddr::len`] back.
    pub fn write(&self, mm: &Mm, at: VirtAddr, room: usize) -> Result<(), Errno> {
        let n = self.0.len().min(room);
        UserSlice::new(at, n).write_from(mm, &self.0)
    }
    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// There is not even a family.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The family; `None` when the address is too short to have one.
    pub fn family(&self) -> Option<u16> {
        Some(u16::from_ne_bytes(self.0.get(..2)?.try_into().ok()?))
    }
    /// What follows the family.
    pub fn rest(&self) -> &[u8] {
        self.0.get(2..).unwrap_or_default()
    }
}

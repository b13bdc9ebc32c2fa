//! Structures of calls that only x86 has. Source: `asm/ldt.h`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct user_desc`: a segment as modify_ldt(2) takes it.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UserDesc {
    /// Place in the table.
    pub entry_number: u32,
    /// First address.
    pub base_addr: u32,
    /// Last offset, in bytes or pages.
    pub limit: u32,
    /// The bits that the methods give, from bit 0 on.
    pub bits: u32,
}

impl UserDesc {
    fn bit(&self, n: u32) -> bool {
        self.bits >> n & 1 != 0
    }
    /// Not a 16-bit segment.
    pub fn seg_32bit(&self) -> bool {
        self.bit(0)
    }
    /// 0: data, 1: data that grows down, 2: code, 3: conforming code.
    pub fn contents(&self) -> u8 {
        (self.bits >> 1 & 3) as u8
    }
    /// Not writable; of code, not readable.
    pub fn read_exec_only(&self) -> bool {
        self.bit(3)
    }
    /// The limit counts pages.
    pub fn limit_in_pages(&self) -> bool {
        self.bit(4)
    }
    /// It cannot be loaded.
    pub fn seg_not_present(&self) -> bool {
        self.bit(5)
    }
    /// A bit for the program.
    pub fn useable(&self) -> bool {
        self.bit(6)
    }
    /// It asks for an entry to be cleared: nothing but `read_exec_only` and `seg_not_present`.
    pub fn is_empty(&self) -> bool {
        self.base_addr == 0 && self.limit == 0 && self.bits & 0x7f == 0x28
    }
}

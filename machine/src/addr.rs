//! Typed addresses and page numbers.

/// log2 of the page size.
pub const PAGE_SHIFT: usize = 12;
/// Bytes in a page.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
/// First address past what user space may map (47-bit address space less the guard page).
pub const USER_MAX: u64 = 0x7fff_ffff_f000;

/// A guest-physical byte address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PhysAddr(pub u64);

/// A virtual byte address of user space (any value: user programs choose them).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct VirtAddr(pub u64);

/// A guest-physical page number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Pfn(pub u32);

impl VirtAddr {
    /// The page number this address lies in.
    pub const fn page(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }
    /// Offset within the page.
    pub const fn offset(self) -> usize {
        (self.0 & (PAGE_SIZE as u64 - 1)) as usize
    }
    /// The address of the start of the page.
    pub const fn align_down(self) -> VirtAddr {
        VirtAddr(self.0 & !(PAGE_SIZE as u64 - 1))
    }
    /// `self + n`, or `None` on wrap-around.
    pub const fn checked_add(self, n: u64) -> Option<VirtAddr> {
        match self.0.checked_add(n) {
            Some(a) => Some(VirtAddr(a)),
            None => None,
        }
    }
}

impl Pfn {
    /// Address of the first byte of the page.
    pub const fn addr(self) -> PhysAddr {
        PhysAddr((self.0 as u64) << PAGE_SHIFT)
    }
}

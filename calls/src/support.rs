//! What several families share: extensible structs.

use abi::Errno;
use machine::VirtAddr;
use task::Cx;

/// [`mm::user::read_extensible`] from the caller's memory.
pub(crate) fn read_extensible(cx: &Cx, at: VirtAddr, size: usize, known: &mut [u8]) -> Result<(), Errno> {
    mm::user::read_extensible(cx.mm(), at, size, known)
}

//! What several families share: extensible structs.

use abi::Errno;
use machine::VirtAddr;
use task::Cx;

/// Copies an extensible struct in (openat2(2), "Extensibility"): fields the caller does not know are left as they are in
/// `known`; bytes beyond what the kernel knows must be zero (E2BIG).
pub(crate) fn read_extensible(cx: &Cx, at: VirtAddr, size: usize, known: &mut [u8]) -> Result<(), Errno> {
    let mut checked = known.len();
    while checked < size {
        let mut chunk = [0u8; 64];
        let len = chunk.len().min(size - checked);
        let part = chunk.get_mut(..len).unwrap_or_default();
        cx.mm().read_bytes(VirtAddr(at.0.wrapping_add(checked as u64)), part)?;
        if part.iter().any(|b| *b != 0) {
            return Err(Errno::E2BIG);
        }
        checked += len;
    }
    let len = known.len().min(size);
    cx.mm().read_bytes(at, known.get_mut(..len).unwrap_or_default())
}

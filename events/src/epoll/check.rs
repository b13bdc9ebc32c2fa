//! Epolls that watch epolls: no cycles, and no chains longer than Linux allows. Both matter beyond taste: an event runs up the
//! chain on one kernel stack.

use super::Epoll;
use super::ready::Ready;
use abi::Errno;
use alloc::sync::Arc;
use sched::Mutex;
use vfs::File;

/// Links a chain of epolls may have.
const MAX_LINKS: usize = 4;

/// Held while a link between epolls is made, so that two halves of a cycle cannot be made at once.
static NESTING: Mutex<()> = Mutex::new(());

/// Runs `link`, which makes `outer` watch the epoll `inner`, unless that would close a cycle or make too long a chain (ELOOP).
pub(super) fn with_no_cycle(
    outer: &Epoll,
    inner: &Arc<File>,
    link: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), Errno> {
    let _held = NESTING.lock();
    let Some(inner) = inner.ops_as::<Epoll>() else { return Err(Errno::EINVAL) };
    if links_below(outer, inner, MAX_LINKS)? + 1 + links_above(&outer.ready, MAX_LINKS) > MAX_LINKS {
        return Err(Errno::ELOOP);
    }
    link()
}

/// The longest chain that starts at `from`; ELOOP if one reaches `outer` or is longer than `most`.
fn links_below(outer: &Epoll, from: &Epoll, most: usize) -> Result<usize, Errno> {
    if core::ptr::eq(outer, from) {
        return Err(Errno::ELOOP);
    }
    let mut longest = 0;
    for item in from.items.lock().values() {
        let Some(file) = item.file() else { continue };
        let Some(next) = file.ops_as::<Epoll>() else { continue };
        let most = most.checked_sub(1).ok_or(Errno::ELOOP)?;
        longest = longest.max(1 + links_below(outer, next, most)?);
    }
    Ok(longest)
}

/// The longest chain that ends at the epoll of `ready`, cut off past `most`.
fn links_above(ready: &Ready, most: usize) -> usize {
    ready.watchers().iter().map(|above| if most == 0 { 1 } else { 1 + links_above(above, most - 1) }).max().unwrap_or(0)
}

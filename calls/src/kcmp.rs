//! kcmp(2): whether two threads share a thing. What is not the same is in some order, which tells nothing of where things lie.

use abi::Errno;
use abi::kcmp::*;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use events::epoll::Epoll;
use machine::VirtAddr;
use machine::sync::Once;
use mm::UserPtr;
use task::access::{Creds, Mode, may_access};
use task::{Cx, Task};
use vfs::File;

/// What hides addresses: an exclusive-or and an odd factor for each kind.
static COOKIES: Once<[[u64; 2]; KCMP_TYPES]> = Once::new();

/// 0 for the same thing, else 1 or 2 for its place in the order of its kind.
fn order(kind: i32, a: usize, b: usize) -> i32 {
    let cookies =
        COOKIES.get_or_init(|| core::array::from_fn(|_| [random::next_u64(), random::next_u64() | 1 << 63 | 1]));
    let [hide, factor] = cookies.get(kind as usize).copied().unwrap_or([0, 1]);
    let hidden = |v: usize| (v as u64 ^ hide).wrapping_mul(factor);
    match hidden(a).cmp(&hidden(b)) {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    }
}

fn address<T: ?Sized>(x: &Arc<T>) -> usize {
    Arc::as_ptr(x).cast::<u8>().addr()
}

fn file_of(task: &Task, fd: u64) -> Result<Arc<File>, Errno> {
    // The upper half of the word does not count.
    let fd = i32::try_from(fd as u32).map_err(|_| Errno::EBADF)?;
    task.handles().ok_or(Errno::EBADF)?.files.get_any(fd)
}

/// kcmp(2)
pub fn kcmp(cx: &mut Cx, pid1: i32, pid2: i32, kind: i32, idx1: u64, idx2: u64) -> Result<i32, Errno> {
    let (one, two) = (cx.find_task(pid1).ok_or(Errno::ESRCH)?, cx.find_task(pid2).ok_or(Errno::ESRCH)?);
    may_access(cx, &one, Mode::Read, Creds::Real)?;
    may_access(cx, &two, Mode::Read, Creds::Real)?;
    let of: fn(&Task) -> usize = match kind {
        KCMP_FILE => {
            let (a, b) = (file_of(&one, idx1), file_of(&two, idx2));
            return Ok(order(kind, address(&a?), address(&b?)));
        }
        KCMP_EPOLL_TFD => return epoll_target(cx, [&one, &two], idx1, VirtAddr(idx2)),
        // What a thread that has ended no longer has counts as one thing.
        KCMP_VM => |t| t.handles().map_or(0, |h| address(&h.mm)),
        KCMP_FILES => |t| t.handles().map_or(0, |h| address(&h.files)),
        KCMP_FS => |t| t.handles().map_or(0, |h| address(&h.fs)),
        KCMP_SIGHAND => |t| address(&t.process().sig().hand),
        // A context comes with an I/O priority, and there are none.
        KCMP_IO => |_| 0,
        KCMP_SYSVSEM => |t| t.undo_list.load(Relaxed),
        _ => return Err(Errno::EINVAL),
    };
    Ok(order(kind, of(&one), of(&two)))
}

/// A file of the first thread, and one that an epoll of the second watches.
fn epoll_target(cx: &Cx, tasks: [&Task; 2], fd: u64, slot: VirtAddr) -> Result<i32, Errno> {
    let slot = UserPtr::<EpollSlot>::new(slot).read(cx.mm())?;
    let file = file_of(tasks[0], fd)?;
    let epoll = file_of(tasks[1], slot.efd.into())?;
    let epoll = epoll.ops_as::<Epoll>().ok_or(Errno::EINVAL)?;
    let watched = epoll.watched(slot.tfd, slot.toff).ok_or(Errno::ENOENT)?;
    Ok(order(KCMP_FILE, address(&file), address(&watched)))
}

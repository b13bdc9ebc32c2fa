//! Memory of other processes named by pidfds: process_madvise(2), process_mrelease(2).

use abi::Errno;
use abi::mman::Advice;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::VirtAddr;
use mm::{Mm, VmaName};
use task::access::{Creds, Mode, may_access};
use task::{Cx, pidfd, tree};
use vfs::Cap;

/// process_madvise(2)
pub fn process_madvise(
    cx: &mut Cx,
    fd: i32,
    iov: VirtAddr,
    count: usize,
    advice: i32,
    flags: u32,
) -> Result<usize, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let ranges = mm::io::import_iov(cx.mm(), iov, count)?;
    let task = pidfd::task_of(cx, fd)?;
    let mm = task.mm().ok_or(Errno::ESRCH)?;
    may_access(cx, &task, Mode::Read, Creds::Fs).map_err(|_| Errno::EACCES)?;
    let advice = Advice::from_raw(advice).ok_or(Errno::EINVAL)?;
    if !Arc::ptr_eq(&mm, cx.mm()) {
        // Advice to others must not change what they see.
        if !matches!(advice, Advice::Cold | Advice::PageOut | Advice::WillNeed | Advice::Collapse) {
            return Err(Errno::EINVAL);
        }
        if !cx.cred().capable(Cap::SysNice) {
            return Err(Errno::EPERM);
        }
    }
    let mut done = 0;
    for range in &ranges {
        match mm.madvise(VirtAddr(range.base), range.len as usize, advice) {
            Ok(()) => done += range.len as usize,
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// process_mrelease(2): takes the private memory of a process that is about to end.
pub fn process_mrelease(cx: &mut Cx, fd: i32, flags: u32) -> Result<(), Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let task = pidfd::task_of(cx, fd)?;
    let mm = task.process().threads().iter().find_map(|t| t.mm()).ok_or(Errno::ESRCH)?;
    let lives = |p: &Arc<task::Process>| {
        let state = p.sig();
        state.group_exit.is_none() && state.threads.iter().any(|t| t.mm().is_some_and(|m| Arc::ptr_eq(&m, &mm)))
    };
    if lives(task.process()) || tree::all_processes().iter().any(lives) {
        return Err(Errno::EINVAL);
    }
    for (start, len) in private_ranges(&mm)? {
        // An area that has changed meanwhile goes with the process.
        let _ = mm.madvise(VirtAddr(start), len as usize, Advice::DontNeedLocked);
    }
    Ok(())
}

fn private_ranges(mm: &Mm) -> Result<Vec<(u64, u64)>, Errno> {
    let mut ranges = Vec::new();
    let mut fits = true;
    mm.for_each_vma(&mut |area| {
        if !area.shared && !matches!(area.name, VmaName::Special(_)) {
            fits = ranges.try_reserve(1).is_ok();
            if fits {
                ranges.push((area.start, area.end - area.start));
            }
        }
        fits
    });
    if fits { Ok(ranges) } else { Err(Errno::ENOMEM) }
}

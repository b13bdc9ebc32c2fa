//! Memory: mappings, the heap, locking, advice, other processes' memory. The work is done in `mm`; here arguments are checked
//! in Linux's order and files are looked up.

use abi::Errno;
use abi::fcntl::seal;
use abi::mman::{
    Advice, HUGE_MASK, HUGE_SHIFT, MFD_NAME_MAX, MLOCK_ONFAULT, MapFlags, MemfdFlags, MlockallFlags, MremapFlags,
    MsyncFlags, Prot,
};
use abi::personality::READ_IMPLIES_EXEC;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use machine::{PAGE_SIZE, VirtAddr};
use mm::io::access_ok;
use mm::user::{UserCStr, UserPtr};
use mm::{MapRequest, MappedFile};
use task::Cx;
use task::access::{Creds, Mode, may_access};
use vfs::cred::Cap;
use vfs::file::File;
use vfs::fileops::MmapKind;
use vfs::mapping::Mapping;

/// The kind bits of `MAP_*`.
const TYPE: u32 = 0x0f;
const PRIVATE: u32 = 2;

/// The caller's RLIMIT_MEMLOCK does not count.
fn may_lock(cx: &Cx) -> bool {
    cx.cred().capable(Cap::IpcLock)
}

/// mmap(2).
pub fn mmap(
    cx: &mut Cx,
    addr: VirtAddr,
    len: usize,
    prot: u32,
    flags: u32,
    fd: i32,
    offset: u64,
) -> Result<VirtAddr, Errno> {
    if !offset.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Errno::EINVAL);
    }
    let map_flags = MapFlags::from_bits_retain(flags);
    let mut req = MapRequest {
        addr,
        offset,
        flags: map_flags,
        may_lock: may_lock(cx),
        may_map_low: cx.cred().capable(Cap::SysRawio),
        ..MapRequest::anonymous(len, Prot::from_bits_truncate(prot))
    };
    let read_is_exec = cx.task.personality.load(Relaxed) & READ_IMPLIES_EXEC != 0;
    let huge = map_flags.intersects(MapFlags::HUGETLB);
    if !map_flags.intersects(MapFlags::ANONYMOUS) {
        let file = cx.files().get(fd)?;
        if huge {
            return Err(Errno::EINVAL);
        }
        if read_is_exec && req.prot.contains(Prot::READ) && !file.path().mnt.is_noexec() {
            req.prot |= Prot::EXEC;
        }
        add_file(&mut req, &file);
    } else if huge {
        return Err(no_huge_pages(flags));
    } else if read_is_exec && req.prot.contains(Prot::READ) {
        req.prot |= Prot::EXEC;
    }
    cx.mm().mmap(req)
}

/// No huge page is ever reserved here: ENOMEM for a size that exists, EINVAL for one that does not.
fn no_huge_pages(flags: u32) -> Errno {
    match flags >> HUGE_SHIFT & HUGE_MASK {
        0 | 21 | 30 => Errno::ENOMEM,
        _ => Errno::EINVAL,
    }
}

/// Says in the request which file is mapped, what its opener may do, or why it cannot be mapped.
fn add_file(req: &mut MapRequest, file: &Arc<File>) {
    let private = req.flags.bits() & TYPE == PRIVATE;
    let noexec = file.path().mnt.is_noexec();
    // A shared mapping of what is sealed is for reading only, for good.
    let sealed = !private && file.inode().seals().is_ok_and(|seals| seals & (seal::WRITE | seal::FUTURE_WRITE) != 0);
    let refused = if !private && req.prot.contains(Prot::WRITE) && !file.is_writable() || !file.is_readable() {
        Some(Errno::EACCES)
    } else if sealed && req.prot.contains(Prot::WRITE) || noexec && req.prot.contains(Prot::EXEC) {
        Some(Errno::EPERM)
    } else {
        None
    };
    req.max_prot.set(Prot::EXEC, !noexec);
    req.max_prot.set(Prot::WRITE, private || file.is_writable() && !sealed);
    match refused.map_or_else(|| file.ops().mmap(file), Err) {
        Ok(MmapKind::Cache) => match Mapping::new(file) {
            Ok(mapping) => req.file = Some(mapping as Arc<dyn MappedFile>),
            Err(e) => req.refused = Some(e),
        },
        Ok(MmapKind::Anonymous) if private => req.zeroes = Some(Mapping::of_zeroes(file) as Arc<dyn MappedFile>),
        Ok(MmapKind::Anonymous) => {}
        Err(e) => req.refused = Some(e),
    }
}

/// munmap(2).
pub fn munmap(cx: &mut Cx, addr: VirtAddr, len: usize) -> Result<(), Errno> {
    cx.mm().munmap(addr, len)
}

/// mprotect(2).
pub fn mprotect(cx: &mut Cx, addr: VirtAddr, len: usize, prot: u64) -> Result<(), Errno> {
    let read_is_exec = cx.task.personality.load(Relaxed) & READ_IMPLIES_EXEC != 0;
    // Bits above 32 are as unknown as bit 31.
    let prot = u32::try_from(prot).unwrap_or(1 << 31);
    cx.mm().mprotect(addr, len, Prot::from_bits_retain(prot), read_is_exec)
}

/// mremap(2).
pub fn mremap(
    cx: &mut Cx,
    old: VirtAddr,
    old_len: usize,
    new_len: usize,
    flags: u32,
    new: VirtAddr,
) -> Result<VirtAddr, Errno> {
    let flags = MremapFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    cx.mm().mremap(old, old_len, new_len, flags, new, may_lock(cx))
}

/// madvise(2).
pub fn madvise(cx: &mut Cx, addr: VirtAddr, len: usize, advice: i32) -> Result<(), Errno> {
    let advice = Advice::from_raw(advice).ok_or(Errno::EINVAL)?;
    cx.mm().madvise(addr, len, advice)
}

/// brk(2): always succeeds, the result says what happened.
pub fn brk(cx: &mut Cx, to: VirtAddr) -> Result<VirtAddr, Errno> {
    Ok(cx.mm().brk(to))
}

/// msync(2).
pub fn msync(cx: &mut Cx, addr: VirtAddr, len: usize, flags: u32) -> Result<(), Errno> {
    let flags = MsyncFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    cx.mm().msync(addr, len, flags)
}

/// mincore(2).
pub fn mincore(cx: &mut Cx, addr: VirtAddr, len: usize, vec: UserPtr<u8>) -> Result<(), Errno> {
    if addr.offset() != 0 {
        return Err(Errno::EINVAL);
    }
    if !access_ok(addr, len) {
        return Err(Errno::ENOMEM);
    }
    if !access_ok(vec.addr(), len.div_ceil(PAGE_SIZE)) {
        return Err(Errno::EFAULT);
    }
    let mm = cx.mm();
    let mut done = 0;
    mm.mincore(addr, len, &mut |bytes| {
        mm.write_bytes(vec.at(done).addr(), bytes)?;
        done += bytes.len();
        Ok(())
    })
}

/// mlock(2).
pub fn mlock(cx: &mut Cx, addr: VirtAddr, len: usize) -> Result<(), Errno> {
    cx.mm().mlock(addr, len, false, may_lock(cx))
}

/// mlock2(2).
pub fn mlock2(cx: &mut Cx, addr: VirtAddr, len: usize, flags: u32) -> Result<(), Errno> {
    if flags & !MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    cx.mm().mlock(addr, len, flags & MLOCK_ONFAULT != 0, may_lock(cx))
}

/// munlock(2).
pub fn munlock(cx: &mut Cx, addr: VirtAddr, len: usize) -> Result<(), Errno> {
    cx.mm().munlock(addr, len)
}

/// mlockall(2).
pub fn mlockall(cx: &mut Cx, flags: u32) -> Result<(), Errno> {
    let flags = MlockallFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if flags.is_empty() || flags == MlockallFlags::ONFAULT {
        return Err(Errno::EINVAL);
    }
    cx.mm().mlockall(flags, may_lock(cx))
}

/// munlockall(2).
pub fn munlockall(cx: &mut Cx) -> Result<(), Errno> {
    cx.mm().munlockall();
    Ok(())
}

/// memfd_create(2).
pub fn memfd_create(cx: &mut Cx, name: UserCStr, flags: u32) -> Result<i32, Errno> {
    let huge = flags & MemfdFlags::HUGETLB.bits() != 0;
    let known = MemfdFlags::all().bits() | if huge { HUGE_MASK << HUGE_SHIFT } else { 0 };
    let bits = MemfdFlags::from_bits_truncate(flags);
    if flags & !known != 0 || bits.contains(MemfdFlags::EXEC | MemfdFlags::NOEXEC_SEAL) {
        return Err(Errno::EINVAL);
    }
    let name = name.read_string(cx.mm(), MFD_NAME_MAX, Errno::EINVAL)?;
    if huge {
        // As a kernel built without hugetlbfs.
        return Err(Errno::ENOSYS);
    }
    let noexec = bits.contains(MemfdFlags::NOEXEC_SEAL);
    let kind = tmpfs::MemfdKind { sealable: noexec || bits.contains(MemfdFlags::ALLOW_SEALING), noexec };
    let file = tmpfs::memfd(&name, kind, cx.cred())?;
    cx.install(file, bits.contains(MemfdFlags::CLOEXEC))
}

/// process_vm_readv(2).
pub fn process_vm_readv(
    cx: &mut Cx,
    pid: i32,
    local: VirtAddr,
    local_count: usize,
    remote: VirtAddr,
    remote_count: usize,
    flags: u64,
) -> Result<usize, Errno> {
    transfer(cx, pid, (local, local_count), (remote, remote_count), flags, false)
}

/// process_vm_writev(2).
pub fn process_vm_writev(
    cx: &mut Cx,
    pid: i32,
    local: VirtAddr,
    local_count: usize,
    remote: VirtAddr,
    remote_count: usize,
    flags: u64,
) -> Result<usize, Errno> {
    transfer(cx, pid, (local, local_count), (remote, remote_count), flags, true)
}

/// Moves bytes between the caller's buffers and another process's. What was moved before a bad address counts.
fn transfer(
    cx: &Cx,
    pid: i32,
    local: (VirtAddr, usize),
    remote: (VirtAddr, usize),
    flags: u64,
    to_remote: bool,
) -> Result<usize, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let mine = mm::io::import_iov(cx.mm(), local.0, local.1)?;
    let theirs = mm::io::import_iov(cx.mm(), remote.0, remote.1)?;
    if mine.iter().all(|v| v.len == 0) || theirs.iter().all(|v| v.len == 0) {
        return Ok(0);
    }
    let target = cx.find_task(pid).ok_or(Errno::ESRCH)?;
    let other = target.mm().ok_or(Errno::ESRCH)?;
    may_access(cx, &target, Mode::Attach, Creds::Real)?;
    let (mut src, mut dst) = if to_remote {
        (mm::Src::user_iov(cx.mm(), &mine), mm::Dst::user_iov(&other, &theirs))
    } else {
        (mm::Src::user_iov(&other, &theirs), mm::Dst::user_iov(cx.mm(), &mine))
    };
    let mut chunk = Vec::new();
    chunk.try_reserve_exact(PAGE_SIZE).map_err(|_| Errno::ENOMEM)?;
    chunk.resize(PAGE_SIZE, 0);
    while src.remaining().min(dst.remaining()) > 0 {
        let want = src.remaining().min(dst.remaining()).min(PAGE_SIZE);
        let got = src.get(chunk.get_mut(..want).unwrap_or_default());
        let put = got.and_then(|n| dst.put(chunk.get(..n).unwrap_or_default()));
        match put {
            Ok(n) if n == want => {}
            Err(e) if dst.done() == 0 => return Err(e),
            _ => break,
        }
    }
    Ok(dst.done())
}

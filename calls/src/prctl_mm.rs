//! The part of prctl(2) that is about the address space: PR_SET_MM, PR_SET_VMA, PR_SET_MDWE, PR_GET_AUXV. Source: `kernel/sys.c` for the order of checks.

use abi::Errno;
use abi::prctl::*;
use abi::resource::Resource;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::{USER_MAX, VirtAddr};
use mm::space::Layout;
use mm::{MappedFile, UserCStr, UserPtr};
use task::{Cx, exec};
use vfs::{Cap, FileType, Mapping, may};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `vm.mmap_min_addr`.
const MIN_ADDR: u64 = 65_536;
/// Bytes an auxiliary vector may have.
const AUXV_SIZE: usize = 56 * 8;
/// "No file" in `PrctlMmMap::exe_fd`.
const NO_FILE: u32 = u32::MAX;

/// `struct prctl_mm_map`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PrctlMmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

impl PrctlMmMap {
    fn layout(&self) -> Layout {
        Layout {
            start_code: self.start_code,
            end_code: self.end_code,
            start_data: self.start_data,
            end_data: self.end_data,
            start_brk: self.start_brk,
            brk: self.brk,
            start_stack: self.start_stack,
            arg_start: self.arg_start,
            arg_end: self.arg_end,
            env_start: self.env_start,
            env_end: self.env_end,
        }
    }
}

/// PR_SET_MM
pub fn set_mm(cx: &mut Cx, what: u64, addr: u64, a4: u64, a5: u64) -> Result<i64, Errno> {
    let sized = matches!(what, PR_SET_MM_AUXV | PR_SET_MM_MAP | PR_SET_MM_MAP_SIZE);
    if a5 != 0 || a4 != 0 && !sized {
        return Err(Errno::EINVAL);
    }
    match what {
        PR_SET_MM_MAP_SIZE => {
            UserPtr::new(VirtAddr(addr)).write(cx.mm(), &(size_of::<PrctlMmMap>() as u32))?;
            return Ok(0);
        }
        PR_SET_MM_MAP => return set_map(cx, addr, a4),
        _ if !cx.cred().capable(Cap::SysResource) => return Err(Errno::EPERM),
        PR_SET_MM_EXE_FILE => return set_exe_file(cx, addr as u32),
        PR_SET_MM_AUXV => {
            let auxv = read_auxv(cx, addr, a4)?;
            cx.process().set_auxv(auxv);
            return Ok(0);
        }
        _ => {}
    }
    if !(MIN_ADDR..USER_MAX).contains(&addr) {
        return Err(Errno::EINVAL);
    }
    let mut new = cx.mm().layout();
    let field = match what {
        PR_SET_MM_START_CODE => &mut new.start_code,
        PR_SET_MM_END_CODE => &mut new.end_code,
        PR_SET_MM_START_DATA => &mut new.start_data,
        PR_SET_MM_END_DATA => &mut new.end_data,
        PR_SET_MM_START_STACK => &mut new.start_stack,
        PR_SET_MM_START_BRK => &mut new.start_brk,
        PR_SET_MM_BRK => &mut new.brk,
        PR_SET_MM_ARG_START => &mut new.arg_start,
        PR_SET_MM_ARG_END => &mut new.arg_end,
        PR_SET_MM_ENV_START => &mut new.env_start,
        PR_SET_MM_ENV_END => &mut new.env_end,
        _ => return Err(Errno::EINVAL),
    };
    *field = addr;
    check(cx, &new)?;
    let in_stack = matches!(
        what,
        PR_SET_MM_START_STACK | PR_SET_MM_ARG_START | PR_SET_MM_ARG_END | PR_SET_MM_ENV_START | PR_SET_MM_ENV_END
    );
    if in_stack && !cx.mm().any_area_from(addr) {
        return Err(Errno::EFAULT);
    }
    cx.mm().set_layout(|l| *l = new);
    Ok(0)
}

/// Everything lies in user space, pairs are in order, RLIMIT_DATA holds.
fn check(cx: &Cx, l: &Layout) -> Result<(), Errno> {
    let all = [
        l.start_code,
        l.end_code,
        l.start_data,
        l.end_data,
        l.start_brk,
        l.brk,
        l.start_stack,
        l.arg_start,
        l.arg_end,
        l.env_start,
        l.env_end,
    ];
    let ordered = l.start_code < l.end_code
        && l.start_data <= l.end_data
        && l.start_brk <= l.brk
        && l.arg_start <= l.arg_end
        && l.env_start <= l.env_end;
    if !ordered || !all.iter().all(|a| (MIN_ADDR..USER_MAX).contains(a)) {
        return Err(Errno::EINVAL);
    }
    let data = (l.brk - l.start_brk).saturating_add(l.end_data - l.start_data);
    if data > cx.process().limits.soft(Resource::Data) { Err(Errno::EINVAL) } else { Ok(()) }
}

/// PR_SET_MM_MAP: all at once, for whoever restores a process.
fn set_map(cx: &mut Cx, addr: u64, size: u64) -> Result<i64, Errno> {
    if size != size_of::<PrctlMmMap>() as u64 {
        return Err(Errno::EINVAL);
    }
    let map: PrctlMmMap = UserPtr::new(VirtAddr(addr)).read(cx.mm())?;
    let new = map.layout();
    check(cx, &new)?;
    let mut auxv = None;
    if map.auxv_size != 0 {
        if map.auxv == 0 {
            return Err(Errno::EINVAL);
        }
        auxv = Some(read_auxv(cx, map.auxv, map.auxv_size.into())?);
    }
    if map.exe_fd != NO_FILE {
        let cred = cx.cred();
        if !cred.capable_here(Cap::CheckpointRestore) && !cred.capable_here(Cap::SysAdmin) {
            return Err(Errno::EPERM);
        }
        set_exe_file(cx, map.exe_fd)?;
    }
    cx.mm().set_layout(|l| *l = new);
    if let Some(auxv) = auxv {
        cx.process().set_auxv(auxv);
    }
    Ok(0)
}

/// Reads an auxiliary vector; the last entry is always the end.
fn read_auxv(cx: &Cx, addr: u64, len: u64) -> Result<Arc<[u8]>, Errno> {
    let len = usize::try_from(len).ok().filter(|n| *n <= AUXV_SIZE).ok_or(Errno::EINVAL)?;
    let mut bytes = [0; AUXV_SIZE];
    let (head, _) = bytes.split_at_mut_checked(len).ok_or(Errno::EINVAL)?;
    cx.mm().read_bytes(VirtAddr(addr), head)?;
    if let Some(end) = bytes.last_chunk_mut::<16>() {
        *end = [0; 16];
    }
    // What /proc shows ends with the first AT_NULL.
    let pairs = bytes.chunks_exact(16).take_while(|pair| pair.iter().take(8).any(|b| *b != 0)).count();
    Ok(bytes.get(..16 * (pairs + 1)).unwrap_or(&bytes).into())
}

/// Changes what `/proc/PID/exe` shows. The old file must not be mapped any more.
fn set_exe_file(cx: &mut Cx, fd: u32) -> Result<i64, Errno> {
    let file = cx.files().get_any(fd as i32)?;
    let inode = file.inode();
    if inode.kind() != FileType::Regular || file.path().mnt.is_noexec() {
        return Err(Errno::EACCES);
    }
    inode.check(cx.cred(), may::EXEC)?;
    if let Some(old) = cx.process().exe() {
        let mut mapped = false;
        cx.mm().for_each_vma(&mut |area| {
            let file = match area.name {
                mm::VmaName::File(file) => (&**file as &dyn MappedFile).as_any().downcast_ref::<Mapping>(),
                _ => None,
            };
            mapped = file.is_some_and(|m| m.file().path() == old.path());
            !mapped
        });
        if mapped {
            return Err(Errno::EBUSY);
        }
    }
    exec::set_exe(cx, &file)?;
    Ok(0)
}

/// PR_GET_AUXV: gives the size there could be, whatever is copied.
pub fn get_auxv(cx: &Cx, to: u64, len: u64) -> Result<i64, Errno> {
    let mut all = Vec::new();
    all.try_reserve_exact(AUXV_SIZE).map_err(|_| Errno::ENOMEM)?;
    all.extend_from_slice(&cx.process().auxv());
    all.resize(AUXV_SIZE, 0);
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(AUXV_SIZE);
    cx.mm().write_bytes(VirtAddr(to), all.get(..len).unwrap_or_default())?;
    Ok(AUXV_SIZE as i64)
}

/// PR_SET_VMA
pub fn set_vma(cx: &Cx, what: u64, addr: u64, len: u64, name: u64) -> Result<i64, Errno> {
    /// Bytes of a name with its NUL.
    const NAME_SIZE: usize = 80;
    if what != PR_SET_VMA_ANON_NAME {
        return Err(Errno::EINVAL);
    }
    let mut label = None;
    if name != 0 {
        let name = UserCStr::new(VirtAddr(name)).read_string(cx.mm(), NAME_SIZE - 1, Errno::EINVAL)?;
        // What would confuse readers of the listing.
        let bad = |c: &u8| !(b' '..=b'~').contains(c) || b"\\`$[]".contains(c);
        if name.iter().any(bad) {
            return Err(Errno::EINVAL);
        }
        label = Some(name.into_boxed_slice());
    }
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    cx.mm().label(VirtAddr(addr), len, label)?;
    Ok(0)
}

/// PR_SET_MDWE: from now on nothing becomes executable that was not mapped so, and nothing is both writable and executable.
pub fn set_mdwe(cx: &Cx, bits: u64) -> Result<i64, Errno> {
    const BOTH: u64 = PR_MDWE_REFUSE_EXEC_GAIN | PR_MDWE_NO_INHERIT;
    if bits & !BOTH != 0 || bits & BOTH == PR_MDWE_NO_INHERIT {
        return Err(Errno::EINVAL);
    }
    cx.mm().refuse_exec_gain(bits & PR_MDWE_REFUSE_EXEC_GAIN != 0, bits & PR_MDWE_NO_INHERIT != 0)?;
    Ok(0)
}

/// PR_GET_MDWE
pub fn get_mdwe(cx: &Cx) -> i64 {
    let (refuses, private) = cx.mm().refuses_exec_gain();
    let bits = if refuses { PR_MDWE_REFUSE_EXEC_GAIN } else { 0 } | if private { PR_MDWE_NO_INHERIT } else { 0 };
    bits as i64
}

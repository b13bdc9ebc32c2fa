//! Running programs: execve(2), execveat(2).

use abi::Errno;
use abi::fcntl::AT_FDCWD;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::VirtAddr;
use mm::{PathBuf, UserCStr, UserPtr};
use task::Cx;
use task::exec::stack::{MAX_ARG_STRLEN, Strings};
use task::exec::{self, Program};
use vfs::{File, Start};

const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
const AT_EMPTY_PATH: u32 = 0x1000;
/// Only ask whether the file could be executed.
const AT_EXECVE_CHECK: u32 = 0x1_0000;

/// execve(2)
pub fn execve(cx: &mut Cx, path: UserCStr, argv: VirtAddr, envp: VirtAddr) -> Result<i64, Errno> {
    execveat(cx, AT_FDCWD, path, argv, envp, 0)
}

/// execveat(2)
pub fn execveat(
    cx: &mut Cx,
    dirfd: i32,
    path: UserCStr,
    argv: VirtAddr,
    envp: VirtAddr,
    flags: u32,
) -> Result<i64, Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_EXECVE_CHECK) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut name = PathBuf::new();
    path.read_path(cx.mm(), &mut name)?;
    if name.is_empty() && flags & AT_EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    let (file, shown, unreachable) = find(cx, dirfd, &name, flags & AT_SYMLINK_NOFOLLOW == 0)?;
    if flags & AT_EXECVE_CHECK != 0 {
        return Ok(0);
    }
    let limit = cx.process().limits.soft(abi::resource::Resource::Stack);
    let mut budget = exec::stack::size_limit(limit).saturating_sub(shown.len() as u64);
    let mut args = read_strings(cx, argv, &mut budget)?;
    if args.is_empty() {
        // A program may rely on having a name.
        args.push(b"")?;
    }
    let env = read_strings(cx, envp, &mut budget)?;
    exec::execve(cx, Program { file, name: shown, argv: args, envp: env, unreachable })?;
    Ok(0)
}

/// The file, its name as the program will see it, and whether that name ends with the exec.
fn find(cx: &Cx, dirfd: i32, name: &[u8], follow: bool) -> Result<(Arc<File>, Vec<u8>, bool), Errno> {
    let dirs = cx.fs().dirs();
    let caller = cx.caller();
    if dirfd == AT_FDCWD || name.starts_with(b"/") {
        if name.is_empty() {
            // The working directory itself.
            return Err(Errno::EACCES);
        }
        let start = Start::new(&dirs.root, &dirs.cwd, cx.cred());
        return Ok((exec::open_exec(&start, name, follow, &caller)?, name.to_vec(), false));
    }
    let base = cx.files().get_any(dirfd)?;
    let mut shown = alloc::format!("/dev/fd/{dirfd}").into_bytes();
    let unreachable = cx.files().cloexec(dirfd)?;
    if name.is_empty() {
        return Ok((exec::open_found(base.path(), &caller)?, shown, unreachable));
    }
    if !base.path().inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let start = Start::new(&dirs.root, base.path(), cx.cred());
    let file = exec::open_exec(&start, name, follow, &caller)?;
    shown.push(b'/');
    shown.extend_from_slice(name);
    Ok((file, shown, unreachable))
}

/// Copies a null-terminated array of strings in; NULL stands for an empty one.
fn read_strings(cx: &Cx, array: VirtAddr, budget: &mut u64) -> Result<Strings, Errno> {
    let mut all = Strings::default();
    if array.0 == 0 {
        return Ok(all);
    }
    for i in 0.. {
        let at = UserPtr::<u64>::new(array).at(i).read(cx.mm())?;
        if at == 0 {
            break;
        }
        read_string(cx, VirtAddr(at), budget, &mut all)?;
    }
    Ok(all)
}

fn read_string(cx: &Cx, at: VirtAddr, budget: &mut u64, into: &mut Strings) -> Result<(), Errno> {
    let s = UserCStr::new(at).read_string(cx.mm(), MAX_ARG_STRLEN - 1, Errno::E2BIG)?;
    // The string, its NUL and its pointer.
    *budget = budget.checked_sub(s.len() as u64 + 9).ok_or(Errno::E2BIG)?;
    into.push(&s)
}

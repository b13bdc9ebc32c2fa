//! Running programs: execve(2), execveat(2).

use abi::Errno;
use abi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use abi::resource::Resource;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::{PAGE_SIZE, VirtAddr};
use mm::{PathBuf, UserCStr, UserPtr};
use smallvec::SmallVec;
use task::Cx;
use task::exec::stack::{MAX_ARG_STRLEN, Strings};
use task::exec::{self, Program};
use vfs::{File, Start};

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
    // setuid(2) let the process have more threads than its new user may: it cannot become another program.
    cx.check_exec_count()?;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_EXECVE_CHECK) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut name = PathBuf::new();
    path.read_path(cx.mm(), &mut name)?;
    if name.is_empty() && flags & AT_EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    let (file, shown, unreachable) = find(cx, dirfd, &name, flags & AT_SYMLINK_NOFOLLOW == 0)?;
    let by_descriptor = name.is_empty();
    let (args, env) = read_arguments(cx, argv, envp, shown.len() + 1)?;
    if flags & AT_EXECVE_CHECK != 0 {
        return Ok(0);
    }
    exec::execve(cx, Program { file, name: shown, argv: args, envp: env, by_descriptor, unreachable })?;
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

/// Copies arguments and environment in. They and the program's name, `name` bytes, must fit the limit (execve(2), "Limits on size of arguments").
fn read_arguments(cx: &Cx, argv: VirtAddr, envp: VirtAddr, name: usize) -> Result<(Strings, Strings), Errno> {
    let stack = cx.process().limits.soft(Resource::Stack);
    let limit = exec::stack::size_limit(stack);
    let most = (limit / 8) as usize;
    let argv = read_pointers(cx, argv, most)?;
    let envp = read_pointers(cx, envp, most)?;
    let pointers = (argv.len().max(1) + envp.len()) as u64 * 8;
    if limit <= pointers {
        return Err(Errno::E2BIG);
    }
    // The strings come to lie on the stack, which has its first page whatever its limit.
    let room = (stack & !(PAGE_SIZE as u64 - 1)).max(PAGE_SIZE as u64) - 8;
    let mut budget = room.min(limit - pointers).checked_sub(name as u64).ok_or(Errno::E2BIG)?;
    let env = read_strings(cx, &envp, &mut budget)?;
    let mut args = read_strings(cx, &argv, &mut budget)?;
    if args.is_empty() {
        // A program may rely on having a name.
        args.push(b"")?;
    }
    Ok((args, env))
}

/// Reads a null-terminated array of at most `most` pointers; NULL stands for an empty one.
fn read_pointers(cx: &Cx, array: VirtAddr, most: usize) -> Result<SmallVec<[u64; 32]>, Errno> {
    let mut all = SmallVec::new();
    if array.0 == 0 {
        return Ok(all);
    }
    for i in 0.. {
        let at = UserPtr::<u64>::new(array).at(i).read(cx.mm())?;
        if at == 0 {
            break;
        }
        if i == most {
            return Err(Errno::E2BIG);
        }
        all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        all.push(at);
    }
    Ok(all)
}

fn read_strings(cx: &Cx, pointers: &[u64], budget: &mut u64) -> Result<Strings, Errno> {
    let mut all = Strings::default();
    for at in pointers {
        let s = UserCStr::new(VirtAddr(*at)).read_string(cx.mm(), MAX_ARG_STRLEN - 1, Errno::E2BIG)?;
        *budget = budget.checked_sub(s.len() as u64 + 1).ok_or(Errno::E2BIG)?;
        all.push(&s)?;
    }
    Ok(all)
}

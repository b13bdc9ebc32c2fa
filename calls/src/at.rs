//! What the calls that take paths share: copying the path in, and where a walk starts (openat(2), "The `*at` calls").

use abi::Errno;
use abi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, ResolveFlags};
use mm::user::UserCStr;
use task::Cx;
use vfs::{Path, Start, walk};

/// Copies `path` in and calls `f` with where its walk starts.
#[inline]
pub fn with_path<R>(
    cx: &Cx,
    dirfd: i32,
    path: UserCStr,
    f: impl FnOnce(&Start<'_>, &[u8]) -> Result<R, Errno>,
) -> Result<R, Errno> {
    path.with_path(cx.mm(), |text| with_text(cx, dirfd, text, ResolveFlags::empty(), f))
}

/// The same for a path already copied in, with limits on its resolution.
#[inline]
pub fn with_text<R>(
    cx: &Cx,
    dirfd: i32,
    text: &[u8],
    resolve: ResolveFlags,
    f: impl FnOnce(&Start<'_>, &[u8]) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let first = *text.first().ok_or(Errno::ENOENT)?;
    let dirs = cx.fs().dirs();
    let beneath = resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT);
    if dirfd == AT_FDCWD || first == b'/' && !beneath {
        return f(&Start { root: &dirs.root, base: &dirs.cwd, cred: cx.cred(), resolve }, text);
    }
    let dir = cx.files().get_any(dirfd)?;
    f(&Start { root: &dirs.root, base: dir.path(), cred: cx.cred(), resolve }, text)
}

/// Looks a path up for a call that acts on what it finds. With `AT_EMPTY_PATH` in `flags` the empty path is the descriptor itself.
#[inline]
pub fn lookup(cx: &Cx, dirfd: i32, path: UserCStr, flags: u32, follow: bool) -> Result<Path, Errno> {
    path.with_path(cx.mm(), |text| {
        if text.is_empty() && flags & AT_EMPTY_PATH != 0 {
            return place_of(cx, dirfd);
        }
        with_text(cx, dirfd, text, ResolveFlags::empty(), |start, text| walk::lookup(start, text, follow))
    })
}

/// The place behind a descriptor, `O_PATH` included, or the working directory.
pub fn place_of(cx: &Cx, fd: i32) -> Result<Path, Errno> {
    if fd == AT_FDCWD {
        return Ok(cx.fs().dirs().cwd.clone());
    }
    Ok(cx.files().get_any(fd)?.path().clone())
}

//! The root file system of the command.
//!
//! A 9p export of the host, read-only, below a RAM overlay; then the kernel's own file systems
//! inside it; then the process moves there. Working directories live in `/.ochre` of the
//! initramfs, which the command never sees.

use crate::Failure;
use crate::params::{Params, Share};
use crate::sys::{self, Errno, MS_MOVE, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY};
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use core::ffi::CStr;

/// Mount options common to every 9p export. `access=any`: the host decides by its own rights.
const P9: &str = "trans=virtio,version=9p2000.L,msize=512000,access=any,dfltuid=0,dfltgid=0";

/// What is needed to find devices; failures show later, where the device is missing.
pub fn early() {
    for dir in [c"/proc", c"/sys", c"/dev"] {
        let _ = sys::mkdir(dir, 0o755);
    }
    let _ = sys::mount(c"proc", c"/proc", c"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, c"");
    let _ = sys::mount(c"sysfs", c"/sys", c"sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, c"");
    let _ = sys::mount(c"devtmpfs", c"/dev", c"devtmpfs", MS_NOSUID, c"mode=0755");
}

/// Builds the root the parameters ask for and makes it the root of this process.
pub fn root(params: &Params) -> Result<(), Failure> {
    if let Some(tag) = &params.root {
        overlay(tag)?;
        enter()?;
        kernel_mounts()?;
    } else {
        private_devices()?;
    }
    for share in &params.shares {
        mount_share(share)?;
    }
    if !params.hostname.is_empty() {
        sys::set_hostname(params.hostname.to_bytes()).map_err(|e| Failure::new("sethostname", e))?;
    }
    sys::loopback_up();
    Ok(())
}

fn overlay(tag: &CStr) -> Result<(), Failure> {
    make_dirs(&[c"/.ochre", c"/.ochre/lower", c"/.ochre/rw", c"/.ochre/root"])?;
    let options = c_string(&format!("{P9},cache=loose"))?;
    attempt("mounting the host's root (9p)", || sys::mount(tag, c"/.ochre/lower", c"9p", MS_RDONLY, &options))?;
    attempt("mounting tmpfs", || sys::mount(c"tmpfs", c"/.ochre/rw", c"tmpfs", 0, c"mode=0755"))?;
    make_dirs(&[c"/.ochre/rw/upper", c"/.ochre/rw/work"])?;
    let layers = c"lowerdir=/.ochre/lower,upperdir=/.ochre/rw/upper,workdir=/.ochre/rw/work";
    attempt("mounting the overlay", || sys::mount(c"overlay", c"/.ochre/root", c"overlay", 0, layers))
}

/// Moves the new root over `/`, as switch_root(8) does.
fn enter() -> Result<(), Failure> {
    attempt("entering the new root", || {
        sys::chdir(c"/.ochre/root")?;
        sys::mount(c".", c"/", c"", MS_MOVE, c"")?;
        sys::chroot(c".")?;
        sys::chdir(c"/")
    })
}

/// The kernel's own file systems inside a root that came from the host.
fn kernel_mounts() -> Result<(), Failure> {
    let quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    mount_on(c"proc", c"/proc", quiet, c"")?;
    optional(mount_on(c"sysfs", c"/sys", quiet, c""));
    mount_on(c"devtmpfs", c"/dev", MS_NOSUID, c"mode=0755")?;
    private_devices()?;
    mount_on(c"tmpfs", c"/run", MS_NOSUID | MS_NODEV, c"mode=0755")?;
    let _ = sys::mkdir(c"/run/lock", 0o1777);
    // A root file system without /tmp gets one; the host's own stays visible under the overlay,
    // because the working directory or the command's files are often in it.
    if sys::mkdir(c"/tmp", 0o1777).is_ok() {
        let _ = sys::chmod(c"/tmp", 0o1777);
    }
    Ok(())
}

/// Pseudo-terminals, shared memory and the customary links in `/dev`.
fn private_devices() -> Result<(), Failure> {
    let quiet = MS_NOSUID | MS_NOEXEC;
    mount_on(c"devpts", c"/dev/pts", quiet, c"mode=0620,ptmxmode=0666,gid=5")?;
    mount_on(c"tmpfs", c"/dev/shm", MS_NOSUID | MS_NODEV, c"mode=1777")?;
    for (target, link) in [
        (c"/proc/self/fd", c"/dev/fd"),
        (c"/proc/self/fd/0", c"/dev/stdin"),
        (c"/proc/self/fd/1", c"/dev/stdout"),
        (c"/proc/self/fd/2", c"/dev/stderr"),
    ] {
        let _ = sys::symlink(target, link);
    }
    Ok(())
}

fn mount_share(share: &Share) -> Result<(), Failure> {
    let shown = String::from_utf8_lossy(share.path.to_bytes()).into_owned();
    make_parents(share.path.to_bytes())?;
    let (flags, cache) = if share.writable { (0, "mmap") } else { (MS_RDONLY, "loose") };
    let options = c_string(&format!("{P9},cache={cache}"))?;
    attempt(&format!("mounting the share at {shown}"), || sys::mount(&share.tag, &share.path, c"9p", flags, &options))
}

/// Creates the mount point if it is missing, then mounts.
fn mount_on(fstype: &CStr, path: &CStr, flags: u64, options: &CStr) -> Result<(), Failure> {
    let _ = sys::mkdir(path, 0o755);
    let shown = String::from_utf8_lossy(path.to_bytes()).into_owned();
    attempt(&format!("mounting {shown}"), || sys::mount(fstype, path, fstype, flags, options))
}

/// A kernel without this file system is still good for most commands.
fn optional(result: Result<(), Failure>) {
    drop(result);
}

fn make_parents(path: &[u8]) -> Result<(), Failure> {
    let ends = path.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/').map(|(i, _)| i);
    for end in ends.chain([path.len()]) {
        let Some(prefix) = path.get(..end) else { continue };
        let prefix = CString::new(prefix).map_err(|_| Failure(String::from("bad share path")))?;
        let _ = sys::mkdir(&prefix, 0o755);
    }
    Ok(())
}

fn make_dirs(paths: &[&CStr]) -> Result<(), Failure> {
    for path in paths {
        match sys::mkdir(path, 0o755) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(Failure::new(&format!("mkdir {path:?}"), e)),
        }
    }
    Ok(())
}

fn attempt(what: &str, action: impl FnOnce() -> Result<(), Errno>) -> Result<(), Failure> {
    action().map_err(|e| Failure::new(what, e))
}

fn c_string(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure(String::from("NUL in a mount option")))
}

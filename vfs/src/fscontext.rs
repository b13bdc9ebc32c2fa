//! Root directory, working directory and umask of a process (chroot(2), chdir(2), umask(2)).

use crate::namespace::MountNamespace;
use crate::path::Path;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::SpinLock;

/// The two directories, replaced as a whole so that one reference gives both.
#[derive(Clone)]
pub struct Dirs {
    /// `/`.
    pub root: Path,
    /// `.`.
    pub cwd: Path,
    /// The mount namespace they lie in.
    pub ns: Arc<MountNamespace>,
}

/// What threads made with CLONE_FS share.
pub struct FsContext {
    dirs: SpinLock<Arc<Dirs>>,
    umask: AtomicU32,
}

impl FsContext {
    /// Starts with both directories at the root of `ns`.
    pub fn new(ns: Arc<MountNamespace>) -> Arc<FsContext> {
        let root = ns.root_path();
        Arc::new(FsContext {
            dirs: SpinLock::new(Arc::new(Dirs { cwd: root.clone(), root, ns })),
            umask: AtomicU32::new(0o022),
        })
    }
    /// A copy for a child.
    pub fn fork(&self) -> Arc<FsContext> {
        Arc::new(FsContext { dirs: SpinLock::new(self.dirs()), umask: AtomicU32::new(self.umask()) })
    }
    /// Root and working directory.
    #[inline]
    pub fn dirs(&self) -> Arc<Dirs> {
        self.dirs.lock().clone()
    }
    fn replace(&self, change: impl FnOnce(&mut Dirs)) {
        // The copy is made outside the lock; two threads that race both happen, in some order.
        let mut dirs = Dirs::clone(&self.dirs());
        change(&mut dirs);
        let old = core::mem::replace(&mut *self.dirs.lock(), Arc::new(dirs));
        drop(old);
    }
    /// chdir(2).
    pub fn set_cwd(&self, to: Path) {
        self.replace(|d| d.cwd = to);
    }
    /// chroot(2); the working directory stays.
    pub fn set_root(&self, to: Path) {
        self.replace(|d| d.root = to);
    }
    /// pivot_root(2) of another process: directories that were `old` become `new`.
    pub fn replace_root(&self, old: &Path, new: &Path) {
        let dirs = self.dirs();
        if dirs.root == *old || dirs.cwd == *old {
            self.replace(|d| {
                if d.root == *old {
                    d.root = new.clone();
                }
                if d.cwd == *old {
                    d.cwd = new.clone();
                }
            });
        }
    }
    /// Replaces all (setns, unshare, pivot_root).
    pub fn set_dirs(&self, dirs: Dirs) {
        self.replace(|d| *d = dirs);
    }
    /// The umask.
    #[inline]
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }
    /// Sets the umask, returns the old one.
    pub fn set_umask(&self, mask: u32) -> u32 {
        self.umask.swap(mask & 0o777, Ordering::Relaxed)
    }
}

//! Magic links: they lead to objects, not to names.

use super::{Subject, map_files};
use abi::Errno;
use alloc::sync::Arc;
use task::ns::{self, Which, nsfs};
use vfs::{Cred, Path};

/// What a magic link leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// The working directory.
    Cwd,
    /// The root directory.
    Root,
    /// The program.
    Exe,
    /// An open file.
    Fd(i32),
    /// The file that the area between two addresses shows.
    Mapped(u64, u64),
    /// A namespace.
    Ns(Which),
}

impl Link {
    fn path(&self, subject: &Subject) -> Result<Path, Errno> {
        match self {
            Link::Cwd => Ok(subject.task()?.fs().ok_or(Errno::ENOENT)?.dirs().cwd.clone()),
            Link::Root => Ok(subject.task()?.fs().ok_or(Errno::ENOENT)?.dirs().root.clone()),
            Link::Exe => Ok(subject.process()?.exe().ok_or(Errno::ENOENT)?.path().clone()),
            Link::Ns(which) => Ok(nsfs::path_of(ns::of_task(&*subject.task()?, *which).ok_or(Errno::ENOENT)?)),
            Link::Mapped(start, end) => Ok(map_files::file(subject, *start, *end)?.path().clone()),
            Link::Fd(fd) => Ok(subject.file(*fd)?.path().clone()),
        }
    }
    /// Where following the link leads.
    pub fn place(&self, subject: &Subject, cred: &Cred) -> Result<Path, Errno> {
        if matches!(self, Link::Mapped(..)) {
            map_files::may_follow(cred)?;
        }
        subject.may_trace(cred)?;
        self.path(subject)
    }
    /// What readlink(2) says: the path as the reader sees it.
    pub fn text(&self, subject: &Subject) -> Result<Arc<[u8]>, Errno> {
        let me = crate::current().ok_or(Errno::ESRCH)?;
        subject.may_trace(&me.cred())?;
        let root = me.fs().ok_or(Errno::ESRCH)?.dirs().root.clone();
        Ok(Arc::from(self.path(subject)?.display(&root)))
    }
}

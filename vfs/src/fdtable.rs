//! File-descriptor tables (close(2), dup(2), fcntl(2), close_range(2)).
//!
//! A table maps numbers to open files ([`slots`]). A lookup takes the table's spin lock for a bounds check and a reference; closing takes
//! the entry out under the lock and lets go of the file after it, since releasing may sleep.

use crate::file::File;
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use machine::sync::SpinLock;
use slots::Slots;

mod slots;

/// Bounds of `fs.nr_open`.
const NR_OPEN_MIN: u32 = 64;
const NR_OPEN_MAX: u32 = i32::MAX as u32 / 64 * 64;

static NR_OPEN: AtomicU32 = AtomicU32::new(1 << 20);

/// More descriptors than this no table ever gets (`fs.nr_open`).
pub fn nr_open() -> u32 {
    NR_OPEN.load(Ordering::Relaxed)
}

/// Changes that; EINVAL out of its bounds.
pub fn set_nr_open(most: u32) -> Result<(), Errno> {
    if !(NR_OPEN_MIN..=NR_OPEN_MAX).contains(&most) {
        return Err(Errno::EINVAL);
    }
    NR_OPEN.store(most, Ordering::Relaxed);
    Ok(())
}

/// The descriptors of a process (or of several that share them).
pub struct FdTable {
    table: SpinLock<Slots>,
    /// Owner of POSIX record locks: differs between tables.
    id: u64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl FdTable {
    /// An empty table.
    pub fn new() -> Arc<FdTable> {
        Arc::new(FdTable { table: SpinLock::new(Slots::default()), id: NEXT_ID.fetch_add(1, Ordering::Relaxed) })
    }
    /// A copy for a child (fork without CLONE_FILES).
    pub fn fork(&self) -> Result<Arc<FdTable>, Errno> {
        let copy = self.table.lock().copy()?;
        Ok(Arc::new(FdTable { table: SpinLock::new(copy), id: NEXT_ID.fetch_add(1, Ordering::Relaxed) }))
    }
    /// Identity of the table as the owner of POSIX record locks.
    pub fn id(&self) -> u64 {
        self.id
    }
    /// The open file behind `fd`; EBADF for none. `O_PATH` descriptors count.
    #[inline]
    pub fn get_any(self: &Arc<FdTable>, fd: i32) -> Result<Arc<File>, Errno> {
        let file = self.table.lock().get(fd).cloned().ok_or(Errno::EBADF)?;
        // The thread's own handle and the one others see: more means that threads share the table.
        if Arc::strong_count(self) > 2 {
            file.set_shared();
        }
        Ok(file)
    }
    /// The open file behind `fd`; EBADF for none and for `O_PATH` descriptors.
    #[inline]
    pub fn get(self: &Arc<FdTable>, fd: i32) -> Result<Arc<File>, Errno> {
        let file = self.get_any(fd)?;
        if file.is_path_only() { Err(Errno::EBADF) } else { Ok(file) }
    }
    /// EMFILE unless a descriptor is free below `limit` (asked before an open has effects).
    #[inline]
    pub fn check_room(&self, limit: u32) -> Result<(), Errno> {
        self.table.lock().find_free(0, limit).map(drop)
    }
    /// Installs `file` at the lowest free descriptor from `min` on; EMFILE when that is not below `limit` (RLIMIT_NOFILE).
    pub fn install_from(&self, min: u32, file: Arc<File>, cloexec: bool, limit: u32) -> Result<i32, Errno> {
        let mut table = self.table.lock();
        let fd = table.find_free(min, limit)?;
        table.grow(fd)?;
        table.put(fd, file, cloexec);
        Ok(fd as i32)
    }
    /// Installs `file` at the lowest free descriptor.
    #[inline]
    pub fn install(&self, file: Arc<File>, cloexec: bool, limit: u32) -> Result<i32, Errno> {
        self.install_from(0, file, cloexec, limit)
    }
    /// dup2(2), dup3(2): installs `file` at `fd`, closing what was there. `fd` was checked against the limit.
    pub fn install_at(&self, fd: u32, file: Arc<File>, cloexec: bool) -> Result<(), Errno> {
        let old = {
            let mut table = self.table.lock();
            table.grow(fd)?;
            table.put(fd, file, cloexec)
        };
        if let Some(old) = old {
            // The error of the implied close is lost, as dup2(2) says.
            let _ = old.closed(self.id);
        }
        Ok(())
    }
    /// close(2).
    pub fn close(&self, fd: i32) -> Result<(), Errno> {
        let file = u32::try_from(fd).ok().and_then(|fd| self.table.lock().take(fd)).ok_or(Errno::EBADF)?;
        file.closed(self.id)
    }
    /// The close-on-exec flag.
    pub fn cloexec(&self, fd: i32) -> Result<bool, Errno> {
        let table = self.table.lock();
        table.get(fd).ok_or(Errno::EBADF)?;
        Ok(table.is_cloexec(fd as u32))
    }
    /// Sets the close-on-exec flag.
    pub fn set_cloexec(&self, fd: i32, on: bool) -> Result<(), Errno> {
        let mut table = self.table.lock();
        table.get(fd).ok_or(Errno::EBADF)?;
        table.set_cloexec(fd as u32, on);
        Ok(())
    }
    /// close_range(2): closes, or marks close-on-exec, the descriptors `first..=last`.
    pub fn close_range(&self, first: u32, last: u32, only_mark: bool) {
        let mut fd = first;
        while fd <= last {
            let file = {
                let mut table = self.table.lock();
                let Some(open) = table.next_open(fd).map(|(open, _)| open).filter(|open| *open <= last) else { return };
                fd = open.saturating_add(1);
                if only_mark {
                    table.set_cloexec(open, true);
                    continue;
                }
                table.take(open)
            };
            if let Some(file) = file {
                let _ = file.closed(self.id);
            }
        }
    }
    /// exec: closes the descriptors marked for it.
    pub fn close_on_exec(&self) {
        let mut fd = 0;
        loop {
            let file = {
                let mut table = self.table.lock();
                let Some(marked) = table.next_cloexec(fd) else { return };
                fd = marked + 1;
                let file = table.take(marked);
                if file.is_none() {
                    table.set_cloexec(marked, false);
                }
                file
            };
            if let Some(file) = file {
                let _ = file.closed(self.id);
            }
        }
    }
    /// Closes everything (exit of the last user).
    pub fn close_all(&self) {
        self.close_range(0, u32::MAX, false);
    }
    /// The lowest open descriptor from `from` on (for /proc/PID/fd).
    pub fn next_open(&self, from: u32) -> Option<(u32, Arc<File>)> {
        let table = self.table.lock();
        table.next_open(from).map(|(fd, file)| (fd, file.clone()))
    }
    /// Number of slots, as `FDSize` of /proc/PID/status shows it.
    pub fn slots(&self) -> usize {
        self.table.lock().len().max(64)
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        self.close_all();
    }
}

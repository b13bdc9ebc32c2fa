//! epoll(7).
//!
//! An [`Item`] is one watched descriptor. It subscribes once to the wait queues of its file; when one of them speaks, the item
//! puts itself on its epoll's ready list and wakes a waiter. epoll_wait takes items off that list, asks each file what it is
//! ready for, and puts level-triggered ones back. So its cost depends on what is ready, not on what is watched.
//!
//! Files are not kept open by being watched: an item whose file has gone is dropped when it is met.
//!
//! Lock order:
//! ```text
//! NESTING                    an epoll is being put into another (cycles are looked for)
//!   Epoll::items             sleeping; also held while files are polled
//!     a file's wait queues   (their listeners run under them:)
//!       Ready::list
//!         Ready::waiters
//! ```

mod check;
mod item;
mod ready;
#[cfg(test)]
mod tests;

use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::poll::*;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use item::Item;
use mm::Mm;
use mm::user::UserPtr;
use ready::Ready;
use sched::{Instant, Mutex, WaitError};
use vfs::{Cred, File, FileOps, PollEvents, PollTable};

/// Descriptor number and identity of the open file: a number may be reused while the file lives on as a duplicate.
type Key = (i32, usize);

/// An epoll instance.
pub struct Epoll {
    items: Mutex<BTreeMap<Key, Arc<Item>>>,
    ready: Arc<Ready>,
}

/// A new epoll instance.
pub fn create(cred: &Arc<Cred>) -> Arc<File> {
    vfs::anon_file("[eventpoll]", Arc::new(Epoll::new()), OpenFlags::RDWR, cred)
}

/// The most events one epoll_wait(2) may ask for.
pub const MAX_EVENTS: i32 = i32::MAX / size_of::<EpollEvent>() as i32;

const EXCLUSIVE_OK: u32 = PollEvents::IN.bits()
    | PollEvents::OUT.bits()
    | PollEvents::ERR.bits()
    | PollEvents::HUP.bits()
    | EPOLLWAKEUP
    | EPOLLET
    | EPOLLEXCLUSIVE;

fn key_of(fd: i32, file: &Arc<File>) -> Key {
    (fd, Arc::as_ptr(file).addr())
}

impl Epoll {
    fn new() -> Epoll {
        Epoll { items: Mutex::new(BTreeMap::new()), ready: Arc::new(Ready::new()) }
    }

    /// epoll_ctl(2) after both descriptors and the event have been fetched; `fd` is the number that `target` was given by.
    pub fn control(this: &Arc<File>, op: i32, fd: i32, target: &Arc<File>, event: EpollEvent) -> Result<(), Errno> {
        if !target.ops().pollable() {
            return Err(Errno::EPERM);
        }
        let Some(epoll) = this.ops_as::<Epoll>().filter(|_| !Arc::ptr_eq(this, target)) else {
            return Err(Errno::EINVAL);
        };
        // EPOLLWAKEUP needs CAP_BLOCK_SUSPEND and suspend; there is none, so the bit is dropped, as Linux does without the right.
        let event = EpollEvent::new(event.events & !EPOLLWAKEUP, event.data());
        let nested = target.ops_as::<Epoll>().is_some();
        if op != epoll_op::DEL && event.events & EPOLLEXCLUSIVE != 0 {
            let allowed = op == epoll_op::ADD && !nested && event.events & !EXCLUSIVE_OK == 0;
            if !allowed {
                return Err(Errno::EINVAL);
            }
        }
        match op {
            epoll_op::ADD if nested => check::with_no_cycle(epoll, target, || epoll.add(fd, target, event)),
            epoll_op::ADD => epoll.add(fd, target, event),
            epoll_op::MOD => epoll.modify(fd, target, event),
            epoll_op::DEL => epoll.remove(fd, target),
            _ => Err(Errno::EINVAL),
        }
    }

    fn add(&self, fd: i32, file: &Arc<File>, event: EpollEvent) -> Result<(), Errno> {
        let mut items = self.items.lock();
        let key = key_of(fd, file);
        if items.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        // The number is in use again, so what was watched under it may have gone.
        let gone: smallvec::SmallVec<[Key; 2]> =
            items.range((fd, 0)..=(fd, usize::MAX)).filter(|(_, i)| i.is_gone()).map(|(k, _)| *k).collect();
        for key in gone {
            if let Some(item) = items.remove(&key) {
                self.forget(&item);
            }
        }
        self.ready.reserve(items.len() + 1)?;
        let item = Item::new(fd, file, event, &self.ready);
        if let Some(inner) = file.ops_as::<Epoll>() {
            inner.ready.watched_by(&item)?;
        }
        let now = item.subscribe(file);
        if !now.is_empty() {
            item.announce();
        }
        items.insert(key, item);
        Ok(())
    }

    /// The file watched under a number: the first of those that were given by it, or with `skip` a further one (kcmp(2)).
    pub fn watched(&self, fd: u32, skip: u32) -> Option<Arc<File>> {
        let fd = i32::try_from(fd).ok()?;
        let items = self.items.lock();
        items.range((fd, 0)..=(fd, usize::MAX)).filter_map(|(_, item)| item.file()).nth(skip as usize)
    }

    fn modify(&self, fd: i32, file: &Arc<File>, event: EpollEvent) -> Result<(), Errno> {
        let items = self.items.lock();
        let item = items.get(&key_of(fd, file)).ok_or(Errno::ENOENT)?;
        if item.is_exclusive() {
            return Err(Errno::EINVAL);
        }
        item.set_event(event);
        if !item.poll(file).is_empty() {
            item.announce();
        }
        Ok(())
    }

    fn remove(&self, fd: i32, file: &Arc<File>) -> Result<(), Errno> {
        let item = self.items.lock().remove(&key_of(fd, file)).ok_or(Errno::ENOENT)?;
        self.forget(&item);
        Ok(())
    }

    /// Ends what an item, already out of the table, is told and tells.
    fn forget(&self, item: &Arc<Item>) {
        item.unsubscribe();
        self.ready.discard(item);
    }

    /// epoll_wait(2): writes up to `most` events (at least 1) to `out`. Waits until `deadline` (`Some(0)`: only looks; `None`: for
    /// ever).
    pub fn wait(
        &self,
        mm: &Mm,
        out: UserPtr<EpollEvent>,
        most: usize,
        deadline: Option<Instant>,
    ) -> Result<usize, Errno> {
        loop {
            if self.ready.any() {
                let mut at = 0;
                let sent = self.collect(most, |event| {
                    let done = out.at(at).write(mm, &event).is_ok();
                    at += 1;
                    done
                })?;
                if sent != 0 {
                    return Ok(sent);
                }
            }
            if deadline == Some(0) {
                return Ok(0);
            }
            match self.ready.waiters.wait_deadline(deadline, || self.ready.any().then_some(())) {
                Ok(()) => {}
                Err(WaitError::TimedOut) => return Ok(0),
                Err(WaitError::Interrupted) => return Err(Errno::EINTR),
            }
        }
    }

    /// Reports what is on the ready list, one round, to `put`, which says whether it could take the event.
    #[inline]
    fn collect(&self, most: usize, mut put: impl FnMut(EpollEvent) -> bool) -> Result<usize, Errno> {
        let mut items = self.items.lock();
        let mut sent = 0;
        let mut failed = None;
        for _ in 0..self.ready.len() {
            if sent >= most {
                break;
            }
            let Some(item) = self.ready.take() else { break };
            let Some(file) = item.file() else {
                items.remove(&item.key());
                item.unsubscribe();
                continue;
            };
            let ready = item.poll(&file);
            if ready.is_empty() {
                continue;
            }
            if !put(EpollEvent::new(ready.bits(), item.data())) {
                item.announce();
                failed = Some(Errno::EFAULT);
                break;
            }
            sent += 1;
            if item.is_oneshot() {
                item.disable();
            } else if item.is_level() {
                self.ready.put_back(item);
            }
        }
        let more = self.ready.end_scan();
        drop(items);
        if more {
            self.ready.waiters.wake_one();
        }
        match failed {
            Some(e) if sent == 0 => Err(e),
            _ => Ok(sent),
        }
    }

    /// Whether an item on the ready list is truly ready; takes those off that are not.
    fn is_ready(&self) -> bool {
        let mut items = self.items.lock();
        let mut found = false;
        for _ in 0..self.ready.len() {
            let Some(item) = self.ready.take() else { break };
            match item.file() {
                Some(file) if !item.poll(&file).is_empty() => {
                    self.ready.put_back(item);
                    found = true;
                    break;
                }
                Some(_) => {}
                None => {
                    items.remove(&item.key());
                    item.unsubscribe();
                }
            }
        }
        self.ready.end_scan();
        found
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        for item in core::mem::take(self.items.get_mut()).into_values() {
            item.unsubscribe();
        }
        self.ready.clear();
    }
}

impl FileOps for Epoll {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn can_read(&self) -> bool {
        false
    }
    fn can_write(&self) -> bool {
        false
    }
    fn seekable(&self) -> bool {
        false
    }
    fn seek(&self, _f: &File, _off: i64, _whence: u32) -> Option<Result<u64, Errno>> {
        vfs::fileops::stay()
    }
    fn ioctl(&self, _f: &File, _caller: &vfs::Caller<'_>, _cmd: u32, _arg: u64) -> Result<i64, Errno> {
        Err(Errno::EINVAL)
    }
    fn pollable(&self) -> bool {
        true
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&self.ready.waiters);
        if self.ready.any() && self.is_ready() { PollEvents::READABLE } else { PollEvents::empty() }
    }
    fn show_fdinfo(&self, _f: &File, out: &mut dyn fmt::Write) -> fmt::Result {
        for item in self.items.lock().values() {
            item.show(out)?;
        }
        Ok(())
    }
}

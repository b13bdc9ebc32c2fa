//! The ready list of an epoll and those who wait for it.

use super::item::Item;
use abi::Errno;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::*};
use machine::sync::{IrqLock, SpinLock};
use sched::WaitQueue;
use vfs::PollEvents;

/// Somebody has taken items off the list and may put them back: who only looks must not find it empty meanwhile.
const SCANNED: u32 = 1 << 31;

/// Items that may have something to report, in the order in which they were told so.
pub(super) struct Ready {
    /// Length of `list`, with [`SCANNED`], readable without its lock and changed under it.
    count: AtomicU32,
    list: IrqLock<VecDeque<Arc<Item>>>,
    pub waiters: WaitQueue,
    /// Items of other epolls that watch this one.
    watched_by: SpinLock<Vec<Weak<Item>>>,
}

impl Ready {
    pub fn new() -> Ready {
        Ready {
            count: AtomicU32::new(0),
            list: IrqLock::new(VecDeque::new()),
            waiters: WaitQueue::new(),
            watched_by: SpinLock::new(Vec::new()),
        }
    }
    /// Notes that `item` watches this epoll.
    pub fn watched_by(&self, item: &Arc<Item>) -> Result<(), Errno> {
        let mut all = self.watched_by.lock();
        all.retain(|w| w.strong_count() != 0);
        all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        all.push(Arc::downgrade(item));
        Ok(())
    }
    /// The epolls that watch this one.
    pub fn watchers(&self) -> Vec<Arc<Ready>> {
        self.watched_by.lock().iter().filter_map(Weak::upgrade).map(|item| item.ready().clone()).collect()
    }
    /// Room for this many items, so that an announcement from an interrupt never allocates.
    pub fn reserve(&self, items: usize) -> Result<(), Errno> {
        let mut list = self.list.lock();
        let more = items.saturating_sub(list.len());
        list.try_reserve(more).map_err(|_| Errno::ENOMEM)
    }
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Acquire) != 0
    }
    pub fn len(&self) -> usize {
        (self.count.load(Acquire) & !SCANNED) as usize
    }
    fn note(&self, list: &VecDeque<Arc<Item>>) {
        self.count.store(list.len() as u32 | self.count.load(Relaxed) & SCANNED, Release);
    }
    /// The first item. It is off the list before its file is looked at, so that a change meanwhile puts it on again. One scans at a
    /// time (the caller's lock), until [`Ready::end_scan`].
    #[inline]
    pub fn take(&self) -> Option<Arc<Item>> {
        let mut list = self.list.lock();
        let item = list.pop_front()?;
        self.count.store(list.len() as u32 | SCANNED, Release);
        drop(list);
        item.on_list.store(false, SeqCst);
        Some(item)
    }
    /// Puts an item at the end, unless it is there.
    #[inline]
    pub fn put_back(&self, item: Arc<Item>) {
        if !item.on_list.swap(true, SeqCst) {
            let mut list = self.list.lock();
            list.push_back(item);
            self.note(&list);
        }
    }
    /// All items that were taken are back on the list or not ready; whether there are any on it.
    #[inline]
    pub fn end_scan(&self) -> bool {
        let list = self.list.lock();
        self.count.store(list.len() as u32, Release);
        !list.is_empty()
    }
    /// Puts an item at the end and wakes a waiter.
    pub fn announce(&self, item: Arc<Item>) -> bool {
        self.put_back(item);
        self.waiters.wake_key(1, false, PollEvents::READABLE.key()) != 0
    }
    pub fn discard(&self, item: &Arc<Item>) {
        let mut list = self.list.lock();
        list.retain(|other| !Arc::ptr_eq(other, item));
        self.note(&list);
    }
    pub fn clear(&self) {
        let all = core::mem::take(&mut *self.list.lock());
        self.count.store(0, Release);
        drop(all);
    }
}

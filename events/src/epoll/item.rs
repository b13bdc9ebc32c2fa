//! One watched descriptor.

use super::ready::Ready;
use super::{Key, key_of};
use abi::poll::*;
use alloc::sync::{Arc, Weak};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use machine::sync::SpinLock;
use sched::Listener;
use vfs::{File, PollEvents, PollTable};

const PRIVATE: u32 = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;

pub(super) struct Item {
    me: Weak<Item>,
    key: Key,
    file: Weak<File>,
    /// The bits asked for; only [`PRIVATE`] ones are left while a one-shot item is disabled.
    events: AtomicU32,
    data: AtomicU64,
    ready: Arc<Ready>,
    pub on_list: AtomicBool,
    subscriptions: SpinLock<PollTable>,
}

impl Item {
    pub fn new(fd: i32, file: &Arc<File>, event: EpollEvent, ready: &Arc<Ready>) -> Arc<Item> {
        Arc::new_cyclic(|me| Item {
            me: me.clone(),
            key: key_of(fd, file),
            file: Arc::downgrade(file),
            events: AtomicU32::new(event.events | PollEvents::ERR.bits() | PollEvents::HUP.bits()),
            data: AtomicU64::new(event.data()),
            ready: ready.clone(),
            on_list: AtomicBool::new(false),
            subscriptions: SpinLock::new(PollTable::none()),
        })
    }
    pub fn ready(&self) -> &Arc<Ready> {
        &self.ready
    }
    pub fn key(&self) -> Key {
        self.key
    }
    pub fn file(&self) -> Option<Arc<File>> {
        self.file.upgrade()
    }
    pub fn is_gone(&self) -> bool {
        self.file.strong_count() == 0
    }
    pub fn data(&self) -> u64 {
        self.data.load(Relaxed)
    }
    fn has(&self, bit: u32) -> bool {
        self.events.load(Relaxed) & bit != 0
    }
    pub fn is_exclusive(&self) -> bool {
        self.has(EPOLLEXCLUSIVE)
    }
    pub fn is_oneshot(&self) -> bool {
        self.has(EPOLLONESHOT)
    }
    pub fn is_level(&self) -> bool {
        !self.has(EPOLLET)
    }
    /// Silences a one-shot item until it is modified.
    pub fn disable(&self) {
        self.events.fetch_and(PRIVATE, Relaxed);
    }
    pub fn set_event(&self, event: EpollEvent) {
        self.data.store(event.data(), Relaxed);
        self.events.store(event.events | PollEvents::ERR.bits() | PollEvents::HUP.bits(), SeqCst);
    }
    fn mask(&self) -> PollEvents {
        PollEvents::from_bits_truncate(self.events.load(Relaxed))
    }
    /// What of the events asked for the file is ready for.
    #[inline]
    pub fn poll(&self, file: &Arc<File>) -> PollEvents {
        file.ops().poll(file, &mut PollTable::none()) & self.mask()
    }
    /// Has the file tell this item of changes; the result is as of [`Item::poll`].
    pub fn subscribe(self: &Arc<Self>, file: &Arc<File>) -> PollEvents {
        let mut table =
            if self.is_exclusive() { PollTable::exclusive(self.clone()) } else { PollTable::with(self.clone()) };
        let ready = file.ops().poll(file, &mut table) & self.mask();
        table.stop();
        *self.subscriptions.lock() = table;
        ready
    }
    pub fn unsubscribe(&self) {
        let table = core::mem::take(&mut *self.subscriptions.lock());
        drop(table);
    }
    /// Goes on the ready list.
    pub fn announce(&self) -> bool {
        self.me.upgrade().is_some_and(|me| self.ready.announce(me))
    }
    pub fn show(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let Some(file) = self.file() else { return Ok(()) };
        let (events, data) = (self.events.load(Relaxed), self.data());
        let (pos, base) = (file.pos(), file.inode().base());
        let (ino, dev) = (base.ino(), base.sb().dev());
        writeln!(out, "tfd: {:8} events: {events:8x} data: {data:16x}  pos:{pos} ino:{ino:x} sdev:{dev:x}", self.key.0)
    }
}

impl Listener for Item {
    fn notify(&self, key: u64) -> bool {
        let wanted = self.events.load(Relaxed) & !PRIVATE;
        if wanted == 0 || key != 0 && key & wanted as u64 == 0 {
            return false;
        }
        let woke = self.announce();
        // For the choice among exclusive listeners: whether this one acts on it.
        woke || !self.is_exclusive()
    }
}

//! Events on inodes for watchers (inotify(7), dnotify). The hooks cost one load where nobody watches.

use crate::attr::FileType;
use crate::dentry::Dentry;
use crate::file::File;
use crate::inode::Inode;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use bitflags::bitflags;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use machine::sync::SpinLock;

bitflags! {
    /// `IN_*` event bits; inotify does not know `RENAME`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Event: u32 {
        /// Read.
        const ACCESS = 0x1;
        /// Written.
        const MODIFY = 0x2;
        /// Attributes changed.
        const ATTRIB = 0x4;
        /// A writable descriptor was closed.
        const CLOSE_WRITE = 0x8;
        /// A read-only descriptor was closed.
        const CLOSE_NOWRITE = 0x10;
        /// Opened.
        const OPEN = 0x20;
        /// An entry was moved out of the directory.
        const MOVED_FROM = 0x40;
        /// An entry was moved into the directory.
        const MOVED_TO = 0x80;
        /// An entry was made.
        const CREATE = 0x100;
        /// An entry was removed.
        const DELETE = 0x200;
        /// The object itself was deleted.
        const DELETE_SELF = 0x400;
        /// The object itself was moved.
        const MOVE_SELF = 0x800;
        /// The instance was unmounted.
        const UNMOUNT = 0x2000;
        /// An entry got another name in the same directory.
        const RENAME = 0x1000_0000;
        /// The event is about a directory.
        const ISDIR = 0x4000_0000;
    }
}

/// Someone who watches inodes.
pub trait Watcher: Send + Sync {
    /// An event on a watched inode; `name` is the entry for events inside a directory, `cookie` joins the halves of a rename.
    fn event(&self, inode: &Arc<dyn Inode>, event: Event, cookie: u32, name: &[u8]);
}

/// The watchers of one inode.
pub(crate) struct Watches {
    list: SpinLock<Vec<Weak<dyn Watcher>>>,
    count: AtomicUsize,
}

/// Watches in the whole system: zero lets every hook return at once.
static TOTAL: AtomicUsize = AtomicUsize::new(0);
static COOKIE: AtomicU32 = AtomicU32::new(1);

impl Watches {
    pub(crate) const fn new() -> Watches {
        Watches { list: SpinLock::new(Vec::new()), count: AtomicUsize::new(0) }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        TOTAL.fetch_sub(self.count.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Adds a watcher to an inode. It stays until [`unwatch`] or the end of the inode.
pub fn watch(inode: &Arc<dyn Inode>, watcher: &Arc<dyn Watcher>) {
    let watches = &inode.base().rare().watches;
    {
        let mut list = watches.list.lock();
        if list.iter().any(|w| core::ptr::addr_eq(w.as_ptr(), Arc::as_ptr(watcher))) {
            return;
        }
        list.push(Arc::downgrade(watcher));
    }
    watches.count.fetch_add(1, Ordering::Relaxed);
    TOTAL.fetch_add(1, Ordering::Relaxed);
}

/// Removes a watcher, and those that are gone.
pub fn unwatch(inode: &Arc<dyn Inode>, watcher: &Arc<dyn Watcher>) {
    retain(inode, |w| !core::ptr::addr_eq(w.as_ptr(), Arc::as_ptr(watcher)));
}

/// Removes the watchers that are gone.
pub(crate) fn sweep(inode: &Arc<dyn Inode>) {
    retain(inode, |_| true);
}

fn retain(inode: &Arc<dyn Inode>, keep: impl Fn(&Weak<dyn Watcher>) -> bool) {
    let Some(rare) = inode.base().rare_if_any() else { return };
    let mut list = rare.watches.list.lock();
    let before = list.len();
    list.retain(|w| w.strong_count() > 0 && keep(w));
    let gone = before - list.len();
    rare.watches.count.fetch_sub(gone, Ordering::Relaxed);
    TOTAL.fetch_sub(gone, Ordering::Relaxed);
}

#[inline]
fn nobody() -> bool {
    TOTAL.load(Ordering::Relaxed) == 0
}

fn send(inode: &Arc<dyn Inode>, event: Event, cookie: u32, name: &[u8]) {
    let Some(rare) = inode.base().rare_if_any() else { return };
    if rare.watches.count.load(Ordering::Relaxed) == 0 {
        return;
    }
    let watchers: Vec<_> = rare.watches.list.lock().iter().filter_map(Weak::upgrade).collect();
    for w in watchers {
        w.event(inode, event, cookie, name);
    }
}

fn dir_bit(dentry: &Dentry) -> Event {
    if dentry.kind() == FileType::Directory { Event::ISDIR } else { Event::empty() }
}

/// Something happened to an open file.
#[inline]
pub fn on_file(file: &File, event: Event) {
    if !nobody() {
        dentry_event(&file.path().dentry, event);
    }
}

/// Something happened to what a dentry leads to: its watchers and those of its directory are told.
#[inline]
pub fn on_dentry(dentry: &Arc<Dentry>, event: Event) {
    if !nobody() {
        dentry_event(dentry, event);
    }
}

#[inline(never)]
fn dentry_event(dentry: &Arc<Dentry>, event: Event) {
    let event = event | dir_bit(dentry);
    let (parent, name) = dentry.parent_and_name();
    if let Some(parent) = parent {
        send(parent.inode(), event, 0, &name);
    }
    send(dentry.inode(), event, 0, b"");
}

/// Something happened to an inode, whatever its name.
#[inline]
pub fn on_inode(inode: &Arc<dyn Inode>, event: Event) {
    if !nobody() {
        send(inode, event, 0, b"");
    }
}

/// Something happened to what `dir` has under `name`.
pub fn on_entry(dir: &Arc<dyn Inode>, name: &[u8], event: Event) {
    if !nobody() {
        send(dir, event, 0, name);
    }
}

/// An entry of `dir` came or went.
#[inline]
pub fn on_child(dir: &Arc<Dentry>, child: &Arc<Dentry>, event: Event) {
    if !nobody() {
        let event = event | dir_bit(child);
        let (_, name) = child.parent_and_name();
        send(dir.inode(), event, 0, &name);
    }
}

/// An entry moved.
pub fn on_rename(from: &Arc<Dentry>, old: &[u8], to: &Arc<Dentry>, new: &[u8], moved: &Arc<Dentry>) {
    if nobody() {
        return;
    }
    let cookie = COOKIE.fetch_add(1, Ordering::Relaxed);
    let dir = dir_bit(moved);
    if Arc::ptr_eq(from.inode(), to.inode()) {
        send(from.inode(), Event::RENAME | dir, 0, old);
    }
    send(from.inode(), Event::MOVED_FROM | dir, cookie, old);
    send(to.inode(), Event::MOVED_TO | dir, cookie, new);
    send(moved.inode(), Event::MOVE_SELF, 0, b"");
}

/// An object has one name less. (The removal of a directory is not told this way.)
#[inline]
pub fn on_link_count(victim: &Arc<Dentry>) {
    if !nobody() {
        send(victim.inode(), Event::ATTRIB, 0, b"");
    }
}

/// The last name of an object may have gone.
#[inline]
pub fn on_unlinked(victim: &Arc<Dentry>) {
    if nobody() {
        return;
    }
    let inode = victim.inode();
    if inode.base().nlink() == 0 || inode.is_dir() {
        send(inode, Event::DELETE_SELF, 0, b"");
    }
}

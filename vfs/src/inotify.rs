//! inotify instances: a queue of events on watched inodes (inotify(7)).
//!
//! An instance is a [`Watcher`] of each inode it watches. Events are appended under the instance's spin lock, from within the operation
//! that caused them; a reader takes them out whole.

use crate::anon::anon_file;
use crate::caller::Caller;
use crate::cred::Cred;
use crate::file::File;
use crate::fileops::FileOps;
use crate::inode::Inode;
use crate::notify::{self, Event, Watcher};
use crate::poll::{PollEvents, PollTable};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::inotify::*;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::any::Any;
use hashbrown::HashMap;
use machine::VirtAddr;
use machine::sync::SpinLock;
use mm::io::Dst;
use mm::user::UserPtr;
use sched::WaitQueue;
use smallvec::SmallVec;
use zerocopy::IntoBytes;

/// Events an instance holds (`fs.inotify.max_queued_events`).
const MAX_EVENTS: usize = 16384;
/// Watches an instance holds (`fs.inotify.max_user_watches`).
const MAX_WATCHES: usize = 65536;
const HEAD: usize = size_of::<InotifyEvent>();

struct Watch {
    inode: Arc<dyn Inode>,
    mask: u32,
}

struct Queued {
    head: InotifyEvent,
    name: SmallVec<[u8; 32]>,
}

#[derive(Default)]
struct State {
    watches: HashMap<i32, Watch>,
    by_inode: HashMap<usize, i32>,
    last_wd: i32,
    events: VecDeque<Queued>,
}

/// An inotify instance.
pub struct Inotify {
    state: SpinLock<State>,
    readers: WaitQueue,
}

fn key(inode: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(inode).addr()
}

impl State {
    fn push(&mut self, wd: i32, mask: u32, cookie: u32, name: &[u8]) {
        if let Some(last) = self.events.back()
            && (last.head.wd, last.head.mask, last.head.cookie) == (wd, mask, cookie)
            && last.name[..] == *name
        {
            return;
        }
        let (wd, mask, cookie, name) = match self.events.len() {
            n if n < MAX_EVENTS => (wd, mask, cookie, name),
            MAX_EVENTS => (-1, IN_Q_OVERFLOW, 0, &b""[..]),
            _ => return,
        };
        if self.events.try_reserve(1).is_ok() {
            // Names are padded with NULs to a multiple of the head's size.
            let len = if name.is_empty() { 0 } else { (name.len() + 1).next_multiple_of(HEAD) as u32 };
            let head = InotifyEvent { wd, mask, cookie, len };
            self.events.push_back(Queued { head, name: SmallVec::from_slice(name) });
        }
    }
    /// Takes a watch away and queues `IN_IGNORED`.
    fn remove(&mut self, wd: i32) -> Option<Watch> {
        let watch = self.watches.remove(&wd)?;
        self.by_inode.remove(&key(&watch.inode));
        self.push(wd, IN_IGNORED, 0, b"");
        Some(watch)
    }
}

impl Inotify {
    /// A new instance as an open file.
    pub fn create(flags: OpenFlags, cred: &Arc<Cred>) -> Arc<File> {
        let instance = Arc::new(Inotify { state: SpinLock::new(State::default()), readers: WaitQueue::new() });
        anon_file("inotify", instance, flags, cred)
    }

    /// The instance behind an open file.
    pub fn of(file: &File) -> Result<Arc<Inotify>, Errno> {
        let ops: Arc<dyn Any + Send + Sync> = file.ops().clone();
        ops.downcast().map_err(|_| Errno::EINVAL)
    }

    /// inotify_add_watch(2) for an inode found and checked by the caller.
    pub fn add(self: &Arc<Inotify>, inode: &Arc<dyn Inode>, mask: u32) -> Result<i32, Errno> {
        let wanted = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
        let mut state = self.state.lock();
        if let Some(&wd) = state.by_inode.get(&key(inode)) {
            if mask & IN_MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            if let Some(watch) = state.watches.get_mut(&wd) {
                watch.mask = if mask & IN_MASK_ADD != 0 { watch.mask | wanted } else { wanted };
            }
            return Ok(wd);
        }
        if state.watches.len() >= MAX_WATCHES {
            return Err(Errno::ENOSPC);
        }
        state.watches.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        state.by_inode.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let wd = state.last_wd.checked_add(1).ok_or(Errno::ENOSPC)?;
        state.last_wd = wd;
        state.by_inode.insert(key(inode), wd);
        state.watches.insert(wd, Watch { inode: inode.clone(), mask: wanted });
        drop(state);
        notify::watch(inode, &(self.clone() as Arc<dyn Watcher>));
        Ok(wd)
    }

    /// inotify_rm_watch(2).
    pub fn remove(self: &Arc<Inotify>, wd: i32) -> Result<(), Errno> {
        let watch = self.state.lock().remove(wd).ok_or(Errno::EINVAL)?;
        notify::unwatch(&watch.inode, &(self.clone() as Arc<dyn Watcher>));
        self.readers.wake_all();
        Ok(())
    }
}

impl Watcher for Inotify {
    fn event(&self, inode: &Arc<dyn Inode>, event: Event, cookie: u32, name: &[u8]) {
        let gone = {
            let mut state = self.state.lock();
            let Some(&wd) = state.by_inode.get(&key(inode)) else { return };
            let mask = state.watches.get(&wd).map_or(0, |w| w.mask);
            let hit = mask & event.bits() & IN_ALL_EVENTS != 0 || event.contains(Event::UNMOUNT);
            if hit {
                state.push(wd, event.bits(), cookie, name);
            }
            let over = event.intersects(Event::DELETE_SELF | Event::UNMOUNT) || hit && mask & IN_ONESHOT != 0;
            if over { state.remove(wd) } else { None }
        };
        // The inode's own list forgets this watcher when it is next cleaned; the event is for nobody then.
        drop(gone);
        self.readers.wake_all();
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        for watch in self.state.get_mut().watches.values() {
            notify::sweep(&watch.inode);
        }
    }
}

impl FileOps for Inotify {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn can_write(&self) -> bool {
        false
    }
    fn seekable(&self) -> bool {
        false
    }
    fn seek(&self, _f: &File, _off: i64, _whence: u32) -> Option<Result<u64, Errno>> {
        crate::fileops::stay()
    }
    fn signals(&self) -> crate::fileops::Signals {
        crate::fileops::Signals::ToOwner
    }
    fn pollable(&self) -> bool {
        true
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        let mut nonblock = f.is_nonblocking();
        loop {
            let take = || {
                let mut state = self.state.lock();
                let first = state.events.front()?;
                let need = HEAD + first.head.len as usize;
                if need > dst.remaining() {
                    return Some(Err(Errno::EINVAL));
                }
                state.events.pop_front().map(Ok)
            };
            let taken = if nonblock { take() } else { Some(self.readers.wait_interruptible(take)?) };
            let event = match taken {
                Some(Ok(event)) => event,
                // Nothing more, or no room for more: what was read counts.
                None if dst.done() == 0 => return Err(Errno::EAGAIN),
                Some(Err(e)) if dst.done() == 0 => return Err(e),
                _ => return Ok(dst.done()),
            };
            dst.put(event.head.as_bytes())?;
            dst.put(&event.name)?;
            dst.put_zeros(event.head.len as usize - event.name.len())?;
            nonblock = true;
        }
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&self.readers);
        if self.state.lock().events.is_empty() { PollEvents::empty() } else { PollEvents::READABLE }
    }
    fn ioctl(&self, _f: &File, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
        const FIONREAD: u32 = 0x541b;
        if cmd != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let bytes: usize = self.state.lock().events.iter().map(|e| HEAD + e.head.len as usize).sum();
        UserPtr::new(VirtAddr(arg)).write(caller.mm, &(bytes as i32))?;
        Ok(0)
    }
    fn fsync(&self, _f: &File, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}

//! Directory notification (fcntl(2), `F_NOTIFY`): a signal to the owner of an open directory when something happens in it.
//!
//! A [`DirWatch`] is a watcher of the inode like an inotify instance. It belongs to one description and one descriptor table and ends with the
//! first descriptor that is closed, so the inode keeps it, where closing looks for locks anyway. Events only count: the signals are
//! sent by whom [`watch`] names, outside the locks of the operation.
//!
//! Lock order: the list of an inode's watches, then one watch's state; both are leaves otherwise.

use crate::attr::FileType;
use crate::file::File;
use crate::inode::Inode;
use crate::notify::{self, Event, Watcher};
use crate::rare::Rare;
use abi::Errno;
use abi::fcntl::dn;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::*};
use machine::sync::SpinLock;

/// Not 0: directories may be watched (`fs.dir-notify-enable`).
pub static ENABLED: AtomicU32 = AtomicU32::new(1);

/// Receives a watch whose events are due.
pub type Due = fn(Arc<DirWatch>);

#[derive(Clone, Copy)]
struct Wanted {
    fd: i32,
    events: Event,
    again: bool,
}

/// What one process wants to know of one open directory.
pub struct DirWatch {
    me: Weak<DirWatch>,
    file: Weak<File>,
    table: u64,
    wanted: SpinLock<Wanted>,
    /// Events of which the owner has not been told.
    events: AtomicU32,
    due: Due,
}

/// The directory watches of an inode.
pub(crate) type DirWatches = SpinLock<Vec<Arc<DirWatch>>>;

fn wanted_events(arg: u32) -> Event {
    const PAIRS: [(u32, Event); 6] = [
        (dn::ACCESS, Event::ACCESS),
        (dn::MODIFY, Event::MODIFY),
        (dn::CREATE, Event::CREATE.union(Event::MOVED_TO)),
        (dn::DELETE, Event::DELETE.union(Event::MOVED_FROM)),
        (dn::RENAME, Event::RENAME),
        (dn::ATTRIB, Event::ATTRIB),
    ];
    PAIRS.iter().filter(|(bit, _)| arg & bit != 0).map(|&(_, event)| event).collect()
}

/// Has the owner of `file` told of what `arg` (`DN_*`) names, in addition to what it names already; 0 ends it. `table` and `fd` say whose
/// descriptor was used.
pub fn watch(file: &Arc<File>, table: u64, fd: i32, arg: u32, due: Due) -> Result<(), Errno> {
    if ENABLED.load(Relaxed) == 0 {
        return Err(Errno::EINVAL);
    }
    if arg & !dn::MULTISHOT == 0 {
        if let Some(rare) = file.inode().base().rare_if_any() {
            descriptor_closed(rare, file, table);
        }
        return Ok(());
    }
    if file.path().dentry.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    let (events, again) = (wanted_events(arg), arg & dn::MULTISHOT != 0);
    let mut list = file.inode().base().rare().dir_watches.lock();
    if let Some(known) = list.iter().find(|w| w.is_of(file, table)) {
        let mut wanted = known.wanted.lock();
        *wanted = Wanted { fd, events: wanted.events | events, again: wanted.again | again };
        return Ok(());
    }
    list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    let new = Arc::new_cyclic(|me| DirWatch {
        me: me.clone(),
        file: Arc::downgrade(file),
        table,
        wanted: SpinLock::new(Wanted { fd, events, again }),
        events: AtomicU32::new(0),
        due,
    });
    list.push(new.clone());
    drop(list);
    notify::watch(file.inode(), &(new as Arc<dyn Watcher>));
    Ok(())
}

/// A descriptor of `file` in `table` was closed: what was asked for through them ends.
pub(crate) fn descriptor_closed(rare: &Rare, file: &Arc<File>, table: u64) {
    let gone = {
        let mut list = rare.dir_watches.lock();
        let place = list.iter().position(|w| w.is_of(file, table));
        place.map(|i| list.swap_remove(i))
    };
    if let Some(gone) = gone {
        notify::unwatch(file.inode(), &(gone as Arc<dyn Watcher>));
    }
}

impl DirWatch {
    fn is_of(&self, file: &Arc<File>, table: u64) -> bool {
        self.table == table && core::ptr::eq(self.file.as_ptr(), Arc::as_ptr(file))
    }
    /// The events of which nobody was told yet, and where they are to be reported.
    pub fn take(&self) -> Option<(u32, Arc<File>, i32)> {
        let fd = self.wanted.lock().fd;
        Some((self.events.swap(0, AcqRel), self.file.upgrade()?, fd))
    }
}

impl Watcher for DirWatch {
    fn event(&self, _inode: &Arc<dyn Inode>, event: Event, _cookie: u32, name: &[u8]) {
        // Of the directory itself counts what was done to it as a directory.
        if name.is_empty() && !event.contains(Event::ISDIR) {
            return;
        }
        {
            let mut wanted = self.wanted.lock();
            if !wanted.events.intersects(event) {
                return;
            }
            if !wanted.again {
                wanted.events = Event::empty();
            }
        }
        if self.events.fetch_add(1, AcqRel) == 0
            && let Some(me) = self.me.upgrade()
        {
            (self.due)(me);
        }
    }
}

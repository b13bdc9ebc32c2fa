//! inotify (`linux/inotify.h`; inotify(7)).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct inotify_event`; `len` bytes of name follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InotifyEvent {
    /// Watch descriptor, -1 for an overflow of the queue.
    pub wd: i32,
    /// `IN_*` bits.
    pub mask: u32,
    /// Joins the two events of a rename.
    pub cookie: u32,
    /// Bytes of the name, NULs included.
    pub len: u32,
}

/// Every event a watch can ask for.
pub const IN_ALL_EVENTS: u32 = 0xfff;
/// The file system was unmounted.
pub const IN_UNMOUNT: u32 = 0x2000;
/// The queue overflowed.
pub const IN_Q_OVERFLOW: u32 = 0x4000;
/// The watch was removed.
pub const IN_IGNORED: u32 = 0x8000;
/// Only if the path is a directory.
pub const IN_ONLYDIR: u32 = 0x0100_0000;
/// Do not follow a symbolic link.
pub const IN_DONT_FOLLOW: u32 = 0x0200_0000;
/// No events for children that were unlinked.
pub const IN_EXCL_UNLINK: u32 = 0x0400_0000;
/// Fail if the inode is watched already.
pub const IN_MASK_CREATE: u32 = 0x1000_0000;
/// Add to the mask of an existing watch.
pub const IN_MASK_ADD: u32 = 0x2000_0000;
/// The subject of the event is a directory.
pub const IN_ISDIR: u32 = 0x4000_0000;
/// One event, then the watch is gone.
pub const IN_ONESHOT: u32 = 0x8000_0000;

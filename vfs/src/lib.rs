//! The virtual file system: one tree of names over many file systems, and the open files of processes.
//!
//! - [`inode`] is what a file system implements, [`superblock`] an instance of one, [`fileops`] what can be opened.
//! - [`dentry`] caches the names (bounded by [`dcache`]), [`mount`] and [`namespace`] join instances to one tree, [`walk`] finds a place in it from text, [`open`]
//!   and [`ops`] act on it by the rules of permission.
//! - [`file`] is an open file, [`fdtable`] the descriptors of a process, [`fscontext`] its root and working directory.
//! - [`locks`], [`notify`] (with [`inotify`] and [`dnotify`]) and [`poll`] are what programs ask of open files besides data; [`devices`] and [`anon`] are files without
//!   contents of a file system.
//!
//! Lock order (outermost first):
//!
//! ```text
//! File::pos_lock (sleeping)
//!   rename::RENAME (sleeping; renames between directories)
//!     InodeBase::lock of directories, ancestors first (sleeping)
//!       InodeBase::lock of a file (sleeping)
//!         locks of the file system, then of mm (see there)
//!           spin locks of this crate, each documented where it is declared; never two of a kind
//! namespace::TREE (sleeping; taken with none of the above held)
//! ```
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod anon;
pub mod attr;
pub mod caller;
mod clock;
pub mod config;
pub mod cred;
pub mod dcache;
pub mod dentry;
pub mod devices;
pub mod dnotify;
pub mod fdtable;
pub mod file;
pub mod fileops;
pub mod fscontext;
pub mod idmap;
pub mod inode;
pub mod inotify;
pub mod locks;
pub mod mapping;
pub mod mount;
mod name;
pub mod namespace;
pub mod notify;
pub mod ns;
pub mod number;
pub mod open;
pub mod ops;
pub mod path;
pub mod permission;
pub mod poll;
pub mod privileges;
pub mod propagate;
mod rare;
pub mod rename;
pub mod superblock;
pub mod user_ns;
pub mod user_ns_maps;
pub mod walk;
pub mod xattrs;

pub use anon::{AnonInode, PseudoFs, anon_file};
pub use attr::{Attr, FileType, SetAttr, Timespec, dev_from_user, dev_to_user, major, makedev, minor};
pub use caller::{Caller, JobControl, NoJobs, ProcessId, SignalSource, install_jobs, jobs};
pub use clock::now;
pub use config::{Configure, Kind, MountContext, Mounting, Param, Value};
pub use cred::{Cap, CapSet, Cred};
pub use dentry::Dentry;
pub use devices::{CharDevice, register_char, register_fifo};
pub use fdtable::FdTable;
pub use file::{File, emit_dots};
pub use fileops::{DirSink, FileOps, MmapKind};
pub use fscontext::{Dirs, FsContext};
pub use inode::{Inode, InodeBase, Rename, Times, may, next_ino};
pub use mapping::Mapping;
pub use mm::io::{Dst, Src};
pub use mm::pagecache::{PageBacking, PageCache};
pub use mount::{MntFlags, Mount};
pub use namespace::MountNamespace;
pub use ns::{Namespace, NsHead, NsId, NsKind};
pub use path::Path;
pub use poll::{PollEvents, PollTable};
pub use rare::Rare;
pub use superblock::{FsType, SbFlags, StatFs, SuperBlock, SuperOps, find_fs, register_fs};
pub use user_ns::UserNamespace;
pub use walk::Start;

/// Prepares the dentry cache: called once at boot, after memory, with a random number.
pub fn init(seed: u64) {
    name::seed_names(seed);
    mm::pagecache::reclaim::register_shrinker(dcache::shrink);
}

//! `cgroup2`: control groups as a file system (cgroups(7)). The groups themselves are `task::cgroup`; here are their directories.
//!
//! - [`dir`] is the directory of a group: mkdir makes a group, rmdir removes one;
//! - [`control`] is the table of files, with the functions that show and take their texts in [`core_files`], [`pids_files`]
//!   and [`cpu_files`];
//! - [`file`] is an open file of that table; [`parse`] reads numbers as the kernel takes them.
//!
//! All mounts show one instance; those made in a cgroup namespace start at the root of the namespace.
//!
//! Lock order: vfs's directory and file locks, then `Dir::children` and `Dir::files`, then those of `task::cgroup`.
//!
//! Sources: cgroups(7), Linux `Documentation/admin-guide/cgroup-v2.rst`.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod control;
mod core_files;
mod cpu_files;
mod dir;
mod file;
mod options;
mod parse;
mod pids_files;

use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use dir::Dir;
use machine::sync::Once;
use task::cgroup::{self, Cgroup};
use vfs::{Configure, File, FsType, SbFlags, StatFs, SuperBlock, SuperOps};

/// `statfs` type.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// Makes `cgroup2` known to mount(2) and its directories to CLONE_INTO_CGROUP.
pub fn init() {
    cgroup::set_of_file(of_file);
    vfs::register_fs(&Cgroup2);
}

pub use control::delegatable;

/// What user space may rely on beyond the files it sees (`/sys/kernel/cgroup/features`).
pub const FEATURES: &str = "nsdelegate\npids_localevents\n";

fn of_file(file: &File) -> Option<Arc<Cgroup>> {
    file.inode().as_any().downcast_ref::<Dir>().map(|dir| dir.group().clone())
}

struct Cgroup2;

impl FsType for Cgroup2 {
    fn name(&self) -> &'static str {
        "cgroup2"
    }
    fn in_user_ns(&self) -> bool {
        true
    }
    fn shown_root(&self) -> Option<Vec<u8>> {
        let top = cgroup::seen_from();
        if top.is_root() { None } else { Some(top.path_from(cgroup::root())) }
    }
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(options::Asked::default()))
    }
}

impl Cgroup2 {
    /// The root of the one instance.
    fn root() -> Arc<Dir> {
        static ROOT: Once<Arc<Dir>> = Once::new();
        let root = ROOT.get_or_init(|| {
            let sb = SuperBlock::new("cgroup2", SbFlags::REVALIDATE, Box::new(Super));
            Dir::root(&sb, cgroup::root())
        });
        root.clone()
    }
}

struct Super;

impl SuperOps for Super {
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs { magic: CGROUP2_SUPER_MAGIC, bsize: 4096, namelen: 255, ..StatFs::default() })
    }
    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        options::show(out)
    }
    fn configure(&self) -> Box<dyn Configure> {
        Box::new(options::Asked::default())
    }
}

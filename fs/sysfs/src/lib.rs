//! `/sys`: the part of sysfs(5) that has something real behind it: the processors, the clock source, the mount points of control
//! groups and of debugfs, and what other parts of the kernel tell about themselves in `/sys/kernel`. [`debug`] is debugfs.
//!
//! The trees never change after boot. Each is made whole at the first mount, shared by all mounts, and its inodes live as
//! long as the kernel. There are no locks.
//!
//! Sources: Linux `Documentation/ABI/stable/sysfs-devices-system-cpu`, `Documentation/filesystems/debugfs.rst`.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod clocks;
mod cpus;
pub mod debug;
mod tree;

use abi::Errno;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::sync::{Once, SpinLock};
use tree::Node;
use vfs::config::Plain;
use vfs::{Configure, FsType, SbFlags, StatFs, SuperBlock, SuperOps};

/// `statfs` type of /sys.
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// A file in `/sys/kernel`.
pub struct KernelFile {
    /// The directory it is in, none for `/sys/kernel` itself.
    pub dir: Option<&'static str>,
    /// Its name.
    pub name: &'static str,
    /// Makes its text.
    pub show: fn() -> String,
}

static KERNEL: SpinLock<Vec<KernelFile>> = SpinLock::new(Vec::new());

/// Adds files to `/sys/kernel`; before the first mount.
pub fn add_kernel_files(files: impl IntoIterator<Item = KernelFile>) {
    KERNEL.lock().extend(files);
}

fn kernel_dir(sb: &Arc<SuperBlock>) -> Arc<Node> {
    let files = KERNEL.lock();
    let inside = |dir| files.iter().filter(move |f| f.dir == dir).map(|f| (f.name.into(), Node::live(sb, f.show)));
    let mut entries: Vec<(String, Arc<Node>)> = inside(None).collect();
    for file in files.iter() {
        if let Some(dir) = file.dir
            && !entries.iter().any(|(name, _)| name == dir)
        {
            entries.push((dir.into(), Node::dir(sb, inside(Some(dir)).collect())));
        }
    }
    entries.push(("debug".into(), Node::dir(sb, Vec::new())));
    Node::dir(sb, entries)
}

/// Makes `sysfs` and `debugfs` known to mount(2).
pub fn init() {
    vfs::register_fs(&SysfsType);
    vfs::register_fs(&debug::DebugfsType);
}

struct SysfsType;

impl FsType for SysfsType {
    fn name(&self) -> &'static str {
        "sysfs"
    }
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(Plain(|_| Ok(SysfsType::root()))))
    }
}

impl SysfsType {
    fn root() -> Arc<Node> {
        static ROOT: Once<Arc<Node>> = Once::new();
        let root = ROOT.get_or_init(|| {
            let sb = SuperBlock::new("sysfs", SbFlags::CACHE_NEGATIVE, Box::new(Sysfs));
            let dir = |entries| Node::dir(&sb, entries);
            let cpus = cpus::directory(&sb);
            let system = dir(alloc::vec![("clocksource".into(), clocks::directory(&sb)), ("cpu".into(), cpus)]);
            let devices = dir(alloc::vec![("system".into(), system)]);
            let fs = dir(alloc::vec![("cgroup".into(), dir(alloc::vec![]))]);
            dir(alloc::vec![
                ("class".into(), dir(alloc::vec![])),
                ("devices".into(), devices),
                ("fs".into(), fs),
                ("kernel".into(), kernel_dir(&sb)),
            ])
        });
        root.clone()
    }
}

struct Sysfs;

impl SuperOps for Sysfs {
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs { magic: SYSFS_MAGIC, bsize: 4096, namelen: 255, ..StatFs::default() })
    }
}

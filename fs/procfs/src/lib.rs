//! `/proc`: processes and the state of the machine as text (proc(5)).
//!
//! - [`root`] is the root directory's table, [`system`] and [`interrupts`] its files, [`sysctl`] the tree `/proc/sys`, [`sysvipc`] what System V IPC shows;
//! - [`pid`] is the directory of a process or thread, one module a group of its files;
//! - [`mount`] makes and changes instances; [`options`] says what an instance shows, and to whom;
//! - [`node`], [`dir`] and [`file`] are inodes, listings and open files; [`text`] builds texts.
//!
//! A file is a function that writes its text when it is read. Nothing is shown that the kernel does not know: files and lines
//! without anything real behind them are left out.
//!
//! Lock order: `TextFile::text` (sleeping) is held while a text is made and so comes before the locks of `task`, `mm` and
//! `vfs` that the text needs; of those, one is held at a time.
//!
//! Sources: proc(5) and the proc_*(5) pages; the formats are those of Linux.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod access;
pub mod dir;
pub mod faults;
pub mod file;
mod interrupts;
mod kmsg;
mod locks;
pub mod log;
mod mount;
pub mod node;
mod options;
pub mod pid;
pub mod root;
mod shown;
pub mod sysctl;
pub mod sysrq;
pub mod system;
pub mod sysvipc;
pub mod text;

use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use machine::sync::Once;
use mount::Setup;
use options::Options;
use task::Task;
use task::ns::PidNamespace;
use vfs::{Configure, FsType, StatFs, SuperBlock, SuperOps};

/// `statfs` type of /proc.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// A controlling terminal as sessions hold it.
pub type Terminal = Arc<dyn Any + Send + Sync>;

/// What lies on floors that this crate does not know.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Device number and foreground process group of a controlling terminal.
    pub describe_tty: fn(&Terminal) -> Option<(u32, i32)>,
    /// Fills a buffer with random bytes.
    pub fill_random: fn(&mut [u8]),
    /// Name of a system call.
    pub call_name: fn(u32) -> Option<&'static str>,
}

static HOOKS: Once<Hooks> = Once::new();

/// Makes `proc` known to mount(2).
pub fn init(hooks: Hooks) {
    let _ = HOOKS.set(hooks);
    task::pidfd::set_of_directory(pid::process_of);
    vfs::register_fs(&ProcType);
}

pub(crate) fn describe_tty(tty: &Terminal) -> Option<(u32, i32)> {
    (HOOKS.get()?.describe_tty)(tty)
}

pub(crate) fn fill_random(out: &mut [u8]) {
    if let Some(hooks) = HOOKS.get() {
        (hooks.fill_random)(out);
    }
}

pub(crate) fn call_name(number: u32) -> Option<&'static str> {
    (HOOKS.get()?.call_name)(number)
}

/// The calling task; `None` for a kernel thread.
pub(crate) fn current() -> Option<Arc<Task>> {
    task::jobs::current()
}

struct ProcType;

impl FsType for ProcType {
    fn name(&self) -> &'static str {
        "proc"
    }
    fn in_user_ns(&self) -> bool {
        true
    }
    fn reveals(&self) -> bool {
        true
    }
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(Setup::new()))
    }
}

/// An instance: it shows the processes of one pid namespace, by the numbers they have there.
struct Proc {
    ns: Arc<PidNamespace>,
    options: Options,
}

/// By how much the boot-time clock of the reader's time namespace is ahead.
fn boottime_ahead() -> i64 {
    current().and_then(|me| me.handles()).map_or(0, |handles| handles.ns.time.boottime_ns())
}

/// The options of an instance.
pub(crate) fn options_of(sb: &SuperBlock) -> Option<&Options> {
    let ops: &dyn Any = sb.ops();
    ops.downcast_ref::<Proc>().map(|proc| &proc.options)
}

/// The pid namespace that an instance shows.
pub(crate) fn ns_of(sb: &SuperBlock) -> &Arc<PidNamespace> {
    let ops: &dyn Any = sb.ops();
    ops.downcast_ref::<Proc>().map_or_else(|| PidNamespace::first(), |proc| &proc.ns)
}

impl SuperOps for Proc {
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs { magic: PROC_SUPER_MAGIC, bsize: 4096, namelen: 255, ..StatFs::default() })
    }
    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.options.show(out)
    }
    fn configure(&self) -> Box<dyn Configure> {
        Box::new(Setup::new())
    }
}

//! The root directory: fixed entries, then one directory a process.

use crate::access::{self, Judge};
use crate::dir::{NUMBERED, decimal, number};
use crate::node::{self, Node, What};
use crate::options::hide;
use crate::pid::{self, PidDir, Subject};
use crate::text::Text;
use crate::{interrupts, kmsg, locks, log, shown, sysctl, sysrq, system};
use abi::Errno;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use task::ns::PidNamespace;
use vfs::{Caller, DirSink, FileOps, FileType, Inode, SuperBlock};

/// Writes a file's text.
pub type Show = fn(&mut Text) -> Result<(), Errno>;
/// Takes what is written to a file.
pub type Store = fn(&[u8]) -> Result<(), Errno>;

/// Opens a file that is no text.
pub type Open = fn(&Caller<'_>) -> Result<Arc<dyn FileOps>, Errno>;

/// Makes the text of a link in an instance that shows this namespace.
pub type LinkText = fn(&PidNamespace) -> Result<Arc<[u8]>, Errno>;

/// A file whose text does not depend on a process.
pub struct TextEntry {
    /// Its name.
    pub name: &'static str,
    /// Its permission bits.
    pub mode: u32,
    /// Makes the text.
    pub show: Show,
    /// Takes what is written.
    pub store: Option<Store>,
    /// Who may open it, if not who may any file with this mode.
    pub judge: Option<Judge>,
}

/// An entry of a fixed table.
pub enum Entry {
    /// A file.
    Text(TextEntry),
    /// A file that is no text.
    Opened(&'static str, u32, Open),
    /// A directory.
    Dir(&'static str, &'static [Entry]),
    /// A symbolic link.
    Link(&'static str, LinkText),
}

impl Entry {
    /// A file that can only be read.
    pub const fn read(name: &'static str, show: Show) -> Entry {
        Entry::Text(TextEntry { name, mode: 0o444, show, store: None, judge: None })
    }
    /// A setting that stays as it is.
    pub const fn constant(name: &'static str, show: Show) -> Entry {
        Entry::Text(TextEntry { name, mode: 0o444, show, store: None, judge: Some(access::machine) })
    }
    /// A setting of the machine.
    pub const fn setting(name: &'static str, show: Show, store: Store) -> Entry {
        Entry::setting_of(access::machine, name, show, store)
    }
    /// A setting of whom the judge knows.
    pub const fn setting_of(judge: Judge, name: &'static str, show: Show, store: Store) -> Entry {
        Entry::Text(TextEntry { name, mode: 0o644, show, store: Some(store), judge: Some(judge) })
    }
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Entry::Text(text) => text.name,
            Entry::Opened(name, ..) | Entry::Dir(name, _) | Entry::Link(name, _) => name,
        }
    }
    /// Its type.
    pub fn kind(&self) -> FileType {
        match self {
            Entry::Text(_) | Entry::Opened(..) => FileType::Regular,
            Entry::Dir(..) => FileType::Directory,
            Entry::Link(..) => FileType::Symlink,
        }
    }
}

/// The fixed entries of /proc.
pub static ENTRIES: &[Entry] = &[
    Entry::read("buddyinfo", system::buddyinfo),
    Entry::read("cgroups", system::cgroups),
    Entry::read("consoles", log::consoles),
    Entry::read("cmdline", system::cmdline),
    Entry::read("cpuinfo", system::cpuinfo),
    Entry::read("devices", system::devices),
    Entry::read("diskstats", system::diskstats),
    Entry::read("execdomains", system::execdomains),
    Entry::read("filesystems", system::filesystems),
    Entry::read("interrupts", interrupts::show),
    Entry::Opened("kmsg", 0o400, kmsg::open),
    Entry::read("loadavg", system::loadavg),
    Entry::read("locks", locks::show),
    Entry::read("meminfo", system::meminfo),
    Entry::Link("mounts", |_| Ok(Arc::from(&b"self/mounts"[..]))),
    Entry::Link("net", |_| Ok(Arc::from(&b"self/net"[..]))),
    Entry::read("partitions", system::partitions),
    Entry::Link("self", self_link),
    Entry::Text(TextEntry { name: "slabinfo", mode: 0o400, show: system::slabinfo, store: None, judge: None }),
    Entry::read("stat", system::stat),
    Entry::read("swaps", system::swaps),
    Entry::Dir("sys", sysctl::ENTRIES),
    Entry::Dir("sysvipc", crate::sysvipc::ENTRIES),
    // Linux has no text there either.
    Entry::Text(TextEntry {
        name: "sysrq-trigger",
        mode: 0o200,
        show: |_| Err(Errno::EIO),
        store: Some(sysrq::trigger),
        judge: None,
    }),
    Entry::Link("thread-self", thread_self_link),
    Entry::Dir("tty", &[]),
    Entry::read("uptime", system::uptime),
    Entry::read("version", system::version),
    Entry::read("vmstat", system::vmstat),
];

/// The fixed entries that an instance shows: with `subset=pid` those that lead to processes.
pub fn entries(sb: &SuperBlock) -> impl Iterator<Item = &'static Entry> + use<> {
    let only = crate::options_of(sb).is_some_and(|options| options.only_processes);
    ENTRIES.iter().filter(move |entry| !only || matches!(entry.name(), "self" | "thread-self"))
}

/// Finds an entry of the root directory.
pub fn lookup(sb: &Arc<SuperBlock>, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
    if let Some(entry) = entries(sb).find(|entry| entry.name().as_bytes() == name) {
        return Ok(node::from_entry(sb, entry));
    }
    // Threads are found under their own number too, though they are not listed.
    let tid = number(name).ok_or(Errno::ENOENT)?;
    let ns = crate::ns_of(sb);
    let process = ns.find_process(tid).or_else(|| ns.find_task(tid).map(|t| t.process().clone()));
    let process = process.ok_or(Errno::ENOENT)?;
    let subject = Subject::of_process(&process, ns);
    if crate::options_of(sb).is_some_and(|options| !options.finds(&subject)) {
        return Err(Errno::ENOENT);
    }
    shown::note(&process, sb, tid);
    Ok(Node::new(sb, FileType::Directory.mode() | 0o555, What::PidDir(Arc::new(subject), PidDir::Process)))
}

/// Lists processes; the position of process `n` is `NUMBERED + n`.
pub fn list_processes(sb: &SuperBlock, pos: u64, sink: &mut dyn DirSink) -> u64 {
    let (ns, options) = (crate::ns_of(sb), crate::options_of(sb));
    let mut at = pos;
    while let Some((pid, process)) = i32::try_from(at - NUMBERED).ok().and_then(|from| ns.next_process(from)) {
        let pid = pid as u64;
        at = NUMBERED + pid;
        if options.is_some_and(|o| o.hides() && !o.shows(&Subject::of_process(&process, ns), hide::INVISIBLE)) {
            at += 1;
            continue;
        }
        let mut buf = [0; 20];
        let name = decimal(pid, &mut buf);
        if !sink.entry(at + 1, pid::dir_ino(pid), FileType::Directory, name) {
            return at;
        }
        at += 1;
    }
    at
}

fn self_link(ns: &PidNamespace) -> Result<Arc<[u8]>, Errno> {
    let task = crate::current().ok_or(Errno::ENOENT)?;
    let pid = visible(task.process().number().nr_in(ns))?;
    let mut buf = [0; 20];
    Ok(Arc::from(decimal(pid, &mut buf)))
}

fn thread_self_link(ns: &PidNamespace) -> Result<Arc<[u8]>, Errno> {
    let task = crate::current().ok_or(Errno::ENOENT)?;
    let pid = visible(task.process().number().nr_in(ns))?;
    let text: Vec<u8> = format!("{pid}/task/{}", ns.nr_of(task.tid())).into_bytes();
    Ok(Arc::from(text))
}

/// Who has no number in the instance's namespace does not find himself.
fn visible(nr: i32) -> Result<u64, Errno> {
    u64::try_from(nr).ok().filter(|nr| *nr != 0).ok_or(Errno::ENOENT)
}

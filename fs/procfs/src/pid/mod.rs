//! The directory of a process or thread: proc_pid(5).
//!
//! One table ([`ENTRIES`]) lists the files; each is a function in a module beside this one that writes text about a [`Subject`].

mod fd;
mod idmap;
mod ids;
mod limits;
mod links;
mod map_files;
mod maps;
mod memory;
mod mounts;
mod net;
mod pagemap;
mod query;
mod sched;
mod smaps;
mod stat;
mod status;
mod syscall;
mod timens;
mod timers;

use crate::dir::{NUMBERED, decimal, number};
use crate::node::{Node, What};
use crate::text::Text;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::{Arc, Weak};
pub use links::Link;
use task::access::{Creds, Mode, check};
use task::ns::PidNamespace;
use task::process::Life;
use task::{Process, Task, ns, tree};
use vfs::{Caller, Cred, DirSink, File, FileOps, FileType, Inode, SuperBlock};

/// Which directory of a subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PidDir {
    /// `/proc/PID`.
    Process,
    /// `/proc/PID/task/TID`.
    Thread,
    /// `task`.
    Tasks,
    /// `fd`.
    Fds,
    /// `fdinfo`.
    FdInfos,
    /// `ns`.
    Namespaces,
    /// `map_files`.
    MapFiles,
    /// `net`.
    Net,
}

impl PidDir {
    /// The directories of threads have it too.
    fn is_in_threads(self) -> bool {
        !matches!(self, PidDir::Tasks | PidDir::MapFiles)
    }
}

/// Who may open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// Everybody the mode lets in.
    None,
    /// Who may trace the process.
    Trace,
}

/// Which directories a file is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Those of processes and of threads.
    Everywhere,
    /// Those of processes.
    Whole,
    /// Those of threads.
    Thread,
}

impl Place {
    fn is_in(self, dir: PidDir) -> bool {
        match self {
            Place::Everywhere => true,
            Place::Whole => dir == PidDir::Process,
            Place::Thread => dir == PidDir::Thread,
        }
    }
}

/// Writes a file's text for the open file that is read.
pub type Show = fn(&Subject, &File, &mut Text) -> Result<(), Errno>;
/// Writes a page of records, or one that is longer, from a position on (0 is the first); gives the position of the next.
pub type Records = fn(&Subject, u64, &mut Text) -> Result<Option<u64>, Errno>;
/// Takes what is written to a file.
pub type Store = fn(&Subject, &File, &[u8]) -> Result<(), Errno>;
/// A command for an open text file.
pub type Ioctl = fn(&Subject, &File, &Caller<'_>, u32, u64) -> Result<i64, Errno>;
/// Opens a file that is no text.
pub type Open = fn(&Arc<Subject>, OpenFlags) -> Result<Arc<dyn FileOps>, Errno>;

/// A file of a process directory.
pub struct PidEntry {
    name: &'static str,
    mode: u32,
    guard: Guard,
    /// Which directories it is in.
    place: Place,
    /// Makes the text.
    pub show: Show,
    /// Takes what is written.
    pub store: Option<Store>,
    /// Opens a file that is no text.
    pub open: Option<Open>,
    /// Makes the text in parts instead of at once.
    pub records: Option<Records>,
    /// Takes commands.
    pub ioctl: Option<Ioctl>,
    /// Its lines are records: a read of a page or more ends with one.
    pub lines: bool,
}

const fn read(name: &'static str, mode: u32, guard: Guard, show: Show) -> PidEntry {
    PidEntry {
        name,
        mode,
        guard,
        place: Place::Everywhere,
        show,
        store: None,
        open: None,
        records: None,
        ioctl: None,
        lines: false,
    }
}

const fn write(name: &'static str, mode: u32, show: Show, store: Store) -> PidEntry {
    PidEntry { store: Some(store), ..read(name, mode, Guard::None, show) }
}

const fn opened(name: &'static str, mode: u32, guard: Guard, open: Open) -> PidEntry {
    PidEntry { open: Some(open), ..read(name, mode, guard, |_, _, _| Err(Errno::EIO)) }
}

const fn records(name: &'static str, mode: u32, guard: Guard, records: Records) -> PidEntry {
    lines(PidEntry { records: Some(records), ..read(name, mode, guard, |_, _, _| Err(Errno::EIO)) })
}

const fn lines(entry: PidEntry) -> PidEntry {
    PidEntry { lines: true, ..entry }
}

const fn whole(entry: PidEntry) -> PidEntry {
    PidEntry { place: Place::Whole, ..entry }
}

/// The files of a process directory, by name.
static ENTRIES: &[PidEntry] = &[
    read("auxv", 0o400, Guard::Trace, memory::auxv),
    read("cgroup", 0o444, Guard::None, ids::cgroup),
    PidEntry { place: Place::Thread, ..read("children", 0o444, Guard::None, ids::children) },
    write("clear_refs", 0o200, |_, _, _| Err(Errno::EINVAL), smaps::clear_refs),
    read("cmdline", 0o444, Guard::None, memory::cmdline),
    write("comm", 0o644, ids::comm, ids::set_comm),
    whole(write("coredump_filter", 0o644, ids::coredump_filter, ids::set_coredump_filter)),
    read("environ", 0o400, Guard::Trace, memory::environ),
    opened("gid_map", 0o644, Guard::None, idmap::open_gid_map),
    read("limits", 0o444, Guard::None, limits::limits),
    PidEntry { ioctl: Some(query::ioctl), ..records("maps", 0o444, Guard::Trace, maps::maps) },
    opened("mem", 0o600, Guard::Trace, memory::open_mem),
    lines(read("mountinfo", 0o444, Guard::None, mounts::mountinfo)),
    lines(read("mounts", 0o444, Guard::None, mounts::mounts)),
    whole(read("mountstats", 0o400, Guard::None, mounts::mountstats)),
    read("oom_score", 0o444, Guard::None, ids::oom_score),
    write("oom_score_adj", 0o644, ids::oom_score_adj, ids::set_oom_score_adj),
    opened("pagemap", 0o400, Guard::Trace, pagemap::open),
    read("personality", 0o400, Guard::Trace, ids::personality),
    opened("projid_map", 0o644, Guard::None, idmap::open_projid_map),
    read("sched", 0o444, Guard::None, sched::show),
    opened("setgroups", 0o644, Guard::None, idmap::open_setgroups),
    records("smaps", 0o444, Guard::Trace, smaps::smaps),
    read("smaps_rollup", 0o444, Guard::Trace, smaps::rollup),
    read("stat", 0o444, Guard::None, stat::stat),
    read("statm", 0o444, Guard::None, stat::statm),
    read("status", 0o444, Guard::None, status::status),
    opened("uid_map", 0o644, Guard::None, idmap::open_uid_map),
    read("syscall", 0o400, Guard::None, syscall::show),
    whole(write("timens_offsets", 0o644, timens::show, timens::store)),
    whole(read("timers", 0o444, Guard::None, timers::show)),
    whole(write("timerslack_ns", 0o666, timers::slack, timers::set_slack)),
    read("wchan", 0o444, Guard::None, ids::wchan),
];

/// The file of one descriptor in `fdinfo`.
static FDINFO: PidEntry = read("", 0o400, Guard::None, fd::fdinfo);

/// Magic links and directories, by name.
const LINKS: [(&str, Link); 3] = [("cwd", Link::Cwd), ("exe", Link::Exe), ("root", Link::Root)];
const DIRS: [(&str, PidDir, u32); 6] = [
    ("fd", PidDir::Fds, 0o500),
    ("fdinfo", PidDir::FdInfos, 0o555),
    ("map_files", PidDir::MapFiles, 0o500),
    ("net", PidDir::Net, 0o555),
    ("ns", PidDir::Namespaces, 0o511),
    ("task", PidDir::Tasks, 0o555),
];

/// A process or one of its threads, as long as it exists.
pub struct Subject {
    process: Weak<Process>,
    /// The pid namespace whose numbers its files show.
    ns: Arc<PidNamespace>,
    /// `None`: the process as a whole.
    thread: Option<Weak<Task>>,
    /// The descriptor that a file in `fdinfo` is about.
    fd: Option<i32>,
}

impl Subject {
    /// A process.
    pub fn of_process(process: &Arc<Process>, ns: &Arc<PidNamespace>) -> Subject {
        Subject { process: Arc::downgrade(process), ns: ns.clone(), thread: None, fd: None }
    }
    fn of_thread(&self, task: &Arc<Task>) -> Subject {
        Subject { process: self.process.clone(), ns: self.ns.clone(), thread: Some(Arc::downgrade(task)), fd: None }
    }
    fn with_fd(&self, fd: i32) -> Subject {
        Subject { process: self.process.clone(), ns: self.ns.clone(), thread: self.thread.clone(), fd: Some(fd) }
    }
    /// The pid namespace whose numbers its files show.
    pub fn ns(&self) -> &PidNamespace {
        &self.ns
    }
    /// The process; ESRCH after it was waited for.
    pub fn process(&self) -> Result<Arc<Process>, Errno> {
        self.process.upgrade().filter(|process| process.life() != Life::Gone).ok_or(Errno::ESRCH)
    }
    /// The thread, or the leader of the process (a zombie's too).
    pub fn task(&self) -> Result<Arc<Task>, Errno> {
        if let Some(thread) = &self.thread {
            return thread.upgrade().filter(|task| task.files().is_some()).ok_or(Errno::ESRCH);
        }
        let process = self.process()?;
        process.leader().or_else(|| tree::find_task(process.pid())).ok_or(Errno::ESRCH)
    }
    /// It is a thread, not a process as a whole.
    pub fn is_thread(&self) -> bool {
        self.thread.is_some()
    }
    /// It still exists.
    pub fn is_alive(&self) -> bool {
        if self.fd.is_some_and(|fd| !self.has_fd(fd)) {
            return false;
        }
        match &self.thread {
            Some(_) => self.task().is_ok(),
            None => self.process().is_ok(),
        }
    }
    /// The descriptor is open.
    pub fn has_fd(&self, fd: i32) -> bool {
        self.file(fd).is_ok()
    }
    /// An area with these bounds shows a file.
    pub fn maps_file(&self, start: u64, end: u64) -> bool {
        map_files::file(self, start, end).is_ok()
    }
    /// The open file behind a descriptor.
    fn file(&self, fd: i32) -> Result<Arc<File>, Errno> {
        self.task()?.files().ok_or(Errno::ENOENT)?.get_any(fd).map_err(|_| Errno::ENOENT)
    }
    /// Owner of the files: the process's effective ids, or root when it does not let itself be dumped.
    pub fn owner(&self) -> (u32, u32) {
        use core::sync::atomic::Ordering::Relaxed;
        match self.process() {
            Ok(process) if process.dumpable.load(Relaxed) == 1 => {
                let cred = self.task().map_or_else(|_| process.cred(), |task| task.cred());
                (cred.euid, cred.egid)
            }
            // The superuser of the namespace the program was started in.
            Ok(process) => {
                let ns = process.program_ns();
                (ns.kuid(0).unwrap_or(0), ns.kgid(0).unwrap_or(0))
            }
            Err(_) => (0, 0),
        }
    }
    /// `cred` may look into the process: ptrace(2), "Ptrace access mode checking".
    pub fn may_trace(&self, cred: &Cred) -> Result<(), Errno> {
        let me = crate::current().ok_or(Errno::EACCES)?;
        check(me.process(), cred, &*self.task()?, Mode::Read, Creds::Fs).map_err(|_| Errno::EACCES)
    }
    /// `cred` may take hold of the process.
    pub fn may_attach(&self, cred: &Cred) -> Result<(), Errno> {
        let me = crate::current().ok_or(Errno::EPERM)?;
        check(me.process(), cred, &*self.task()?, Mode::Attach, Creds::Fs)
    }
    /// `cred` may open `entry`.
    pub fn may_open(&self, entry: &PidEntry, cred: &Cred) -> Result<(), Errno> {
        match entry.guard {
            Guard::None => Ok(()),
            Guard::Trace => self.may_trace(cred),
        }
    }
}

/// The process that an open `/proc/PID` stands for, if it still exists.
pub fn process_of(file: &File) -> Option<Result<Arc<Process>, Errno>> {
    match &file.inode().as_any().downcast_ref::<Node>()?.what {
        What::PidDir(subject, PidDir::Process) => Some(subject.process()),
        _ => None,
    }
}

/// Names and types of the fixed entries of a process's or thread's directory.
pub fn entries(dir: PidDir) -> impl Iterator<Item = (&'static str, FileType)> {
    let files = ENTRIES.iter().filter(move |e| e.place.is_in(dir));
    let dirs = DIRS.iter().filter(move |d| dir == PidDir::Process || d.1.is_in_threads());
    files
        .map(|e| (e.name, FileType::Regular))
        .chain(dirs.map(|d| (d.0, FileType::Directory)))
        .chain(LINKS.iter().map(|l| (l.0, FileType::Symlink)))
}

/// Names and types of the files about the network namespace of a process; none once it has ended.
pub fn net_entries(subject: &Subject) -> impl Iterator<Item = (&'static str, FileType)> + use<> {
    let alive = net::of(subject).is_ok();
    net::ENTRIES.iter().filter(move |_| alive).map(|e| (e.name, FileType::Regular))
}

/// Number shown for a process's directory in listings.
pub fn dir_ino(pid: u64) -> u64 {
    pid | 2 << 32
}

/// Finds `name` in a directory of `subject`.
pub fn lookup(sb: &Arc<SuperBlock>, subject: &Arc<Subject>, dir: PidDir, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
    match dir {
        PidDir::Process | PidDir::Thread => fixed(sb, subject, dir, name),
        PidDir::Tasks => {
            let tid = number(name).ok_or(Errno::ENOENT)?;
            let process = subject.process()?;
            let task =
                process.threads().into_iter().find(|task| subject.ns.nr_of(task.tid()) == tid).ok_or(Errno::ENOENT)?;
            let thread = Arc::new(subject.of_thread(&task));
            Ok(Node::new(sb, FileType::Directory.mode() | 0o555, What::PidDir(thread, PidDir::Thread)))
        }
        PidDir::Fds => {
            let fd = number(name).ok_or(Errno::ENOENT)?;
            let mode = fd::link_mode(&*subject.file(fd)?);
            Ok(Node::new(sb, FileType::Symlink.mode() | mode, What::PidLink(subject.clone(), Link::Fd(fd))))
        }
        PidDir::Namespaces => {
            let (_, which) = ns::LINKS.iter().find(|l| l.0.as_bytes() == name).ok_or(Errno::ENOENT)?;
            Ok(Node::new(sb, FileType::Symlink.mode() | 0o777, What::PidLink(subject.clone(), Link::Ns(*which))))
        }
        PidDir::MapFiles => {
            let (start, end) = map_files::bounds(name).ok_or(Errno::ENOENT)?;
            let me = crate::current().ok_or(Errno::ESRCH)?;
            subject.may_trace(&me.cred())?;
            let mode = map_files::link_mode(&*map_files::file(subject, start, end)?);
            let link = What::PidLink(subject.clone(), Link::Mapped(start, end));
            Ok(Node::new(sb, FileType::Symlink.mode() | mode, link))
        }
        PidDir::Net => {
            net::of(subject)?;
            let entry = net::ENTRIES.iter().find(|e| e.name.as_bytes() == name).ok_or(Errno::ENOENT)?;
            Ok(Node::new(sb, FileType::Regular.mode() | entry.mode, What::PidText(subject.clone(), entry)))
        }
        PidDir::FdInfos => {
            let fd = number(name).ok_or(Errno::ENOENT)?;
            subject.file(fd)?;
            let subject = Arc::new(subject.with_fd(fd));
            Ok(Node::new(sb, FileType::Regular.mode() | FDINFO.mode, What::PidText(subject, &FDINFO)))
        }
    }
}

fn fixed(sb: &Arc<SuperBlock>, subject: &Arc<Subject>, dir: PidDir, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
    let whole = dir == PidDir::Process;
    if let Some(entry) = ENTRIES.iter().find(|e| e.name.as_bytes() == name && e.place.is_in(dir)) {
        return Ok(Node::new(sb, FileType::Regular.mode() | entry.mode, What::PidText(subject.clone(), entry)));
    }
    if let Some((_, link)) = LINKS.iter().find(|l| l.0.as_bytes() == name) {
        return Ok(Node::new(sb, FileType::Symlink.mode() | 0o777, What::PidLink(subject.clone(), *link)));
    }
    let found = DIRS.iter().find(|d| d.0.as_bytes() == name && (whole || d.1.is_in_threads()));
    let (_, dir, mode) = found.ok_or(Errno::ENOENT)?;
    Ok(Node::new(sb, FileType::Directory.mode() | mode, What::PidDir(subject.clone(), *dir)))
}

/// Lists threads or descriptors from position `pos` on; number `n` has position `NUMBERED + n`.
pub fn list(subject: &Arc<Subject>, dir: PidDir, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
    if dir == PidDir::MapFiles {
        return map_files::list(subject, pos, sink);
    }
    let from = pos - NUMBERED;
    let mut buf = [0; 20];
    let mut at = pos;
    if dir == PidDir::Tasks {
        let mut tids: alloc::vec::Vec<u64> = subject
            .process()?
            .threads()
            .iter()
            .map(|task| subject.ns.nr_of(task.tid()) as u64)
            .filter(|tid| *tid >= from)
            .collect();
        tids.sort_unstable();
        for tid in tids {
            if !sink.entry(NUMBERED + tid + 1, dir_ino(tid), FileType::Directory, decimal(tid, &mut buf)) {
                return Ok(NUMBERED + tid);
            }
            at = NUMBERED + tid + 1;
        }
        return Ok(at);
    }
    let kind = if dir == PidDir::Fds { FileType::Symlink } else { FileType::Regular };
    let Some(files) = subject.task()?.files() else { return Ok(at) };
    let mut next = u32::try_from(from).map_err(|_| Errno::EINVAL)?;
    while let Some((fd, _)) = files.next_open(next) {
        let number = u64::from(fd);
        if !sink.entry(NUMBERED + number + 1, dir_ino(number) | 1 << 40, kind, decimal(number, &mut buf)) {
            return Ok(NUMBERED + number);
        }
        at = NUMBERED + number + 1;
        next = fd + 1;
    }
    Ok(at)
}

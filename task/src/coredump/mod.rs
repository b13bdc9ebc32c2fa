//! Core dumps: core(5).
//!
//! The thread that takes a deadly signal with the default action ends its group with [`begin`]. The others, on their way out, leave
//! their registers here ([`join`]) and wait; when all have, the first writes the core ([`run`]): to a file, or to a program that
//! `kernel.core_pattern` names, or to a server on a socket. SIGKILL ends a dump under way. The memory is read through the address space, page by page, and
//! what was never touched becomes a hole.
//!
//! - [`notes`]: threads and process in the notes of an ELF file; [`elf`]: the file itself;
//! - [`pattern`]: where it goes; [`sink`]: how it gets there; [`socket`]: what is said to a server.

mod elf;
mod notes;
mod pattern;
mod sink;
mod socket;

use crate::pidfd::{self, Identity};
use crate::process::SigState;
use crate::signal::send;
use crate::{Cx, Process, Task, helper};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::resource::Resource;
use abi::signal::{SigInfo, Signal};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use machine::sync::SpinLock;
use notes::ThreadNotes;
use sched::Completion;
use sink::Sink;
use socket::{Connection, want};
use vfs::open::{self, How};
use vfs::walk::Start;
use vfs::{Caller, Cred, File, Path, ops};

/// A dump under way.
pub struct Core {
    signal: i32,
    /// What the threads were doing.
    threads: SpinLock<Vec<Arc<ThreadNotes>>>,
    /// How many have come, also those for whose notes there was no memory.
    joined: AtomicUsize,
    finished: Completion,
}

/// A core smaller than this is not worth writing: its headers do not fit.
const MIN_SIZE: u64 = machine::PAGE_SIZE as u64;
/// RLIMIT_CORE of a process that takes a core from the kernel: its own is not dumped.
pub(crate) const HELPER_LIMIT: u64 = 1;
/// The descriptor by which such a process knows the one that dumps core (`%F`).
const HELPER_PIDFD: u32 = 3;
/// Flags of the file.
const CREATE: OpenFlags = OpenFlags::CREAT.union(OpenFlags::EXCL).union(OpenFlags::NOFOLLOW).union(OpenFlags::RDWR);
/// `dumpable` of a process that gained rights: its core is root's.
const DUMPABLE_ROOT: u8 = 2;

static PATTERN: SpinLock<([u8; pattern::MAX_LEN], usize)> = SpinLock::new((first_pattern(), 4));
/// `kernel.core_uses_pid`.
pub static USES_PID: AtomicBool = AtomicBool::new(false);
/// `kernel.core_pipe_limit`: programs that take cores at the same time; 0 for any number, which are not waited for.
pub static PIPE_LIMIT: AtomicU32 = AtomicU32::new(0);
static PIPES: AtomicU32 = AtomicU32::new(0);

const fn first_pattern() -> [u8; pattern::MAX_LEN] {
    let mut text = [0; pattern::MAX_LEN];
    (text[0], text[1], text[2], text[3]) = (b'c', b'o', b'r', b'e');
    text
}

/// `kernel.core_pattern`.
pub fn pattern() -> Vec<u8> {
    let (text, len) = *PATTERN.lock();
    text.get(..len).unwrap_or_default().to_vec()
}

/// Sets it, cut to its longest; EINVAL for a socket that is not named by an absolute path, or from another mount namespace than the first
/// process's.
pub fn set_pattern(new: &[u8]) -> Result<(), Errno> {
    let mut text = [0; pattern::MAX_LEN];
    let len = new.len().min(text.len() - 1);
    if new.first() == Some(&b'@') {
        let own = crate::current().and_then(|me| me.fs()).ok_or(Errno::EINVAL)?.dirs();
        let is_first = Arc::ptr_eq(&own.ns, &helper::first_fs()?.dirs().ns);
        if !is_first || !socket::is_valid(new.get(..len).unwrap_or(new)) {
            return Err(Errno::EINVAL);
        }
    }
    text.iter_mut().zip(new).take(len).for_each(|(to, from)| *to = *from);
    *PATTERN.lock() = (text, len);
    Ok(())
}

/// Whether a core of `process` would go anywhere.
pub(crate) fn is_wanted(process: &Process) -> bool {
    let limit = process.limits.soft(Resource::Core);
    let enough = match PATTERN.lock().0[0] {
        b'|' => limit != HELPER_LIMIT,
        b'@' => true,
        _ => limit >= MIN_SIZE,
    };
    enough && process.dumpable.load(Relaxed) != 0
}

/// The group ends with a core. The signal lock is held.
pub(crate) fn begin(state: &mut SigState, me: &Arc<Task>, signal: Signal) -> Arc<Core> {
    let signal = i32::from(signal.number());
    let core = Arc::new(Core {
        signal,
        threads: SpinLock::new(Vec::new()),
        joined: AtomicUsize::new(0),
        finished: Completion::new(),
    });
    state.core = Some(core.clone());
    send::begin_group_exit(state, signal, Some(me));
    core
}

/// A thread ends: if its group dumps core it leaves its registers for it and waits. A worker has none of the program's.
pub(crate) fn join(cx: &mut Cx) {
    if cx.task.is_worker() {
        return;
    }
    let process = cx.process().clone();
    let Some(core) = process.sig().core.clone() else { return };
    core.keep(notes::of_thread(cx, core.signal));
    core.joined.fetch_add(1, Release);
    process.stop_wait.wake_all();
    core.finished.wait();
}

impl Core {
    /// Keeps what a thread was doing, if there is memory for it.
    fn keep(&self, notes: ThreadNotes) -> Arc<ThreadNotes> {
        let notes = Arc::new(notes);
        let mut threads = self.threads.lock();
        if threads.try_reserve(1).is_ok() {
            threads.push(notes.clone());
        }
        notes
    }
}

impl Process {
    /// Where a thread was when its group began to dump core: instruction and stack pointer.
    pub fn dumping_at(&self, tid: i32) -> Option<(u64, u64)> {
        let core = self.sig().core.clone()?;
        let threads = core.threads.lock();
        threads.iter().find(|t| t.tid == tid).map(|t| (t.ip, t.sp))
    }
}

/// Writes the core of the calling thread's group; gives its wait status.
pub(crate) fn run(cx: &mut Cx, core: &Arc<Core>, info: &SigInfo) -> i32 {
    let process = cx.process().clone();
    // From here on only SIGKILL counts.
    if let Some(thread) = cx.task.thread() {
        thread.set_interrupted(false);
    }
    let me = core.keep(notes::of_thread(cx, core.signal));
    let others = process.stop_wait.wait_killable(|| {
        let state = process.sig();
        (core.joined.load(Acquire) + 1 >= state.ordinary_threads()).then_some(())
    });
    let dumped = others.is_ok() && write(cx, core, &me, info).unwrap_or(false);
    if dumped {
        process.dumped(info, process.dumpable.load(Relaxed) == DUMPABLE_ROOT);
    }
    let status = core.signal | if dumped { 0x80 } else { 0 };
    {
        let mut state = process.sig();
        state.core = None;
        if dumped {
            state.group_exit = Some(status);
        }
    }
    core.finished.complete();
    status
}

/// Whether there is a core now.
fn write(cx: &mut Cx, core: &Core, me: &ThreadNotes, info: &SigInfo) -> Result<bool, Errno> {
    let pattern = pattern();
    match pattern.split_first() {
        Some((b'@', rest)) => to_server(cx, rest, core, me, info),
        Some((b'|', command)) => {
            let (sink, helper) = to_helper(cx, command, core, info)?;
            write_elf(cx, sink, core, me, info);
            if PIPE_LIMIT.load(Relaxed) > 0 {
                // It may look at the process until it ends. Killed while waiting: the core is written all the same.
                let _ = helper.stop_wait.wait_killable(|| helper.sig().threads.is_empty().then_some(()));
            }
            PIPES.fetch_sub(1, Relaxed);
            Ok(true)
        }
        _ => {
            let sink = to_file(cx, &pattern, core)?;
            write_elf(cx, sink, core, me, info);
            Ok(true)
        }
    }
}

/// What was written counts, also when limits or the reader left no room for more.
fn write_elf(cx: &mut Cx, mut sink: Sink, core: &Core, me: &ThreadNotes, info: &SigInfo) {
    // They stay, for /proc to show while the core is read.
    let threads = core.threads.lock().clone();
    let _ = elf::write(cx, &mut sink, me, &threads, info);
}

/// Hands it to the server that listens at `path`, which after another `@` is asked what it wants.
fn to_server(cx: &mut Cx, path: &[u8], core: &Core, me: &ThreadNotes, info: &SigInfo) -> Result<bool, Errno> {
    let asked = path.strip_prefix(b"@");
    // What it asks about the dump by the pidfd of the other end it finds there already.
    let _identity = Identity::of_process(cx.process()).map_err(|_| Errno::ESRCH)?;
    cx.process().dumped(info, cx.process().dumpable.load(Relaxed) == DUMPABLE_ROOT);
    let server = Connection::open(cx, asked.unwrap_or(path))?;
    let wait = if PIPE_LIMIT.load(Relaxed) > 0 { want::WAIT } else { 0 };
    let mask = if asked.is_some() { server.ask()? } else { want::KERNEL | wait };
    if mask & want::REJECT != 0 {
        return Ok(false);
    }
    if mask & want::KERNEL != 0 {
        write_elf(cx, Sink::socket(server.clone()), core, me, info);
    }
    server.finish();
    if mask & want::WAIT != 0 {
        server.wait();
    }
    Ok(true)
}

/// Calls `f` with what the pattern's specifiers stand for.
fn with_facts<R>(cx: &Cx, core: &Core, pidfd: Option<u32>, f: impl FnOnce(&pattern::Facts<'_>) -> R) -> R {
    let (process, cred) = (cx.process(), cx.cred());
    let names = cx.handles().ns.uts.names();
    let comm = cx.task.comm();
    let dirs = cx.fs().dirs();
    let exe = process.exe().map(|f| f.path().display(&dirs.root)).unwrap_or_default();
    f(&pattern::Facts {
        ids: [cx.nr_of(process.pid()), process.pid(), cx.task.nr(), cx.task.tid()],
        user: [cred.user_ns.show_uid(cred.uid), cred.user_ns.show_gid(cred.gid)],
        dumpable: process.dumpable.load(Relaxed),
        signal: core.signal,
        time: sched::clock::realtime_ns() / 1_000_000_000,
        host: names.fields.get(1).map_or(&[], crate::ns::uts::text),
        comm: comm.split(|b| *b == 0).next().unwrap_or_default(),
        exe: &exe,
        limit: process.limits.soft(Resource::Core),
        cpu: cx.task.thread().map_or(0, |t| t.cpu().0),
        pidfd,
    })
}

/// Makes the file, never an old one.
fn to_file(cx: &Cx, pattern: &[u8], core: &Core) -> Result<Sink, Errno> {
    let process = cx.process();
    let mut name = Vec::new();
    let pid_used = with_facts(cx, core, None, |facts| pattern::expand(pattern, facts, &mut name));
    if !pid_used && USES_PID.load(Relaxed) {
        name.extend_from_slice(alloc::format!(".{}", cx.nr_of(process.pid())).as_bytes());
    }
    let safe = process.dumpable.load(Relaxed) == DUMPABLE_ROOT;
    if safe && name.first() != Some(&b'/') {
        return Err(Errno::EPERM);
    }
    let dirs = cx.fs().dirs();
    let how = How { flags: CREATE, mode: 0o600, umask: cx.fs().umask(), regular: false };
    let create = |root: &Path, cwd: &Path, cred: &Arc<Cred>, caller: &Caller<'_>| {
        let start = Start::new(root, cwd, cred);
        if !safe {
            // Whether there was an old one shows when the new one is made.
            let _ = ops::unlink(&start, &name);
        }
        open::open(&start, &name, &how, caller)
    };
    let file = if safe {
        // Programs that gained rights must not choose where in the tree a file of root's appears.
        let root = helper::first_fs()?.dirs().root.clone();
        let cred = Cred::root();
        let caller = Caller { cred: &cred, ..cx.caller() };
        create(&root, &root, &cred, &caller)?
    } else {
        create(&dirs.root, &dirs.cwd, cx.cred(), &cx.caller())?
    };
    let limits = &process.limits;
    Ok(Sink::file(file, limits.soft(Resource::Core), limits.soft(Resource::Fsize)))
}

/// Starts the program of the pattern with the reading end of a pipe as its standard input.
fn to_helper(cx: &Cx, command: &[u8], core: &Core, info: &SigInfo) -> Result<(Sink, Arc<Process>), Errno> {
    let words = command.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
    let mut argv = Vec::new();
    with_facts(cx, core, Some(HELPER_PIDFD), |facts| {
        for word in words {
            let mut out = Vec::new();
            pattern::expand(word, facts, &mut out);
            argv.push(out);
        }
    });
    if argv.first().and_then(|p| p.first()) != Some(&b'/') {
        return Err(Errno::ENOENT);
    }
    let most = PIPE_LIMIT.load(Relaxed);
    if PIPES.fetch_add(1, Relaxed) >= most && most > 0 {
        PIPES.fetch_sub(1, Relaxed);
        return Err(Errno::EAGAIN);
    }
    let (reader, writer): (Arc<File>, Arc<File>) = pipe::create(OpenFlags::empty(), cx.cred());
    let mut files = alloc::vec![(0, reader)];
    if command.windows(2).any(|w| w == b"%F") {
        let process = cx.process();
        // Only a reaped process that nobody knew has none.
        if let Ok(identity) = Identity::of_process(process) {
            // What it asks about the dump by this it finds there already.
            process.dumped(info, process.dumpable.load(Relaxed) == DUMPABLE_ROOT);
            files.push((HELPER_PIDFD, pidfd::new_file(&identity, cx.cred())));
        }
    }
    match helper::spawn(argv, files) {
        Ok(helper) => Ok((Sink::pipe(writer), helper)),
        Err(e) => {
            PIPES.fetch_sub(1, Relaxed);
            Err(e)
        }
    }
}

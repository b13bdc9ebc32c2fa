//! Running another program: execve(2) and execveat(2).
//!
//! The file is opened and understood first ([`elf`], [`script`]); then the other threads of the group end; then the new address space
//! is filled ([`load`], [`stack`]) and takes the place of the old one. From the moment the other threads are told to end there is no
//! way back: what fails after it ends the process.

pub mod creds;
pub mod elf;
pub mod filecaps;
pub mod load;
pub mod script;
pub mod stack;

use crate::process::Process;
use crate::signal::{hand, send};
use crate::task::Task;
use crate::trace::{link, report};
use crate::{Cx, exit, pidfd, rseq, sud, task, trace, tree};
use abi::Errno;
use abi::auxv::*;
use abi::personality;
use abi::ptrace::Event;
use abi::resource::Resource;
use abi::signal::{Signal, StackT};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::Relaxed;
use creds::{After, Unsafe};
use load::Image;
use machine::sync::Once;
use machine::user::UserCtx;
use mm::io::Dst;
use mm::{Limits, Mm};
use smallvec::SmallVec;
use stack::Strings;
use vfs::inode::may;
use vfs::walk::{self, Start};
use vfs::{Caller, Cap, Cred, File, FileType, Path, open};

pub(crate) use load::{enter_time, vdso_around};
pub use load::{map_vdso_again, set_vdso};

/// Interpreters of interpreters before ELOOP.
const MAX_DEPTH: usize = 5;
/// ASLR can be switched off by this bit.
const USER_CLOCK_TICKS: u64 = 100;

/// What a program that gained rights gets of a larger stack limit.
const SECURE_STACK: u64 = 8 << 20;

static SUID_DUMPABLE: AtomicU8 = AtomicU8::new(0);

/// What "dumpable" becomes when a process gains rights (`fs.suid_dumpable`).
pub fn suid_dumpable() -> u8 {
    SUID_DUMPABLE.load(Relaxed)
}

/// Sets that; 0 to 2.
pub fn set_suid_dumpable(value: u8) -> Result<(), Errno> {
    if value > 2 {
        return Err(Errno::EINVAL);
    }
    SUID_DUMPABLE.store(value, Relaxed);
    Ok(())
}

static RANDOM: Once<fn(&mut [u8])> = Once::new();

/// Installs the source of random bytes (AT_RANDOM, stack shift).
pub fn set_random(f: fn(&mut [u8])) {
    let _ = RANDOM.set(f);
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Some(f) = RANDOM.get() {
        f(&mut bytes);
    }
    bytes
}

/// What to run.
pub struct Program {
    /// The file named by the caller.
    pub file: Arc<File>,
    /// Its name as the caller gave it (AT_EXECFN, and what a script's interpreter gets).
    pub name: Vec<u8>,
    /// Arguments.
    pub argv: Strings,
    /// Environment.
    pub envp: Strings,
    /// It was named by a descriptor alone: the thread is called as the file is.
    pub by_descriptor: bool,
    /// The name goes through a descriptor that is closed on exec: no interpreter could open it.
    pub unreachable: bool,
}

/// Makes `/proc/PID/exe` show `file` (PR_SET_MM_EXE_FILE).
pub fn set_exe(cx: &Cx, file: &File) -> Result<(), Errno> {
    let own = open::open_path(file.path(), &cx.caller())?;
    own.deny_writers().map_err(|_| Errno::EACCES)?;
    cx.process().set_exe(Some(own));
    Ok(())
}

/// Opens `path` for execution: a regular file on a mount that allows it, with execute permission.
pub fn open_exec(start: &Start<'_>, path: &[u8], follow: bool, caller: &Caller<'_>) -> Result<Arc<File>, Errno> {
    let found = walk::lookup(start, path, follow)?;
    open_found(&found, caller)
}

/// The same for a file that was found already.
pub fn open_found(path: &Path, caller: &Caller<'_>) -> Result<Arc<File>, Errno> {
    match path.dentry.kind() {
        FileType::Symlink => return Err(Errno::ELOOP),
        FileType::Regular => {}
        _ => return Err(Errno::EACCES),
    }
    path.inode().check(caller.cred, may::EXEC)?;
    if path.mnt.is_noexec() {
        return Err(Errno::EACCES);
    }
    let file = open::open_path(path, caller)?;
    // Nobody may have it open for writing as long as it is open here.
    file.deny_writers()?;
    Ok(file)
}

/// Reads at `off` until `buf` is full or the file ends.
pub(crate) fn read_at(file: &File, off: u64, buf: &mut [u8]) -> Result<usize, Errno> {
    let mut dst = Dst::kernel(buf);
    let mut at = off;
    while dst.remaining() > 0 {
        match file.ops().read_at(file, &mut dst, at)? {
            0 => break,
            n => at += n as u64,
        }
    }
    Ok(dst.done())
}

/// Replaces the program of the calling thread's process. On success the registers are those of the new program.
pub fn execve(cx: &mut Cx, mut program: Program) -> Result<(), Errno> {
    let name = program.name.clone();
    let image = understand(cx, &mut program)?;
    let limit = cx.process().limits.soft(Resource::Stack);
    let strings = program.argv.size() + program.envp.size() + name.len() + 1;
    stack::check_size(limit, strings, program.argv.len() + program.envp.len())?;
    let ns = cx.fs().dirs().ns.clone();
    let after = creds::for_exec(cx.cred(), &program.file, &ns, || who_could_meddle(cx))?;
    let readable = image.is_readable(cx.cred());

    let tid = cx.task.tid();
    end_other_threads(cx)?;
    let done = replace(cx, &program, &name, &image, after, readable);
    if done.is_err() {
        // The old program cannot go on without its threads, and the new one is not there.
        cx.end_group(i32::from(Signal::SEGV.number()));
    } else {
        report::event(cx, Event::Exec, tid as u64);
    }
    done
}

/// Looks for those who could change what a program that gains rights does.
fn who_could_meddle(cx: &Cx) -> Unsafe {
    let me = cx.process();
    let shares = |t: &Arc<Task>| t.fs().is_some_and(|fs| Arc::ptr_eq(&fs, cx.fs()));
    let others = tree::all_processes();
    let mut others = others.iter().filter(|p| !Arc::ptr_eq(p, me));
    let tracer = cx.task.tracer();
    let traced = tracer.is_some_and(|t| !t.cred().capable_in(&cx.cred().user_ns, Cap::SysPtrace));
    Unsafe { shared_fs: others.any(|p| p.threads().iter().any(shares)), traced }
}

/// Follows `#!` lines to a program file.
fn understand(cx: &Cx, program: &mut Program) -> Result<Image, Errno> {
    let dirs = cx.fs().dirs();
    let start = Start::new(&dirs.root, &dirs.cwd, cx.cred());
    let caller = cx.caller();
    let mut called = core::mem::take(&mut program.name);
    for _ in 0..=MAX_DEPTH {
        let mut head = [0; script::HEAD_SIZE];
        let got = read_at(&program.file, 0, &mut head)?;
        let head = head.get(..got).unwrap_or_default();
        let Some(line) = script::parse(head) else {
            return Image::read(&program.file, head, &start, &caller);
        };
        let line = line?;
        if program.unreachable {
            return Err(Errno::ENOENT);
        }
        {
            let mut first: SmallVec<[&[u8]; 3]> = SmallVec::from_slice(&[line.interpreter]);
            first.extend(line.argument);
            first.push(&called);
            program.argv.replace_first(&first)?;
        }
        let interpreter = line.interpreter.to_vec();
        program.file = open_exec(&start, &interpreter, true, &caller)?;
        called = interpreter;
    }
    Err(Errno::ELOOP)
}

/// Ends the other threads of the group; the caller takes over the leader's id.
pub(crate) fn end_other_threads(cx: &mut Cx) -> Result<(), Errno> {
    let process = cx.process().clone();
    let me = &cx.task;
    {
        let mut state = process.sig();
        if state.group_exit.is_some() || state.exec_by.is_some() {
            return Err(Errno::EAGAIN);
        }
        if state.threads.len() > 1 {
            state.exec_by = Some(me.tid());
            for t in state.threads.iter().filter(|t| !Arc::ptr_eq(t, me)) {
                send::kill_thread(t);
            }
        }
    }
    let alone = process.stop_wait.wait_killable(|| {
        let state = process.sig();
        // Also for tracers to ask about those that have ended: their numbers name threads of this process.
        (state.threads.len() == 1 && !process.is_held() || state.group_exit.is_some()).then_some(())
    });
    let mut old_leader = None;
    {
        let mut tree = tree::lock();
        let mut state = process.sig();
        state.exec_by = None;
        if alone.is_err() || state.group_exit.is_some() {
            return Err(Errno::EAGAIN);
        }
        drop(state);
        if !me.is_leader() {
            old_leader = tree.replace_leader(me, process.number());
            if let Some(tracer) = old_leader.as_ref().and_then(link::forget) {
                tracer.process().child_wait.wake_all();
            }
            pidfd::renamed(me, process.exit_status());
        }
    }
    drop(old_leader);
    Ok(())
}

/// An address space with the program, its interpreter, the vDSO and the first stack in it.
fn new_memory(
    cx: &Cx,
    program: &Program,
    name: &[u8],
    image: &Image,
    after: &After,
) -> Result<(Arc<Mm>, load::Loaded, stack::Image), Errno> {
    let randomize = cx.task.personality.load(Relaxed) & personality::ADDR_NO_RANDOMIZE == 0;
    let mm = Mm::new()?;
    let (refuses, private) = cx.mm().refuses_exec_gain();
    if refuses && !private {
        mm.refuse_exec_gain(true, false)?;
    }
    mm.set_up_layout(randomize);
    mm.set_limits(limits_of(cx.process()));
    let top = mm.map_stack(image.exec_stack())?;
    let loaded = image.load(&mm)?;
    let vdso = load::map_vdso(&mm, &cx.ns().time, machine::VirtAddr(0))?;

    let auxv = auxv(&loaded, vdso, &after.cred, after.secure);
    let shift = if randomize { u64::from(u16::from_le_bytes(random())) } else { 0 };
    let stack = stack::build(top.0, shift, &program.argv, &program.envp, name, &random(), &auxv)?;
    mm.write_bytes(machine::VirtAddr(stack.sp), &stack.bytes)?;
    let mut at = stack.args.0;
    for piece in program.argv.pieces().chain(program.envp.pieces()).chain([name]) {
        mm.write_bytes(machine::VirtAddr(at), piece)?;
        at += piece.len() as u64;
    }
    mm.set_layout(|l| {
        loaded.describe(l);
        l.start_stack = stack.sp;
        (l.arg_start, l.arg_end) = stack.args;
        (l.env_start, l.env_end) = stack.env;
    });
    Ok((mm, loaded, stack))
}

/// Switches to a new address space and makes the process one of the new program.
fn replace(
    cx: &mut Cx,
    program: &Program,
    name: &[u8],
    image: &Image,
    after: After,
    readable: bool,
) -> Result<(), Errno> {
    let process = cx.process().clone();
    let task = cx.task.clone();
    if after.secure {
        task.pdeath_signal.store(0, Relaxed);
        process.limits.cap_stack(SECURE_STACK);
    }
    if after.clear_personality {
        task.personality.fetch_and(!personality::CLEAR_ON_SETID, Relaxed);
    }
    crate::ns::change::on_exec(cx);
    let (mm, loaded, stack) = new_memory(cx, program, name, image, &after)?;
    exit::release_memory(cx);
    cx.set_mm(mm);
    crate::futex::enter_memory(cx);
    process.set_auxv(stack.bytes.get(stack.auxv.1..stack.auxv.2).unwrap_or_default().into());
    fresh_start(cx, &process, &task);
    match program.by_descriptor {
        true => program.file.path().dentry.with_name(|name| task.set_comm(name)),
        false => task.set_comm(name.rsplit(|b| *b == b'/').next().unwrap_or(name)),
    }
    if let Some(thread) = task.thread() {
        thread.set_name(&task.comm());
    }
    process.set_exe(Some(program.file.clone()));
    // Linux asks the ids from before the exec here; a change of them is judged by `set_cred`.
    let old = cx.cred();
    let open = readable && old.euid == old.uid && old.egid == old.gid;
    process.set_program_ns(image.home(cx.cred(), readable));
    process.dumpable.store(if open { 1 } else { suid_dumpable() }, Relaxed);
    if !Arc::ptr_eq(&after.cred, cx.cred()) {
        cx.set_cred(after.cred);
    }
    {
        let mut family = process.family();
        family.has_execed = true;
        family.exit_signal = Some(Signal::CHLD);
    }
    cx.user.reset();
    cx.user.regs.rip = loaded.start;
    cx.user.regs.rsp = stack.sp;
    cx.user.regs.orig_rax = u64::MAX;
    Ok(())
}

/// What a new program does not inherit from the old one.
fn fresh_start(cx: &mut Cx, process: &Arc<Process>, task: &Arc<Task>) {
    for a in process.attachments() {
        a.on_exec();
    }
    {
        let mut state = process.sig();
        if Arc::strong_count(&state.hand) > 1 {
            let own: hand::SigHand = state.hand.fork(true);
            state.hand = Arc::new(own);
        } else {
            state.hand.reset_handlers();
        }
    }
    cx.signal.altstack = StackT { flags: abi::signal::SS_DISABLE, ..StackT::default() };
    cx.restart = None;
    sud::set(cx, None);
    trace::debug::clear(task);
    // Two references are our own: the thread's and the one others look at.
    if Arc::strong_count(cx.files()) > 2
        && let Ok(own) = cx.files().fork()
    {
        cx.set_files(own);
    }
    cx.files().close_on_exec();
    task.personality.fetch_and(!personality::READ_IMPLIES_EXEC, Relaxed);
}

pub(crate) fn limits_of(process: &Process) -> Limits {
    let l = &process.limits;
    Limits {
        address_space: l.soft(Resource::As),
        data: l.soft(Resource::Data),
        stack: l.soft(Resource::Stack),
        memlock: l.soft(Resource::Memlock),
    }
}

/// The smallest stack a signal can be delivered on: registers, extended state, and what aligning them may cost.
pub fn min_signal_stack() -> u64 {
    let frame = size_of::<abi::signal::RtSigFrame>() as u64 + 15 + UserCtx::xstate_size() as u64 + 63;
    frame.next_multiple_of(16)
}

fn auxv(loaded: &load::Loaded, vdso: Option<u64>, cred: &Cred, secure: bool) -> SmallVec<[(u64, u64); 24]> {
    let (hwcap, hwcap2) = machine::cpu::info().hwcap;
    let ns = &cred.user_ns;
    let mut v = SmallVec::new();
    v.extend(vdso.map(|at| (AT_SYSINFO_EHDR, at)));
    v.extend([
        (AT_MINSIGSTKSZ, min_signal_stack()),
        (AT_HWCAP, hwcap),
        (AT_PAGESZ, machine::PAGE_SIZE as u64),
        (AT_CLKTCK, USER_CLOCK_TICKS),
        (AT_PHDR, loaded.phdr),
        (AT_PHENT, elf::PHDR_SIZE as u64),
        (AT_PHNUM, loaded.phnum),
        (AT_BASE, loaded.base),
        (AT_FLAGS, 0),
        (AT_ENTRY, loaded.entry),
        (AT_UID, ns.show_uid(cred.uid).into()),
        (AT_EUID, ns.show_uid(cred.euid).into()),
        (AT_GID, ns.show_gid(cred.gid).into()),
        (AT_EGID, ns.show_gid(cred.egid).into()),
        (AT_SECURE, u64::from(secure)),
        (AT_HWCAP2, hwcap2),
        (AT_RSEQ_FEATURE_SIZE, rseq::FEATURE_SIZE),
        (AT_RSEQ_ALIGN, rseq::ALIGN),
    ]);
    v
}

/// A name for a process that runs no program yet.
pub(crate) fn boot_comm() -> task::Comm {
    task::comm_of(b"swapper")
}

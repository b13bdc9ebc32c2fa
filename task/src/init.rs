//! The first process: made by the kernel, then turned into a user process by exec.

use crate::exec::stack::Strings;
use crate::exec::{self, Program};
use crate::limits::Limits;
use crate::ns::{NsProxy, PidNamespace};
use crate::process::{Parts, Process};
use crate::signal::hand::SigHand;
use crate::task::{Handles, Task};
use crate::users::{Place, UserCounts};
use crate::{Cx, cgroup, fork, run, tree};
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use machine::user::UserCtx;
use mm::Mm;
use vfs::walk::Start;
use vfs::{Cred, FdTable, FsContext};

/// Makes process 1 and runs `path` in it, with `fs` as its directories; `prepare` runs first in its context (opening its standard
/// descriptors). `failed` is called when the program cannot be run.
pub fn spawn_init(
    path: Vec<u8>,
    argv: Vec<Vec<u8>>,
    envp: Vec<Vec<u8>>,
    fs: Arc<FsContext>,
    prepare: fn(&mut Cx),
    failed: fn(&[u8], Errno),
) -> Result<(), Errno> {
    let limits = Limits::initial(fork::max_tasks() as u64 / 2);
    let body = Box::new(move |cx| begin(cx, &path, &argv, &envp, prepare, failed));
    spawn_bare("init", fs, limits, |process| PidNamespace::first().set_reaper(process), body).map(drop)
}

/// Makes a process with the rights of the first one and without a parent; `entered` is told of it under the tree lock. Its
/// first thread does `body`, which ends in [`run::run`].
pub(crate) fn spawn_bare(
    name: &str,
    fs: Arc<FsContext>,
    limits: Limits,
    entered: impl FnOnce(&Arc<Process>),
    body: Box<dyn FnOnce(Cx) + Send>,
) -> Result<Arc<Process>, Errno> {
    let cred = Cred::root();
    cred.user_ns.set_max_made(fork::max_tasks() as u32 / 2)?;
    let place = Place::take(UserCounts::of(&cred));
    let handles = Handles { mm: Mm::new()?, files: FdTable::new(), fs, cred, ns: NsProxy::first().clone() };
    let regs = UserCtx::new().map_err(|_| Errno::ENOMEM)?;
    let (group, pid) = {
        let mut tree = tree::lock();
        let pid = tree.allocate(PidNamespace::first(), &[])?;
        (tree.new_session(&pid), pid)
    };
    let process = Arc::new(Process::new(Parts {
        number: pid.clone(),
        limits,
        hand: Arc::new(SigHand::default()),
        group,
        parent: fork::NO_PARENT,
        parent_tid: 0,
        exit_signal: None,
        exe: None,
        program_ns: vfs::UserNamespace::first().clone(),
        auxv: Arc::new([]),
    }));
    let task =
        Arc::new(Task::new(&pid, process.clone(), handles.clone(), exec::boot_comm(), place, cgroup::root().clone()));
    let cx = Cx::new(task.clone(), regs, handles);
    let spawned = sched::spawn(name, Some(task.clone()), Box::new(move || body(cx)));
    let mut tree = tree::lock();
    tree.add_process(&process);
    let thread = match spawned {
        Ok(thread) => thread,
        Err(_) => {
            tree.remove_process(&process);
            tree.settle(pid.global());
            return Err(Errno::ENOMEM);
        }
    };
    task.set_thread(&thread);
    tree.add_task(&task);
    tree.settle(pid.global());
    entered(&process);
    drop(tree);
    process.sig().add_thread(&task);
    thread.start();
    Ok(process)
}

fn begin(mut cx: Cx, path: &[u8], argv: &[Vec<u8>], envp: &[Vec<u8>], prepare: fn(&mut Cx), failed: fn(&[u8], Errno)) {
    prepare(&mut cx);
    match load(&mut cx, path, argv, envp) {
        Ok(()) => {
            // Where the emulator counts instructions, a nanosecond is one (`./x bench boot` looks for the name).
            machine::kinfo!(
                "boot: first program after {0} ns; counted, instructions-from-entry={0}",
                machine::time::now_ns()
            );
            run::run(cx)
        }
        Err(e) => failed(path, e),
    }
}

/// Runs `path` in the calling process, which runs nothing yet.
pub(crate) fn load(cx: &mut Cx, path: &[u8], argv: &[Vec<u8>], envp: &[Vec<u8>]) -> Result<(), Errno> {
    let file = {
        let dirs = cx.fs().dirs();
        let start = Start::new(&dirs.root, &dirs.cwd, cx.cred());
        exec::open_exec(&start, path, true, &cx.caller())?
    };
    let mut program = Program {
        file,
        name: path.to_vec(),
        argv: Strings::default(),
        envp: Strings::default(),
        by_descriptor: false,
        unreachable: false,
    };
    argv.iter().try_for_each(|s| program.argv.push(s))?;
    envp.iter().try_for_each(|s| program.envp.push(s))?;
    exec::execve(cx, program)
}

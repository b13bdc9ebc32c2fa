//! Programs that the kernel itself starts: processes without a parent, with the rights and the root of the first process.

use crate::coredump::HELPER_LIMIT;
use crate::init::{load, spawn_bare};
use crate::limits::Limits;
use crate::{Cx, Process, exit, fork, run, tree};
use abi::Errno;
use abi::resource::{Resource, Rlimit};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use sched::Completion;
use vfs::{File, FsContext};

/// Wait status of a helper whose program cannot be run.
const NOT_RUN: i32 = abi::wait::exited(127);

/// Whether a helper's program was found.
#[derive(Default)]
struct Start {
    over: Completion,
    failed: AtomicBool,
}

/// Root and working directory of the first process.
pub(crate) fn first_fs() -> Result<Arc<FsContext>, Errno> {
    let first = tree::find_process(1).and_then(|p| p.leader()).ok_or(Errno::ESRCH)?;
    first.fs().map(|fs| fs.fork()).ok_or(Errno::ESRCH)
}

/// Starts `argv` with `files` open at their numbers; ENOENT when it cannot be run.
pub(crate) fn spawn(argv: Vec<Vec<u8>>, files: Vec<(u32, Arc<File>)>) -> Result<Arc<Process>, Errno> {
    let path = argv.first().cloned().ok_or(Errno::ENOENT)?;
    let limits = Limits::initial(fork::max_tasks() as u64 / 2);
    limits.set(Resource::Core, Rlimit { cur: HELPER_LIMIT, max: HELPER_LIMIT }, true)?;
    let envp = [&b"HOME=/"[..], b"PATH=/sbin:/bin:/usr/sbin:/usr/bin"].map(Vec::from);
    let started = Arc::new(Start::default());
    let teller = started.clone();
    let body = Box::new(move |mut cx: Cx| {
        let mut files = files.into_iter();
        let installed = files.try_for_each(|(fd, file)| cx.files().install_at(fd, file, false));
        let ready = installed.and_then(|()| load(&mut cx, &path, &argv, &envp));
        teller.failed.store(ready.is_err(), Relaxed);
        teller.over.complete();
        match ready {
            Ok(()) => run::run(cx),
            Err(_) => exit::exit(cx, NOT_RUN),
        }
    });
    let process = spawn_bare("helper", first_fs()?, limits, |_| (), body)?;
    started.over.wait();
    if started.failed.load(Relaxed) { Err(Errno::ENOENT) } else { Ok(process) }
}

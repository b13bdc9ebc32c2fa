//! Kernel threads as others see them: processes without memory, children of `kthreadd`, in the first pid namespace only.
//!
//! Whoever makes a kernel thread only tells the scheduler. `kthreadd`, itself one, gives each a number and a place in the tree. Such
//! a process ignores every signal, runs no program and never ends. Their tasks are for others to look at: the threads themselves
//! run without one, so that `current` stays `None` in them.

use crate::limits::Limits;
use crate::ns::{NsProxy, PidNamespace};
use crate::process::{Parts, Process};
use crate::signal::hand::SigHand;
use crate::task::{Handles, Task};
use crate::tree::{self, Group};
use crate::users::{Place, UserCounts};
use crate::{cgroup, fork};
use abi::Errno;
use abi::signal::Signal;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use mm::Mm;
use sched::Thread;
use vfs::{Cred, FdTable, FsContext};

/// The number of `kthreadd`.
const KTHREADD: i32 = 2;

/// What all of them share.
struct Common {
    handles: Handles,
    hand: Arc<SigHand>,
    group: Arc<Group>,
    user: Arc<UserCounts>,
}

/// Makes `kthreadd`, before the first process could take its number. `fs` has the directories that kernel threads show. The thread is
/// to be started once there is a first process: it gives out the next free numbers.
pub fn make(fs: &Arc<FsContext>) -> Result<Arc<Thread>, Errno> {
    let cred = Cred::root();
    let user = UserCounts::of(&cred);
    let ns = NsProxy::first().clone();
    // Never entered: no thread of theirs has it active.
    let handles = Handles { mm: Mm::new()?, files: FdTable::new(), fs: fs.fork(), cred, ns };
    let common = Common { handles, hand: Arc::new(SigHand::ignoring()), group: tree::kernel_group(), user };
    let number = tree::lock().allocate(PidNamespace::first(), &[KTHREADD])?;
    let made = sched::spawn("kthreadd", None, Box::new(serve)).map_err(|_| Errno::ENOMEM);
    let Ok(thread) = made else {
        tree::lock().settle(KTHREADD);
        return Err(Errno::ENOMEM);
    };
    enter(&common, &number, &thread, None);
    COMMON.lock().replace(common);
    Ok(thread)
}

/// Taken by `kthreadd` when it begins.
static COMMON: machine::sync::SpinLock<Option<Common>> = machine::sync::SpinLock::new(None);

fn serve() {
    let Some(common) = COMMON.lock().take() else { return };
    let me = tree::find_process(KTHREADD);
    loop {
        let thread = sched::next_kernel_thread();
        if me.as_ref().and_then(|me| me.leader()).is_some_and(|me| me.thread().is_some_and(|t| Arc::ptr_eq(t, &thread)))
        {
            continue;
        }
        // Without a number left it goes on unseen.
        let number = tree::lock().allocate(PidNamespace::first(), &[]);
        if let Ok(number) = number {
            enter(&common, &number, &thread, me.as_ref());
        }
    }
}

/// Enters a kernel thread in the tree.
fn enter(common: &Common, number: &crate::pid::Pid, thread: &Arc<Thread>, parent: Option<&Arc<Process>>) {
    let process = Arc::new(Process::new(Parts {
        number: number.clone(),
        limits: Limits::initial(fork::max_tasks() as u64 / 2),
        hand: common.hand.clone(),
        group: common.group.clone(),
        parent: parent.map_or(fork::NO_PARENT, Arc::downgrade),
        parent_tid: if parent.is_some() { KTHREADD } else { 0 },
        exit_signal: parent.and(Some(Signal::CHLD)),
        exe: None,
        program_ns: vfs::UserNamespace::first().clone(),
        auxv: Arc::new([]),
    }));
    process.kernel.store(true, Relaxed);
    let (handles, place, group) = (common.handles.clone(), Place::take(common.user.clone()), cgroup::root().clone());
    let task = Arc::new(Task::new(number, process.clone(), handles, thread.name(), place, group));
    task.set_thread(thread);
    process.sig().add_thread(&task);
    let mut tree = tree::lock();
    tree.add_process(&process);
    tree.add_task(&task);
    tree.settle(number.global());
    if let Some(parent) = parent {
        parent.family().children.push(process);
    }
}

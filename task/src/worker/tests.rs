use super::*;
use crate::Process;
use crate::cgroup::{self, attach, freezer};
use crate::init::spawn_bare;
use crate::limits::Limits;
use crate::process::Life;
use crate::signal::{send_process, send_task};
use crate::trace::link;
use abi::resource::{RLIM_INFINITY, Resource, Rlimit};
use abi::signal::{SigInfo, Signal};
use alloc::vec::Vec;
use machine::sync::SpinLock;
use vfs::{Cred, FsContext, MountNamespace};

const MS: u64 = 1_000_000;
/// Waits of the tests give up after so many milliseconds.
const PATIENCE: usize = 5_000;

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    for _ in 0..PATIENCE {
        if reached() {
            return;
        }
        sched::sleep_until(sched::now() + MS).expect("no signal");
    }
    panic!("never: {what}");
}

/// A process whose first thread does `body` in place of a program.
fn process(body: impl FnOnce(Cx) + Send + 'static) -> Arc<Process> {
    let fs = FsContext::new(MountNamespace::first(nullfs::mount()));
    // The first process of the system has rules of its own: it is none of ours.
    static FIRST: Once<()> = Once::new();
    let _ = FIRST.get_or_init(|| tree::lock().set_last_number(100));
    spawn_bare("test", fs, Limits::initial(100), |_| (), Box::new(body)).expect("memory")
}

/// A worker that waits for nothing until it is to end.
fn idle(ended: &Arc<Completion>) -> Body {
    let ended = ended.clone();
    Box::new(move |worker| {
        let never = WaitQueue::new();
        assert_eq!(worker.wait(&never, || None::<()>), Err(Ending));
        ended.complete();
    })
}

/// What an ordinary thread without a program waits for: the end of its group, parking for stops meanwhile.
fn ordinary(mut cx: Cx, over: &Completion) {
    loop {
        if over.wait_interruptible().is_ok() {
            return exit::exit(cx, abi::wait::exited(7));
        }
        sched::current().clear_flags(Flags::INTERRUPTED);
        if let Next::Exit(status) = deliver(&mut cx, false) {
            return exit::exit(cx, status);
        }
    }
}

/// A process with one idle worker; `over` lets its ordinary thread exit.
struct World {
    process: Arc<Process>,
    control: Arc<Control>,
    over: Arc<Completion>,
    ended: Arc<Completion>,
}

fn world() -> World {
    let (over, ended) = (Arc::new(Completion::new()), Arc::new(Completion::new()));
    let made = Arc::new(SpinLock::new(None));
    let (theirs, body, slot) = (over.clone(), idle(&ended), made.clone());
    let process = process(move |mut cx| {
        *slot.lock() = Some(spawn(&mut cx, "wrk-1", body).expect("a worker"));
        ordinary(cx, &theirs);
    });
    until("a worker", || made.lock().is_some());
    let control = made.lock().take().expect("a worker");
    World { process, control, over, ended }
}

impl World {
    /// Sees the end of the process with `status`.
    fn ends_with(&self, status: i32) {
        until("the end", || self.process.life() != Life::Running);
        assert!(self.ended.is_done() && self.control.has_ended());
        assert_eq!(self.process.exit_status(), status);
        assert_eq!(self.process.sig().workers, 0);
    }
}

#[test]
fn a_worker_shares_all_with_its_process_and_has_its_own_name() {
    let w = world();
    let task = w.control.task().expect("alive");
    let leader = w.process.leader().expect("alive");
    assert!(task.is_worker() && !leader.is_worker());
    assert_eq!(task.comm(), comm_of(b"wrk-1"));
    assert!(w.process.threads().iter().any(|t| Arc::ptr_eq(t, &task)));
    assert_eq!(tree::find_task(task.tid()).map(|t| t.pid()), Some(w.process.pid()));
    let (ours, theirs) = (task.handles().expect("alive"), leader.handles().expect("alive"));
    assert!(Arc::ptr_eq(&ours.mm, &theirs.mm) && Arc::ptr_eq(&ours.files, &theirs.files));
    assert!(Arc::ptr_eq(&ours.fs, &theirs.fs) && Arc::ptr_eq(&ours.cred, &theirs.cred));
    assert!(Arc::ptr_eq(&ours.ns, &theirs.ns) && Arc::ptr_eq(&task.cgroup(), &leader.cgroup()));
    w.over.complete();
    w.ends_with(abi::wait::exited(7));
}

#[test]
fn the_last_ordinary_thread_takes_the_workers_with_it() {
    let w = world();
    w.over.complete();
    w.ends_with(abi::wait::exited(7));
}

#[test]
fn sigkill_ends_a_worker_and_other_signals_do_not() {
    let w = world();
    let task = w.control.task().expect("alive");
    for sig in [Signal::TERM, Signal::USR1] {
        send_task(&task, sig, &SigInfo::kernel(sig)).expect("room");
    }
    sched::sleep_until(sched::now() + 5 * MS).expect("no signal");
    assert!(!w.ended.is_done());
    drop(task);
    send_process(&w.process, Signal::KILL, &SigInfo::kernel(Signal::KILL)).expect("room");
    w.ends_with(i32::from(Signal::KILL.number()));
}

#[test]
fn a_stopped_worker_ends_alone() {
    let w = world();
    w.control.stop();
    w.control.join();
    until("one thread", || w.process.threads().len() == 1);
    assert_eq!(w.process.life(), Life::Running);
    w.over.complete();
    w.ends_with(abi::wait::exited(7));
}

#[test]
fn a_stop_is_complete_when_the_worker_has_parked_and_the_worker_goes_on_after_it() {
    let w = world();
    send_process(&w.process, Signal::STOP, &SigInfo::kernel(Signal::STOP)).expect("room");
    until("a stop", || w.process.sig().stop_complete);
    let task = w.control.task().expect("alive");
    assert!(task.is_stopped());
    send_process(&w.process, Signal::CONT, &SigInfo::kernel(Signal::CONT)).expect("room");
    until("the end of the stop", || !task.is_stopped());
    drop(task);
    assert!(!w.ended.is_done());
    w.over.complete();
    w.ends_with(abi::wait::exited(7));
}

#[test]
fn another_program_begins_without_the_workers_of_the_last() {
    let ended = Arc::new(Completion::new());
    let body = idle(&ended);
    let process = process(move |mut cx| {
        spawn(&mut cx, "wrk-1", body).expect("a worker");
        let alone = crate::exec::end_other_threads(&mut cx).is_ok() && cx.process().threads().len() == 1;
        exit::exit(cx, abi::wait::exited(u8::from(alone).into()));
    });
    until("the end", || process.life() != Life::Running);
    assert!(ended.is_done());
    assert_eq!(process.exit_status(), abi::wait::exited(1));
}

#[test]
fn nobody_traces_a_worker() {
    let w = world();
    let task = w.control.task().expect("alive");
    let result = Arc::new(SpinLock::new(None));
    let slot = result.clone();
    let tracer = process(move |cx| {
        *slot.lock() = Some(link::attach(&cx, &task, None));
        drop(task);
        exit::exit(cx, 0);
    });
    until("an answer", || tracer.life() != Life::Running);
    assert_eq!(*result.lock(), Some(Err(Errno::EPERM)));
    w.over.complete();
    w.ends_with(abi::wait::exited(7));
}

#[test]
fn ordinary_threads_come_before_workers_in_the_list() {
    let w = world();
    let leader = w.process.leader().expect("alive");
    let mut state = w.process.sig();
    assert_eq!((state.threads.len(), state.ordinary_threads()), (2, 1));
    state.remove_thread(&leader);
    state.add_thread(&leader);
    assert!(Arc::ptr_eq(&state.threads[0], &leader));
    drop(state);
    w.over.complete();
    w.ends_with(abi::wait::exited(7));
}

#[test]
fn a_frozen_group_holds_its_workers_until_it_thaws() {
    let w = world();
    let group = cgroup::root().make_child(b"workers", |_| {}).expect("room");
    let leader = w.process.leader().expect("alive");
    attach::attach(&leader, &group, true, &Cred::root(), cgroup::root()).expect("allowed");
    drop(leader);
    freezer::freeze(&group, true).expect("alive");
    until("a frozen group", || group.is_frozen());
    // Whoever stops it has to wait for that until it thaws.
    w.control.stop();
    sched::sleep_until(sched::now() + 5 * MS).expect("no signal");
    assert!(!w.ended.is_done() && group.is_frozen());
    freezer::freeze(&group, false).expect("alive");
    w.control.join();
    assert!(!group.is_frozen());
    w.over.complete();
    w.ends_with(abi::wait::exited(7));
}

#[test]
fn sigkill_ends_a_worker_that_is_frozen_or_stopped() {
    for frozen in [true, false] {
        let w = world();
        let group = cgroup::root().make_child(if frozen { b"killed" } else { b"unused" }, |_| {}).expect("room");
        if frozen {
            let leader = w.process.leader().expect("alive");
            attach::attach(&leader, &group, true, &Cred::root(), cgroup::root()).expect("allowed");
            drop(leader);
            freezer::freeze(&group, true).expect("alive");
            until("a frozen group", || group.is_frozen());
        } else {
            send_process(&w.process, Signal::STOP, &SigInfo::kernel(Signal::STOP)).expect("room");
            until("a stop", || w.process.sig().stop_complete);
        }
        send_process(&w.process, Signal::KILL, &SigInfo::kernel(Signal::KILL)).expect("room");
        w.ends_with(i32::from(Signal::KILL.number()));
        group.remove().expect("empty");
    }
}

#[test]
fn a_core_dump_waits_for_no_worker_and_takes_none_along() {
    let w = world();
    let unlimited = Rlimit { cur: RLIM_INFINITY, max: RLIM_INFINITY };
    w.process.limits.set(Resource::Core, unlimited, true).expect("allowed");
    send_process(&w.process, Signal::SEGV, &SigInfo::kernel(Signal::SEGV)).expect("room");
    // Nothing can be written to the root there is: the mark of a core is missing.
    w.ends_with(i32::from(Signal::SEGV.number()));
}

/// How the processes of the storm end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Kill,
    Exit,
    Exec,
}

#[test]
fn whatever_ends_a_process_ends_all_its_workers_wherever_they_are() {
    const WORKERS: usize = 6;
    for round in 0..60 {
        let end = [End::Kill, End::Exit, End::Exec][round % 3];
        let left = Arc::new(SpinLock::new(0));
        let (begun, over) = (Arc::new(Completion::new()), Arc::new(Completion::new()));
        let (counter, ready, go) = (left.clone(), begun.clone(), over.clone());
        let process = process(move |mut cx| {
            for n in 0..WORKERS {
                let counter = counter.clone();
                let body: Body = Box::new(move |worker| {
                    let never = WaitQueue::new();
                    match n % 3 {
                        // Asleep, busy, and both by turns.
                        0 => drop(worker.wait(&never, || None::<()>)),
                        1 => {
                            while !worker.should_stop() {
                                sched::yield_now();
                            }
                        }
                        _ => {
                            let mut spins = 0;
                            while worker.wait(&never, || (spins % 7 != 0).then_some(())).is_ok() {
                                spins += 1;
                                sched::yield_now();
                            }
                        }
                    }
                    *counter.lock() += 1;
                });
                spawn(&mut cx, "storm", body).expect("a worker");
            }
            ready.complete();
            match end {
                End::Kill | End::Exit => ordinary(cx, &go),
                End::Exec => {
                    go.wait();
                    let alone = crate::exec::end_other_threads(&mut cx).is_ok();
                    assert!(alone && cx.process().threads().len() == 1);
                    exit::exit(cx, abi::wait::exited(7));
                }
            }
        });
        begun.wait();
        let tids: Vec<i32> = process.threads().iter().map(|t| t.tid()).filter(|tid| *tid != process.pid()).collect();
        for _ in 0..round % 5 {
            sched::yield_now();
        }
        if end == End::Kill {
            send_process(&process, Signal::KILL, &SigInfo::kernel(Signal::KILL)).expect("room");
        }
        over.complete();
        until("the end", || process.life() != Life::Running);
        assert_eq!((*left.lock(), process.sig().workers), (WORKERS, 0), "{end:?}");
        assert!(tids.len() == WORKERS && tids.iter().all(|tid| tree::find_task(*tid).is_none()), "{end:?}");
    }
}

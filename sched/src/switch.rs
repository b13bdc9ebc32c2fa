//! Threads begin, switch and end: `spawn`, `schedule`, wake-ups.
//!
//! A thread that sleeps has set its state before it calls [`schedule`]. Under its CPU's queue lock it either is found woken
//! meanwhile and goes on, or leaves the queue and the next one is picked *in the same critical section*. That order is what
//! keeps two CPUs that switch to each other's outgoing threads from waiting for each other: each wait (inside
//! `machine::thread::switch_to`) is for a CPU that decided earlier. For the same reason only idle threads steal.

use crate::cpu::{self, Cpu, IDLE, ONLINE};
use crate::cpuset::CpuSet;
use crate::fair::Join;
use crate::group;
use crate::policy::{self, IDLE_KEY};
use crate::runq::RunQueue;
use crate::thread::{Flags, Payload, Thread, ThreadExt, payload, state};
use crate::{balance, idle, kthread, placement, timeout, timer};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::*;
use machine::cpu::{Event, IrqOff};
use machine::mem::OutOfFrames;
use machine::sync::{IrqGuard, Once};
use machine::thread::KernelThread;

/// Runs `f` with the current thread. On a CPU that no thread runs on yet, the code that asks becomes one.
#[inline]
pub fn with_current<R>(f: impl FnOnce(&Arc<Thread>) -> R) -> R {
    let mut f = Some(f);
    loop {
        let done = machine::thread::with_current(|kernel| {
            let payload = payload(kernel?)?;
            Some((f.take()?)(&payload.thread))
        });
        match done {
            Some(result) => return result,
            None => init_boot_cpu(),
        }
    }
}

/// The current thread.
#[inline]
pub fn current() -> Arc<Thread> {
    with_current(Arc::clone)
}

/// Runs `f` with the current thread's extension.
#[inline]
pub fn with_current_ext<R>(f: impl FnOnce(Option<&Arc<dyn ThreadExt>>) -> R) -> R {
    machine::thread::with_current(|kernel| f(kernel.and_then(|k| payload(k)).and_then(|p| p.ext.as_ref())))
}

/// Makes the code running now the first thread of this CPU, with an idle thread beside it, and takes over the machine's timer
/// and kick interrupts. Does nothing where that has been done.
pub fn init_boot_cpu() {
    if machine::thread::with_current(|kernel| kernel.is_some()) {
        return;
    }
    machine::cpu::set_event_handler(on_event);
    let cpu = cpu::this();
    // On a host every test is a CPU of its own and must not lose threads to another test's.
    let affinity = if cfg!(target_os = "none") { CpuSet::all() } else { CpuSet::single(cpu.id) };
    let first = adopt("swapper", affinity);
    let Ok(idle) = make("idle", None, Box::new(idle::run)) else { return };
    idle.make_idle();
    idle.affinity.store(&CpuSet::single(cpu.id));
    idle.state.store(state::RUNNING, Relaxed);
    take_over(cpu, first, idle);
}

/// Makes the code running now the idle thread of this CPU.
pub(crate) fn init_other_cpu() {
    let cpu = cpu::this();
    let idle = adopt("idle", CpuSet::single(cpu.id));
    idle.make_idle();
    take_over(cpu, idle.clone(), idle);
}

fn adopt(name: &str, affinity: CpuSet) -> Arc<Thread> {
    let thread = Arc::new(Thread::new(name, affinity, cpu::this().id));
    thread.state.store(state::RUNNING, Relaxed);
    thread.on_queue.store(true, Relaxed);
    KernelThread::adopt(Box::new(Payload { thread: thread.clone(), ext: None }));
    thread
}

fn take_over(cpu: &'static Cpu, current: Arc<Thread>, idle: Arc<Thread>) {
    let mut queue = cpu.queue.lock();
    *queue = RunQueue::new();
    cpu.waiting.store(0, Relaxed);
    queue.charged_until = crate::now();
    if current.key.load(Relaxed) != IDLE_KEY {
        queue.join(&current, Join::New);
    }
    let now = queue.charged_until;
    queue.begin(current, now);
    queue.idle = Some(idle);
    drop(queue);
    ONLINE.insert(cpu.id);
    timeout::wake_up(cpu);
}

/// Makes a thread that will run `entry`; it begins when [`Thread::start`] is called and ends when `entry` returns. It has the
/// affinity of the current thread and no other of its traits. Without an extension it is a kernel thread
/// ([`crate::next_kernel_thread`]), which may run anywhere, whoever happened to need it first.
pub fn spawn(
    name: &str,
    ext: Option<Arc<dyn ThreadExt>>,
    entry: Box<dyn FnOnce() + Send>,
) -> Result<Arc<Thread>, OutOfFrames> {
    let kernel = ext.is_none();
    let thread = make(name, ext, entry)?;
    if kernel {
        // On a host the tests would lose it to each other's CPUs.
        if cfg!(target_os = "none") {
            thread.affinity.store(&CpuSet::all());
        }
        kthread::announce(&thread);
    }
    Ok(thread)
}

fn make(
    name: &str,
    ext: Option<Arc<dyn ThreadExt>>,
    entry: Box<dyn FnOnce() + Send>,
) -> Result<Arc<Thread>, OutOfFrames> {
    let affinity = with_current(|t| t.affinity());
    let thread = Arc::new(Thread::new(name, affinity, cpu::this().id));
    let kernel = KernelThread::new(entry, exit_thread, Box::new(Payload { thread: thread.clone(), ext }))?;
    *thread.kernel.lock() = Some(kernel);
    Ok(thread)
}

/// Ends the current thread. What its stack owns is not dropped: return from the thread's entry instead where that is possible.
pub fn exit_thread() -> ! {
    with_current(|t| t.state.store(state::DEAD, SeqCst));
    loop {
        switch(false);
    }
}

/// Interrupt context, interrupts off: only flags are set.
fn on_event(event: Event) {
    let cpu = cpu::this();
    machine::thread::with_current(|kernel| {
        let Some(thread) = kernel.and_then(|k| payload(k)).map(|p| &p.thread) else { return };
        if event == Event::Timer {
            cpu.fired();
            let kind = if thread.in_user() { 0 } else { 1 };
            if thread.key.load(Relaxed) != IDLE_KEY {
                thread.ticks[kind].fetch_add(1, Relaxed);
                thread.sampled_user.store(kind == 0, Relaxed);
                cpu.ticks[kind].fetch_add(1, Relaxed);
            }
        }
        thread.set_flags(Flags::NEED_RESCHED);
    });
}

/// The current thread is in the midst of a wait: queues name it.
pub fn in_wait() -> bool {
    with_current(|t| t.state.load(Relaxed) != state::RUNNING)
}

/// Whether [`schedule`] should be called soon: another thread is due, or timers are.
#[inline]
pub fn need_resched() -> bool {
    with_current(|t| t.flags() & Flags::NEED_RESCHED != 0)
}

static TICK_HOOK: Once<fn(&Arc<dyn ThreadExt>)> = Once::new();

/// Installs what is called at each tick, at the next scheduling point of the thread that ran, with that thread's extension.
/// It must not sleep.
pub fn set_tick_hook(hook: fn(&Arc<dyn ThreadExt>)) {
    let _ = TICK_HOOK.set(hook);
}

/// The point where a thread gives way. If it has set a sleeping state, it sleeps; else due timers run and then, if another
/// thread's turn has come, that one.
pub fn schedule() {
    let cpu = cpu::this();
    if cpu.timer_due.load(Relaxed) && with_current(|t| t.state.load(Relaxed) == state::RUNNING) {
        timer::run_due(cpu);
        balance::balance(cpu);
        if let Some(hook) = TICK_HOOK.get() {
            with_current_ext(|ext| ext.map(hook));
        }
    }
    switch(false);
}

/// Has the current thread's CPU look after this time whether another thread is due.
pub fn look_in(ns: u64) {
    cpu::this().program_by(crate::now().saturating_add(ns));
}

/// Lets the other runnable threads of this CPU go first (sched_yield(2)).
#[inline]
pub fn yield_now() {
    let cpu = cpu::this();
    if cpu.waiting.load(Relaxed) != 0 || cpu.timer_due.load(Relaxed) {
        if cpu.timer_due.load(Relaxed) {
            timer::run_due(cpu);
        }
        switch(true);
    }
}

/// Gives way if someone waits for it; for long loops in the kernel.
#[inline]
pub fn cond_resched() {
    if need_resched() {
        schedule();
    }
}

/// Takes the running thread off the CPU: out of the queue if it `goes`, else back among those that wait. Returns it and the one
/// that runs next.
#[inline]
fn change(queue: &mut RunQueue, goes: bool, now: u64) -> Option<(Arc<Thread>, Arc<Thread>)> {
    let prev = queue.current.take()?;
    if goes && queue.leave(&prev) {
        balance::vacated();
    }
    let next = match queue.pop(now) {
        Some(next) => next,
        None if goes => queue.idle.clone()?,
        None => {
            queue.current = Some(prev);
            return None;
        }
    };
    if !goes && prev.key.load(Relaxed) != IDLE_KEY && queue.push(prev.clone()) {
        balance::offer(&prev);
    }
    Some((prev, next))
}

fn switch(yielding: bool) {
    let irq = IrqOff::new();
    let cpu = cpu::this();
    let now = crate::now();
    let mut queue = cpu.queue.lock();
    let was_idle = queue.is_idle();
    let ran = queue.charge(now);
    let account = if was_idle { &cpu.idle_ns } else { &cpu.busy_ns };
    account.store(account.load(Relaxed) + ran, Relaxed);
    let Some(current) = &queue.current else { return };
    if current.flags() & Flags::NEED_RESCHED != 0 {
        current.clear_flags(Flags::NEED_RESCHED);
    }
    let sleeps = current.state.load(SeqCst) != state::RUNNING;
    let migrates = !sleeps && !was_idle && !current.affinity.contains(cpu.id);
    let goes = sleeps || migrates;
    let pair = if goes || queue.has_to_yield(yielding, now) { change(&mut queue, goes, now) } else { None };
    let Some((prev, next)) = pair else {
        if !was_idle {
            arm(cpu, &queue, now);
        }
        return;
    };
    let Some(next_kernel) = next.kernel.lock().take() else {
        // Only a thread that runs elsewhere lacks its stack, and such a one is in no queue.
        panic!("a queued thread has no stack");
    };
    let dead = prev.state.load(Relaxed) == state::DEAD;
    machine::thread::with_current(|kernel| {
        let Some(kernel) = kernel else { return };
        if let Some(ext) = payload(kernel).and_then(|p| p.ext.as_ref()) {
            ext.switch_out();
        }
        if !dead {
            *prev.kernel.lock() = Some(kernel.clone());
        }
    });
    let counter = if sleeps { &prev.voluntary } else { &prev.involuntary };
    counter.store(counter.load(Relaxed) + 1, Relaxed);
    cpu.switches.store(cpu.switches.load(Relaxed) + 1, Relaxed);
    if goes {
        prev.on_queue.store(false, Relaxed);
    }
    if migrates {
        prev.state.store(state::WAKING, Relaxed);
    }
    if cpu.timer_due.load(Relaxed) {
        next.set_flags(Flags::NEED_RESCHED);
    }
    cpu.waiting.store(queue.len() as u32, Relaxed);
    cpu.rank.store(next.rank(), Relaxed);
    queue.begin(next, now);
    let is_idle = queue.is_idle();
    if is_idle != was_idle {
        if is_idle { IDLE.insert(cpu.id) } else { IDLE.remove(cpu.id) }
    }
    if !is_idle {
        arm(cpu, &queue, now);
    }
    drop(queue);
    if migrates {
        let target = cpu::of(placement::choose(&prev, false));
        enqueue(target, target.queue.lock(), prev, Join::Again, false);
    } else {
        drop(prev);
    }
    if let Some(ext) = payload(&next_kernel).and_then(|p| p.ext.as_ref()) {
        ext.switch_in();
    }
    machine::thread::switch_to(next_kernel);
    drop(irq);
}

/// Sees to it that the running thread is looked at when its slice or its quota is over, or at the next tick.
#[inline]
fn arm(cpu: &Cpu, queue: &RunQueue, now: u64) {
    cpu.program_for_busy(now);
    if !queue.is_empty() {
        cpu.program_by(now + queue.slice().min(policy::TICK_NS));
    }
    if let Some(current) = &queue.current
        && current.is_grouped()
    {
        cpu.program_by(now + group::quota_left(current).clamp(policy::MIN_LOOK_NS, policy::TICK_NS));
    }
}

/// Puts a thread that is in no queue into `cpu`'s and lets it preempt if it is due.
pub(crate) fn enqueue(
    cpu: &'static Cpu,
    mut queue: IrqGuard<'_, RunQueue>,
    thread: Arc<Thread>,
    why: Join,
    sync: bool,
) {
    let local = cpu.id == cpu::this().id;
    let idle = queue.is_idle();
    let looks = !idle && (!sync || !local || thread.rank() < policy::FAIR_RANK);
    let now = if looks { crate::now() } else { 0 };
    if looks {
        let ran = queue.charge(now);
        cpu.busy_ns.store(cpu.busy_ns.load(Relaxed) + ran, Relaxed);
    }
    queue.join(&thread, why);
    thread.cpu.store(cpu.id.0, Relaxed);
    thread.on_queue.store(true, Relaxed);
    thread.state.store(state::RUNNING, Release);
    let preempt = idle || looks && queue.should_preempt(&thread, now);
    if looks && local && queue.is_empty() {
        cpu.program_by(now + queue.slice().min(policy::TICK_NS));
    }
    queue.push(thread);
    cpu.waiting.store(queue.len() as u32, SeqCst);
    if preempt && let Some(current) = &queue.current {
        current.set_flags(Flags::NEED_RESCHED);
        drop(queue);
        if !local {
            IDLE.remove(cpu.id);
            machine::cpu::kick(cpu.id);
        }
    }
}

/// Ends the sleep of `thread` if its state is in `mask`. `sync`: the caller is about to sleep, so it need not be preempted.
pub(crate) fn wake(thread: &Arc<Thread>, mask: u32, sync: bool) -> bool {
    if thread.state.load(SeqCst) & mask == 0 {
        return false;
    }
    loop {
        let home = cpu::of(thread.cpu());
        let queue = home.queue.lock();
        if thread.cpu() != home.id {
            continue;
        }
        let was = thread.state.load(Relaxed);
        if was & mask == 0 {
            return false;
        }
        if thread.on_queue.load(Relaxed) {
            // It has not left its CPU yet and now will not.
            thread.state.store(state::RUNNING, SeqCst);
            return true;
        }
        thread.state.store(state::WAKING, Relaxed);
        let why = if was == state::NEW { Join::New } else { Join::Again };
        let target = placement::choose(thread, sync);
        if target == home.id {
            enqueue(home, queue, thread.clone(), why, sync);
        } else {
            drop(queue);
            let target = cpu::of(target);
            enqueue(target, target.queue.lock(), thread.clone(), why, sync);
        }
        return true;
    }
}

/// What `thread` has run since it was last charged.
pub(crate) fn unaccounted(thread: &Thread) -> u64 {
    if !thread.on_queue.load(Relaxed) {
        return 0;
    }
    let queue = cpu::of(thread.cpu()).queue.lock();
    match &queue.current {
        Some(current) if core::ptr::eq(&**current, thread) => crate::now().saturating_sub(queue.charged_until),
        _ => 0,
    }
}

impl Thread {
    /// Lets a new thread run.
    pub fn start(self: &Arc<Self>) {
        wake(self, state::NEW, false);
    }

    #[inline]
    pub(crate) fn wake_from(self: &Arc<Self>, mask: u32) -> bool {
        core::sync::atomic::fence(SeqCst);
        wake(self, mask, false)
    }

    /// Makes the thread come out of user mode, if it is there, to look at its flags.
    pub fn kick(&self) {
        let cpu = self.cpu();
        if self.in_user() && cpu != cpu::this().id {
            machine::cpu::kick(cpu);
        }
    }
}

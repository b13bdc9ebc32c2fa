//! Timers that belong to a process: setitimer(2), timer_create(2), and the limit on CPU time.
//!
//! Timers of wall and monotonic time are the scheduler's; their callbacks send signals. Timers of CPU time are looked at on each
//! tick of a CPU that runs the process they measure ([`on_tick`]), so they are as fine as the tick. A periodic timer goes on when its
//! signal is taken, so that the shortest period costs nobody but who takes the signals; and a tick looks at no more timers than are due.
//!
//! Lock order: `Process::sig`, then `Timers::real_setting`; `Timers::cpu`, then `Timers::watched`; one timer's state, then
//! `Timers::watched` or `Process::sig`. `Timers::posix` is held with none of them.

mod clock;
mod posix;
#[cfg(test)]
mod tests;

pub use clock::CpuClock;
use clock::{Moment, Watch};
pub use posix::{Notify, PosixTimer, Seat, TimerClock};

use crate::process::{Attachment, Process};
use crate::signal::send_process;
use crate::task::Task;
use abi::Errno;
use abi::resource::{RLIM_INFINITY, Resource};
use abi::signal::{SigInfo, Signal};
use abi::time::{NSEC_PER_SEC, itimer};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering::*};
use machine::sync::SpinLock;
use sched::{ThreadExt, Timer};

/// Time left and period, in nanoseconds; 0 is disarmed and once.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Until the next expiry.
    pub value: u64,
    /// From then on.
    pub interval: u64,
}

/// A timer of setitimer(2).
#[derive(Clone, Copy, Default)]
struct Itimer {
    /// When it expires, on the clock it counts; 0 when disarmed.
    next: u64,
    interval: u64,
}

impl Itimer {
    fn setting(&self, now: u64) -> Setting {
        // An armed timer never reads as disarmed.
        let value = if self.next == 0 { 0 } else { self.next.saturating_sub(now).max(1) };
        Setting { value, interval: self.interval }
    }
    /// Whether it has expired; if so it goes on.
    fn expire(&mut self, now: u64) -> bool {
        if self.next == 0 || now < self.next {
            return false;
        }
        self.next = match self.interval {
            0 => 0,
            step => self.next.saturating_add(((now - self.next) / step + 1).saturating_mul(step)),
        };
        true
    }
}

/// The timers of one process.
pub struct Timers {
    process: Weak<Process>,
    real: Arc<Timer>,
    /// What `real` was armed for last.
    real_setting: SpinLock<Itimer>,
    /// ITIMER_VIRTUAL and ITIMER_PROF.
    cpu: SpinLock<[Itimer; 2]>,
    /// Any timer of CPU time may be armed.
    cpu_armed: AtomicBool,
    posix: SpinLock<Table>,
    /// Armed timers, of whichever process, that count this one's CPU time.
    watched: SpinLock<BTreeMap<Watch, Weak<PosixTimer>>>,
    /// timer_create(2) takes the number it is given (PR_TIMER_CREATE_RESTORE_IDS).
    pub restore_ids: AtomicBool,
}

/// POSIX timers by number; one that is being made holds its number with `None`.
#[derive(Default)]
struct Table {
    timers: BTreeMap<i32, Option<Arc<PosixTimer>>>,
    next: i32,
}

impl Attachment for Timers {
    fn on_exec(&self) {
        self.restore_ids.store(false, Relaxed);
        self.delete_all();
        if let Some(process) = self.process.upgrade() {
            process.sig().discard_origins();
        }
    }
    fn on_exit(&self) {
        self.real.cancel();
        self.delete_all();
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Runs `f` with the timers of a process, which are made when first asked for.
pub fn with<R>(process: &Arc<Process>, f: impl FnOnce(&Timers) -> R) -> Option<R> {
    let attachment = process.attachment(|| Timers::new(process));
    attachment.as_any().downcast_ref().map(f)
}

impl Timers {
    fn new(process: &Arc<Process>) -> Arc<Timers> {
        let weak = Arc::downgrade(process);
        let expired = move || {
            if let Some(process) = weak.upgrade() {
                // A signal that is pending already, or a full queue, leaves nothing to tell.
                let _ = send_process(&process, Signal::ALRM, &SigInfo::kernel(Signal::ALRM));
            }
        };
        Arc::new(Timers {
            process: Arc::downgrade(process),
            real: Timer::new(Box::new(expired)),
            real_setting: SpinLock::new(Itimer::default()),
            cpu: SpinLock::new([Itimer::default(); 2]),
            cpu_armed: AtomicBool::new(false),
            posix: SpinLock::new(Table::default()),
            watched: SpinLock::new(BTreeMap::new()),
            restore_ids: AtomicBool::new(false),
        })
    }

    /// getitimer(2); EINVAL for an unknown timer.
    pub fn itimer(&self, which: i32) -> Result<Setting, Errno> {
        if which == itimer::REAL {
            let value = self.real.remaining().map_or(0, |left| left.max(1));
            return Ok(Setting { value, interval: self.real_setting.lock().interval });
        }
        let index = cpu_index(which)?;
        let now = self.cpu_time(index);
        Ok(self.cpu.lock()[index].setting(now))
    }

    /// setitimer(2); gives the old setting.
    pub fn set_itimer(&self, which: i32, new: Setting) -> Result<Setting, Errno> {
        let old = self.itimer(which)?;
        if which == itimer::REAL {
            let mut setting = self.real_setting.lock();
            let next = if new.value == 0 { 0 } else { sched::now().saturating_add(new.value) };
            *setting = Itimer { next, interval: new.interval };
            if next == 0 {
                self.real.cancel();
            } else {
                self.real.arm(next);
            }
            return Ok(old);
        }
        let index = cpu_index(which)?;
        let next = if new.value == 0 { 0 } else { self.cpu_time(index).saturating_add(new.value) };
        let mut cpu = self.cpu.lock();
        cpu[index] = Itimer { next, interval: new.interval };
        self.cpu_armed.store(true, Release);
        Ok(old)
    }

    /// SIGALRM was taken: ITIMER_REAL goes on if it is periodic and has expired.
    fn alarm_taken(&self) {
        let mut setting = self.real_setting.lock();
        if setting.interval != 0 && self.real.deadline().is_none() && setting.expire(sched::now()) {
            self.real.arm(setting.next);
        }
    }

    /// User time (ITIMER_VIRTUAL) or all CPU time (ITIMER_PROF) of the process.
    fn cpu_time(&self, index: usize) -> u64 {
        let sum = self.process.upgrade().map(|p| p.sum()).unwrap_or_default();
        if index == 0 { sum.user_ns } else { sum.user_ns + sum.system_ns }
    }

    /// Takes a number for a timer that [`Timers::install`] or [`Timers::delete`] follows on: the next free one, or `wanted`. EBUSY when
    /// that is in use.
    pub fn reserve(&self, wanted: Option<i32>) -> Result<i32, Errno> {
        let mut table = self.posix.lock();
        let after = |id: i32| id.checked_add(1).unwrap_or(0);
        let id = match wanted {
            Some(id) if table.timers.contains_key(&id) => return Err(Errno::EBUSY),
            Some(id) => id,
            None => {
                let mut id = table.next;
                // A user has far fewer timers than there are numbers.
                while table.timers.contains_key(&id) {
                    id = after(id);
                }
                id
            }
        };
        table.next = after(id);
        table.timers.insert(id, None);
        Ok(id)
    }
    /// Puts a timer in under the number it has reserved.
    pub fn install(&self, timer: Arc<PosixTimer>) {
        self.posix.lock().timers.insert(timer.id(), Some(timer));
    }
    /// The timer of this id; EINVAL if there is none.
    pub fn get(&self, id: i32) -> Result<Arc<PosixTimer>, Errno> {
        self.posix.lock().timers.get(&id).cloned().flatten().ok_or(Errno::EINVAL)
    }
    /// All of them, by number.
    fn all(&self) -> Vec<Arc<PosixTimer>> {
        self.posix.lock().timers.values().flatten().cloned().collect()
    }
    /// Deletes a timer.
    pub fn delete(&self, id: i32) -> Result<(), Errno> {
        let timer = {
            let mut table = self.posix.lock();
            table.timers.get(&id).ok_or(Errno::EINVAL)?;
            table.timers.remove(&id).flatten()
        };
        if let Some(timer) = timer {
            timer.delete();
        }
        Ok(())
    }
    fn delete_all(&self) {
        let all = core::mem::take(&mut self.posix.lock().timers);
        all.values().flatten().for_each(|timer| timer.delete());
    }
    fn watch(&self, at: Watch, timer: Weak<PosixTimer>) {
        let mut watched = self.watched.lock();
        watched.insert(at, timer);
        self.cpu_armed.store(true, Release);
    }
    fn unwatch(&self, at: &Watch) {
        self.watched.lock().remove(at);
    }
    /// Takes out the first timer that is due.
    fn due(&self, moment: &Moment) -> Option<Arc<PosixTimer>> {
        let mut watched = self.watched.lock();
        loop {
            let first = *watched.range(moment.due()).next()?.0;
            if let Some(timer) = watched.remove(&first)?.upgrade() {
                return Some(timer);
            }
        }
    }

    /// Looks at what counts CPU time, as `task` runs.
    fn tick(&self, process: &Arc<Process>, task: &Task) {
        let sum = process.sum();
        let times = [sum.user_ns, sum.user_ns + sum.system_ns];
        let mut due = [false; 2];
        for ((timer, now), due) in self.cpu.lock().iter_mut().zip(times).zip(&mut due) {
            *due = timer.expire(now);
        }
        for (due, sig) in due.into_iter().zip([Signal::VTALRM, Signal::PROF]) {
            if due {
                let _ = send_process(process, sig, &SigInfo::kernel(sig));
            }
        }
        let moments = Moment::of_process(&sum).into_iter().chain(Moment::of_thread(task));
        for moment in moments {
            while let Some(timer) = self.due(&moment) {
                timer.check_cpu(moment.now);
            }
        }
        let cpu = self.cpu.lock();
        if cpu.iter().all(|timer| timer.next == 0) && self.watched.lock().is_empty() {
            self.cpu_armed.store(false, Release);
        }
    }

    fn check_limit(&self, process: &Arc<Process>, limit: u64) {
        let sum = process.sum();
        let seconds = (sum.user_ns + sum.system_ns) / NSEC_PER_SEC;
        if seconds >= process.limits.get(Resource::Cpu).max {
            let _ = send_process(process, Signal::KILL, &SigInfo::kernel(Signal::KILL));
        } else if seconds >= limit {
            // The next warning comes after another second.
            process.limits.raise_soft(Resource::Cpu, limit, limit.saturating_add(1));
            let _ = send_process(process, Signal::XCPU, &SigInfo::kernel(Signal::XCPU));
        }
    }
}

/// A thread has taken SIGALRM from the queue of its process, whose signal lock it holds.
pub(crate) fn alarm_taken(process: &Process) {
    let attachment = process.attached::<Timers>();
    if let Some(timers) = attachment.as_ref().and_then(|a| a.as_any().downcast_ref::<Timers>()) {
        timers.alarm_taken();
    }
}

/// The POSIX timers of a process, by number.
pub fn all(process: &Arc<Process>) -> Vec<Arc<PosixTimer>> {
    let attachment = process.attached::<Timers>();
    let timers = attachment.as_ref().and_then(|a| a.as_any().downcast_ref::<Timers>());
    timers.map(Timers::all).unwrap_or_default()
}

/// The action of `signal` was changed from being ignored to something else: timers that rest for that go on.
pub fn unignore(process: &Arc<Process>, signal: Signal) {
    all(process).iter().for_each(|timer| timer.unignore(signal));
}

fn cpu_index(which: i32) -> Result<usize, Errno> {
    match which {
        itimer::VIRTUAL => Ok(0),
        itimer::PROF => Ok(1),
        _ => Err(Errno::EINVAL),
    }
}

/// Called on each tick with the extension of the thread that runs.
fn on_tick(ext: &Arc<dyn ThreadExt>) {
    let ext: &dyn Any = &**ext;
    let Some(task) = ext.downcast_ref::<Task>() else { return };
    let process = task.process();
    let limit = process.limits.soft(Resource::Cpu);
    if limit != RLIM_INFINITY {
        with(process, |timers| timers.check_limit(process, limit));
    }
    if let Some(attachment) = process.attached::<Timers>()
        && let Some(timers) = attachment.as_any().downcast_ref::<Timers>()
        && timers.cpu_armed.load(Acquire)
    {
        timers.tick(process, task);
    }
}

/// Takes part in the scheduler's tick.
pub(crate) fn init() {
    sched::set_tick_hook(on_tick);
}

//! Load averages and per-CPU statistics, as /proc/loadavg and /proc/stat show them.

use crate::cpu;
use crate::policy::TICK_NS;
use crate::timeout::{Scope, Timeout};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering::*};
use machine::cpu::CpuId;
use machine::sync::Once;

/// Bits after the point in load averages.
pub const LOAD_SHIFT: u32 = 11;
const SAMPLE_NS: u64 = 5_000_000_000;
/// `2^11 / exp(5 s / 1, 5, 15 min)`.
const DECAY: [u64; 3] = [1884, 2014, 2037];

static LOADS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static SAMPLER: Once<alloc::sync::Arc<Timeout>> = Once::new();

/// Starts sampling, once.
pub fn start() {
    SAMPLER.get_or_init(|| {
        let timer = Timeout::new(Box::new(sample));
        timer.arm_periodic(crate::now() + SAMPLE_NS, SAMPLE_NS, Scope::Global);
        timer
    });
}

fn sample() {
    // The sampler itself may have woken an idle CPU, whose idle thread is not counted.
    let running = (runnable() as u64) << LOAD_SHIFT;
    for (load, decay) in LOADS.iter().zip(DECAY) {
        let now = (load.load(Relaxed) * decay + running * ((1 << LOAD_SHIFT) - decay)) >> LOAD_SHIFT;
        load.store(now, Relaxed);
    }
}

/// Threads that run or wait for a CPU.
pub fn runnable() -> usize {
    cpu::online().map(|cpu| cpu.waiting.load(Relaxed) as usize + usize::from(!cpu.queue.lock().is_idle())).sum()
}

/// Load averages over 1, 5 and 15 minutes, with [`LOAD_SHIFT`] bits after the point.
pub fn load_average() -> [u64; 3] {
    [LOADS[0].load(Relaxed), LOADS[1].load(Relaxed), LOADS[2].load(Relaxed)]
}

/// The load of one CPU's fair threads as [`crate::balance`] compares it: the sum of the weights, averaged over the last ticks.
///
/// The sum at one moment will not do: a thread that wakes by the same timer at which a CPU looks would always be seen there, though
/// it sleeps nearly all the time.
pub(crate) struct LoadAverage {
    /// Load times nanoseconds since the last sample, and up to when that was added.
    sum: u64,
    until: u64,
    sampled: u64,
    /// With [`AVERAGE_SHIFT`] bits after the point.
    average: u64,
}

const AVERAGE_SHIFT: u32 = 10;

impl LoadAverage {
    pub const fn new() -> LoadAverage {
        LoadAverage { sum: 0, until: 0, sampled: 0, average: 0 }
    }
    /// The load has been this until `now`, since this was called last.
    #[inline]
    pub fn add(&mut self, load: u64, now: u64) {
        self.sum = self.sum.wrapping_add(load.wrapping_mul(now.wrapping_sub(self.until)));
        self.until = now;
    }
    /// Takes what was added into the average, where all that was before counts as much as one tick.
    pub fn sample(&mut self) {
        let passed = self.until.saturating_sub(self.sampled).saturating_add(TICK_NS);
        let before = u128::from(self.average) * u128::from(TICK_NS);
        self.average = ((before + (u128::from(self.sum) << AVERAGE_SHIFT)) / u128::from(passed)) as u64;
        (self.sum, self.sampled) = (0, self.until);
    }
    /// A thread of this weight has come from another CPU: the average is to know at once.
    pub fn come(&mut self, weight: u64) {
        self.average = self.average.saturating_add(weight << AVERAGE_SHIFT);
    }
    /// A thread of this weight goes to another CPU.
    pub fn go(&mut self, weight: u64) {
        self.average = self.average.saturating_sub(weight << AVERAGE_SHIFT);
    }
    pub fn average(&self) -> u64 {
        self.average >> AVERAGE_SHIFT
    }
}

/// What one CPU has done since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// Nanoseconds in user mode.
    pub user_ns: u64,
    /// Nanoseconds in the kernel.
    pub system_ns: u64,
    /// Nanoseconds idle.
    pub idle_ns: u64,
    /// Switches from one thread to another.
    pub switches: u64,
}

/// The statistics of a CPU; `None` if it does not take part.
pub fn cpu_stats(id: CpuId) -> Option<CpuStats> {
    let cpu = cpu::online().find(|cpu| cpu.id == id)?;
    let queue = cpu.queue.lock();
    let open = crate::now().saturating_sub(queue.charged_until);
    let (mut busy, mut idle) = (cpu.busy_ns.load(Relaxed), cpu.idle_ns.load(Relaxed));
    *if queue.is_idle() { &mut idle } else { &mut busy } += open;
    let [user, system] = [0, 1].map(|i: usize| cpu.ticks[i].load(Relaxed) as u128);
    let user_ns = (busy as u128 * user).checked_div(user + system).unwrap_or(0) as u64;
    Some(CpuStats { user_ns, system_ns: busy - user_ns, idle_ns: idle, switches: cpu.switches.load(Relaxed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_weighs_by_how_long_it_is_awake() {
        const MS: u64 = 1_000_000;
        let mut load = LoadAverage::new();
        // Awake for one millisecond in ten, and always when one looks.
        for cycle in 0..50 {
            load.add(30, (cycle * 10 + 9) * MS);
            load.add(1030, (cycle * 10 + 10) * MS);
            load.sample();
        }
        assert_eq!(load.average(), 129);
        load.go(100);
        load.come(15);
        assert_eq!(load.average(), 44);
        load.add(1000, 60_000 * MS);
        load.sample();
        assert_eq!(load.average(), 999, "after a minute what was before hardly counts");
        load.go(5000);
        assert_eq!(load.average(), 0);
    }
}

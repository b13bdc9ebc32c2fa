//! Host CPUs whose interrupts never come; tests call the event handler themselves.
//!
//! Each host thread that asks is a CPU of its own (tests run in parallel), until a kernel thread is switched to: that runs on the
//! CPU it was switched to from.

use crate::cpu::{CpuId, CpuInfo, Event};
use std::cell::RefCell;
use std::sync::Mutex;

const CPUS: u32 = 64;

static FREE: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static NEXT: Mutex<u32> = Mutex::new(0);

/// The CPU of a host thread; its own one goes back when the host thread ends.
struct Seat {
    cpu: CpuId,
    own: Option<u32>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let (Some(id), Ok(mut free)) = (self.own, FREE.lock()) {
            free.push(id);
        }
    }
}

thread_local! {
    static THIS: RefCell<Option<Seat>> = const { RefCell::new(None) };
}

fn claim() -> u32 {
    loop {
        if let Some(id) = FREE.lock().expect("a test thread panicked").pop() {
            return id;
        }
        let mut next = NEXT.lock().expect("a test thread panicked");
        if *next < CPUS {
            *next += 1;
            return *next - 1;
        }
        drop(next);
        std::thread::yield_now();
    }
}

pub fn count() -> usize {
    CPUS as usize
}
pub fn this() -> CpuId {
    let known = THIS.with(|t| t.borrow().as_ref().map(|s| s.cpu));
    known.unwrap_or_else(|| {
        let id = claim();
        THIS.with(|t| *t.borrow_mut() = Some(Seat { cpu: CpuId(id), own: Some(id) }));
        CpuId(id)
    })
}
pub(super) fn set_this(cpu: CpuId) {
    THIS.with(|t| match &mut *t.borrow_mut() {
        Some(seat) => seat.cpu = cpu,
        none => *none = Some(Seat { cpu, own: None }),
    })
}
pub fn start_others(_entry: fn() -> !) {}
pub fn halt() {
    std::thread::yield_now();
}
pub fn kick(_cpu: CpuId) {}
pub fn barrier_everywhere() {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}
pub fn relax() {
    std::thread::yield_now();
}
pub fn irq_save() -> bool {
    false
}
pub fn irq_restore(_was_on: bool) {}
pub fn irq_pending() -> bool {
    false
}
pub fn lock_taken() {}
pub fn lock_given() {}
pub fn locks_held() -> u64 {
    0
}
pub fn set_event_handler(_handler: fn(Event)) {}
pub fn info() -> &'static CpuInfo {
    static INFO: std::sync::OnceLock<CpuInfo> = std::sync::OnceLock::new();
    INFO.get_or_init(CpuInfo::default)
}
pub fn has_tsc_aux() -> bool {
    false
}

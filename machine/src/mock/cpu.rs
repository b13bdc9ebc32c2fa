//! One host CPU whose interrupts never come; tests call the event handler themselves.

use crate::cpu::{CpuId, CpuInfo, Event};

pub fn count() -> usize {
    1
}
pub fn this() -> CpuId {
    CpuId(0)
}
pub fn start_others(_entry: fn() -> !) {}
pub fn halt() {
    std::thread::yield_now();
}
pub fn kick(_cpu: CpuId) {}
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
pub fn set_event_handler(_handler: fn(Event)) {}
pub fn info() -> &'static CpuInfo {
    static INFO: std::sync::OnceLock<CpuInfo> = std::sync::OnceLock::new();
    INFO.get_or_init(CpuInfo::default)
}

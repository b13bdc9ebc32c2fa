//! KVM's paravirtual clock, used once: its page tells the TSC's exact frequency.
//! Source: Linux `Documentation/virt/kvm/x86/msr.rst`, `cpuid.rst`.

use super::{entry, x86};
use core::cell::UnsafeCell;

/// The structure the host fills.
#[repr(C, align(64))]
struct Page(UnsafeCell<[u32; 8]>);

// SAFETY: only the boot CPU uses it, once.
unsafe impl Sync for Page {}

static PAGE: Page = Page(UnsafeCell::new([0; 8]));
const FEATURE_NEW_MSRS: u32 = 1 << 3;
const MSR_SYSTEM_TIME: u32 = 0x4b56_4d01;

/// The TSC frequency, if the hypervisor with CPUID base `max_leaf` tells it.
pub fn tsc_hz(max_leaf: u32) -> Option<u64> {
    if max_leaf < 0x4000_0001 || x86::cpuid(0x4000_0001, 0).eax & FEATURE_NEW_MSRS == 0 {
        return None;
    }
    let phys = PAGE.0.get() as u64 - entry::KERNEL_BASE;
    // SAFETY: the feature bit says that the register exists; the page is ours, and is let go before it is read as plain data.
    let words = unsafe {
        x86::wrmsr(MSR_SYSTEM_TIME, phys | 1);
        let w = PAGE.0.get().read_volatile();
        x86::wrmsr(MSR_SYSTEM_TIME, 0);
        w
    };
    // version, pad, tsc_timestamp (2), system_time (2), tsc_to_system_mul, shift and flags
    let (mul, shift) = (u64::from(words[6]), words[7] as u8 as i8);
    if mul == 0 {
        return None;
    }
    let hz = u128::from(1_000_000_000u64) << 32;
    let hz = hz / u128::from(mul);
    let hz = if shift < 0 { hz << (-i32::from(shift)) } else { hz >> shift };
    u64::try_from(hz).ok().filter(|hz| *hz > 1_000_000)
}

//! Bare x86-64 under a virtual machine monitor: QEMU (microvm, q35), Firecracker, Cloud Hypervisor.
//!
//! Boot: [`entry`] (assembly) -> [`boot`] -> the kernel's `main`. Traps: [`traps`] and [`user`]. Memory: [`bootmem`], [`mem`],
//! [`heap`], [`paging`] (kernel), [`aspace`]/[`mapping`] (user), [`copy`]/[`usercopy`]. CPUs: [`cpu`], [`gdt`], [`segments`], [`smp`], [`apic`], [`tlb`], [`fpu`],
//! [`thread`]. Devices: [`irq`], [`acpi`], [`serial`], [`rtc`], [`time`], [`power`].

mod acpi;
mod apic;
pub mod aspace;
pub mod boot;
mod bootmem;
mod copy;
pub mod cpu;
mod cpuinfo;
pub mod debug;
pub mod entropy;
mod entry;
mod features;
mod fpu;
mod gdt;
mod heap;
pub mod irq;
mod mapping;
pub mod mem;
mod memfns;
mod paging;
pub mod panic;
pub mod power;
mod pvclock;
mod rtc;
mod saved;
mod segments;
pub mod serial;
pub use serial as console;
mod smp;
mod stack;
mod tables;
pub mod thread;
pub mod time;
mod tlb;
mod traps;
pub mod user;
mod usercopy;
pub mod vdso;
pub mod virtio;
mod x86;

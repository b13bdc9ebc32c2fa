//! From the first Rust instruction to the kernel's `main`: what the loader left, memory, tables, CPUs, clocks.

use super::{acpi, apic, bootmem, cpu, entry, features, irq, mem, paging, serial, smp, time, traps, x86};
use crate::sync::Once;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};
use firmware::pvh;

const CMDLINE_MAX: usize = 4096;
/// RAM below is left to the firmware's data and the other CPUs' start code.
const LOW_PAGES: u32 = 16;

struct Buffer(UnsafeCell<[u8; CMDLINE_MAX]>);

// SAFETY: written once by the boot CPU before `CMDLINE` is set.
unsafe impl Sync for Buffer {}

static BUFFER: Buffer = Buffer(UnsafeCell::new([0; CMDLINE_MAX]));
static CMDLINE: Once<&'static str> = Once::new();
/// Address and size of the initial RAM disk; size 0 once taken.
static INITRD: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

// Defined by `machine::entry!` in the kernel image.
unsafe extern "Rust" {
    safe fn ochre_kernel_main() -> !;
}

/// The command line.
pub fn cmdline() -> &'static str {
    CMDLINE.get().copied().unwrap_or("")
}

/// Bytes at a physical address that the boot tables map.
fn early(addr: u64, len: usize) -> &'static [u8] {
    if addr == 0 || addr.checked_add(len as u64).is_none_or(|end| end > entry::BOOT_MAPPED) {
        return &[];
    }
    // SAFETY: mapped, and nothing writes what the loader left while boot reads it.
    unsafe { core::slice::from_raw_parts((entry::DIRECT_BASE + addr) as *const u8, len) }
}

fn keep_cmdline(addr: u64) {
    let text = early(addr, CMDLINE_MAX);
    let len = text.iter().position(|b| *b == 0).unwrap_or(0);
    // SAFETY: the boot CPU is alone and nobody has a reference yet.
    let buffer = unsafe { &mut *BUFFER.0.get() };
    buffer[..len].copy_from_slice(&text[..len]);
    let _ = CMDLINE.set(core::str::from_utf8(&buffer[..len]).unwrap_or(""));
}

fn halt(why: &str) -> ! {
    serial::write_text(why.as_bytes());
    super::power::exit(1)
}

/// Entered by `_start` with the physical address of the start info.
pub extern "C" fn start(info: u64) -> ! {
    let entered = x86::rdtsc();
    cpu::boot_cpu().install();
    serial::init();
    traps::init();
    traps::load();
    features::init();
    let Some(info) = pvh::parse(early(info, pvh::SIZE)) else { halt("no PVH start info\n") };
    keep_cmdline(info.cmdline);
    let (mut ram, mut free) = (bootmem::Ranges::new(), bootmem::Ranges::new());
    let mut pages = 0;
    for e in early(info.map.0, info.map.1 as usize * pvh::ENTRY).chunks_exact(pvh::ENTRY) {
        if let Some((start, end)) = pvh::ram_entry(e) {
            ram.add(start, end);
            free.add(start.max(LOW_PAGES), end);
            pages += end - start;
        }
    }
    let [image, _, _, image_end] = paging::image();
    free.remove(image, image_end);
    if info.modules.1 > 0
        && let Some((addr, size)) = pvh::module(early(info.modules.0, 32))
    {
        let (first, last) = ((addr >> 12) as u32, (addr + size).div_ceil(4096) as u32);
        free.remove(first, last);
        // Only one that lies wholly in RAM, apart from the image, can be read and given back.
        if ram.iter().any(|r| r.start <= first && last <= r.end) && (last <= image || image_end <= first) {
            INITRD[0].store(addr, Ordering::Relaxed);
            INITRD[1].store(size, Ordering::Relaxed);
        }
    }
    bootmem::init(free);
    if !paging::init(&ram) {
        halt("not enough memory for page tables\n");
    }
    frames(&ram, pages);
    set_level();
    if !apic::init() {
        halt("no memory for device mappings\n");
    }
    let topology = acpi::init(info.rsdp);
    irq::init();
    smp::init_this_cpu(cpu::boot_cpu());
    smp::init(&topology.cpus);
    time::init(entered);
    crate::kinfo!("Ochre {}: {} CPUs, {} KiB of RAM", env!("CARGO_PKG_VERSION"), cpu::count(), u64::from(pages) * 4);
    ochre_kernel_main()
}

/// Makes the frame metadata.
fn frames(ram: &bootmem::Ranges, pages: u32) {
    let extent = ram.iter().map(|r| r.end).max().unwrap_or(0);
    let bytes = extent as usize * size_of::<mem::Meta>();
    let Some(at) = bootmem::take(bytes.div_ceil(4096) as u32, u32::MAX) else { halt("not enough memory\n") };
    let meta = mem::direct(at) as *mut mem::Meta;
    // SAFETY: fresh pages in the direct map, enough for the array; all-zero words are valid.
    unsafe {
        core::ptr::write_bytes(meta, 0, extent as usize);
        mem::init(meta, extent, pages);
    }
    bootmem::mark_reserved(extent);
}

fn set_level() {
    for word in cmdline().split_ascii_whitespace() {
        if word == "quiet" {
            crate::log::set_console_level(4);
        } else if let Some(n) = word.strip_prefix("loglevel=").and_then(|n| n.parse().ok()) {
            crate::log::set_console_level(n);
        }
    }
}

/// The initial RAM disk: address in the direct map and size.
pub struct RawInitrd {
    addr: u64,
    size: usize,
}

impl RawInitrd {
    pub fn take() -> Option<RawInitrd> {
        let size = INITRD[1].swap(0, Ordering::AcqRel) as usize;
        let addr = entry::DIRECT_BASE + INITRD[0].load(Ordering::Relaxed);
        (size != 0).then_some(RawInitrd { addr, size })
    }
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: reserved RAM in the direct map, which nobody writes until `drop`.
        unsafe { core::slice::from_raw_parts(self.addr as *const u8, self.size) }
    }
}

impl Drop for RawInitrd {
    fn drop(&mut self) {
        for pfn in mem::pfn_of(self.addr)..mem::pfn_of(self.addr + self.size as u64 + 4095) {
            mem::give_kind(pfn, 0, mem::KIND_RESERVED);
        }
    }
}

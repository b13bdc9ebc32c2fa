//! `segments storm [SECONDS]`: threads load selectors, change the local descriptor table and fork while others run with its segments, on all CPUs. Each must keep
//! what it loaded until its descriptor goes, and none may hurt the kernel; then `survived` is printed.
//!
//! `segments narrow`: tries every way into 32-bit code. On a kernel without such code each ends in the fault that Linux
//! without it gives; then `none` is printed.

use ochre_guest::{Rng, now_ms, raw_call};
use std::arch::asm;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const NR_MODIFY_LDT: u32 = 154;
const THREADS: u64 = 6;
/// Slots whose descriptors never change, and those that do.
const FIXED: u64 = 4;
const SLOTS: u64 = 40;

static STOP: AtomicBool = AtomicBool::new(false);

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("narrow") => narrow(),
        _ => storm(args.next().and_then(|a| a.parse().ok()).unwrap_or(5)),
    }
}

/// A flat data segment, or an empty descriptor.
fn set(slot: u64, there: bool) -> i64 {
    let desc: [u32; 4] = if there { [slot as u32, 0, 0xf_ffff, 0x51] } else { [slot as u32, 0, 0, 0x28] };
    // SAFETY: the structure lives; flat segments change no address.
    unsafe { raw_call(NR_MODIFY_LDT, [0x11, desc.as_ptr() as u64, 16, 0, 0, 0]) }
}

fn load(es: u16, gs: u16) {
    // SAFETY: nothing here uses ES or GS, and the selectors are null or name segments that stay.
    unsafe { asm!("mov es, {:x}", "mov gs, {:x}", in(reg) es, in(reg) gs) };
}

fn loaded() -> (u16, u16) {
    let (es, gs): (u16, u16);
    // SAFETY: reads registers.
    unsafe { asm!("mov {:x}, es", "mov {:x}, gs", out(reg) es, out(reg) gs) };
    (es, gs)
}

fn selector(slot: u64) -> u16 {
    (slot as u16) << 3 | 7
}

/// Runs with a stack segment of its own for a while.
fn own_stack(ss: u16) {
    // SAFETY: the segment is flat, and the usual one comes back.
    unsafe {
        asm!("mov ss, {:x}", "2: dec {}", "jnz 2b", "mov ss, {:x}", in(reg) ss, inout(reg) 20_000u64 => _, in(reg) 0x2bu16)
    };
}

fn storm(seconds: u64) {
    assert_eq!((0..FIXED).map(|slot| set(slot, true)).sum::<i64>(), 0);
    let end = now_ms() + seconds * 1000;
    let threads: Vec<_> = (0..THREADS).map(|n| std::thread::spawn(move || one(n))).collect();
    while now_ms() < end {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    STOP.store(true, Relaxed);
    let changes: u64 = threads.into_iter().map(|t| t.join().expect("a thread failed")).sum();
    assert!(changes > 0);
    println!("survived");
}

fn one(n: u64) -> u64 {
    let mut rng = Rng::new(n + 1);
    let mut changes = 0;
    while !STOP.load(Relaxed) {
        let (es, gs) = (selector(rng.below(FIXED)), selector(rng.below(FIXED)));
        load(es, gs);
        match rng.below(6) {
            0 => {
                assert_eq!(set(FIXED + rng.below(SLOTS), rng.below(2) == 0), 0);
                changes += 1;
            }
            1 => std::thread::yield_now(),
            2 => own_stack(es),
            3 => fork_once(es, gs),
            4 => std::thread::sleep(std::time::Duration::from_micros(100)),
            _ => (0..rng.below(20_000)).for_each(|i| {
                std::hint::black_box(i);
            }),
        }
        assert_eq!(loaded(), (es, gs), "thread {n}");
        load(0, 0);
    }
    changes
}

fn fork_once(es: u16, gs: u16) {
    // SAFETY: the child only looks at registers, changes its own table and ends.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            let kept = loaded() == (es, gs) && set(FIXED, true) == 0;
            libc::_exit(i32::from(!kept));
        }
        let mut status = 0;
        assert!(libc::waitpid(pid, &mut status, 0) == pid && status == 0, "a child: {status:#x}");
    }
}

/// Runs `body` in a child; the signal that ended it.
fn signal_of(body: impl FnOnce()) -> i32 {
    // SAFETY: the child runs the body and ends.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            body();
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(pid, &mut status, 0);
        if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 }
    }
}

fn narrow() {
    // SAFETY: each ends its process.
    unsafe {
        assert_eq!(signal_of(|| asm!("int 0x80", inout("eax") 20 => _)), libc::SIGSEGV);
        // Some CPUs do not know it in long mode.
        assert!([libc::SIGSEGV, libc::SIGILL].contains(&signal_of(|| asm!("sysenter", options(noreturn)))));
        let far = |selector: u64| signal_of(|| asm!("push {}", "push 0", "retfq", in(reg) selector, options(noreturn)));
        assert_eq!((far(0x23), far(0x13), far(7)), (libc::SIGSEGV, libc::SIGSEGV, libc::SIGSEGV));
    }
    // Code in the local table, 16-bit segments: EINVAL, as an `int` in a cleared register.
    for bits in [0x55u32, 0x54, 0x50] {
        let desc: [u32; 4] = [0, 0, 0xf_ffff, bits];
        // SAFETY: the structure lives.
        assert_eq!(unsafe { raw_call(NR_MODIFY_LDT, [0x11, desc.as_ptr() as u64, 16, 0, 0, 0]) }, 0xffff_ffea);
    }
    let file = std::env::temp_dir().join(format!("narrow-{}", std::process::id()));
    let mut header = [0u8; 84];
    header[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    header[16..24].copy_from_slice(&[2, 0, 3, 0, 1, 0, 0, 0]);
    std::fs::write(&file, header).expect("a file to run");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&file, mode).expect("a file to run");
    let error = std::process::Command::new(&file).spawn().map(drop).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOEXEC));
    let _ = std::fs::remove_file(&file);
    println!("none");
}

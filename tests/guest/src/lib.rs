//! Programs that run in the guest: the call fuzzer, the storms, the thread test. They are ordinary host programs (the guest
//! shares the host's root file system) and run on Linux as well, which is how their own bugs are told from the kernel's.
//!
//! They make raw system calls with arguments no library would pass on, hence the `unsafe`.

pub mod storm;

/// A small deterministic random-number generator (xorshift64*), so that a failure can be repeated from its seed.
pub struct Rng(u64);

impl Rng {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `n` (n > 0).
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64() % n
    }
    /// One of the values.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Makes the system call, whatever it is.
///
/// # Safety
/// The kernel may do anything to this process that the call allows.
pub unsafe fn raw_call(nr: u32, a: [u64; 6]) -> i64 {
    let ret;
    // SAFETY: the caller accepts what the call does; registers follow syscall(2).
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") u64::from(nr) => ret, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _);
    }
    ret
}

/// Milliseconds on the monotonic clock.
pub fn now_ms() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1000 + t.tv_nsec as u64 / 1_000_000
}

/// Sleeps.
pub fn sleep_ms(ms: u64) {
    std::thread::sleep(std::time::Duration::from_millis(ms));
}

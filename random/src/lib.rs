//! The kernel's random numbers: what getrandom(2), /dev/urandom, AT_RANDOM and the kernel's own choices are made of.
//!
//! One ChaCha20 generator a CPU, keyed from a base key that the machine's entropy source feeds. Each request runs one
//! block: its first half becomes the CPU's next key before anything is handed out (fast key erasure), so a later leak of
//! the state says nothing of earlier output; its second half is the output, or the key of the stream a long request
//! gets. A CPU takes a new key from the base, and the base fresh entropy, once a minute and after [`add_entropy`].
//!
//! Lock order: a CPU's generator, then the base key. Both spin locks; neither is used by interrupt handlers.
//! Sources: getrandom(2), random(4), RFC 8439, "Fast-key-erasure random-number generators" (D. J. Bernstein, 2017).
#![no_std]
#![forbid(unsafe_code)]

mod chacha;

use chacha::{Key, block, key_of};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::cpu::PerCpu;
use machine::sync::{Once, SpinLock};

/// A generator takes a new key when its own is older than this.
const RESEED_NS: u64 = 60_000_000_000;

/// Fills a buffer with entropy of the machine.
pub type EntropySource = fn(&mut [u8; 32]);

struct Base {
    key: Key,
    fed_at: u64,
}

struct Generator {
    key: Key,
    generation: u64,
    keyed_at: u64,
}

struct Core {
    source: EntropySource,
    base: SpinLock<Base>,
    /// Counts changes of the base key; generators of an older generation take a new key.
    generation: AtomicU64,
    cpus: PerCpu<SpinLock<Generator>>,
}

static CORE: Once<Core> = Once::new();

/// Seeds the generators. Called once at boot, before anything asks for random bytes; later calls do nothing.
pub fn init(source: EntropySource) {
    CORE.get_or_init(|| Core::new(source));
}

/// Mixes bytes into the base key (what user space writes to /dev/urandom, a seed of the boot loader).
pub fn add_entropy(bytes: &[u8]) {
    if let Some(core) = CORE.get() {
        core.add(bytes);
    }
}

/// The number of the base key in use; `None` before [`init`].
pub fn generation() -> Option<u64> {
    CORE.get().map(|core| core.generation.load(Ordering::Acquire))
}

static FOLLOWER: Once<fn(u64)> = Once::new();

/// Calls `f` with the new [`generation`] each time the base key changes; one caller only.
pub fn follow(f: fn(u64)) {
    let _ = FOLLOWER.set(f);
}

/// Fills `out` with random bytes. Before [`init`] the bytes come from the clock alone and are predictable.
pub fn fill(out: &mut [u8]) {
    match CORE.get() {
        Some(core) => core.fill(out),
        None => Core::new(|seed| seed[..8].copy_from_slice(&machine::time::now_ns().to_le_bytes())).fill(out),
    }
}

/// A random number.
pub fn next_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A stream of random bytes that needs no lock: for long requests, which take it in pieces.
pub struct Stream {
    key: Key,
    counter: u32,
}

impl Stream {
    /// A stream under a key of its own.
    pub fn new() -> Stream {
        let mut key = [0; 32];
        fill(&mut key);
        Stream { key: key_of(&key), counter: 0 }
    }

    /// Fills `out` with the next bytes; what is left of the last block is dropped.
    pub fn fill(&mut self, out: &mut [u8]) {
        for piece in out.chunks_mut(64) {
            piece.copy_from_slice(&block(&self.key, self.counter, [0; 3])[..piece.len()]);
            match self.counter.checked_add(1) {
                Some(next) => self.counter = next,
                None => *self = Stream::new(),
            }
        }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Stream::new()
    }
}

impl Core {
    fn new(source: EntropySource) -> Core {
        let mut seed = [0; 32];
        source(&mut seed);
        let base = Base { key: key_of(&seed), fed_at: machine::time::now_ns() };
        let idle = || SpinLock::new(Generator { key: [0; 8], generation: 0, keyed_at: 0 });
        Core { source, base: SpinLock::new(base), generation: AtomicU64::new(1), cpus: PerCpu::new(|_| idle()) }
    }

    fn add(&self, bytes: &[u8]) {
        let mut base = self.base.lock();
        for piece in bytes.chunks(32) {
            base.absorb(piece);
        }
        let generation = self.generation.fetch_add(1, Ordering::Release) + 1;
        drop(base);
        if let Some(follower) = FOLLOWER.get() {
            follower(generation);
        }
    }

    /// A new key for one CPU's generator.
    fn derive(&self, now: u64) -> Key {
        let mut base = self.base.lock();
        if now.saturating_sub(base.fed_at) > RESEED_NS {
            let mut seed = [0; 32];
            (self.source)(&mut seed);
            base.absorb(&seed);
            base.fed_at = now;
        }
        let (next, out) = split(&base.key);
        base.key = next;
        key_of(&out)
    }

    fn fill(&self, out: &mut [u8]) {
        let half = {
            let mut cpu = self.cpus.get().lock();
            let generation = self.generation.load(Ordering::Acquire);
            let now = machine::time::now_ns();
            if cpu.generation != generation || now.saturating_sub(cpu.keyed_at) > RESEED_NS {
                cpu.key = self.derive(now);
                cpu.generation = generation;
                cpu.keyed_at = now;
            }
            let (next, half) = split(&cpu.key);
            cpu.key = next;
            half
        };
        match half.get(..out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => Stream { key: key_of(&half), counter: 0 }.fill(out),
        }
    }
}

impl Base {
    /// Mixes up to 32 bytes in.
    fn absorb(&mut self, piece: &[u8]) {
        let mut padded = [0; 32];
        for (to, from) in padded.iter_mut().zip(piece) {
            *to = *from;
        }
        for (word, new) in self.key.iter_mut().zip(key_of(&padded)) {
            *word ^= new;
        }
        self.key = split(&self.key).0;
    }
}

/// One block under `key`: the key that replaces it, and 32 bytes of output.
fn split(key: &Key) -> (Key, [u8; 32]) {
    let bytes = block(key, 0, [0; 3]);
    let mut out = [0; 32];
    out.copy_from_slice(&bytes[32..]);
    (key_of(&bytes[..32]), out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core() -> Core {
        Core::new(|seed| seed.fill(7))
    }

    #[test]
    fn requests_of_every_size_differ_and_are_filled() {
        let core = core();
        let (mut a, mut b) = ([0; 200], [0; 200]);
        for len in [1, 8, 32, 33, 64, 65, 200] {
            core.fill(&mut a[..len]);
            core.fill(&mut b[..len]);
            assert!(len < 8 || a[..len] != b[..len]);
            assert!(len < 8 || a[len - 8..len] != [0; 8], "the tail of {len} bytes was written");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_until_entropy_is_added() {
        let (one, two) = (core(), core());
        let (mut a, mut b) = ([0; 16], [0; 16]);
        one.fill(&mut a);
        two.fill(&mut b);
        assert_eq!(a, b);
        two.add(b"noise");
        one.fill(&mut a);
        two.fill(&mut b);
        assert_ne!(a, b);
    }
}

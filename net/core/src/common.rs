//! The state every socket has: flags, buffer sizes, time limits, the pending error.

use abi::Errno;
use abi::socket::Linger;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use machine::sync::SpinLock;
use vfs::File;

/// Default and largest buffer size (`net.core.{w,r}mem_{default,max}`).
pub const BUF_MAX: u32 = 212_992;
/// The smallest send and receive buffers.
pub const SNDBUF_MIN: u32 = 4608;
/// The smallest receive buffer.
pub const RCVBUF_MIN: u32 = 2304;

/// A boolean option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
#[allow(missing_docs)] // named as in socket(7)
pub enum Flag {
    ReuseAddr = 1,
    KeepAlive = 2,
    Broadcast = 4,
    OobInline = 8,
    PassCred = 16,
    DontRoute = 32,
    Debug = 64,
    ReusePort = 128,
    Timestamp = 256,
    PassPidfd = 512,
}

/// Options and error of one socket.
pub struct Common {
    flags: AtomicU32,
    sndbuf: AtomicU32,
    rcvbuf: AtomicU32,
    rcvlowat: AtomicU32,
    priority: AtomicU32,
    /// Nanoseconds, 0 for no limit.
    rcvtimeo: AtomicU64,
    sndtimeo: AtomicU64,
    linger: AtomicU64,
    error: AtomicU32,
    /// Of its file, 0 before it has one.
    ino: AtomicU64,
    /// Where the next MSG_PEEK looks, negative for the start (SO_PEEK_OFF).
    peek_off: AtomicI32,
    /// The open file, once it has an owner.
    owned: SpinLock<Weak<File>>,
}

impl Default for Common {
    fn default() -> Self {
        Common {
            flags: AtomicU32::new(0),
            sndbuf: AtomicU32::new(BUF_MAX),
            rcvbuf: AtomicU32::new(BUF_MAX),
            rcvlowat: AtomicU32::new(1),
            priority: AtomicU32::new(0),
            rcvtimeo: AtomicU64::new(0),
            sndtimeo: AtomicU64::new(0),
            linger: AtomicU64::new(0),
            error: AtomicU32::new(0),
            ino: AtomicU64::new(0),
            peek_off: AtomicI32::new(-1),
            owned: SpinLock::new(Weak::new()),
        }
    }
}

impl Common {
    /// The inode number of its file, 0 before it has one.
    pub fn ino(&self) -> u64 {
        self.ino.load(Ordering::Relaxed)
    }
    /// It has a file.
    pub fn set_ino(&self, ino: u64) {
        self.ino.store(ino, Ordering::Relaxed);
    }
    /// A boolean option's value.
    pub fn is(&self, option: Flag) -> bool {
        self.flags.load(Ordering::Relaxed) & option as u32 != 0
    }
    /// Sets a boolean option.
    pub fn set(&self, option: Flag, on: bool) {
        if on {
            self.flags.fetch_or(option as u32, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!(option as u32), Ordering::Relaxed);
        }
    }
    /// Bytes (with overhead) that may wait to be received by the peer.
    pub fn sndbuf(&self) -> u32 {
        self.sndbuf.load(Ordering::Relaxed)
    }
    /// SO_SNDBUF: the doubled value, inside its limits.
    pub fn set_sndbuf(&self, value: i32, force: bool) {
        self.sndbuf.store(buffer_size(value, force, SNDBUF_MIN), Ordering::Relaxed);
    }
    /// Size of the receive buffer.
    pub fn rcvbuf(&self) -> u32 {
        self.rcvbuf.load(Ordering::Relaxed)
    }
    /// SO_RCVBUF.
    pub fn set_rcvbuf(&self, value: i32, force: bool) {
        self.rcvbuf.store(buffer_size(value, force, RCVBUF_MIN), Ordering::Relaxed);
    }
    /// Fewest bytes a blocking receive waits for.
    pub fn rcvlowat(&self) -> u32 {
        self.rcvlowat.load(Ordering::Relaxed)
    }
    /// SO_RCVLOWAT: negative means the most, zero means one.
    pub fn set_rcvlowat(&self, value: i32) {
        let value = if value < 0 { i32::MAX as u32 } else { (value as u32).max(1) };
        self.rcvlowat.store(value, Ordering::Relaxed);
    }
    /// SO_PRIORITY.
    pub fn priority(&self) -> u32 {
        self.priority.load(Ordering::Relaxed)
    }
    /// Sets SO_PRIORITY.
    pub fn set_priority(&self, value: u32) {
        self.priority.store(value, Ordering::Relaxed);
    }
    /// Time limit of receiving in nanoseconds, 0 for none.
    pub fn rcvtimeo(&self) -> u64 {
        self.rcvtimeo.load(Ordering::Relaxed)
    }
    /// Time limit of sending in nanoseconds, 0 for none.
    pub fn sndtimeo(&self) -> u64 {
        self.sndtimeo.load(Ordering::Relaxed)
    }
    /// Sets a time limit.
    pub fn set_timeo(&self, receive: bool, ns: u64) {
        let slot = if receive { &self.rcvtimeo } else { &self.sndtimeo };
        slot.store(ns, Ordering::Relaxed);
    }
    /// When a receive (or send) that starts now gives up.
    pub fn deadline(&self, receive: bool) -> Option<u64> {
        match if receive { self.rcvtimeo() } else { self.sndtimeo() } {
            0 => None,
            ns => Some(machine::time::now_ns().saturating_add(ns)),
        }
    }
    /// SO_LINGER.
    pub fn linger(&self) -> Linger {
        let packed = self.linger.load(Ordering::Relaxed);
        Linger { onoff: (packed >> 32) as i32, linger: packed as u32 as i32 }
    }
    /// Sets SO_LINGER.
    pub fn set_linger(&self, l: Linger) {
        let packed = u64::from(l.onoff != 0) << 32 | u64::from(l.linger as u32);
        self.linger.store(packed, Ordering::Relaxed);
    }
    /// SO_PEEK_OFF.
    pub fn peek_off(&self) -> i32 {
        self.peek_off.load(Ordering::Relaxed)
    }
    /// Sets SO_PEEK_OFF.
    pub fn set_peek_off(&self, value: i32) {
        self.peek_off.store(value, Ordering::Relaxed);
    }
    /// Bytes that a peek passes over.
    pub fn peek_skip(&self) -> usize {
        self.peek_off().max(0) as usize
    }
    /// `n` bytes were peeked at, or received: the place of the next peek moves on, or back with what is left.
    pub fn move_peek(&self, n: usize, peeked: bool) {
        let n = i32::try_from(n).unwrap_or(i32::MAX);
        let moved = |off: i32| if peeked { off.saturating_add(n) } else { off.saturating_sub(n).max(0) };
        let _ = self.peek_off.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |off| (off >= 0).then(|| moved(off)));
    }
    /// The open file of the socket, if it has an owner to be told of out-of-band data.
    pub fn owned_file(&self) -> Option<Arc<File>> {
        self.owned.lock().upgrade()
    }
    /// The file got an owner.
    pub fn set_owned_file(&self, file: &Arc<File>) {
        *self.owned.lock() = Arc::downgrade(file);
    }
    /// Takes the pending error.
    pub fn take_error(&self) -> Option<Errno> {
        match self.error.load(Ordering::Relaxed) {
            0 => None,
            _ => Errno::from_raw(self.error.swap(0, Ordering::AcqRel)),
        }
    }
    /// An error is pending.
    pub fn has_error(&self) -> bool {
        self.error.load(Ordering::Acquire) != 0
    }
    /// Makes an error pending: the next call returns it.
    pub fn set_error(&self, error: Errno) {
        self.error.store(error as u32, Ordering::Release);
    }
}

/// Linux doubles what is asked for, to make room for its own overhead, and keeps it inside limits (socket(7)).
fn buffer_size(value: i32, force: bool, min: u32) -> u32 {
    let value = if force { value.max(0) as u32 } else { (value as u32).min(BUF_MAX) };
    value.min(i32::MAX as u32 / 2).saturating_mul(2).max(min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_sizes_are_doubled_and_limited() {
        assert_eq!(buffer_size(10_000, false, SNDBUF_MIN), 20_000);
        assert_eq!(buffer_size(1, false, SNDBUF_MIN), SNDBUF_MIN);
        assert_eq!(buffer_size(i32::MAX, false, SNDBUF_MIN), 2 * BUF_MAX);
        assert_eq!(buffer_size(-1, false, RCVBUF_MIN), 2 * BUF_MAX);
        assert_eq!(buffer_size(-1, true, RCVBUF_MIN), RCVBUF_MIN);
        assert_eq!(buffer_size(1 << 20, true, RCVBUF_MIN), 1 << 21);
    }
}

//! The ring of kernel messages behind /dev/kmsg and syslog(2): the last 32 KiB of them, oldest first, each with a number.

use crate::sync::{IrqLock, Once};

const SIZE: usize = 1 << 15;
const HEAD: usize = 12;

struct Ring {
    bytes: [u8; SIZE],
    /// Byte positions of the oldest record and past the newest; they only grow.
    start: usize,
    end: usize,
    /// Numbers of the oldest record and of the next one.
    first: u64,
    next: u64,
}

static RING: IrqLock<Ring> = IrqLock::new(Ring { bytes: [0; SIZE], start: 0, end: 0, first: 0, next: 0 });
static LISTENER: Once<fn()> = Once::new();

/// One message, without its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// Its level, 0 (emergency) to 7 (debug); facility in the higher bits.
    pub level: u8,
    /// When it was written, in nanoseconds since boot.
    pub time_ns: u64,
    /// Length of its text.
    pub len: usize,
}

impl Ring {
    fn put(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.bytes[self.end % SIZE] = *b;
            self.end = self.end.wrapping_add(1);
        }
    }
    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        core::array::from_fn(|i| self.bytes[at.wrapping_add(i) % SIZE])
    }
    /// Level, time and text length of the record at a position.
    fn head(&self, at: usize) -> (u8, u64, usize) {
        let [l0, l1, level, _, time @ ..] = self.get::<HEAD>(at);
        (level, u64::from_le_bytes(time), usize::from(u16::from_le_bytes([l0, l1])))
    }
    fn push(&mut self, level: u8, time_ns: u64, text: &[u8]) {
        let text = &text[..text.len().min(SIZE / 4)];
        while self.end.wrapping_sub(self.start) + HEAD + text.len() > SIZE {
            let (_, _, len) = self.head(self.start);
            self.start = self.start.wrapping_add(HEAD + len);
            self.first += 1;
        }
        let [l0, l1] = (text.len() as u16).to_le_bytes();
        self.put(&[l0, l1, level, 0]);
        self.put(&time_ns.to_le_bytes());
        self.put(text);
        self.next += 1;
    }
    fn read(&self, from: u64, text: &mut [u8]) -> Option<Record> {
        let (mut at, mut seq) = (self.start, self.first);
        while seq < self.next {
            let (level, time_ns, len) = self.head(at);
            at = at.wrapping_add(HEAD);
            if seq >= from {
                for (i, b) in text.iter_mut().take(len).enumerate() {
                    *b = self.bytes[at.wrapping_add(i) % SIZE];
                }
                return Some(Record { seq, level, time_ns, len });
            }
            at = at.wrapping_add(len);
            seq += 1;
        }
        None
    }
}

/// Adds a message.
pub(crate) fn push(level: u8, text: &[u8]) {
    RING.lock().push(level, crate::time::now_ns(), text);
    if let Some(listener) = LISTENER.get() {
        listener();
    }
}

/// The first message numbered `from` or higher; its text goes to `text`, cut where that ends.
pub fn read(from: u64, text: &mut [u8]) -> Option<Record> {
    RING.lock().read(from, text)
}

/// Numbers of the oldest message and of the next one to come.
pub fn range() -> (u64, u64) {
    let ring = RING.lock();
    (ring.first, ring.next)
}

/// Installs what is called after each message, also from interrupt handlers; the first call counts.
pub fn set_listener(listener: fn()) {
    let _ = LISTENER.set(listener);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_messages_give_way_and_numbers_go_on() {
        let mut ring = Ring { bytes: [0; SIZE], start: 0, end: 0, first: 0, next: 0 };
        for i in 0..3000u64 {
            ring.push((i % 8) as u8, i, format!("message {i}").as_bytes());
        }
        assert_eq!(ring.next, 3000);
        assert!(ring.first > 0);
        let mut text = [0; 64];
        let oldest = ring.read(0, &mut text).unwrap();
        assert_eq!(oldest.seq, ring.first);
        let last = ring.read(2999, &mut text).unwrap();
        assert_eq!((last.level, last.time_ns, &text[..last.len]), (7, 2999, &b"message 2999"[..]));
        assert_eq!(ring.read(3000, &mut text), None);
    }
}

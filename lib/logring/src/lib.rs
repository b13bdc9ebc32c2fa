//! A ring of log records that any number of writers and readers use at once, in any context, without a lock.
//!
//! Two arrays: *slots*, one a record, found by the record's number; and *words* with the texts, four bytes each beside the
//! generation (how many times the ring went round) they belong to.
//!
//! A writer takes the next number by moving the slot's state from "committed in the round before" to "reserved"; whoever finds it
//! so taken helps to advance the number, so nobody waits for anybody. It then takes words (one addition), fills them, and commits
//! the slot. A slot still reserved from the round before (its writer stands still while the ring goes round) is not taken away
//! from it: the new message is dropped and counted.
//!
//! A reader copies a committed record and then looks whether its slot still is what it was. A word of another generation means
//! that the text was overwritten. A late writer never overwrites a word of a newer generation, so that no record ever shows
//! another's text.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*, fence};

/// Bytes of text in a word.
const CHUNK: usize = 4;

/// What is known of a record besides its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// Level in the lowest three bits, facility above.
    pub priority: u32,
    /// Who wrote it, as the ring's user numbers writers.
    pub caller: u32,
    /// When, in nanoseconds.
    pub time_ns: u64,
}

/// A record that was read; its text is in the reader's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// What is known of it.
    pub meta: Meta,
    /// Length of its text, which may exceed the reader's buffer.
    pub len: usize,
}

struct Slot {
    /// 0, or the record's number plus one, times two, plus one when it is committed.
    state: AtomicU64,
    priority: AtomicU32,
    caller: AtomicU32,
    time_ns: AtomicU64,
    /// Position of the first word; it only grows.
    at: AtomicU64,
    len: AtomicU32,
}

const fn reserved(seq: u64) -> u64 {
    (seq + 1) << 1
}

const fn committed(seq: u64) -> u64 {
    reserved(seq) | 1
}

/// The ring: `SLOTS` records with `WORDS` four-byte pieces of text; both powers of two.
pub struct LogRing<const SLOTS: usize, const WORDS: usize> {
    slots: [Slot; SLOTS],
    words: [AtomicU64; WORDS],
    /// The number of the next record.
    next: AtomicU64,
    /// The next free word.
    head: AtomicU64,
    /// All records before this one are known to be written.
    complete: AtomicU64,
    /// Messages that found no room.
    dropped: AtomicU64,
}

enum Look {
    Got(Record),
    /// Not written yet.
    NotYet,
    /// Overwritten.
    Lost,
}

impl<const SLOTS: usize, const WORDS: usize> LogRing<SLOTS, WORDS> {
    const SIZES_ARE_POWERS_OF_TWO: () = assert!(SLOTS.is_power_of_two() && WORDS.is_power_of_two());

    /// An empty ring.
    pub const fn new() -> Self {
        let () = Self::SIZES_ARE_POWERS_OF_TWO;
        LogRing {
            slots: [const {
                Slot {
                    state: AtomicU64::new(0),
                    priority: AtomicU32::new(0),
                    caller: AtomicU32::new(0),
                    time_ns: AtomicU64::new(0),
                    at: AtomicU64::new(0),
                    len: AtomicU32::new(0),
                }
            }; SLOTS],
            words: [const { AtomicU64::new(0) }; WORDS],
            next: AtomicU64::new(0),
            head: AtomicU64::new(0),
            complete: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }
    /// Messages that were dropped because a writer stood still while the ring went round.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
    fn slot(&self, seq: u64) -> &Slot {
        &self.slots[seq as usize % SLOTS]
    }

    /// Writes a record; gives its number, or `None` if it had to be dropped. Texts are cut to a quarter of the ring.
    pub fn push(&self, meta: Meta, text: &[u8]) -> Option<u64> {
        let text = &text[..text.len().min(WORDS * CHUNK / 4)];
        let seq = self.reserve()?;
        let slot = self.slot(seq);
        let count = text.len().div_ceil(CHUNK) as u64;
        let at = self.head.fetch_add(count, Relaxed);
        for (i, chunk) in text.chunks(CHUNK).enumerate() {
            self.put(at + i as u64, chunk);
        }
        slot.priority.store(meta.priority, Relaxed);
        slot.caller.store(meta.caller, Relaxed);
        slot.time_ns.store(meta.time_ns, Relaxed);
        slot.at.store(at, Relaxed);
        slot.len.store(text.len() as u32, Relaxed);
        slot.state.store(committed(seq), Release);
        Some(seq)
    }

    /// Takes the next number and its slot.
    fn reserve(&self) -> Option<u64> {
        loop {
            let seq = self.next.load(Acquire);
            let slot = self.slot(seq);
            let state = slot.state.load(Acquire);
            let before = seq.checked_sub(SLOTS as u64);
            if state == before.map_or(0, committed) {
                if slot.state.compare_exchange(state, reserved(seq), AcqRel, Relaxed).is_ok() {
                    // Whoever sees what is stored into the slot from now on also sees that it is reserved.
                    fence(Release);
                    self.advance(seq);
                    return Some(seq);
                }
            } else if state | 1 == committed(seq) {
                // Taken, and its writer has not come to say so.
                self.advance(seq);
            } else if before.is_some_and(|before| state == reserved(before)) {
                self.dropped.fetch_add(1, Relaxed);
                return None;
            }
        }
    }
    fn advance(&self, seq: u64) {
        // Another who did it first did the same.
        let _ = self.next.compare_exchange(seq, seq + 1, AcqRel, Relaxed);
    }

    /// The generation of a position. It wraps after 2^32 rounds, far beyond what a late writer can miss.
    fn generation(at: u64) -> u32 {
        (at / WORDS as u64) as u32 + 1
    }
    fn put(&self, at: u64, chunk: &[u8]) {
        let mut bytes = [0; CHUNK];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let generation = Self::generation(at);
        let new = u64::from(generation) << 32 | u64::from(u32::from_le_bytes(bytes));
        let word = &self.words[at as usize % WORDS];
        let newer = |old: u64| generation.wrapping_sub((old >> 32) as u32) as i32 <= 0 && old != 0;
        let _ = word.fetch_update(Relaxed, Relaxed, |old| (!newer(old)).then_some(new));
    }

    /// The first record numbered `from` or higher that can still be read; its text goes to `text`, cut where that ends. `None` when
    /// there is none yet.
    pub fn read(&self, from: u64, text: &mut [u8]) -> Option<Record> {
        self.find(from, text).ok()
    }

    /// The same, but records still being written are passed over: for who cannot wait for their writers.
    pub fn read_past(&self, from: u64, text: &mut [u8]) -> Option<Record> {
        let mut from = from;
        loop {
            match self.find(from, text) {
                Ok(record) => return Some(record),
                Err(at) if at + 1 < self.next.load(Acquire) => from = at + 1,
                Err(_) => return None,
            }
        }
    }

    /// The same; the error is the number of the record that is not yet there.
    fn find(&self, from: u64, text: &mut [u8]) -> Result<Record, u64> {
        let mut seq = from.max(self.oldest());
        loop {
            match self.look(seq, text) {
                Look::Got(record) => return Ok(record),
                Look::NotYet => return Err(seq),
                Look::Lost => seq = self.oldest().max(seq + 1),
            }
        }
    }

    fn look(&self, seq: u64, text: &mut [u8]) -> Look {
        let slot = self.slot(seq);
        let state = slot.state.load(Acquire);
        if state != committed(seq) {
            return if state > committed(seq) { Look::Lost } else { Look::NotYet };
        }
        let meta = Meta {
            priority: slot.priority.load(Relaxed),
            caller: slot.caller.load(Relaxed),
            time_ns: slot.time_ns.load(Relaxed),
        };
        let (at, len) = (slot.at.load(Relaxed), slot.len.load(Relaxed) as usize);
        let shown = len.min(text.len());
        for (i, out) in text[..shown].chunks_mut(CHUNK).enumerate() {
            let at = at + i as u64;
            let word = self.words[at as usize % WORDS].load(Relaxed);
            if (word >> 32) as u32 != Self::generation(at) {
                return Look::Lost;
            }
            out.copy_from_slice(&(word as u32).to_le_bytes()[..out.len()]);
        }
        fence(Acquire);
        if slot.state.load(Relaxed) != state {
            return Look::Lost;
        }
        Look::Got(Record { seq, meta, len })
    }

    /// The lowest number whose record may still be there.
    fn oldest(&self) -> u64 {
        self.next.load(Acquire).saturating_sub(SLOTS as u64)
    }

    /// Numbers of the oldest record that can be read and of the one after the newest: a record still being written ends the range.
    pub fn range(&self) -> (u64, u64) {
        let first = self.find(0, &mut []).map_or_else(|at| at, |r| r.seq);
        let mut end = self.complete.load(Relaxed).max(first);
        while self.slot(end).state.load(Acquire) >= committed(end) {
            end += 1;
        }
        self.complete.fetch_max(end, Relaxed);
        (first, end)
    }
}

impl<const SLOTS: usize, const WORDS: usize> Default for LogRing<SLOTS, WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

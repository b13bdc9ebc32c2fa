//! A timer wheel: time-outs that are mostly cancelled, in O(1), fired late by at most an eighth of how far away they were.
//!
//! Time is counted in ticks. Level 0 has a bucket for each of the next 64 ticks, each level above buckets eight times as wide; a
//! time-out goes into the bucket of the first level that reaches it, *rounded up* to the bucket's end, and stays there: nothing is
//! moved down as its time comes near. So it never fires early, and how late it may fire grows with the distance it was armed at.
//! A value remembers its place in a cell of its own ([`Seat`]) and may sit in one wheel at a time. Not synchronised: the owner
//! locks. Source: "Reinventing the timer wheel" (lwn.net/Articles/646950), the description of the design.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

use alloc::vec::Vec;

/// The seat of a value that is in no wheel.
pub const NOWHERE: u64 = u64::MAX;

/// Remembers where in its wheel a value sits.
pub trait Seat {
    /// What was last stored, [`NOWHERE`] if in no wheel.
    fn seat(&self) -> u64;
    /// Stores the place.
    fn set_seat(&self, at: u64);
}

const LEVELS: usize = 9;
const SLOTS: u64 = 64;
/// Each level is 2^3 times as coarse as the one below.
const STEP: u32 = 3;

/// The farthest a time-out can be; later ones fire then.
pub const REACH: u64 = (SLOTS - 1) << (STEP * (LEVELS as u32 - 1));

/// The wheel.
pub struct Wheel<V> {
    /// The next tick to be looked at: all before it have fired.
    clock: u64,
    /// Which buckets of each level hold something.
    pending: [u64; LEVELS],
    /// Buckets of all levels, made at the first insertion.
    buckets: Vec<Vec<V>>,
    len: usize,
}

const fn width(level: usize) -> u32 {
    STEP * level as u32
}

const fn place(level: usize, slot: u64, index: usize) -> u64 {
    (level as u64 * SLOTS + slot) << 32 | index as u64
}

impl<V: Seat> Wheel<V> {
    /// An empty wheel; allocates at the first insertion.
    pub const fn new() -> Wheel<V> {
        Wheel { clock: 0, pending: [0; LEVELS], buckets: Vec::new(), len: 0 }
    }
    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a value that is to fire at tick `at` or later; `now` is the present tick.
    pub fn insert(&mut self, at: u64, now: u64, value: V) {
        if self.buckets.is_empty() {
            self.buckets.resize_with(LEVELS * SLOTS as usize, Vec::new);
        }
        if now > self.clock {
            // Nothing is due before the next one, so its distance counts from now.
            self.clock = self.next().map_or(now, |next| next.min(now));
        }
        let (level, slot) = self.bucket(at);
        let Some(bucket) = self.buckets.get_mut(level * SLOTS as usize + slot as usize) else { return };
        value.set_seat(place(level, slot, bucket.len()));
        bucket.push(value);
        if let Some(pending) = self.pending.get_mut(level) {
            *pending |= 1 << slot;
        }
        self.len += 1;
    }

    /// Level and slot for a moment.
    fn bucket(&self, at: u64) -> (usize, u64) {
        let at = at.clamp(self.clock, self.clock.saturating_add(REACH));
        let ahead = at - self.clock;
        let level = (0..LEVELS).find(|level| ahead < (SLOTS - 1) << width(*level)).unwrap_or(LEVELS - 1);
        // The end of the span that the moment lies in; on level 0 the moment itself.
        let round_up = (1 << width(level)) - 1;
        let end = at.saturating_add(round_up) >> width(level);
        (level, end % SLOTS)
    }

    /// Takes out the value that sits at `seat`.
    pub fn take(&mut self, seat: u64) -> Option<V> {
        let (at, index) = ((seat >> 32) as usize, seat as u32 as usize);
        let bucket = self.buckets.get_mut(at)?;
        if index >= bucket.len() {
            return None;
        }
        let value = bucket.swap_remove(index);
        value.set_seat(NOWHERE);
        if let Some(moved) = bucket.get(index) {
            moved.set_seat(seat);
        }
        if bucket.is_empty()
            && let Some(pending) = self.pending.get_mut(at / SLOTS as usize)
        {
            *pending &= !(1 << (at % SLOTS as usize));
        }
        self.len -= 1;
        Some(value)
    }

    /// The tick at which the first value fires.
    pub fn next(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let mut first = None;
        for (level, pending) in self.pending.iter().enumerate() {
            if *pending == 0 {
                continue;
            }
            // A level's buckets come up at multiples of its width.
            let turn = self.clock.saturating_add((1 << width(level)) - 1) >> width(level);
            let ahead = u64::from(pending.rotate_right((turn % SLOTS) as u32).trailing_zeros());
            let at = turn.saturating_add(ahead) << width(level);
            first = Some(first.map_or(at, |f: u64| f.min(at)));
        }
        first
    }

    /// Takes out all values that fire at one tick, the first that is not after `now`, into `due`; `false` if there is none. To be
    /// called until it says so: what is due at a later tick may have been cancelled by what fires before.
    pub fn expire(&mut self, now: u64, due: &mut Vec<V>) -> bool {
        let Some(at) = self.next().filter(|at| *at <= now) else {
            if self.len == 0 {
                self.clock = self.clock.max(now.saturating_add(1));
            }
            return false;
        };
        self.clock = at;
        for level in 0..LEVELS {
            if at & ((1 << width(level)) - 1) != 0 {
                break;
            }
            let slot = (at >> width(level)) % SLOTS;
            let Some(pending) = self.pending.get_mut(level).filter(|p| **p & 1 << slot != 0) else { continue };
            *pending &= !(1 << slot);
            let Some(bucket) = self.buckets.get_mut(level * SLOTS as usize + slot as usize) else { continue };
            self.len -= bucket.len();
            bucket.iter().for_each(|value| value.set_seat(NOWHERE));
            due.append(bucket);
        }
        self.clock = at.saturating_add(1);
        true
    }
}

impl<V: Seat> Default for Wheel<V> {
    fn default() -> Self {
        Wheel::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::rc::Rc;
    use core::cell::Cell;
    use proptest::prelude::*;

    struct Entry {
        name: u32,
        seat: Cell<u64>,
    }
    impl Seat for Rc<Entry> {
        fn seat(&self) -> u64 {
            self.seat.get()
        }
        fn set_seat(&self, at: u64) {
            self.seat.set(at)
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        /// Arm for so many ticks ahead.
        Arm(u64),
        /// Cancel one of those armed.
        Cancel(usize),
        /// Let so much time pass and expire.
        Pass(u64),
    }

    fn distance() -> impl Strategy<Value = u64> {
        prop_oneof![0..70u64, 0..5_000u64, 0..2_000_000u64, 0..2 * REACH]
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            4 => distance().prop_map(Op::Arm),
            2 => any::<usize>().prop_map(Op::Cancel),
            3 => distance().prop_map(Op::Pass),
        ];
        proptest::collection::vec(op, 1..200)
    }

    proptest! {
        #[test]
        fn each_fires_once_never_early_and_late_by_an_eighth_at_most(ops in ops()) {
            let mut wheel = Wheel::new();
            let mut armed: BTreeMap<u32, (u64, u64, Rc<Entry>)> = BTreeMap::new();
            let (mut now, mut count) = (5u64, 0);
            for op in ops {
                match op {
                    Op::Arm(ahead) => {
                        let entry = Rc::new(Entry { name: count, seat: Cell::new(NOWHERE) });
                        wheel.insert(now + ahead, now, entry.clone());
                        armed.insert(count, (now + ahead, ahead.min(REACH), entry));
                        count += 1;
                    }
                    Op::Cancel(which) if !armed.is_empty() => {
                        let name = *armed.keys().nth(which % armed.len()).unwrap();
                        let (_, _, entry) = armed.remove(&name).unwrap();
                        prop_assert_eq!(wheel.take(entry.seat()).map(|e| e.name), Some(name));
                        prop_assert_eq!(entry.seat(), NOWHERE);
                    }
                    Op::Cancel(_) => {}
                    Op::Pass(span) => {
                        now += span;
                        let mut due = Vec::new();
                        while wheel.expire(now, &mut due) {}
                        for entry in due {
                            let (at, ahead, _) = armed.remove(&entry.name).expect("armed");
                            prop_assert!(at <= now || ahead == REACH, "{} fired {} early", entry.name, at - now);
                        }
                        for (name, (at, ahead, _)) in &armed {
                            let late = (*at).max(now) - at;
                            prop_assert!(*ahead == REACH || late <= ahead / 7 + 1, "{name} at {at} missed at {now}");
                        }
                    }
                }
                prop_assert_eq!(wheel.len(), armed.len());
                prop_assert_eq!(wheel.next().is_some(), !armed.is_empty());
            }
        }
    }

    #[test]
    fn near_time_outs_are_exact() {
        let mut wheel = Wheel::new();
        for ahead in [0, 1, 62] {
            wheel.insert(100 + ahead, 100, Rc::new(Entry { name: ahead as u32, seat: Cell::new(NOWHERE) }));
        }
        let mut due = Vec::new();
        assert!(wheel.expire(100, &mut due) && !wheel.expire(100, &mut due));
        assert!(!wheel.expire(100, &mut due) && wheel.next() == Some(101));
        assert!(wheel.expire(170, &mut due) && wheel.expire(170, &mut due) && !wheel.expire(170, &mut due));
        assert_eq!(due.iter().map(|e| e.name).collect::<Vec<_>>(), [0, 1, 62]);
    }

    #[test]
    fn the_end_of_time_can_be_waited_for() {
        let entry = |name| Rc::new(Entry { name, seat: Cell::new(NOWHERE) });
        let mut wheel = Wheel::new();
        let mut due = Vec::new();
        wheel.insert(u64::MAX, 0, entry(0));
        assert_eq!(wheel.next(), Some(REACH));
        while wheel.expire(u64::MAX, &mut due) {}
        // Some are a little ahead of the last tick, one is at it.
        for (name, now) in [(1, u64::MAX - 1000), (2, u64::MAX - 1), (3, u64::MAX)] {
            wheel.insert(u64::MAX, now, entry(name));
        }
        while wheel.expire(u64::MAX, &mut due) {}
        wheel.insert(0, u64::MAX, entry(4));
        assert!(wheel.expire(u64::MAX, &mut due) && !wheel.expire(u64::MAX, &mut due));
        assert_eq!(due.iter().map(|e| e.name).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(wheel.is_empty() && wheel.next().is_none());
    }
}

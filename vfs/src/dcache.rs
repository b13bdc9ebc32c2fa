//! Bounds the dentry cache.
//!
//! Every hashed dentry has a place in one ring of weak references. When there are more than the limit, a hand goes round (the
//! clock algorithm): a dentry reached since the last round gets another, one that only its directory's table refers to is dropped.
//! Lock order: the ring's spin lock is taken alone.

use crate::dentry::Dentry;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use machine::sync::SpinLock;

/// Not in the ring.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// Dentries looked at for each new one while over the limit.
const HAND_STEPS: usize = 8;

struct Ring {
    slots: Vec<Option<Weak<Dentry>>>,
    free: Vec<u32>,
    hand: usize,
}

static RING: SpinLock<Ring> = SpinLock::new(Ring { slots: Vec::new(), free: Vec::new(), hand: 0 });
static LIVE: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(0);

fn limit() -> usize {
    match LIMIT.load(Ordering::Relaxed) {
        0 => {
            // About a dentry with its inode for every four pages of memory: some 4 % of it.
            let limit = (machine::mem::extent().1 as usize / 4).max(1024);
            LIMIT.store(limit, Ordering::Relaxed);
            limit
        }
        n => n,
    }
}

/// Dentries in the cache now.
pub fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

pub(crate) fn enter(dentry: &Arc<Dentry>) {
    {
        let mut ring = RING.lock();
        let weak = Some(Arc::downgrade(dentry));
        let slot = match ring.free.pop() {
            Some(at) => {
                if let Some(place) = ring.slots.get_mut(at as usize) {
                    *place = weak;
                }
                at
            }
            None => {
                ring.slots.push(weak);
                // One free-list entry for each slot, so that `leave` never allocates.
                let want = ring.slots.len();
                let have = ring.free.len();
                ring.free.reserve(want - have);
                (want - 1) as u32
            }
        };
        dentry.slot.store(slot, Ordering::Relaxed);
    }
    if LIVE.fetch_add(1, Ordering::Relaxed) >= limit() {
        turn(HAND_STEPS);
    }
}

pub(crate) fn leave(dentry: &Dentry) {
    let slot = dentry.slot.swap(NO_SLOT, Ordering::Relaxed);
    if slot == NO_SLOT {
        return;
    }
    let mut ring = RING.lock();
    let taken = ring.slots.get_mut(slot as usize).and_then(Option::take);
    ring.free.push(slot);
    drop(ring);
    drop(taken);
    LIVE.fetch_sub(1, Ordering::Relaxed);
}

/// Drops up to about `target` unused dentries when memory is short; returns how many went.
pub fn shrink(target: usize) -> usize {
    // Two rounds at most: the first takes the mark away, the second the dentry.
    let steps = live().saturating_mul(2).min(target.saturating_mul(8));
    turn(steps)
}

/// Moves the hand over `steps` dentries and drops the unused, unmarked ones.
fn turn(steps: usize) -> usize {
    let mut dropped = 0;
    for _ in 0..steps {
        let candidate = {
            let mut ring = RING.lock();
            if ring.slots.is_empty() {
                return dropped;
            }
            ring.hand = (ring.hand + 1) % ring.slots.len();
            let hand = ring.hand;
            ring.slots.get(hand).and_then(|s| s.as_ref()).and_then(Weak::upgrade)
        };
        if let Some(dentry) = candidate
            && !dentry.take_referenced()
            && dentry.drop_unused()
        {
            dropped += 1;
        }
    }
    dropped
}

//! Where waiters stand: a common table, and one of its own for each address space that several threads share.
//!
//! The own table makes a program independent of what others hash to; its size is set by PR_FUTEX_HASH, else it grows with the threads
//! (until the program has chosen). An operation holds the table shared for as long as it uses a bucket, and never sleeps meanwhile;
//! who replaces the table has it alone, with all waiters standing still, and copies them over before anything is taken away: a copy
//! that finds no memory has changed nothing.
//!
//! The table comes into being when the address space gets its second user, which is before anyone can wait in it for another: no
//! private word's waiter is ever in the common table while there is an own one, unless the program has asked for the common one.

use super::{Entry, insert};
use abi::Errno;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use machine::rwlock::TryRwLock;
use machine::sync::SpinLock;
use mm::{FutexKey, Mm};

/// Waiters whose words hash alike: by real-time priority, then the longest waiting first.
pub(super) struct Bucket {
    /// Length of `list`, readable without its lock.
    pub count: AtomicU32,
    pub list: SpinLock<VecDeque<Entry>>,
}

const BUCKETS: usize = 256;

static COMMON: [Bucket; BUCKETS] = [const { Bucket::new() }; BUCKETS];

/// An own table never has fewer buckets unless the program says so.
const LEAST: usize = 16;

/// All own tables there are, and perhaps some that are gone.
static OWN: SpinLock<Vec<Weak<Own>>> = SpinLock::new(Vec::new());

/// The buckets of one address space.
struct Own(TryRwLock<Slots>);

struct Slots {
    /// A power of two; none while the common table serves.
    buckets: Box<[Bucket]>,
    /// The program has chosen the size.
    chosen: bool,
}

impl Bucket {
    const fn new() -> Bucket {
        Bucket { count: AtomicU32::new(0), list: SpinLock::new(VecDeque::new()) }
    }
    /// Changes the list and keeps `count` right.
    pub fn change<R>(&self, f: impl FnOnce(&mut VecDeque<Entry>) -> R) -> R {
        let mut list = self.list.lock();
        let result = f(&mut list);
        self.count.store(list.len() as u32, Relaxed);
        result
    }
    /// Adds a waiter.
    pub fn add(&self, entry: Entry) -> Result<(), Errno> {
        self.change(|list| {
            list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            insert(list, entry);
            Ok(())
        })
    }
}

#[inline]
pub(super) fn hash(key: &FutexKey) -> usize {
    let (a, b) = match *key {
        FutexKey::Private { mm, addr } => (mm, addr),
        FutexKey::Shared { object, offset } => (object ^ 1 << 63, offset),
    };
    let mixed = (a.rotate_left(32) ^ b >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize
}

#[inline]
fn pick<'a>(own: &'a [Bucket], key: &FutexKey) -> &'a Bucket {
    let hash = hash(key);
    own.get(hash & own.len().wrapping_sub(1)).unwrap_or(&COMMON[hash % BUCKETS])
}

impl Own {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&[Bucket]) -> R) -> R {
        loop {
            if let Some(slots) = self.0.try_read() {
                return f(&slots.buckets);
            }
            machine::cpu::relax();
        }
    }
    /// Replaces the table. EBUSY once the program has asked for the common one.
    fn replace(&self, mm: &Mm, buckets: Box<[Bucket]>, chosen: bool) -> Result<(), Errno> {
        let old = loop {
            if let Some(mut slots) = self.0.try_write() {
                if slots.chosen && slots.buckets.is_empty() {
                    return Err(Errno::EBUSY);
                }
                if !chosen && slots.chosen {
                    return Ok(());
                }
                copy(&slots.buckets, &buckets, mm.id())?;
                slots.chosen = chosen;
                break core::mem::replace(&mut slots.buckets, buckets);
            }
            machine::cpu::relax();
        };
        drop(old);
        Ok(())
    }
}

/// Copies all waiters of the address space `mm` from its table into the new one, or into the common one if that is empty.
fn copy(from: &[Bucket], to: &[Bucket], mm: u64) -> Result<(), Errno> {
    let is_own = |entry: &Entry| matches!(entry.key, FutexKey::Private { mm: id, .. } if id == mm);
    for bucket in from.iter().filter(|bucket| bucket.count.load(Relaxed) != 0) {
        for entry in bucket.list.lock().iter() {
            if let Err(e) = pick(to, &entry.key).add(entry.clone()) {
                if to.is_empty() {
                    COMMON.iter().for_each(|bucket| bucket.change(|list| list.retain(|entry| !is_own(entry))));
                }
                return Err(e);
            }
        }
    }
    Ok(())
}

#[inline]
fn own(mm: &Mm) -> Option<&Own> {
    <dyn Any>::downcast_ref(&**mm.futexes().get()?)
}

/// Runs `f` with the bucket of a word that `mm` sees. `f` must not sleep.
#[inline]
pub(super) fn at<R>(mm: &Mm, key: &FutexKey, f: impl FnOnce(&Bucket) -> R) -> R {
    match own(mm) {
        Some(own) if matches!(key, FutexKey::Private { .. }) => own.with(|buckets| f(pick(buckets, key))),
        _ => f(pick(&[], key)),
    }
}

/// Runs `f` with the buckets of two words, the second if it is not the same.
pub(super) fn at_two<R>(mm: &Mm, keys: [&FutexKey; 2], f: impl FnOnce(&Bucket, Option<&Bucket>) -> R) -> R {
    let with = |buckets: &[Bucket]| {
        let [a, b] = keys.map(|key| match key {
            FutexKey::Private { .. } => pick(buckets, key),
            FutexKey::Shared { .. } => pick(&[], key),
        });
        f(a, (!core::ptr::eq(a, b)).then_some(b))
    };
    match own(mm) {
        Some(own) => own.with(with),
        None => with(&[]),
    }
}

/// Runs `f` with every bucket in which a thread of `mm` may stand.
pub(super) fn each(mm: &Mm, f: impl Fn(&Bucket)) {
    if let Some(own) = own(mm) {
        own.with(|buckets| buckets.iter().for_each(&f));
    }
    COMMON.iter().for_each(f);
}

/// Runs `f` with all buckets of all tables.
pub(super) fn all(f: impl Fn(&Bucket)) {
    for own in OWN.lock().iter().filter_map(Weak::upgrade) {
        own.with(|buckets| buckets.iter().for_each(&f));
    }
    COMMON.iter().for_each(f);
}

/// Gives an address space that has no table yet this one.
fn give(mm: &Mm, buckets: Box<[Bucket]>) -> Result<(), Errno> {
    let own = Arc::new(Own(TryRwLock::new(Slots { buckets, chosen: false })));
    {
        let mut all = OWN.lock();
        if all.len() == all.capacity() {
            all.retain(|own| own.strong_count() != 0);
        }
        all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        all.push(Arc::downgrade(&own));
    }
    let _ = mm.futexes().set(own);
    Ok(())
}

fn make(slots: usize) -> Result<Box<[Bucket]>, Errno> {
    let mut buckets = Vec::new();
    buckets.try_reserve_exact(slots).map_err(|_| Errno::ENOMEM)?;
    buckets.resize_with(slots, Bucket::new);
    Ok(buckets.into_boxed_slice())
}

/// The address space gets another user, a process with so many `threads` now: gives it a table, or one that fits better.
pub fn share(mm: &Mm, threads: usize) -> Result<(), Errno> {
    let fit = (4 * threads.min(machine::cpu::count())).next_power_of_two().clamp(LEAST, BUCKETS);
    match own(mm) {
        Some(own) if slots_of(own) < fit => own.replace(mm, make(fit)?, false).or_else(|e| match e {
            Errno::EBUSY => Ok(()),
            e => Err(e),
        }),
        Some(_) => Ok(()),
        None => give(mm, make(fit)?),
    }
}

fn slots_of(own: &Own) -> usize {
    own.with(<[Bucket]>::len)
}

/// Buckets of the own table; 0 if the common one serves.
pub fn slots(mm: &Mm) -> usize {
    own(mm).map_or(0, slots_of)
}

/// Gives the address space a table of `slots` buckets, or the common one for good with 0.
pub fn set_slots(mm: &Mm, slots: usize) -> Result<(), Errno> {
    if slots != 0 && (slots == 1 || !slots.is_power_of_two()) {
        return Err(Errno::EINVAL);
    }
    if own(mm).is_none() {
        give(mm, Box::default())?;
    }
    let own = own(mm).ok_or(Errno::ENOMEM)?;
    if own.0.try_read().is_some_and(|slots| slots.chosen && slots.buckets.is_empty()) {
        return Err(Errno::EBUSY);
    }
    own.replace(mm, make(slots)?, true)
}

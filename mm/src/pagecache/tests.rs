//! The page cache over a pretended disk.

extern crate std;

use super::*;
use crate::{Dst, Src};
use machine::aspace::AddressSpace;
use proptest::prelude::*;
use std::sync::Mutex as StdMutex;
use std::vec;
use std::vec::Vec;

/// A file of bytes that counts how often it is asked.
struct Disk {
    bytes: StdMutex<Vec<u8>>,
    reads: AtomicU64,
    broken: AtomicBool,
}

impl Disk {
    fn new(len: usize) -> Arc<Disk> {
        crate::testing::init();
        let bytes = (0..len).map(|i| (i / PAGE_SIZE) as u8).collect();
        Arc::new(Disk { bytes: StdMutex::new(bytes), reads: AtomicU64::new(0), broken: AtomicBool::new(false) })
    }
    fn cache(self: &Arc<Self>) -> Arc<PageCache> {
        let cache = PageCache::new(Some(self.clone()));
        cache.set_size(self.bytes.lock().expect("lock").len() as u64);
        cache
    }
}

impl PageBacking for Disk {
    fn read_page(&self, index: u64, into: &Frame) -> Result<(), Errno> {
        into.zero();
        let bytes = self.bytes.lock().expect("lock");
        let start = (index as usize * PAGE_SIZE).min(bytes.len());
        into.write(0, &bytes[start..(start + PAGE_SIZE).min(bytes.len())]);
        Ok(())
    }
    fn read_pages(&self, first: u64, into: &[Frame]) -> Result<usize, Errno> {
        self.reads.fetch_add(1, Relaxed);
        if self.broken.load(Relaxed) {
            return Err(Errno::EIO);
        }
        for (i, frame) in (first..).zip(into) {
            self.read_page(i, frame)?;
        }
        Ok(into.len())
    }
    fn write_page(&self, index: u64, from: &Frame, len: usize) -> Result<(), Errno> {
        if self.broken.load(Relaxed) {
            return Err(Errno::EIO);
        }
        let mut page = vec![0; len];
        from.read(0, &mut page);
        let mut bytes = self.bytes.lock().expect("lock");
        let start = index as usize * PAGE_SIZE;
        if bytes.len() < start + len {
            bytes.resize(start + len, 0);
        }
        bytes[start..start + len].copy_from_slice(&page);
        Ok(())
    }
}

fn read(cache: &PageCache, off: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0xaa; len];
    let n = cache.read(&mut Dst::kernel(&mut out), off).expect("read");
    out.truncate(n);
    out
}

fn write(cache: &PageCache, off: u64, bytes: &[u8]) {
    assert_eq!(cache.write(&mut Src::kernel(bytes), off), Ok(bytes.len()));
}

#[test]
fn sequential_reading_asks_for_ever_larger_runs() {
    let disk = Disk::new(400 * PAGE_SIZE);
    let cache = disk.cache();
    for i in 0..400u64 {
        assert_eq!(read(&cache, i * 4096, 1), [i as u8]);
    }
    assert!(disk.reads.load(Relaxed) <= 7, "{}", disk.reads.load(Relaxed));
}

#[test]
fn reads_end_at_the_size_and_whole_page_writes_read_nothing() {
    let disk = Disk::new(5000);
    let cache = disk.cache();
    assert_eq!(read(&cache, 4990, 100), [1; 10]);
    assert_eq!(read(&cache, 5000, 1), []);
    let reads = disk.reads.load(Relaxed);
    write(&cache, 8192, &[7; 4096]);
    assert_eq!((disk.reads.load(Relaxed), cache.size()), (reads, 12288));
    assert_eq!(read(&cache, 4999, 2), [1, 0]);
}

#[test]
fn errors_of_the_disk_are_reported_and_nothing_is_lost() {
    let disk = Disk::new(64 * PAGE_SIZE);
    let cache = disk.cache();
    disk.broken.store(true, Relaxed);
    let mut one = [0];
    assert_eq!(cache.read(&mut Dst::kernel(&mut one), 0), Err(Errno::EIO));
    write(&cache, 0, &[9; 4096]);
    assert_eq!(cache.writeback(), Err(Errno::EIO));
    assert_eq!(cache.nr_dirty(), 1);
    disk.broken.store(false, Relaxed);
    assert_eq!((cache.writeback(), cache.nr_dirty()), (Ok(()), 0));
    assert_eq!(disk.bytes.lock().expect("lock")[4095..4097], [9, 1]);
}

#[test]
fn only_clean_pages_can_be_dropped() {
    let disk = Disk::new(8 * PAGE_SIZE);
    let cache = disk.cache();
    let held = cache.get(3).expect("read");
    write(&cache, 0, b"x");
    cache.invalidate(0, u64::MAX);
    assert_eq!((cache.nr_pages(), cache.contains(0), cache.contains(3)), (2, true, true));
    drop(held);
    cache.writeback().expect("written");
    cache.invalidate(0, u64::MAX);
    assert_eq!(cache.nr_pages(), 0);
    assert_eq!(read(&cache, 0, 2), [b'x', 0]);
}

struct Quota(AtomicI64);
impl PageQuota for Quota {
    fn charge(&self, pages: u64) -> Result<(), Errno> {
        let left = self.0.fetch_sub(pages as i64, Relaxed) - pages as i64;
        if left < 0 {
            self.uncharge(pages);
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }
    fn uncharge(&self, pages: u64) {
        self.0.fetch_add(pages as i64, Relaxed);
    }
}

#[test]
fn links_that_are_gone_do_not_pile_up() {
    let cache = Disk::new(0).cache();
    let aspace = Arc::new(AddressSpace::new().expect("memory"));
    let stays = cache.link(&aspace, 0x1000, 0, 1, true).expect("no seal");
    for round in 0..1000 {
        let gone: Vec<_> =
            (0..round % 50).map(|n| cache.link(&aspace, n << 12, 0, 1, false).expect("linked")).collect();
        drop(gone);
        assert!(cache.links.lock().len() <= 1 + 17);
    }
    assert!(cache.is_mapped());
    drop(stays);
    assert!(!cache.is_mapped());
}

#[test]
fn a_quota_stops_writes_and_gets_its_pages_back() {
    crate::testing::init();
    let quota = Arc::new(Quota(AtomicI64::new(3)));
    let cache = PageCache::with_quota(quota.clone());
    assert_eq!(cache.write(&mut Src::kernel(&[1; 5 * PAGE_SIZE]), 0), Ok(3 * PAGE_SIZE));
    assert_eq!(cache.write(&mut Src::kernel(b"x"), 3 * PAGE_SIZE as u64), Err(Errno::ENOSPC));
    cache.truncate(4096);
    assert_eq!(quota.0.load(Relaxed), 2);
    drop(cache);
    assert_eq!(quota.0.load(Relaxed), 3);
}

#[derive(Clone, Debug)]
enum Op {
    Write(u64, usize, u8),
    Truncate(u64),
    Punch(u64, u64),
    Sync,
    Drop,
}

fn ops() -> impl Strategy<Value = Op> {
    let at = 0..40_000u64;
    prop_oneof![
        (at.clone(), 1usize..9000, any::<u8>()).prop_map(|(o, n, b)| Op::Write(o, n, b)),
        at.clone().prop_map(Op::Truncate),
        (at.clone(), 1..9000u64).prop_map(|(o, n)| Op::Punch(o, n)),
        Just(Op::Sync),
        Just(Op::Drop),
    ]
}

fn play(cache: &PageCache, model: &mut Vec<u8>, op: &Op, memory: bool) {
    match *op {
        Op::Write(off, n, b) => {
            write(cache, off, &vec![b; n]);
            let end = off as usize + n;
            if model.len() < end {
                model.resize(end, 0);
            }
            model[off as usize..end].fill(b);
        }
        Op::Truncate(size) if memory => {
            cache.truncate(size);
            model.resize(size as usize, 0);
        }
        Op::Punch(off, n) if memory => {
            let end = (off + n).min(cache.size());
            if off < end {
                cache.punch(off, end);
                model[off as usize..end as usize].fill(0);
            }
        }
        Op::Sync => cache.writeback().expect("written"),
        Op::Drop => cache.invalidate(0, u64::MAX),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]
    #[test]
    fn contents_agree_with_a_plain_vector(script in prop::collection::vec(ops(), 1..40), memory in any::<bool>()) {
        let disk = Disk::new(10_000);
        let cache = if memory { PageCache::new(None) } else { disk.cache() };
        let mut model = if memory { Vec::new() } else { disk.bytes.lock().expect("lock").clone() };
        for op in &script {
            play(&cache, &mut model, op, memory);
            prop_assert_eq!(cache.size(), model.len() as u64);
        }
        prop_assert!(read(&cache, 0, model.len() + 10) == model);
        if !memory {
            cache.writeback().expect("written");
            prop_assert!(*disk.bytes.lock().expect("lock") == model);
        }
    }
}

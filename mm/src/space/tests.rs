//! Address spaces against a page-granular model, and the rules of single calls.

extern crate std;

use super::*;
use crate::PageCache;
use crate::file::MappedFile;
use abi::mman::{Advice, MapFlags, MremapFlags, MsyncFlags, Prot};
use core::any::Any;
use machine::USER_MAX;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

const RW: Prot = Prot::READ.union(Prot::WRITE);
/// The window the model plays in.
const LOW: u64 = 0x10_0000;
const PAGES: u64 = 48;

struct TestFile(Arc<PageCache>);

impl MappedFile for TestFile {
    fn cache(&self) -> &Arc<PageCache> {
        &self.0
    }
    fn describe(&self) -> (u64, u64) {
        (1, self.0.id())
    }
    fn path(&self, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        out.write_str("/test")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn file(pages: u64) -> Arc<TestFile> {
    let cache = PageCache::new(None);
    let mut page = std::vec![0u8; 4096];
    for i in 0..pages {
        page.fill(i as u8 + 1);
        cache.write(&mut crate::Src::kernel(&page), i * PAGE).expect("memory");
    }
    Arc::new(TestFile(cache))
}

fn new_mm() -> Arc<Mm> {
    crate::testing::init();
    Mm::new().expect("memory")
}

fn va(page: u64) -> VirtAddr {
    VirtAddr(LOW + page * PAGE)
}

fn fixed(page: u64, pages: u64, prot: Prot) -> MapRequest {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    MapRequest { addr: va(page), flags, ..MapRequest::anonymous((pages * PAGE) as usize, prot) }
}

fn map_file(mm: &Mm, f: &Arc<TestFile>, page: u64, pages: u64, kind: MapFlags) {
    let file: Arc<dyn MappedFile> = f.clone();
    let req = MapRequest { file: Some(file), flags: kind | MapFlags::FIXED, ..fixed(page, pages, RW) };
    assert_eq!(mm.mmap(req), Ok(va(page)));
}

fn peek(mm: &Mm, at: VirtAddr) -> Result<u8, Errno> {
    let mut b = [0];
    mm.read_bytes(at, &mut b).map(|()| b[0])
}

#[test]
fn a_space_full_of_areas_says_so_in_each_calls_own_way() {
    let mm = new_mm();
    let most = areas::MAX_AREAS as u64;
    mm.mmap(fixed(0, 2 * most, Prot::empty())).expect("mapped");
    // The first pages in fours: their inner pages can still be cut out of them.
    for n in 0..most / 2 - 1 {
        mm.mprotect(va(2 * n + 8), PAGE as usize, Prot::READ, false).expect("room");
    }
    mm.mprotect(va(0), 4 * PAGE as usize, Prot::READ, false).expect("room");
    let page = PAGE as usize;
    assert_eq!(mm.areas.read().map.len(), areas::MAX_AREAS);
    assert_eq!(mm.madvise(va(1), page, Advice::DontFork), Err(Errno::EAGAIN));
    assert_eq!(mm.label(va(1), page, Some(Box::from(&b"name"[..]))), Err(Errno::EAGAIN));
    let committed = mm.areas.read().committed;
    assert_eq!(mm.mprotect(va(1), page, RW, false), Err(Errno::ENOMEM));
    assert_eq!(mm.areas.read().committed, committed);
}

struct Zeroes(Arc<PageCache>, std::sync::Weak<Mm>);

impl MappedFile for Zeroes {
    fn cache(&self) -> &Arc<PageCache> {
        &self.0
    }
    fn describe(&self) -> (u64, u64) {
        (1, 5)
    }
    fn path(&self, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        out.write_str("/dev/zero")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Zeroes {
    fn drop(&mut self) {
        assert!(self.1.upgrade().is_none_or(|mm| mm.areas.try_write().is_some()));
    }
}

#[test]
fn the_file_of_a_label_is_closed_when_the_space_is_unlocked() {
    let mm = new_mm();
    for page in [0, 1] {
        let file: Arc<dyn MappedFile> = Arc::new(Zeroes(PageCache::new(None), Arc::downgrade(&mm)));
        mm.mmap(MapRequest { zeroes: Some(file), ..fixed(page, 1, RW) }).expect("mapped");
    }
    assert_eq!(mm.munmap(va(0), PAGE as usize), Ok(()));
    mm.mmap(fixed(1, 1, RW)).expect("mapped");
}

fn figures(mm: &Mm) -> Vec<Resident> {
    let mut out = Vec::new();
    mm.survey(0, &mut |_, sum| {
        out.push(*sum);
        true
    });
    out
}

#[test]
fn a_survey_tells_private_from_shared_pages() {
    const SHARE: u64 = PAGE << PSS_SHIFT;
    let parent = new_mm();
    parent.mmap(fixed(0, 100, RW)).expect("mapped");
    map_file(&parent, &file(4), 200, 4, MapFlags::SHARED);
    for page in [1, 2, 99] {
        parent.write_bytes(va(page), b"a").expect("written");
    }
    assert_eq!(peek(&parent, va(50)), Ok(0));
    assert_eq!(peek(&parent, va(200)), Ok(1));
    let own = figures(&parent)[0];
    // The page of zeroes at 50 is nobody's.
    assert_eq!((own.rss, own.anonymous, own.private_dirty, own.pss), (3, 3, 3, 3 * SHARE));
    let shared = figures(&parent)[1];
    assert_eq!((shared.rss, shared.anonymous, shared.private_dirty, shared.pss_shmem), (4, 0, 4, 4 * SHARE));
    let child = parent.fork().expect("forked");
    child.write_bytes(va(1), b"c").expect("written");
    for mm in [&parent, &child] {
        let own = figures(mm)[0];
        assert_eq!((own.rss, own.private_dirty, own.shared_dirty, own.pss), (3, 1, 2, 2 * SHARE));
    }
    assert_eq!((parent.resident_shmem(), figures(&child)[1].rss, child.resident_shmem()), (4, 0, 0));
    assert_eq!(peek(&child, va(201)), Ok(2));
    assert_eq!((figures(&parent)[1].shared_dirty, figures(&parent)[1].pss), (4, 2 * SHARE));
    drop(child);
    let mut seen = Vec::new();
    parent.pages_between(va(2).0, va(202).0, &mut |page| seen.push((page.page - va(0).page(), page.owners)));
    assert_eq!(seen, [(2, 1), (99, 1), (200, 1), (201, 1)]);
    // Pages that are mapped nowhere count as before, among those that are and those of nobody.
    parent.mprotect(va(64), 36 * PAGE as usize, Prot::empty(), false).expect("protected");
    let halves: Vec<u64> = figures(&parent).iter().map(|sum| sum.rss).collect();
    assert_eq!(halves, [2, 1, 4]);
}

fn areas(mm: &Mm) -> Vec<(u64, u64, Prot)> {
    let mut out = Vec::new();
    mm.for_each_vma(&mut |v| {
        out.push(((v.start - LOW) / PAGE, (v.end - LOW) / PAGE, v.prot));
        true
    });
    out
}

#[test]
fn adjacent_areas_with_equal_rights_are_one() {
    let mm = new_mm();
    for page in [0, 2, 1] {
        mm.mmap(fixed(page, 1, RW)).expect("mapped");
    }
    assert_eq!(areas(&mm), [(0, 3, RW)]);
    mm.mprotect(va(1), 4096, Prot::READ, false).expect("changed");
    assert_eq!(areas(&mm), [(0, 1, RW), (1, 2, Prot::READ), (2, 3, RW)]);
    mm.mprotect(va(1), 4096, RW, false).expect("changed");
    assert_eq!(areas(&mm), [(0, 3, RW)]);
    mm.munmap(va(1), 4096).expect("unmapped");
    assert_eq!(areas(&mm), [(0, 1, RW), (2, 3, RW)]);
}

#[test]
fn memory_made_read_only_again_joins_its_neighbours_if_never_written() {
    let mm = new_mm();
    mm.mmap(fixed(0, 3, Prot::READ)).expect("mapped");
    let reverts = || {
        mm.mprotect(va(1), 4096, RW, false).expect("changed");
        mm.mprotect(va(1), 4096, Prot::READ, false).expect("changed");
        areas(&mm).len()
    };
    assert_eq!(reverts(), 1);
    mm.mprotect(va(1), 4096, RW, false).expect("changed");
    mm.write_bytes(va(1), b"x").expect("written");
    // It still needs a page of its own: the promise stays, and with it the border.
    assert_eq!(reverts(), 3);
}

#[test]
fn fork_shares_pages_until_one_side_writes() {
    let parent = new_mm();
    parent.mmap(fixed(0, 2, RW)).expect("mapped");
    parent.write_bytes(va(0), b"a").expect("written");
    let child = parent.fork().expect("forked");
    assert_eq!(peek(&child, va(0)), Ok(b'a'));
    parent.write_bytes(va(0), b"b").expect("written");
    child.write_bytes(va(1), b"c").expect("written");
    assert_eq!((peek(&child, va(0)), peek(&parent, va(0))), (Ok(b'a'), Ok(b'b')));
    assert_eq!(peek(&parent, va(1)), Ok(0));
    drop(parent);
    child.write_bytes(va(0), b"d").expect("written");
    assert_eq!(peek(&child, va(0)), Ok(b'd'));
}

#[test]
fn shared_memory_is_the_same_in_parent_and_child() {
    let parent = new_mm();
    let flags = MapFlags::SHARED | MapFlags::ANONYMOUS | MapFlags::FIXED;
    parent.mmap(MapRequest { flags, ..fixed(0, 4, RW) }).expect("mapped");
    let child = parent.fork().expect("forked");
    child.write_bytes(va(3), b"x").expect("written");
    assert_eq!(peek(&parent, va(3)), Ok(b'x'));
    assert_eq!(parent.futex_key(va(3), true, false), child.futex_key(va(3), true, false));
    assert_ne!(parent.futex_key(va(3), false, false), child.futex_key(va(3), false, false));
}

#[test]
fn shared_memory_made_writable_after_a_read_can_be_written() {
    let mm = new_mm();
    let flags = MapFlags::SHARED | MapFlags::ANONYMOUS | MapFlags::FIXED;
    mm.mmap(MapRequest { flags, ..fixed(0, 4, Prot::READ) }).expect("mapped");
    assert_eq!(peek(&mm, va(1)), Ok(0));
    mm.mprotect(va(0), 4 * 4096, RW, false).expect("changed");
    mm.write_bytes(va(1), b"y").expect("written");
    assert_eq!(peek(&mm, va(1)), Ok(b'y'));
}

#[test]
fn private_file_pages_are_copied_on_write_and_the_file_stays() {
    let (mm, f) = (new_mm(), file(8));
    map_file(&mm, &f, 0, 8, MapFlags::PRIVATE);
    assert_eq!(peek(&mm, va(5)), Ok(6));
    mm.write_bytes(va(5), &[99]).expect("written");
    mm.write_bytes(va(6), &[98]).expect("written");
    let mut out = [0; 1];
    f.0.read(&mut crate::Dst::kernel(&mut out), 5 * PAGE).expect("read");
    assert_eq!((out[0], peek(&mm, va(5)), peek(&mm, va(6)), peek(&mm, va(7))), (6, Ok(99), Ok(98), Ok(8)));
    mm.madvise(va(5), 4096, Advice::DontNeed).expect("dropped");
    assert_eq!(peek(&mm, va(5)), Ok(6));
}

#[test]
fn truncation_takes_pages_from_mappings_and_access_is_sigbus() {
    let (mm, f) = (new_mm(), file(8));
    map_file(&mm, &f, 0, 8, MapFlags::SHARED);
    map_file(&mm, &f, 10, 8, MapFlags::PRIVATE);
    mm.write_bytes(va(13), &[77]).expect("written");
    for page in 0..8 {
        assert_eq!((peek(&mm, va(page)).is_ok(), peek(&mm, va(10 + page)).is_ok()), (true, true));
    }
    f.0.truncate(2 * PAGE + 10);
    assert_eq!(mm.fault(va(3), Access::READ), Err(FaultError::BusAdrErr));
    assert_eq!(mm.fault(va(13), Access::READ), Err(FaultError::BusAdrErr));
    assert_eq!((peek(&mm, va(2)), peek(&mm, VirtAddr(va(2).0 + 10))), (Ok(3), Ok(0)));
    f.0.truncate(4 * PAGE);
    assert_eq!(peek(&mm, va(3)), Ok(0));
}

#[test]
fn faults_tell_missing_mappings_from_missing_rights() {
    let mm = new_mm();
    mm.mmap(fixed(0, 1, Prot::READ)).expect("mapped");
    mm.mmap(fixed(1, 1, Prot::empty())).expect("mapped");
    assert_eq!(mm.fault(va(0), Access::WRITE), Err(FaultError::AccErr));
    assert_eq!(mm.fault(va(0), Access { write: false, exec: true }), Err(FaultError::AccErr));
    assert_eq!(mm.fault(va(1), Access::READ), Err(FaultError::AccErr));
    assert_eq!(mm.fault(va(2), Access::READ), Err(FaultError::MapErr));
    assert_eq!(mm.fault(VirtAddr(u64::MAX), Access::READ), Err(FaultError::MapErr));
}

#[test]
fn the_stack_grows_to_its_limit_and_keeps_its_distance() {
    let mm = new_mm();
    mm.set_limits(Limits { stack: 1 << 20, ..Limits::default() });
    mm.set_up_layout(false);
    let top = mm.map_stack(false).expect("mapped").0;
    assert_eq!(top, USER_MAX);
    assert_eq!(mm.fault(VirtAddr(top - (1 << 20)), Access::WRITE), Ok(()));
    assert_eq!(mm.fault(VirtAddr(top - (1 << 20) - 1), Access::WRITE), Err(FaultError::MapErr));
    mm.set_limits(Limits { stack: 64 << 20, ..Limits::default() });
    let below = VirtAddr(top - (8 << 20));
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    mm.mmap(MapRequest { addr: below, flags, ..MapRequest::anonymous(4096, RW) }).expect("mapped");
    assert_eq!(mm.fault(VirtAddr(below.0 + 4096 + areas::STACK_GAP - 1), Access::WRITE), Err(FaultError::MapErr));
    assert_eq!(mm.fault(VirtAddr(below.0 + 4096 + areas::STACK_GAP), Access::WRITE), Ok(()));
}

#[test]
fn brk_grows_shrinks_and_obeys_its_limit() {
    let mm = new_mm();
    mm.set_brk_start(va(0));
    assert_eq!(mm.brk(VirtAddr(0)), va(0));
    assert_eq!(mm.brk(VirtAddr(va(3).0 + 5)), VirtAddr(va(3).0 + 5));
    assert_eq!(areas(&mm), [(0, 4, RW)]);
    mm.write_bytes(va(2), &[1]).expect("written");
    assert_eq!(mm.brk(va(2)), va(2));
    assert_eq!(mm.brk(va(3)), va(3));
    assert_eq!(peek(&mm, va(2)), Ok(0));
    mm.set_limits(Limits { data: 4 * PAGE, ..Limits::default() });
    assert_eq!(mm.brk(va(5)), va(3));
}

#[test]
fn holes_are_filled_from_the_top() {
    let mm = new_mm();
    mm.set_up_layout(false);
    let map = |pages: u64| mm.mmap(MapRequest::anonymous((pages * PAGE) as usize, RW)).expect("mapped").0;
    let a = map(4);
    let b = map(2);
    assert_eq!(b, a - 2 * PAGE);
    mm.munmap(VirtAddr(a + PAGE), 2 * PAGE as usize).expect("unmapped");
    assert_eq!(map(3), b - 3 * PAGE);
    assert_eq!(map(2), a + PAGE);
    assert_eq!(map(1), b - 4 * PAGE);
}

#[test]
fn errors_come_as_in_linux() {
    let mm = new_mm();
    let map = |req| mm.mmap(req);
    assert_eq!(map(MapRequest { len: 0, ..fixed(0, 1, RW) }), Err(Errno::EINVAL));
    assert_eq!(map(MapRequest { len: usize::MAX, ..fixed(0, 1, RW) }), Err(Errno::ENOMEM));
    assert_eq!(map(MapRequest { addr: VirtAddr(LOW + 1), ..fixed(0, 1, RW) }), Err(Errno::EINVAL));
    assert_eq!(map(MapRequest { addr: VirtAddr(4096), ..fixed(0, 1, RW) }), Err(Errno::EPERM));
    assert_eq!(map(MapRequest { addr: VirtAddr(USER_MAX), ..fixed(0, 1, RW) }), Err(Errno::ENOMEM));
    assert_eq!(map(MapRequest { flags: MapFlags::ANONYMOUS, ..fixed(0, 1, RW) }), Err(Errno::EINVAL));
    mm.mmap(fixed(0, 2, RW)).expect("mapped");
    let noreplace = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED_NOREPLACE;
    assert_eq!(map(MapRequest { flags: noreplace, ..fixed(1, 2, RW) }), Err(Errno::EEXIST));
    assert_eq!(mm.munmap(va(0), 0), Err(Errno::EINVAL));
    assert_eq!(mm.mprotect(va(1), 2 * 4096, Prot::READ, false), Err(Errno::ENOMEM));
    assert_eq!(areas(&mm), [(0, 1, RW), (1, 2, Prot::READ)]);
    assert_eq!(mm.msync(va(1), 2 * 4096, MsyncFlags::SYNC), Err(Errno::ENOMEM));
    assert_eq!(mm.madvise(va(1), 2 * 4096, Advice::DontNeed), Err(Errno::ENOMEM));
    let remap = |old, old_len, new_len, flags, to| mm.mremap(old, old_len, new_len, flags, to, true);
    assert_eq!(remap(va(0), 4096, 0, MremapFlags::MAYMOVE, va(0)), Err(Errno::EINVAL));
    assert_eq!(remap(va(9), 4096, 8192, MremapFlags::MAYMOVE, va(0)), Err(Errno::EFAULT));
    assert_eq!(remap(va(0), 4096, 8192, MremapFlags::empty(), va(0)), Err(Errno::ENOMEM));
    mm.set_limits(Limits { address_space: 3 * PAGE, ..Limits::default() });
    assert_eq!(map(fixed(8, 2, RW)), Err(Errno::ENOMEM));
    assert_eq!(map(fixed(8, 1, RW)), Ok(va(8)));
    assert_eq!(map(fixed(0, 2, RW)), Ok(va(0)));
}

#[derive(Clone, Debug)]
enum Op {
    Map(u64, u64, bool),
    Unmap(u64, u64),
    Protect(u64, u64, bool),
    Write(u64, u8),
    DontNeed(u64, u64),
    Move(u64, u64, u64, u64),
    Fork,
}

fn ops() -> impl Strategy<Value = Op> {
    let (page, n) = (0..PAGES, 1u64..9);
    prop_oneof![
        (page.clone(), n.clone(), any::<bool>()).prop_map(|(p, n, w)| Op::Map(p, n, w)),
        (page.clone(), n.clone()).prop_map(|(p, n)| Op::Unmap(p, n)),
        (page.clone(), n.clone(), any::<bool>()).prop_map(|(p, n, w)| Op::Protect(p, n, w)),
        (page.clone(), any::<u8>()).prop_map(|(p, b)| Op::Write(p, b)),
        (page.clone(), n.clone()).prop_map(|(p, n)| Op::DontNeed(p, n)),
        (page.clone(), n.clone(), page, n).prop_map(|(p, n, q, m)| Op::Move(p, n, q, m)),
        Just(Op::Fork),
    ]
}

type Model = BTreeMap<u64, (bool, u8)>;

/// Pages of `[p, p + n)` are all in the model.
fn full(model: &Model, p: u64, n: u64) -> bool {
    (p..p + n).all(|i| model.contains_key(&i))
}

fn apply(mm: &Mm, model: &mut Model, op: &Op) {
    match *op {
        Op::Map(p, n, w) => {
            let prot = if w { RW } else { Prot::READ };
            assert_eq!(mm.mmap(fixed(p, n, prot)), Ok(va(p)));
            model.extend((p..p + n).map(|i| (i, (w, 0))));
        }
        Op::Unmap(p, n) => {
            assert_eq!(mm.munmap(va(p), (n * PAGE) as usize), Ok(()));
            model.retain(|i, _| !(p..p + n).contains(i));
        }
        Op::Protect(p, n, w) => {
            let prot = if w { RW } else { Prot::READ };
            let done = mm.mprotect(va(p), (n * PAGE) as usize, prot, false);
            assert_eq!(done.is_ok(), full(model, p, n));
            for i in (p..p + n).take_while(|i| model.contains_key(i)).collect::<Vec<_>>() {
                model.entry(i).and_modify(|e| e.0 = w);
            }
        }
        Op::Write(p, b) => {
            let ok = mm.write_bytes(va(p), &[b]).is_ok();
            assert_eq!(ok, model.get(&p).is_some_and(|e| e.0));
            if ok {
                model.entry(p).and_modify(|e| e.1 = b);
            }
        }
        Op::DontNeed(p, n) => {
            assert_eq!(mm.madvise(va(p), (n * PAGE) as usize, Advice::DontNeed).is_ok(), full(model, p, n));
            model.range_mut(p..p + n).for_each(|(_, e)| e.1 = 0);
        }
        Op::Move(p, n, q, m) => {
            let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
            let one_area = areas(mm).iter().any(|(s, e, _)| *s <= p && p + n <= *e);
            let overlap = p < q + m && q < p + n;
            let done = mm.mremap(va(p), (n * PAGE) as usize, (m * PAGE) as usize, flags, va(q), true);
            assert_eq!(done.is_ok(), one_area && !overlap, "{done:?}");
            if done.is_ok() {
                let rights = model.get(&p).is_some_and(|e| e.0);
                let moved: Vec<_> = (0..m).map(|i| model.get(&(p + i)).filter(|_| i < n).map_or(0, |e| e.1)).collect();
                model.retain(|i, _| !(p..p + n).contains(i));
                model.extend((q..).zip(moved).map(|(i, b)| (i, (rights, b))));
            }
        }
        Op::Fork => {}
    }
}

fn compare(mm: &Mm, model: &Model) {
    let mut pages = Vec::new();
    for (s, e, prot) in areas(mm) {
        pages.extend((s..e).map(|p| (p, prot == RW)));
    }
    assert!(pages.iter().copied().eq(model.iter().map(|(p, e)| (*p, e.0))), "{pages:?}");
    for (p, e) in model {
        assert_eq!(peek(mm, va(*p)), Ok(e.1), "page {p}");
    }
    assert_eq!(mm.stats().total, model.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]
    #[test]
    fn areas_and_contents_agree_with_a_map_of_pages(script in prop::collection::vec(ops(), 1..60)) {
        let mut mm = new_mm();
        let mut model = Model::new();
        let mut others: Vec<(Arc<Mm>, Model)> = Vec::new();
        for op in &script {
            if let Op::Fork = op {
                let child = mm.fork().expect("forked");
                others.push((core::mem::replace(&mut mm, child), model.clone()));
            }
            apply(&mm, &mut model, op);
            // An older relative keeps changing too.
            if let Some((old, theirs)) = others.last_mut()
                && let Op::Write(..) | Op::Unmap(..) = op
            {
                apply(old, theirs, op);
            }
        }
        compare(&mm, &model);
        for (old, theirs) in &others {
            compare(old, theirs);
        }
    }
}

#[test]
fn a_tracer_writes_where_the_program_may_only_read() {
    let mm = new_mm();
    let (text, other) = (file(1), file(1));
    let map = |page, file: &Arc<TestFile>, flags, prot| {
        let file: Arc<dyn MappedFile> = file.clone();
        mm.mmap(MapRequest { file: Some(file), flags, ..fixed(page, 1, prot) }).expect("room");
    };
    map(0, &text, MapFlags::PRIVATE | MapFlags::FIXED, Prot::READ | Prot::EXEC);
    map(1, &other, MapFlags::SHARED | MapFlags::FIXED, Prot::READ);
    mm.mmap(fixed(2, 1, Prot::empty())).expect("room");
    let mut word = [0u8; 4];
    assert_eq!(mm.write_forced(VirtAddr(va(0).0 + 8), &[0xcc]), 1);
    assert_eq!(mm.copy_in(VirtAddr(va(0).0 + 7), &mut word), 4);
    assert_eq!(word, [1, 0xcc, 1, 1]);
    // The file keeps its bytes, and shared memory is not touched.
    let mut page = [0u8; 16];
    text.0.read(&mut crate::Dst::kernel(&mut page), 0).expect("cached");
    assert_eq!(page, [1; 16]);
    assert_eq!(mm.write_forced(va(1), &[9]), 0);
    // Memory without any right: the program still cannot reach it.
    assert_eq!(mm.write_forced(va(2), &[7, 8]), 2);
    assert_eq!((mm.read_forced(va(2), &mut word), word), (4, [7, 8, 0, 0]));
    assert_eq!(mm.copy_in(va(2), &mut word), 0);
    assert_eq!(mm.read_forced(va(3), &mut word), 0);
}

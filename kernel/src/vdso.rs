//! The vDSO's pages, handed to exec; the data pages follow the clocks.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use machine::PAGE_SIZE;
use machine::mem::{Frame, OutOfFrames};
use machine::sync::{Once, SpinLock};
use machine::time::{clock_params, raw_params};
use machine::vdso::{Offsets, Vvar};
use sched::clock::{self, Base, TimePages};
use task::ns::time::TimePage;

static VVAR: Once<Arc<Page>> = Once::new();
/// All data pages: the system's, and those of time namespaces as long as these live.
static PAGES: SpinLock<Vec<Weak<Page>>> = SpinLock::new(Vec::new());

/// A data page, with the offsets of its namespace.
struct Page {
    vvar: Vvar,
    monotonic: i64,
    boottime: i64,
}

impl Page {
    fn publish(&self) {
        let (realtime, tai) = (Base::Realtime.ahead_ns(), Base::Tai.ahead_ns());
        let (monotonic, boottime) = (self.monotonic as u64, self.boottime as u64);
        self.vvar.set_zone(clock::zone());
        self.vvar.publish(clock_params(), raw_params(), &Offsets { realtime, tai, monotonic, boottime });
    }
}

impl TimePage for Page {
    fn frame(&self) -> &Frame {
        self.vvar.frame()
    }
}

fn for_each(f: impl Fn(&Page)) {
    PAGES.lock().iter().filter_map(Weak::upgrade).for_each(|page| f(&page));
}

struct All;

impl TimePages for All {
    fn hold(&self) {
        for_each(|page| page.vvar.hold());
    }
    fn publish(&self) {
        for_each(Page::publish);
    }
}

/// Makes a data page and keeps it up to date from here on.
fn make(monotonic: i64, boottime: i64) -> Result<Arc<Page>, OutOfFrames> {
    let page = Arc::new(Page { vvar: Vvar::new(machine::cpu::has_tsc_aux())?, monotonic, boottime });
    clock::while_still(|| {
        page.vvar.hold();
        page.publish();
        let mut all = PAGES.lock();
        all.retain(|page| page.strong_count() != 0);
        all.push(Arc::downgrade(&page));
    });
    if let Some(generation) = random::generation() {
        page.vvar.set_random(generation);
    }
    Ok(page)
}

/// Makes the pages: the data page first, the code behind it, as they are mapped into each program. Empty where the machine has none.
pub fn pages() -> Result<Vec<Frame>, OutOfFrames> {
    let image = machine::vdso::image();
    if image.is_empty() {
        return Ok(Vec::new());
    }
    let data = make(0, 0)?;
    let mut pages = alloc::vec![data.frame().clone()];
    for part in image.chunks(PAGE_SIZE) {
        let page = Frame::alloc_zeroed()?;
        page.write(0, part);
        pages.push(page);
    }
    if VVAR.set(data).is_ok() {
        clock::set_pages(&All);
        random::follow(|generation| for_each(|page| page.vvar.set_random(generation)));
        task::ns::time::set_make_page(|monotonic, boottime| {
            make(monotonic, boottime).ok().map(|page| -> Arc<dyn TimePage> { page })
        });
    }
    Ok(pages)
}

//! The vDSO's pages, handed to exec; the data page follows the clocks.

use alloc::vec::Vec;
use machine::PAGE_SIZE;
use machine::mem::{Frame, OutOfFrames};
use machine::sync::Once;
use machine::time::{clock_params, raw_params};
use machine::vdso::{Offsets, Vvar};
use sched::clock::{self, Base, TimePages};

static VVAR: Once<Vvar> = Once::new();

struct Pages;

impl TimePages for Pages {
    fn hold(&self) {
        if let Some(vvar) = VVAR.get() {
            vvar.hold();
        }
    }
    fn publish(&self) {
        if let Some(vvar) = VVAR.get() {
            let (realtime, tai) = (Base::Realtime.ahead_ns(), Base::Tai.ahead_ns());
            vvar.set_zone(clock::zone());
            vvar.publish(clock_params(), raw_params(), &Offsets { realtime, tai, monotonic: 0, boottime: 0 });
        }
    }
}

/// Makes the pages: the data page first, the code behind it, as they are mapped into each program. Empty where the machine has none.
pub fn pages() -> Result<Vec<Frame>, OutOfFrames> {
    let image = machine::vdso::image();
    if image.is_empty() {
        return Ok(Vec::new());
    }
    let vvar = Vvar::new(machine::cpu::has_tsc_aux())?;
    let mut pages = alloc::vec![vvar.frame().clone()];
    for part in image.chunks(PAGE_SIZE) {
        let page = Frame::alloc_zeroed()?;
        page.write(0, part);
        pages.push(page);
    }
    if VVAR.set(vvar).is_ok() {
        clock::set_pages(&Pages);
        follow_random();
    }
    Ok(pages)
}

fn follow_random() {
    let publish = |generation| {
        if let Some(vvar) = VVAR.get() {
            vvar.set_random(generation);
        }
    };
    random::follow(publish);
    if let Some(generation) = random::generation() {
        publish(generation);
    }
}

//! The vDSO's two pages, handed to exec; the data page follows the wall clock.

use alloc::vec::Vec;
use machine::PAGE_SIZE;
use machine::mem::{Frame, OutOfFrames};
use machine::sync::Once;
use machine::vdso::Vvar;

static VVAR: Once<Vvar> = Once::new();

/// Makes the pages: the data page first, the code behind it, as they are mapped into each program. Empty where the machine has none.
pub fn pages() -> Result<Vec<Frame>, OutOfFrames> {
    let image = machine::vdso::image();
    if image.is_empty() {
        return Ok(Vec::new());
    }
    let vvar = Vvar::new(machine::time::clock_params(), machine::cpu::has_tsc_aux())?;
    vvar.set_wall_offset(sched::clock::wall_offset_ns());
    let mut pages = alloc::vec![vvar.frame().clone()];
    for part in image.chunks(PAGE_SIZE) {
        let page = Frame::alloc_zeroed()?;
        page.write(0, part);
        pages.push(page);
    }
    if VVAR.set(vvar).is_ok() {
        sched::clock::on_change(|offset_ns| {
            if let Some(vvar) = VVAR.get() {
                vvar.set_wall_offset(offset_ns);
            }
        });
    }
    Ok(pages)
}

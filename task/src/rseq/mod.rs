//! Restartable sequences (rseq(2)): a program's area that always names the CPU its thread runs on, and critical sections that are
//! sent to their abort handler when the thread was moved or interrupted inside.
//!
//! A registration of the first layout (32 bytes) has the old promises: the numbers are written anew after each switch, which some
//! allocators count on. One of the size that AT_RSEQ_FEATURE_SIZE names has the new ones: the numbers change only when they do, and a
//! program that writes them itself is ended.
//!
//! - [`ids`]: CPU, node and concurrency id
//! - [`section`]: leaving a critical section
//! - [`slice`]: a little more time for a thread that is inside one
//!
//! Sources: `linux/rseq.h`, Documentation/userspace-api/rseq.rst.

mod ids;
mod section;
mod slice;

pub use section::interrupt_all;
pub(crate) use slice::{YIELD_CALL, end as end_slice, grant as grant_slice};
pub use slice::{enable as enable_slice, is_enabled as slice_enabled, take_yielded};

use crate::task::on_switch;
use crate::{Cx, work};
use abi::Errno;
use abi::signal::{SigInfo, Signal};
use machine::{USER_MAX, VirtAddr};

/// Bytes of the area of the first layout.
const FIRST_SIZE: u32 = 32;
/// Bytes of the area this kernel knows (AT_RSEQ_FEATURE_SIZE).
pub const FEATURE_SIZE: u64 = 33;
/// AT_RSEQ_ALIGN, for areas other than of the first layout.
pub const ALIGN: u64 = 64;

const UNREGISTER: u32 = 1;
const SLICE_DEFAULT_ON: u32 = 2;

/// Where the fields of `struct rseq` are. `cpu_id` is behind the first, `mm_cid` behind `node_id`.
mod at {
    pub const CPU_START: u64 = 0;
    pub const SECTION: u64 = 8;
    pub const FLAGS: u64 = 16;
    pub const NODE: u64 = 20;
    pub const SLICE: u64 = 28;
}

/// A thread's registration.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rseq {
    /// The area, 0 if there is none.
    area: u64,
    len: u32,
    signature: u32,
    /// What the area shows, once it has been written.
    shown: Option<ids::Ids>,
    /// The concurrency id it owns.
    own_cid: Option<u32>,
    slice: slice::State,
}

impl Rseq {
    /// Where the area is, its size and the signature of abort handlers; zeroes without a registration.
    pub fn configuration(&self) -> (u64, u32, u32) {
        (self.area, self.len, self.signature)
    }
    fn at(&self, offset: u64) -> VirtAddr {
        VirtAddr(self.area.wrapping_add(offset))
    }
    /// It has the new promises.
    fn is_strict(&self) -> bool {
        self.len > FIRST_SIZE
    }
}

/// rseq(2).
pub fn register(cx: &mut Cx, area: u64, len: u32, flags: u32, signature: u32) -> Result<(), Errno> {
    let now = cx.rseq;
    if flags & UNREGISTER != 0 {
        if flags != UNREGISTER || now.area == 0 || now.area != area || now.len != len {
            return Err(Errno::EINVAL);
        }
        if now.signature != signature {
            return Err(Errno::EPERM);
        }
        if ids::clear(cx).is_err() {
            force(cx);
            return Err(Errno::EFAULT);
        }
        reset(cx);
        return Ok(());
    }
    if flags & !SLICE_DEFAULT_ON != 0 {
        return Err(Errno::EINVAL);
    }
    if now.area != 0 {
        return Err(match () {
            () if now.area != area || now.len != len => Errno::EINVAL,
            () if now.signature != signature => Errno::EPERM,
            () => Errno::EBUSY,
        });
    }
    let align = if len == FIRST_SIZE { u64::from(FIRST_SIZE) } else { ALIGN };
    if len != FIRST_SIZE && u64::from(len) < FEATURE_SIZE || !area.is_multiple_of(align) {
        return Err(Errno::EINVAL);
    }
    if area == 0 || area.checked_add(u64::from(len)).is_none_or(|end| end > USER_MAX) {
        return Err(Errno::EFAULT);
    }
    let rseq = Rseq { area, len, signature, ..Rseq::default() };
    let slice = slice::State::new(rseq.is_strict() && flags & SLICE_DEFAULT_ON != 0);
    cx.mm().write_bytes(rseq.at(at::SECTION), &[0; 8])?;
    cx.mm().write_bytes(rseq.at(at::FLAGS), &slice::flags(&rseq, slice).to_ne_bytes())?;
    if rseq.is_strict() {
        cx.mm().write_bytes(rseq.at(at::SLICE), &[0; 4])?;
    }
    set(cx, Rseq { slice, ..rseq });
    cx.task.work.set(work::RSEQ);
    Ok(())
}

fn set(cx: &mut Cx, rseq: Rseq) {
    cx.rseq = rseq;
    if rseq.area != 0 {
        cx.task.on_switch.set(on_switch::RSEQ);
    } else {
        let _ = cx.task.on_switch.clear(on_switch::RSEQ);
    }
}

/// The registration ends: by the program, by exec, with the thread.
pub(crate) fn reset(cx: &mut Cx) {
    ids::disown(cx);
    set(cx, Rseq::default());
}

/// A fork child keeps its parent's registration: it has a copy of the area.
pub(crate) fn inherit(child: &mut Cx, parent: &Cx) {
    set(child, Rseq { shown: None, own_cid: None, ..parent.rseq });
    child.task.work.set(work::RSEQ);
}

/// What the program has in its area is nothing to go on with.
fn force(cx: &mut Cx) {
    crate::signal::force(cx, Signal::SEGV, &SigInfo::kernel(Signal::SEGV));
}

/// Brings the area up to date after the thread was switched to. `in_call`: it was not inside user code, so it can not have
/// been inside a critical section.
pub(crate) fn update(cx: &mut Cx, in_call: bool) {
    cx.task.work.clear(work::RSEQ);
    if cx.rseq.area == 0 {
        return;
    }
    let mut done = ids::update(cx);
    if done.is_ok() && !in_call {
        done = section::leave(cx);
    }
    if done.is_err() {
        force(cx);
    }
}

/// A handler is about to run: a critical section is given up before its frame is built.
pub(crate) fn before_signal(cx: &mut Cx) {
    if cx.rseq.area != 0 && section::leave(cx).is_err() {
        force(cx);
    }
}

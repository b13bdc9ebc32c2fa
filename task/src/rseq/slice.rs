//! Time slice extensions: a thread that has said it holds something others may want, and is about to be switched away, gets a few
//! microseconds more to be done with it. It says so in its area, without a call; the kernel answers there.
//!
//! While a grant is open the thread's next system call comes by the slow way ([`crate::entry`]), which ends it. A timer ends it
//! too, at the cost of one more look at the area.

use super::{Rseq, at, force};
use crate::{Cx, entry};
use abi::Errno;

/// The number of rseq_slice_yield(2).
pub(crate) const YIELD_CALL: u64 = 471;

/// How long a grant lasts.
const GRANT_NS: u64 = 5_000;

/// Bits of the area's flags.
const AVAILABLE: u32 = 1 << 4;
const ENABLED: u32 = 1 << 5;

/// The area's control word: the byte of the program, then that of the kernel.
const REQUEST: u32 = 0xff;
const GRANTED: u32 = 1 << 8;

/// A thread's part in this.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct State {
    enabled: bool,
    granted: bool,
    yielded: bool,
}

impl State {
    pub fn new(enabled: bool) -> State {
        State { enabled, ..State::default() }
    }
}

/// What the area's flags say.
pub(super) fn flags(rseq: &Rseq, state: State) -> u32 {
    let available = if rseq.is_strict() { AVAILABLE } else { 0 };
    available | if state.enabled { ENABLED } else { 0 }
}

/// Whether the caller's grants are enabled (PR_RSEQ_SLICE_EXTENSION_GET).
pub fn is_enabled(cx: &Cx) -> bool {
    cx.rseq.slice.enabled
}

/// Enables or disables grants (PR_RSEQ_SLICE_EXTENSION_SET).
pub fn enable(cx: &mut Cx, on: bool) -> Result<(), Errno> {
    let rseq = cx.rseq;
    if rseq.area == 0 {
        return Err(Errno::ENXIO);
    }
    if !rseq.is_strict() {
        return Err(Errno::ENOTSUPP);
    }
    if on == rseq.slice.enabled {
        return Ok(());
    }
    let now = flags(&rseq, rseq.slice);
    let new = flags(&rseq, State::new(on));
    let flags_at = rseq.at(at::FLAGS);
    let changed = match cx.mm().load_u32(flags_at) {
        Ok(shown) if shown & now == now => cx.mm().write_bytes(flags_at, &(shown & !ENABLED | new).to_ne_bytes()),
        _ => Err(Errno::EFAULT),
    };
    if changed.is_err() {
        force(cx);
        return changed;
    }
    cx.rseq.slice.enabled = on;
    Ok(())
}

/// Whether the last call of the thread gave back a grant (rseq_slice_yield(2)).
pub fn take_yielded(cx: &mut Cx) -> bool {
    core::mem::take(&mut cx.rseq.slice.yielded)
}

/// The thread was interrupted in user mode and is to make room. True: it goes on for a moment instead.
#[inline]
pub(crate) fn grant(cx: &mut Cx) -> bool {
    cx.rseq.slice.enabled && open(cx)
}

#[cold]
fn open(cx: &mut Cx) -> bool {
    let word_at = cx.rseq.at(at::SLICE);
    if cx.rseq.slice.granted {
        revoke(cx);
        return false;
    }
    let Ok(word) = cx.mm().load_u32(word_at) else { return false };
    if word & REQUEST == 0 || cx.mm().write_bytes(word_at, &GRANTED.to_ne_bytes()).is_err() {
        return false;
    }
    cx.rseq.slice.granted = true;
    cx.task.entry.set(entry::SLICE);
    sched::look_in(GRANT_NS);
    true
}

/// Takes a grant back.
fn revoke(cx: &mut Cx) {
    cx.rseq.slice.granted = false;
    let _ = cx.task.entry.clear(entry::SLICE);
    let word_at = cx.rseq.at(at::SLICE);
    if cx.mm().write_bytes(word_at, &[0; 4]).is_err() {
        force(cx);
    }
}

/// The thread makes a call with a grant open: it gives way at once. `yields`: that is all it wants.
pub(crate) fn end(cx: &mut Cx, yields: bool) {
    if cx.rseq.slice.granted {
        cx.rseq.slice.yielded = yields;
        sched::yield_now();
        revoke(cx);
    }
}

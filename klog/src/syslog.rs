//! What syslog(2) does, but for the checks of its arguments and of the caller's rights.
//!
//! All callers of "read" share one position in the log, which counts bytes of the text of a record that did not fit.

use crate::ARRIVED;
use crate::format::syslog_lines;
use abi::Errno;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use machine::log;

struct State {
    /// The next record to read, and how much of its text was read.
    next: u64,
    partial: usize,
    /// The first record after the last "clear".
    cleared: u64,
    /// The console's level before it was switched off.
    saved_level: Option<u8>,
}

static STATE: sched::Mutex<State> = sched::Mutex::new(State { next: 0, partial: 0, cleared: 0, saved_level: None });

/// The size of the log as programs are told it.
pub const SIZE: usize = 64 << 10;

/// The text of the first record numbered `from` or higher, with its number.
fn text_of(from: u64) -> Result<Option<(u64, Vec<u8>)>, Errno> {
    let mut raw = [0; log::RECORD_MAX];
    let Some(record) = log::read(from, &mut raw) else { return Ok(None) };
    let mut text = Vec::new();
    let mut fits = true;
    syslog_lines(&record, raw.get(..record.len).unwrap_or(&raw), |part| {
        fits &= text.try_reserve(part.len()).is_ok();
        if fits {
            text.extend_from_slice(part);
        }
    });
    if fits { Ok(Some((record.seq, text))) } else { Err(Errno::ENOMEM) }
}

/// Reads on from where the last reader stopped, at least something; `put` takes the text.
pub fn read(size: usize, mut put: impl FnMut(&[u8]) -> Result<(), Errno>) -> Result<usize, Errno> {
    let mut state = loop {
        let next = STATE.lock().next;
        ARRIVED.wait_interruptible(|| (log::range().1 > next).then_some(()))?;
        let state = STATE.lock();
        if state.next == next {
            break state;
        }
    };
    let mut done = 0;
    while done < size
        && let Some((seq, text)) = text_of(state.next)?
    {
        if seq != state.next {
            (state.next, state.partial) = (seq, 0);
        }
        let rest = text.get(state.partial..).unwrap_or_default();
        let room = size - done;
        let part = match rest.len() <= room {
            true => rest,
            // A record goes out in parts only if it is the first.
            false if done == 0 => rest.get(..room).unwrap_or(rest),
            false => break,
        };
        match put(part) {
            Ok(()) => {}
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        }
        done += part.len();
        if part.len() == rest.len() {
            (state.next, state.partial) = (seq + 1, 0);
        } else {
            state.partial += part.len();
        }
    }
    Ok(done)
}

/// The newest records since the last "clear" that fit into `size` bytes.
pub fn read_all(size: usize, clear: bool, mut put: impl FnMut(&[u8]) -> Result<(), Errno>) -> Result<usize, Errno> {
    let cleared = STATE.lock().cleared;
    let mut total = 0;
    let mut seq = cleared;
    while let Some((at, text)) = text_of(seq)? {
        total += text.len();
        seq = at + 1;
    }
    let end = seq;
    // Leave out the oldest until the rest fits.
    let mut from = cleared;
    while total > size
        && let Some((at, text)) = text_of(from)?
    {
        total = total.saturating_sub(text.len());
        from = at + 1;
    }
    let mut done = 0;
    while from < end
        && let Some((at, text)) = text_of(from)?
        && done + text.len() <= size
    {
        put(&text)?;
        done += text.len();
        from = at + 1;
    }
    if clear {
        STATE.lock().cleared = from;
    }
    Ok(done)
}

/// Makes [`read_all`] begin with what comes from now on.
pub fn clear() {
    STATE.lock().cleared = log::range().1;
}

/// The first record after the last [`clear`].
pub fn cleared() -> u64 {
    STATE.lock().cleared
}

/// Bytes that [`read`] could give now.
pub fn unread() -> Result<usize, Errno> {
    let mut state = STATE.lock();
    let (mut seq, mut sum) = (state.next, 0);
    while let Some((at, text)) = text_of(seq)? {
        if seq == state.next && at != seq {
            (state.next, state.partial) = (at, 0);
        }
        sum += text.len();
        seq = at + 1;
    }
    Ok(sum.saturating_sub(state.partial))
}

/// Only the most urgent messages go to the console.
pub fn console_off() {
    let mut state = STATE.lock();
    state.saved_level.get_or_insert(log::console_level());
    log::set_console_level(log::MINIMUM_LEVEL.load(Relaxed));
}

/// Ends [`console_off`].
pub fn console_on() {
    if let Some(level) = STATE.lock().saved_level.take() {
        log::set_console_level(level);
    }
}

/// Sets the level of the console.
pub fn set_level(level: u8) {
    let mut state = STATE.lock();
    log::set_console_level(level.max(log::MINIMUM_LEVEL.load(Relaxed)));
    state.saved_level = None;
}

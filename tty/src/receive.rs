//! Input on its way into a terminal.
//!
//! A driver hands over what the line discipline has room for ([`Tty::receive`]) and keeps the rest. A pty master may write some more
//! ([`Tty::receive_ahead`]): that waits in `State::ahead` and follows as soon as a reader makes room. Bytes wait there only while the line
//! discipline has no room, so order is kept.

use crate::ldisc::Events;
use crate::tty::{State, Tty};
use abi::Errno;
use abi::tty::ioctl;
use vfs::PollEvents;

/// Bytes a pty master may write ahead; with what the line discipline holds, about what Linux takes.
const AHEAD: usize = 16384;

impl Tty {
    /// Takes input from the device; returns how many bytes were used (fewer when there is no room).
    pub fn receive(&self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let n = self.take_in(Some(rest));
            if n == 0 {
                break;
            }
            used += n;
        }
        used
    }

    /// Takes input from the pty master; ENOMEM if some that must wait cannot be stored.
    pub(crate) fn receive_ahead(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let waiting = !self.state.lock().ahead.is_empty();
        let used = if waiting { 0 } else { self.receive(bytes) };
        let rest = bytes.get(used..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(used);
        }
        let mut s = self.state.lock();
        let more = rest.len().min(AHEAD.saturating_sub(s.ahead.len()));
        let stored = s.ahead.try_reserve(more);
        if stored.is_ok() {
            s.ahead.extend(rest.iter().take(more));
        }
        drop(s);
        match stored {
            // A reader may have made room since.
            Ok(()) => self.follow_up(),
            Err(_) if used == 0 => return Err(Errno::ENOMEM),
            Err(_) => return Ok(used),
        }
        Ok(used + more)
    }

    /// Takes in what was written ahead, as far as there is room.
    pub(crate) fn follow_up(&self) {
        while self.take_in(None) != 0 {}
    }

    /// Has the line discipline take a part of `bytes`, or of what was written ahead; returns how many bytes it took.
    fn take_in(&self, bytes: Option<&[u8]>) -> usize {
        let mut events = Events::default();
        let mut guard = self.state.lock();
        let s = &mut *guard;
        let stopped = s.stopped && !s.held_off;
        let held = s.is_stopped();
        let from = bytes.unwrap_or(s.ahead.as_slices().0);
        let out = if held { &mut s.held } else { &mut s.out };
        let before = out.len();
        let n = s.disc.input(&s.termios, from, stopped, out, &mut events);
        let echoed = out.len() != before || events.flush_output;
        if bytes.is_none() {
            s.ahead.drain(..n);
        }
        if events.flush_output {
            s.held.clear();
            s.note(ioctl::TIOCPKT_FLUSHREAD | ioctl::TIOCPKT_FLUSHWRITE);
        }
        let turned = events.stop.is_some_and(|stop| s.set_stopped(stop));
        let (pgrp, readable) = (s.pgrp, s.disc.readable(&s.termios, false));
        drop(guard);
        if let Some(signal) = events.signal
            && pgrp != 0
        {
            // The group may have died meanwhile: nobody is left to tell.
            let _ = vfs::jobs().signal_pgrp(pgrp, i32::from(signal), crate::jobs::FROM_KERNEL);
        }
        if readable {
            self.readers.wake_all();
        }
        if echoed || turned {
            self.output_changed();
        }
        n
    }

    /// Room for input from the device.
    pub(crate) fn room(&self) -> usize {
        let s = self.state.lock();
        s.disc.room(&s.termios)
    }

    /// Input was taken: its source may go on.
    pub(crate) fn input_taken(&self) {
        self.follow_up();
        match &self.driver {
            Some(driver) => driver.unthrottle(self),
            None => {
                self.feed.wake_key(usize::MAX, false, PollEvents::WRITABLE.key());
            }
        }
    }
}

impl State {
    /// Whether the pty master may write.
    pub fn takes_ahead(&self) -> bool {
        self.ahead.len() < AHEAD
    }
}

//! Reading and writing a terminal: what a read waits for in canonical and in raw mode (termios(3), "Canonical and noncanonical
//! mode"), and how writers take turns.

use crate::termios::Termios;
use crate::tty::{State, Tty};
use abi::Errno;
use abi::tty::{Lflag, cc};
use mm::{Dst, Src};
use sched::WaitError;
use vfs::PollEvents;

/// A tenth of a second: the unit of VTIME.
const DECISECOND: u64 = 100_000_000;
/// Bytes moved at a time between user memory and the terminal.
const CHUNK: usize = 256;

impl Tty {
    /// read(2) of a file opened at `epoch`.
    pub fn read(&self, dst: &mut Dst<'_>, nonblock: bool, epoch: u32) -> Result<usize, Errno> {
        if self.epoch() != epoch {
            return Ok(0);
        }
        self.check_background(crate::jobs::SIGTTIN)?;
        let start = dst.done();
        if dst.remaining() == 0 {
            return Ok(0);
        }
        loop {
            let raw = match self.take_input(dst)? {
                Step::Ended => return Ok(dst.done() - start),
                Step::Short(raw) => raw,
            };
            let done = dst.done() - start;
            let plan = raw.wait(done);
            if dst.remaining() == 0 || done > 0 && (nonblock || plan == Wait::Over) {
                return Ok(done);
            }
            if done == 0 && self.state.lock().master_gone {
                return Err(Errno::EIO);
            }
            if self.epoch() != epoch {
                return Ok(done);
            }
            let deadline = match plan {
                Wait::Over => return Ok(done),
                Wait::Forever => None,
                Wait::For(ns) => Some(machine::time::now_ns().saturating_add(ns)),
            };
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            let waited = self.readers.wait_deadline(deadline, || {
                let s = self.state.lock();
                (s.disc.readable(&s.termios, false) || s.master_gone || self.epoch() != epoch).then_some(())
            });
            match waited {
                Ok(()) => {}
                Err(WaitError::TimedOut) => return Ok(done),
                Err(WaitError::Interrupted) if done > 0 => return Ok(done),
                Err(WaitError::Interrupted) => return Err(Errno::ERESTARTSYS),
            }
        }
    }

    /// Moves what is ready into `dst`, not past the end of a line.
    fn take_input(&self, dst: &mut Dst<'_>) -> Result<Step, Errno> {
        let mut chunk = [0; CHUNK];
        loop {
            let mut guard = self.state.lock();
            let s = &mut *guard;
            let max = dst.remaining().min(CHUNK);
            let was_full = s.disc.room(&s.termios) < CHUNK;
            let taken = s.disc.read(&s.termios, chunk.get_mut(..max).unwrap_or_default());
            let raw = Raw::of(&s.termios);
            drop(guard);
            if was_full && taken.bytes > 0 {
                self.input_taken();
            }
            dst.put(chunk.get(..taken.bytes).unwrap_or_default())?;
            if taken.ended {
                return Ok(Step::Ended);
            }
            if taken.bytes == 0 || dst.remaining() == 0 {
                return Ok(Step::Short(raw));
            }
        }
    }

    /// write(2) of a file opened at `epoch`.
    pub fn write(&self, src: &mut Src<'_>, nonblock: bool, epoch: u32) -> Result<usize, Errno> {
        if self.epoch() != epoch {
            return Err(Errno::EIO);
        }
        if self.state.lock().termios.lflag.contains(Lflag::TOSTOP) {
            self.check_background(crate::jobs::SIGTTOU)?;
        }
        self.wait_to_write(nonblock, |s| !core::mem::replace(&mut s.writing, true))?;
        let result = self.write_all(src, nonblock, epoch);
        self.state.lock().writing = false;
        self.writers.wake_key(usize::MAX, false, PollEvents::WRITABLE.key());
        result
    }

    fn write_all(&self, src: &mut Src<'_>, nonblock: bool, epoch: u32) -> Result<usize, Errno> {
        let mut chunk = [0; CHUNK];
        let mut done = 0;
        while src.remaining() > 0 {
            let n = match src.get(&mut chunk) {
                Ok(n) => n,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            };
            let bytes = chunk.get(..n).unwrap_or_default();
            let waited = self.wait_to_write(nonblock, |s| s.has_room() || s.master_gone || self.epoch() != epoch);
            let mut s = self.state.lock();
            let gone = s.master_gone || self.epoch() != epoch;
            match waited {
                Ok(()) if gone && done == 0 => return Err(Errno::EIO),
                Err(e) if done == 0 => return Err(e),
                Ok(()) if !gone => {}
                _ => break,
            }
            s.put(bytes);
            drop(s);
            self.output_started();
            done += n;
        }
        Ok(done)
    }

    pub(crate) fn output_started(&self) {
        match &self.driver {
            Some(driver) => driver.start(self),
            None => self.drain.wake_all(),
        }
    }

    fn wait_to_write(&self, nonblock: bool, mut ready: impl FnMut(&mut State) -> bool) -> Result<(), Errno> {
        if ready(&mut self.state.lock()) {
            return Ok(());
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        let waited = self.writers.wait_interruptible(|| ready(&mut self.state.lock()).then_some(()));
        waited.map_err(|_| Errno::ERESTARTSYS)
    }

    /// Waits until all output went out (TCSBRK, TCSETSW).
    pub(crate) fn wait_drained(&self) -> Result<(), Errno> {
        // What a pty master has not read yet does not count, as on Linux.
        if self.is_pty() {
            return Ok(());
        }
        let sent = self.writers.wait_interruptible(|| self.state.lock().out.is_empty().then_some(()));
        sent.map_err(|_| Errno::ERESTARTSYS)
    }
}

enum Step {
    /// A line ended.
    Ended,
    /// Nothing more is ready; what the read waits for next.
    Short(Raw),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Over,
    Forever,
    For(u64),
}

/// VMIN and VTIME, or neither in canonical mode.
#[derive(Clone, Copy)]
struct Raw {
    min: usize,
    time_ns: u64,
    canonical: bool,
}

impl Raw {
    fn of(t: &Termios) -> Raw {
        Raw {
            min: usize::from(t.char(cc::VMIN)),
            time_ns: u64::from(t.char(cc::VTIME)) * DECISECOND,
            canonical: t.lflag.contains(Lflag::ICANON),
        }
    }
    /// What a read that has `done` bytes does next.
    fn wait(&self, done: usize) -> Wait {
        match (self.min, self.time_ns) {
            _ if self.canonical => Wait::Forever,
            (0, 0) => Wait::Over,
            (0, ns) if done == 0 => Wait::For(ns),
            (0, _) => Wait::Over,
            (min, _) if done >= min => Wait::Over,
            (_, ns) if ns > 0 && done > 0 => Wait::For(ns),
            _ => Wait::Forever,
        }
    }
}

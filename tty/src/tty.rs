//! One terminal: its settings, its line discipline, who it controls, and the waiting of those who read and write it.
//!
//! Input: a driver (serial line, virtio console) or a pty master calls [`Tty::receive`]; the line discipline edits, echoes into the output
//! queue and raises signals; readers wake. Output: [`Tty::write`] passes the output modes into the output queue, from which
//! the driver, or the master's reads, take it.
//!
//! Lock order: `Tty::state` (spin, never held while user memory is touched, signals are sent, or a driver runs) before the wait queues'
//! own locks.

use crate::ldisc::{Events, LineDisc, OutQueue};
use crate::termios::Termios;
use abi::Errno;
use abi::tty::{Iflag, Lflag, Winsize, cc, ioctl};
use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::SpinLock;
use mm::{Dst, Src};
use sched::{WaitError, WaitQueue};

/// Output that may wait before writers do.
const OUT_LIMIT: usize = 1 << 14;
/// A tenth of a second: the unit of VTIME.
const DECISECOND: u64 = 100_000_000;
/// Bytes moved at a time between user memory and the terminal.
const CHUNK: usize = 256;

/// The hardware below a terminal. A pty slave has none: its master works on the [`Tty`] itself.
pub trait Driver: Send + Sync {
    /// Output waits: take it with [`Tty::take_output`] while the device can.
    fn start(&self, tty: &Tty);
    /// There is room for input again.
    fn unthrottle(&self, tty: &Tty);
}

/// What a terminal is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    /// `/dev/ttyS0` and other fixed names.
    Fixed(&'static str),
    /// `/dev/hvcN`.
    Hvc(u32),
    /// `/dev/pts/N`.
    Pts(u32),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Fixed(name) => f.write_str(name),
            Name::Hvc(n) => write!(f, "hvc{n}"),
            Name::Pts(n) => write!(f, "pts/{n}"),
        }
    }
}

/// What changes in a terminal.
pub(crate) struct State {
    pub termios: Termios,
    pub disc: LineDisc,
    pub out: OutQueue,
    /// Echo of what was typed while output is stopped.
    held: OutQueue,
    pub winsize: Winsize,
    /// The session it controls, 0 for none.
    pub session: i32,
    /// The foreground process group, 0 for none.
    pub pgrp: i32,
    /// Further opens are refused (TIOCEXCL).
    pub exclusive: bool,
    /// Stopped by the STOP character.
    stopped: bool,
    /// Stopped by TCXONC.
    pub held_off: bool,
    /// The pty master reads status bytes (TIOCPKT).
    pub packet: bool,
    /// Status bits not yet read by it.
    pub packet_status: u8,
    /// The pty slave may not be opened yet.
    pub locked: bool,
    /// Open files of the terminal itself (not the pty master).
    pub opens: u32,
    /// It was open, and is not any more: the pty master reads EIO.
    pub closed: bool,
    /// The pty master is gone.
    pub master_gone: bool,
    /// A writer has the terminal; its bytes are not mixed with another's.
    writing: bool,
}

/// A terminal.
pub struct Tty {
    pub(crate) state: SpinLock<State>,
    /// Waiting to read the terminal.
    pub(crate) readers: WaitQueue,
    /// Waiting to write it.
    pub(crate) writers: WaitQueue,
    /// A pty master waiting for output.
    pub(crate) drain: WaitQueue,
    /// A pty master waiting for room for input.
    pub(crate) feed: WaitQueue,
    driver: Option<Box<dyn Driver>>,
    name: Name,
    dev: u32,
    /// Counts hang-ups: files opened before the last one are dead.
    epoch: AtomicU32,
}

impl Tty {
    /// A terminal with cooked settings. `dev` is its device number.
    pub fn new(name: Name, dev: u32, driver: Option<Box<dyn Driver>>) -> Tty {
        let state = State {
            termios: Termios::cooked(),
            disc: LineDisc::new(),
            out: OutQueue::new(),
            held: OutQueue::new(),
            winsize: Winsize::default(),
            session: 0,
            pgrp: 0,
            exclusive: false,
            stopped: false,
            held_off: false,
            packet: false,
            packet_status: 0,
            locked: false,
            opens: 0,
            closed: false,
            master_gone: false,
            writing: false,
        };
        Tty {
            state: SpinLock::new(state),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            drain: WaitQueue::new(),
            feed: WaitQueue::new(),
            driver,
            name,
            dev,
            epoch: AtomicU32::new(0),
        }
    }

    /// Its device number.
    pub fn dev(&self) -> u32 {
        self.dev
    }
    /// What it is called below /dev.
    pub fn name(&self) -> Name {
        self.name
    }
    /// The foreground process group, 0 for none.
    pub fn foreground(&self) -> i32 {
        self.state.lock().pgrp
    }
    /// The session it controls, 0 for none.
    pub fn session(&self) -> i32 {
        self.state.lock().session
    }
    /// The number of hang-ups so far; a file that saw another number is dead.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }
    /// It belongs to a pty.
    pub fn is_pty(&self) -> bool {
        matches!(self.name, Name::Pts(_))
    }

    /// It is a pty whose master is gone: nothing will ever come of it.
    pub fn is_orphan(&self) -> bool {
        self.state.lock().master_gone
    }

    /// Takes input from the device or the pty master; returns how many bytes were used (fewer when there is no room).
    pub fn receive(&self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|r| !r.is_empty()) {
            let mut events = Events::default();
            let mut guard = self.state.lock();
            let s = &mut *guard;
            let stopped = s.stopped;
            let out = if s.is_stopped() { &mut s.held } else { &mut s.out };
            let before = out.len();
            let n = s.disc.input(&s.termios, rest, stopped && !s.held_off, out, &mut events);
            let echoed = out.len() != before || events.flush_output;
            if events.flush_output {
                s.held.clear();
                s.note(ioctl::TIOCPKT_FLUSHREAD | ioctl::TIOCPKT_FLUSHWRITE);
            }
            let turned = events.stop.is_some_and(|stop| s.set_stopped(stop));
            let (pgrp, readable) = (s.pgrp, s.disc.readable(&s.termios, false));
            drop(guard);
            used += n;
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
            if n == 0 {
                break;
            }
        }
        used
    }

    /// Room for input.
    pub(crate) fn room(&self) -> usize {
        let s = self.state.lock();
        s.disc.room(&s.termios)
    }

    /// Moves up to `buf.len()` waiting output bytes to `buf`; wakes writers.
    pub fn take_output(&self, buf: &mut [u8]) -> usize {
        let mut s = self.state.lock();
        let n = s.take_out(buf);
        let wake = s.has_room();
        drop(s);
        if n > 0 && wake {
            self.writers.wake_all();
        }
        n
    }

    /// Output was added, or writers may go on.
    pub(crate) fn output_changed(&self) {
        match &self.driver {
            Some(driver) => driver.start(self),
            None => self.drain.wake_all(),
        }
        if self.state.lock().has_room() {
            self.writers.wake_all();
        }
    }

    /// Input was taken: its source may go on.
    fn input_taken(&self) {
        match &self.driver {
            Some(driver) => driver.unthrottle(self),
            None => self.feed.wake_all(),
        }
    }

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
            if self.epoch() != epoch {
                return Ok(done);
            }
            if done == 0 && self.state.lock().master_gone {
                return Err(Errno::EIO);
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
        self.writers.wake_all();
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

    fn output_started(&self) {
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

    /// Drops waiting input, waiting output, or both.
    pub(crate) fn flush(&self, input: bool, output: bool) {
        let mut s = self.state.lock();
        if input {
            s.disc.flush_input();
            s.note(ioctl::TIOCPKT_FLUSHREAD);
        }
        if output {
            s.out.clear();
            s.held.clear();
            s.note(ioctl::TIOCPKT_FLUSHWRITE);
        }
        drop(s);
        if input {
            self.input_taken();
        }
        if output {
            self.output_changed();
        }
    }

    /// Stops or starts output by TCXONC.
    pub(crate) fn hold_output(&self, hold: bool) {
        let mut s = self.state.lock();
        s.held_off = hold;
        if !hold {
            s.set_stopped(false);
        }
        drop(s);
        self.output_changed();
    }

    /// Sends one byte out ahead of what waits (TCXONC's STOP and START).
    pub(crate) fn send_now(&self, c: u8) {
        if c != crate::termios::DISABLED {
            self.state.lock().out.push_front(c);
            self.output_started();
        }
    }

    /// Installs new settings.
    pub(crate) fn set_termios(&self, new: &Termios) {
        let mut guard = self.state.lock();
        let s = &mut *guard;
        let old = s.termios;
        s.disc.set_termios(&old, new);
        s.termios = *new;
        if old.iflag.contains(Iflag::IXON) && !new.iflag.contains(Iflag::IXON) {
            s.set_stopped(false);
        }
        s.note_flow_keys(&old);
        drop(guard);
        self.readers.wake_all();
        self.output_changed();
    }

    /// Sets the window size; tells the foreground group when it changed.
    pub fn set_winsize(&self, size: Winsize) {
        let mut s = self.state.lock();
        let changed = s.winsize != size;
        s.winsize = size;
        let pgrp = s.pgrp;
        drop(s);
        if changed && pgrp != 0 {
            // The group may be empty by now.
            let _ = vfs::jobs().signal_pgrp(pgrp, crate::jobs::SIGWINCH, crate::jobs::FROM_KERNEL);
        }
    }

    /// Hangs up: every open file is dead, the session loses the terminal and its leader hears of it.
    pub fn hangup(&self) {
        let mut s = self.state.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        s.disc.flush_input();
        s.out.clear();
        s.held.clear();
        s.set_stopped(false);
        s.held_off = false;
        let session = core::mem::take(&mut s.session);
        let pgrp = core::mem::take(&mut s.pgrp);
        drop(s);
        self.readers.wake_all();
        self.writers.wake_all();
        self.drain.wake_all();
        self.feed.wake_all();
        crate::jobs::tell_of_hangup(session, pgrp);
    }
}

impl State {
    /// Output waits for START or TCXONC.
    pub fn is_stopped(&self) -> bool {
        self.stopped || self.held_off
    }
    /// Writers may add output.
    pub fn has_room(&self) -> bool {
        self.out.len() < OUT_LIMIT && !self.is_stopped()
    }
    /// Moves waiting output to `buf`.
    pub fn take_out(&mut self, buf: &mut [u8]) -> usize {
        let n = buf.len().min(self.out.len());
        let (a, b) = self.out.as_slices();
        let first = n.min(a.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..first), a.get(..first)) {
            to.copy_from_slice(from);
        }
        if let (Some(to), Some(from)) = (buf.get_mut(first..n), b.get(..n - first)) {
            to.copy_from_slice(from);
        }
        self.out.drain(..n);
        n
    }
    /// Adds output.
    fn put(&mut self, bytes: &[u8]) {
        self.disc.output(&self.termios, bytes, &mut self.out);
    }
    /// Stops or starts output; true when that is a change.
    fn set_stopped(&mut self, stop: bool) -> bool {
        let changed = self.stopped != stop;
        self.stopped = stop;
        if !self.is_stopped() {
            self.out.append(&mut self.held);
        }
        if changed {
            self.packet_status &= !(ioctl::TIOCPKT_STOP | ioctl::TIOCPKT_START);
            self.note(if stop { ioctl::TIOCPKT_STOP } else { ioctl::TIOCPKT_START });
        }
        changed
    }
    /// Adds status bits for a master in packet mode.
    pub fn note(&mut self, bits: u8) {
        if self.packet {
            self.packet_status |= bits;
        }
    }
    /// Tells a master in packet mode whether ^S and ^Q act, and of changes while the remote end edits (EXTPROC).
    fn note_flow_keys(&mut self, old: &Termios) {
        let acts =
            |t: &Termios| t.iflag.contains(Iflag::IXON) && t.char(cc::VSTOP) == 0x13 && t.char(cc::VSTART) == 0x11;
        let (was, is) = (acts(old), acts(&self.termios));
        if was != is {
            self.packet_status &= !(ioctl::TIOCPKT_DOSTOP | ioctl::TIOCPKT_NOSTOP);
            self.note(if is { ioctl::TIOCPKT_DOSTOP } else { ioctl::TIOCPKT_NOSTOP });
        }
        if (old.lflag | self.termios.lflag).contains(Lflag::EXTPROC) {
            self.note(ioctl::TIOCPKT_IOCTL);
        }
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

//! One terminal: its settings, its line discipline, who it controls, and the waiting of those who read and write it.
//!
//! Input ([`crate::receive`]): a driver (serial line, virtio console) or a pty master hands it over; the line discipline edits, echoes into
//! the output queue and raises signals; readers wake. Output: [`Tty::write`] passes the output modes into the output queue, from which
//! the driver, or the master's reads, take it.
//!
//! Lock order: `Tty::state` (spin, never held while user memory is touched, signals are sent, or a driver runs) before the wait queues'
//! own locks.

use crate::ldisc::{LineDisc, OutQueue};
use crate::termios::Termios;
use abi::tty::{Cflag, Iflag, Lflag, RawTermios, Winsize, cc, ioctl};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::sync::SpinLock;
use sched::WaitQueue;
use vfs::PollEvents;

/// Output that may wait before writers do.
const OUT_LIMIT: usize = 1 << 14;

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
    /// What of them may not be changed (TIOCSLCKTRMIOS).
    pub locked_termios: RawTermios,
    pub disc: LineDisc,
    pub out: OutQueue,
    /// Echo of what was typed while output is stopped.
    pub held: OutQueue,
    /// What a pty master has written ahead of what the line discipline has room for.
    pub ahead: VecDeque<u8>,
    pub winsize: Winsize,
    /// The session it controls, 0 for none.
    pub session: i32,
    /// The foreground process group, 0 for none.
    pub pgrp: i32,
    /// Further opens are refused (TIOCEXCL): of the terminal; of the pty master, where it has no effect but is remembered.
    pub exclusive: [bool; 2],
    /// Stopped by the STOP character.
    pub stopped: bool,
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
    pub writing: bool,
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
    pub(crate) driver: Option<Box<dyn Driver>>,
    name: Name,
    dev: u32,
    /// Counts hang-ups: files opened before the last one are dead.
    epoch: AtomicU32,
    /// Dropped with the terminal: gives a pty's index back.
    _ticket: Option<Ticket>,
}

/// Something that lives as long as the terminal.
pub type Ticket = Box<dyn Any + Send + Sync>;

impl Tty {
    /// A terminal with cooked settings. `dev` is its device number.
    pub fn new(name: Name, dev: u32, driver: Option<Box<dyn Driver>>) -> Tty {
        let mut termios = Termios::cooked();
        if driver.is_none() {
            // There is no line to hang up.
            termios.cflag.remove(Cflag::HUPCL);
        }
        let state = State {
            termios,
            locked_termios: RawTermios::default(),
            disc: LineDisc::new(),
            out: OutQueue::new(),
            held: OutQueue::new(),
            ahead: VecDeque::new(),
            winsize: Winsize::default(),
            session: 0,
            pgrp: 0,
            exclusive: [false; 2],
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
            _ticket: None,
        }
    }
    /// The terminal of a pty; `ticket` is dropped with it.
    pub(crate) fn new_pty(index: u32, dev: u32, ticket: Ticket) -> Tty {
        let tty = Tty { _ticket: Some(ticket), ..Tty::new(Name::Pts(index), dev, None) };
        tty.state.lock().locked = true;
        tty
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

    /// Moves up to `buf.len()` waiting output bytes to `buf`; wakes writers.
    pub fn take_output(&self, buf: &mut [u8]) -> usize {
        let mut s = self.state.lock();
        let n = s.take_out(buf);
        let wake = s.has_room();
        drop(s);
        if n > 0 && wake {
            self.writers.wake_key(usize::MAX, false, PollEvents::WRITABLE.key());
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
            self.writers.wake_key(usize::MAX, false, PollEvents::WRITABLE.key());
        }
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
        s.set_stopped(hold);
        drop(s);
        self.output_changed();
    }

    /// Sends one byte out (TCXONC's STOP and START), on a line ahead of what waits, also while output is stopped.
    pub(crate) fn send_now(&self, c: u8) {
        if c != crate::termios::DISABLED {
            let mut s = self.state.lock();
            match self.is_pty() {
                true => s.out.push_back(c),
                false => s.out.push_front(c),
            }
            drop(s);
            self.output_started();
        }
    }

    /// Installs new settings.
    pub(crate) fn set_termios(&self, new: &Termios) {
        let mut guard = self.state.lock();
        let s = &mut *guard;
        let old = s.termios;
        let mut new = new.kept_from(&old, &s.locked_termios);
        if self.is_pty() {
            // Bytes pass as they are.
            new.cflag.remove(Cflag::CSIZE | Cflag::PARENB);
            new.cflag.insert(Cflag::CS8 | Cflag::CREAD);
        }
        s.disc.set_termios(&old, &new);
        s.termios = new;
        if old.iflag.contains(Iflag::IXON) && !new.iflag.contains(Iflag::IXON) {
            s.set_stopped(false);
        }
        s.note_flow_keys(&old);
        drop(guard);
        self.follow_up();
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
        s.ahead.clear();
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
        if session != 0 {
            vfs::jobs().hang_up_session(session, pgrp);
        }
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
    pub fn put(&mut self, bytes: &[u8]) {
        self.disc.output(&self.termios, bytes, &mut self.out);
    }
    /// Stops or starts output; true when that is a change.
    pub fn set_stopped(&mut self, stop: bool) -> bool {
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

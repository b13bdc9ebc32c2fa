//! An open terminal: a serial line, a console, a pty slave.

use crate::control::Request;
use crate::tty::Tty;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use core::any::Any;
use mm::{Dst, Src};
use vfs::{Caller, Cap, File, FileOps, PollEvents, PollTable};

/// An open file of a terminal.
pub struct TtyFile {
    tty: Arc<Tty>,
    epoch: u32,
}

impl TtyFile {
    /// Opens a terminal: EIO for a pty slave whose master is gone or has it locked, EBUSY under TIOCEXCL. `may_control`: it
    /// may become the controlling terminal of a session leader that has none.
    pub fn open(
        tty: &Arc<Tty>,
        flags: OpenFlags,
        caller: &Caller<'_>,
        may_control: bool,
    ) -> Result<Arc<TtyFile>, Errno> {
        let mut s = tty.state.lock();
        if s.master_gone || s.locked {
            return Err(Errno::EIO);
        }
        if s.exclusive[0] && !caller.cred.capable(Cap::SysAdmin) {
            return Err(Errno::EBUSY);
        }
        s.opens += 1;
        s.closed = false;
        drop(s);
        let file = Arc::new(TtyFile { tty: tty.clone(), epoch: tty.epoch() });
        if may_control && !flags.contains(OpenFlags::NOCTTY) && flags.wants_read() {
            tty.adopt_on_open();
        }
        Ok(file)
    }
    /// The terminal.
    pub fn tty(&self) -> &Arc<Tty> {
        &self.tty
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        let mut s = self.tty.state.lock();
        s.opens -= 1;
        let last = s.opens == 0;
        if last {
            s.closed = true;
            s.exclusive[0] = false;
        }
        drop(s);
        if last {
            self.tty.drain.wake_all();
        }
    }
}

impl FileOps for TtyFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn seekable(&self) -> bool {
        false
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        self.tty.read(dst, f.is_nonblocking(), self.epoch)
    }
    fn write_at(&self, f: &File, src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        self.tty.write(src, f.is_nonblocking(), self.epoch)
    }
    fn ioctl(&self, f: &File, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
        if self.tty.epoch() != self.epoch {
            return Err(if cmd == abi::tty::ioctl::TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO });
        }
        self.tty.ioctl(&Request { file: f, caller, cmd, arg, master: false })
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&self.tty.readers);
        table.listen(&self.tty.writers);
        if self.tty.epoch() != self.epoch {
            return PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::ERR | PollEvents::HUP;
        }
        let s = self.tty.state.lock();
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, s.disc.readable(&s.termios, true));
        events.set(PollEvents::WRITABLE, s.has_room());
        events.set(PollEvents::HUP, s.master_gone);
        events
    }
    fn signals(&self) -> vfs::fileops::Signals {
        vfs::fileops::Signals::ToGroup(self.tty.state.lock().pgrp)
    }
    fn pollable(&self) -> bool {
        true
    }
}

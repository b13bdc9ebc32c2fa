//! The master side of a pseudoterminal (pty(7), ioctl_tty(2) TIOCPKT).
//!
//! A pty is one [`Tty`] without a driver: what programs write to the terminal is read here, what is written here is its
//! input. Closing the master hangs the terminal up; while no program has the terminal open (but one had), the master reads EIO.

use crate::control::Request;
use crate::file::TtyFile;
use crate::tty::{Ticket, Tty};
use abi::Errno;
use abi::fcntl::OpenFlags;
use abi::tty::ioctl::*;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use mm::{Dst, Src};
use vfs::{Caller, File, FileOps, PollEvents, PollTable};

/// Bytes moved at a time.
const CHUNK: usize = 512;
/// Major number of pty slaves.
pub const SLAVE_MAJOR: u32 = 136;

/// What the file system that holds a pty's node does for its master.
pub trait PtyHome: Send + Sync {
    /// The master was closed: the node goes.
    fn closed(&self, index: u32);
    /// Opens the slave by its master (TIOCGPTPEER): an open file for `ops`.
    fn open_peer(
        &self,
        index: u32,
        ops: Arc<dyn FileOps>,
        flags: OpenFlags,
        caller: &Caller<'_>,
    ) -> Result<Arc<File>, Errno>;
}

/// Installs a file in the calling process's descriptor table (TIOCGPTPEER): set by the floor that has such tables.
pub type InstallFd = fn(Arc<File>, cloexec: bool) -> Result<i32, Errno>;
static INSTALL: machine::sync::Once<InstallFd> = machine::sync::Once::new();

/// Installs the descriptor hook; the first call counts.
pub fn set_install_fd(install: InstallFd) {
    let _ = INSTALL.set(install);
}

/// The open master of a pty.
pub struct Master {
    tty: Arc<Tty>,
    index: u32,
    home: Box<dyn PtyHome>,
}

impl Master {
    /// A new pty: its master; the slave is locked until TIOCSPTLCK. `ticket` is dropped when both sides are gone.
    pub fn new(index: u32, home: Box<dyn PtyHome>, ticket: Ticket) -> Arc<Master> {
        let tty = Tty::new_pty(index, vfs::attr::makedev(SLAVE_MAJOR, index), ticket);
        Arc::new(Master { tty: Arc::new(tty), index, home })
    }
    /// The terminal.
    pub fn tty(&self) -> &Arc<Tty> {
        &self.tty
    }

    /// Lets the slave be opened (TIOCSPTLCK with 0).
    pub fn unlock(&self) {
        self.tty.state.lock().locked = false;
    }

    fn read(&self, dst: &mut Dst<'_>, nonblock: bool) -> Result<usize, Errno> {
        let start = dst.done();
        if dst.remaining() == 0 {
            return Ok(0);
        }
        loop {
            match self.take(dst)? {
                Taken::Some => return Ok(dst.done() - start),
                Taken::Closed => return Err(Errno::EIO),
                Taken::Nothing if nonblock => return Err(Errno::EAGAIN),
                Taken::Nothing => {}
            }
            let ready = || {
                let s = self.tty.state.lock();
                (!s.out.is_empty() || s.packet_status != 0 || s.closed).then_some(())
            };
            self.tty.drain.wait_interruptible(ready).map_err(|_| Errno::ERESTARTSYS)?;
        }
    }

    /// Moves what is ready to `dst`, with the status byte in front in packet mode.
    fn take(&self, dst: &mut Dst<'_>) -> Result<Taken, Errno> {
        let mut s = self.tty.state.lock();
        let status = core::mem::take(&mut s.packet_status);
        let (packet, empty, closed) = (s.packet, s.out.is_empty(), s.closed);
        drop(s);
        let mut taken = Taken::Nothing;
        if packet && (status != 0 || !empty) {
            dst.put(&[status])?;
            taken = Taken::Some;
        }
        if status != 0 {
            return Ok(taken);
        }
        let mut chunk = [0; CHUNK];
        loop {
            let max = dst.remaining().min(CHUNK);
            let n = self.tty.take_output(chunk.get_mut(..max).unwrap_or_default());
            if n == 0 {
                break;
            }
            dst.put(chunk.get(..n).unwrap_or_default())?;
            taken = Taken::Some;
        }
        Ok(if closed && taken == Taken::Nothing { Taken::Closed } else { taken })
    }

    fn write(&self, src: &mut Src<'_>, nonblock: bool) -> Result<usize, Errno> {
        let mut chunk = [0; CHUNK];
        let mut done = 0;
        while src.remaining() > 0 {
            let n = match src.get(&mut chunk) {
                Ok(n) => n,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            };
            let mut used = 0;
            while let Some(rest) = chunk.get(used..n).filter(|r| !r.is_empty()) {
                let took = match self.tty.receive_ahead(rest) {
                    Ok(took) => took,
                    Err(e) if done + used == 0 => return Err(e),
                    Err(_) => return Ok(done + used),
                };
                used += took;
                if took > 0 {
                    continue;
                }
                let waited = match nonblock {
                    true => Err(Errno::EAGAIN),
                    false => {
                        let ready = || self.tty.state.lock().takes_ahead().then_some(());
                        self.tty.feed.wait_interruptible(ready).map_err(|_| Errno::ERESTARTSYS)
                    }
                };
                match waited {
                    Ok(()) => {}
                    Err(e) if done + used == 0 => return Err(e),
                    Err(_) => return Ok(done + used),
                }
            }
            done += n;
        }
        Ok(done)
    }

    fn open_peer(&self, caller: &Caller<'_>, flags: u64) -> Result<i64, Errno> {
        let flags = OpenFlags::from_bits_retain(flags as u32);
        let file = TtyFile::open(&self.tty, flags, caller, true)?;
        let file = self.home.open_peer(self.index, file, flags, caller)?;
        let install = INSTALL.get().ok_or(Errno::ENOTTY)?;
        install(file, flags.contains(OpenFlags::CLOEXEC)).map(i64::from)
    }
}

#[derive(PartialEq, Eq)]
enum Taken {
    Nothing,
    Some,
    /// Nothing, and no program has the terminal open any more.
    Closed,
}

impl Drop for Master {
    fn drop(&mut self) {
        self.tty.state.lock().master_gone = true;
        self.home.closed(self.index);
        self.tty.hangup();
    }
}

impl FileOps for Master {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn seekable(&self) -> bool {
        false
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        self.read(dst, f.is_nonblocking())
    }
    fn write_at(&self, f: &File, src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        self.write(src, f.is_nonblocking())
    }
    fn ioctl(&self, f: &File, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
        let r = Request { file: f, caller, cmd, arg, master: true };
        match cmd {
            TIOCGPTN => r.put(&self.index),
            TIOCSPTLCK => {
                let lock = r.get_i32()? != 0;
                self.tty.state.lock().locked = lock;
                Ok(0)
            }
            TIOCGPTLCK => {
                let locked = i32::from(self.tty.state.lock().locked);
                r.put(&locked)
            }
            TIOCPKT => {
                let on = r.get_i32()? != 0;
                let mut s = self.tty.state.lock();
                if on && !s.packet {
                    s.packet_status = 0;
                }
                s.packet = on;
                Ok(0)
            }
            TIOCGPKT => {
                let on = i32::from(self.tty.state.lock().packet);
                r.put(&on)
            }
            TIOCSIG => self.tty.signal_foreground(arg),
            TIOCGPTPEER => self.open_peer(caller, arg),
            FIONREAD | TIOCOUTQ => {
                let s = self.tty.state.lock();
                let n = if cmd == FIONREAD { s.out.len() } else { 0 };
                drop(s);
                r.put(&(n as i32))
            }
            _ => self.tty.ioctl(&r),
        }
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&self.tty.drain);
        table.listen(&self.tty.feed);
        let s = self.tty.state.lock();
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, !s.out.is_empty() || s.packet_status != 0);
        events.set(PollEvents::PRI, s.packet_status != 0);
        events.set(PollEvents::WRITABLE, s.takes_ahead());
        events.set(PollEvents::HUP, s.closed);
        events
    }
    fn signals(&self) -> vfs::fileops::Signals {
        vfs::fileops::Signals::ToGroup(0)
    }
    fn pollable(&self) -> bool {
        true
    }
}

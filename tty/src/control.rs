//! The ioctls of terminals (ioctl_tty(2), TIOCPKT in ioctl_tty(2), tty_ioctl(4)); numbers nobody knows are ENOTTY.

use crate::jobs::{FROM_KERNEL, SIGTTOU};
use crate::termios::Termios;
use crate::tty::Tty;
use abi::Errno;
use abi::tty::{Cflag, RawTermios, RawTermios2, Winsize, cc, ioctl::*};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use machine::VirtAddr;
use mm::UserPtr;
use vfs::{Caller, Cap, File};
use zerocopy::{Immutable, IntoBytes};

/// Anybody may fake input on the own terminal (dev.tty.legacy_tiocsti).
pub static LEGACY_TIOCSTI: AtomicBool = AtomicBool::new(false);

/// One ioctl on its way.
pub(crate) struct Request<'a> {
    pub file: &'a File,
    pub caller: &'a Caller<'a>,
    pub cmd: u32,
    pub arg: u64,
    /// It came through the pty master.
    pub master: bool,
}

impl Request<'_> {
    fn ptr<T>(&self) -> UserPtr<T> {
        UserPtr::new(VirtAddr(self.arg))
    }
    pub fn get_i32(&self) -> Result<i32, Errno> {
        self.ptr::<i32>().read(self.caller.mm)
    }
    pub fn put<T: IntoBytes + Immutable>(&self, value: &T) -> Result<i64, Errno> {
        self.ptr::<T>().write(self.caller.mm, value)?;
        Ok(0)
    }
}

impl Tty {
    /// The ioctls both ends of a pty and every other terminal share.
    pub(crate) fn ioctl(self: &Arc<Tty>, r: &Request<'_>) -> Result<i64, Errno> {
        let jobs = r.caller.jobs;
        match r.cmd {
            TCGETS => r.put(&self.termios().raw()),
            TCGETS2 => r.put(&self.termios().raw2()),
            TCGETA => r.put(&self.termios().termio()),
            TIOCGLCKTRMIOS => {
                let locked = self.state.lock().locked_termios;
                r.put(&locked)
            }
            TIOCSLCKTRMIOS => {
                let cred = r.caller.cred;
                if !cred.capable(Cap::CheckpointRestore) && !cred.capable(Cap::SysAdmin) {
                    return Err(Errno::EPERM);
                }
                let locked = r.ptr::<RawTermios>().read(r.caller.mm)?;
                self.state.lock().locked_termios = locked;
                Ok(0)
            }
            TCSETA | TCSETAW | TCSETAF | TCSETS | TCSETSW | TCSETSF | TCSETS2 | TCSETSW2 | TCSETSF2 => {
                self.change_termios(r)
            }
            TIOCGWINSZ => r.put(&self.state.lock().winsize.clone()),
            TIOCSWINSZ => {
                self.set_winsize(r.ptr::<Winsize>().read(r.caller.mm)?);
                Ok(0)
            }
            TIOCSCTTY => self.set_controlling(r.file.is_readable(), r.arg == 1, jobs, r.caller.cred).map(|()| 0),
            TIOCNOTTY => self.give_up(jobs).map(|()| 0),
            TIOCGPGRP => r.put(&self.foreground_for(!r.master, jobs)?),
            TIOCSPGRP => self.set_foreground(jobs, || r.get_i32()).map(|()| 0),
            TIOCGSID => r.put(&self.session_for(!r.master, jobs)?),
            TIOCEXCL | TIOCNXCL => {
                self.state.lock().exclusive[usize::from(r.master)] = r.cmd == TIOCEXCL;
                Ok(0)
            }
            TIOCGEXCL => {
                let exclusive = self.state.lock().exclusive[usize::from(r.master)];
                r.put(&i32::from(exclusive))
            }
            // Only a pty master has a peer.
            TIOCGPTPEER => Err(Errno::EIO),
            // There is no line whose break condition could be switched.
            TIOCSBRK | TIOCCBRK => Ok(0),
            TIOCGSOFTCAR => r.put(&i32::from(self.termios().cflag.contains(Cflag::CLOCAL))),
            TIOCSSOFTCAR => {
                let on = r.get_i32()? != 0;
                self.state.lock().termios.cflag.set(Cflag::CLOCAL, on);
                Ok(0)
            }
            TIOCGDEV => r.put(&(vfs::attr::dev_to_user(self.dev()) as u32)),
            TIOCGETD => r.put(&0i32),
            TIOCSETD => match r.get_i32()? {
                0 => self.check_background(SIGTTOU).map(|()| 0),
                _ => Err(Errno::EINVAL),
            },
            TCFLSH => self.flush_queues(r),
            TCXONC => self.flow(r),
            TCSBRK | TCSBRKP => {
                self.check_background(SIGTTOU)?;
                self.wait_drained()?;
                // No line to put a break on: for a non-zero argument waiting is all there is to do.
                Ok(0)
            }
            FIONREAD if !r.master => {
                let s = self.state.lock();
                let pending = s.disc.pending(&s.termios) as i32;
                drop(s);
                r.put(&pending)
            }
            TIOCOUTQ if !r.master => {
                // What a pty master has not read yet has left the terminal.
                let waiting = if self.is_pty() { 0 } else { self.state.lock().out.len() as i32 };
                r.put(&waiting)
            }
            TIOCSTI => {
                if !r.caller.cred.capable(Cap::SysAdmin) {
                    if !LEGACY_TIOCSTI.load(Relaxed) {
                        return Err(Errno::EIO);
                    }
                    if !self.is_controlling(jobs) {
                        return Err(Errno::EPERM);
                    }
                }
                let byte = r.ptr::<u8>().read(r.caller.mm)?;
                self.receive(&[byte]);
                Ok(0)
            }
            TIOCVHANGUP if !r.caller.cred.capable(Cap::SysAdmin) => Err(Errno::EPERM),
            TIOCVHANGUP => {
                self.hangup();
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    /// The settings now.
    pub fn termios(&self) -> Termios {
        self.state.lock().termios
    }

    fn change_termios(&self, r: &Request<'_>) -> Result<i64, Errno> {
        self.check_background(SIGTTOU)?;
        let old = self.termios();
        let new = match r.cmd {
            TCSETS | TCSETSW | TCSETSF => old.with_raw(&r.ptr::<RawTermios>().read(r.caller.mm)?),
            TCSETA | TCSETAW | TCSETAF => old.with_termio(&r.ptr().read(r.caller.mm)?),
            _ => old.with_raw2(&r.ptr::<RawTermios2>().read(r.caller.mm)?),
        };
        if matches!(r.cmd, TCSETSF | TCSETSF2 | TCSETAF) {
            self.flush(true, false);
        }
        if !matches!(r.cmd, TCSETS | TCSETS2 | TCSETA) {
            self.wait_drained()?;
        }
        self.set_termios(&new);
        Ok(0)
    }

    /// TCFLSH. The master's input is the terminal's output, and the other way round.
    fn flush_queues(&self, r: &Request<'_>) -> Result<i64, Errno> {
        self.check_background(SIGTTOU)?;
        let (near, far) = match r.arg {
            TCIFLUSH => (true, false),
            TCOFLUSH => (false, true),
            TCIOFLUSH => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        let (input, output) = if r.master { (far, near) } else { (near, far) };
        if input {
            self.state.lock().ahead.clear();
        }
        self.flush(input, output);
        Ok(0)
    }

    /// TCXONC.
    fn flow(&self, r: &Request<'_>) -> Result<i64, Errno> {
        self.check_background(SIGTTOU)?;
        match r.arg {
            TCOOFF => self.hold_output(true),
            TCOON => self.hold_output(false),
            TCIOFF => self.send_now(self.termios().char(cc::VSTOP)),
            TCION => self.send_now(self.termios().char(cc::VSTART)),
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    }

    /// TIOCSIG of a pty master: a signal for the foreground group.
    pub(crate) fn signal_foreground(&self, sig: u64) -> Result<i64, Errno> {
        // INT, QUIT and TSTP only, as Linux.
        if !matches!(sig, 2 | 3 | 20) {
            return Err(Errno::EINVAL);
        }
        let pgrp = self.foreground();
        if pgrp != 0 {
            // The group may be empty by now.
            let _ = vfs::jobs().signal_pgrp(pgrp, sig as i32, FROM_KERNEL);
        }
        Ok(0)
    }
}

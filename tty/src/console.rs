//! The machine's serial line as a terminal (`/dev/ttyS0`), `/dev/console` on top of it, and `/dev/tty`.
//!
//! The interrupt handler only stores bytes in a ring; a kernel thread passes them to the line discipline, which may
//! send signals and wait for locks.

use crate::file::TtyFile;
use crate::tty::{Driver, Name, Tty};
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use machine::sync::{IrqLock, Once};
use sched::WaitQueue;
use vfs::{Caller, CharDevice, FileOps, Path, makedev};

/// Major and minor of ttyS0, and of the devices of major 5.
const SERIAL: (u32, u32) = (4, 64);
const AUX_MAJOR: u32 = 5;
const TTY: u32 = 0;
const CONSOLE: u32 = 1;
/// Bytes of input that wait for the thread; more are lost, as on a real line.
const INPUT: usize = 1024;

static LINE: Once<Arc<Tty>> = Once::new();
static RECEIVED: IrqLock<VecDeque<u8>> = IrqLock::new(VecDeque::new());
static ARRIVED: WaitQueue = WaitQueue::new();

struct Serial;

impl Driver for Serial {
    fn start(&self, tty: &Tty) {
        let mut buf = [0; 64];
        loop {
            let n = tty.take_output(&mut buf);
            if n == 0 {
                break;
            }
            machine::console::write(buf.get(..n).unwrap_or_default());
        }
    }
    fn unthrottle(&self, _tty: &Tty) {
        ARRIVED.wake_all();
    }
}

fn on_byte(byte: u8) {
    let mut ring = RECEIVED.lock();
    // The capacity is reserved: an interrupt handler must not allocate.
    if ring.len() < INPUT {
        ring.push_back(byte);
    }
    drop(ring);
    ARRIVED.wake_all();
}

/// The thread that feeds the line discipline.
fn serve(tty: Arc<Tty>) {
    loop {
        let byte = ARRIVED.wait(|| if tty.room() > 0 { RECEIVED.lock().pop_front() } else { None });
        tty.receive(&[byte]);
    }
}

/// Opens the serial line.
struct SerialDevice;

impl CharDevice for SerialDevice {
    fn open(&self, _: u32, _: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(TtyFile::open(LINE.get().ok_or(Errno::ENXIO)?, flags, caller, true)?)
    }
}

/// Opens /dev/tty and /dev/console.
struct AuxDevice;

impl CharDevice for AuxDevice {
    fn open(&self, minor: u32, _: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        match minor {
            TTY => {
                let mine = caller.jobs.controlling_tty().ok_or(Errno::ENXIO)?;
                let tty = mine.downcast::<Tty>().map_err(|_| Errno::ENXIO)?;
                if !tty.is_controlling(caller.jobs) {
                    return Err(Errno::ENXIO);
                }
                Ok(TtyFile::open(&tty, flags, caller, false)?)
            }
            // The console never becomes a controlling terminal by being opened.
            CONSOLE => Ok(TtyFile::open(LINE.get().ok_or(Errno::ENODEV)?, flags, caller, false)?),
            _ => Err(Errno::ENXIO),
        }
    }
}

/// Makes the serial line a terminal and registers the devices.
pub(crate) fn init() -> Result<(), Errno> {
    let tty = Arc::new(Tty::new(Name::Fixed("ttyS0"), makedev(SERIAL.0, SERIAL.1), Some(Box::new(Serial))));
    let line = LINE.get_or_init(|| tty).clone();
    RECEIVED.lock().try_reserve_exact(INPUT).map_err(|_| Errno::ENOMEM)?;
    machine::console::set_input(on_byte);
    sched::spawn("ttyS0", None, Box::new(move || serve(line))).map_err(|_| Errno::ENOMEM)?.start();
    vfs::register_char(SERIAL.0, SERIAL.1..=SERIAL.1, "ttyS", Arc::new(SerialDevice));
    vfs::register_char(AUX_MAJOR, TTY..=CONSOLE, "/dev/tty", Arc::new(AuxDevice));
    devtmpfs::add_node("ttyS0", 0o600, makedev(SERIAL.0, SERIAL.1));
    devtmpfs::add_node("console", 0o600, makedev(AUX_MAJOR, CONSOLE));
    devtmpfs::add_node("tty", 0o666, makedev(AUX_MAJOR, TTY));
    Ok(())
}

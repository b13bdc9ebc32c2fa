//! The virtio-console ports that lead to the host.
//!
//! Ochre names them `/dev/virtio-ports/NAME`. Linux leaves that to udev: there the name is in
//! `/sys/class/virtio-ports/vportNpM/name` and the device in `/dev/vportNpM`.

use crate::Failure;
use crate::params::{Params, Stream};
use crate::sys::{self, Errno, Fd};
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;

/// One open port for each use; those the run does not need stay closed.
pub struct Ports {
    /// Messages in both directions, one a line (see [`crate::pump`]).
    pub control: Fd,
    /// Bytes for the command's standard input.
    pub stdin: Option<Fd>,
    /// Bytes of its standard output.
    pub stdout: Option<Fd>,
    /// Bytes of its standard error.
    pub stderr: Option<Fd>,
    /// Both directions of its terminal.
    pub tty: Option<Fd>,
}

/// Opens what this run needs. Ports appear while the driver starts, hence the patience.
pub fn open(params: &Params) -> Result<Ports, Failure> {
    let wanted = |stream: usize, name: &str| match params.streams.get(stream) {
        Some(Stream::Pipe) => find(name).map(Some),
        _ => Ok(None),
    };
    Ok(Ports {
        control: find("ochre.control")?,
        stdin: wanted(0, "ochre.stdin")?,
        stdout: wanted(1, "ochre.stdout")?,
        stderr: wanted(2, "ochre.stderr")?,
        tty: if params.wants_tty() { Some(find("ochre.tty")?) } else { None },
    })
}

/// Opens the port called `name`, waiting up to ten seconds for it.
fn find(name: &str) -> Result<Fd, Failure> {
    const TRIES: u32 = 1000;
    let mut last = Errno::ENOENT;
    for _ in 0..TRIES {
        match try_open(name) {
            Ok(fd) => return Ok(fd),
            Err(e) => last = e,
        }
        sys::sleep_ms(10);
    }
    Err(Failure::new(&format!("virtio port {name}"), last))
}

fn try_open(name: &str) -> Result<Fd, Errno> {
    let flags = sys::O_RDWR | sys::O_NONBLOCK | sys::O_CLOEXEC;
    match sys::open(&path(&format!("/dev/virtio-ports/{name}"))?, flags, 0) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    const CLASS: &str = "/sys/class/virtio-ports";
    for device in sys::list_dir(&path(CLASS)?)? {
        let device = String::from_utf8_lossy(&device);
        let Ok(label) = sys::read_file(&path(&format!("{CLASS}/{device}/name"))?) else { continue };
        if label.trim_ascii_end() == name.as_bytes() {
            return sys::open(&path(&format!("/dev/{device}"))?, flags, 0);
        }
    }
    Err(Errno::ENOENT)
}

fn path(text: &str) -> Result<CString, Errno> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

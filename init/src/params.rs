//! What the host asks for: `/ochre.params`, alternating keys and values, each ended by a NUL byte,
//! so that arguments and environment arrive byte for byte.

use crate::{Failure, sys};
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

/// Where one of the command's standard streams leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stream {
    /// `/dev/null` of the guest.
    #[default]
    Null,
    /// A pipe whose other end is a virtio-console port.
    Pipe,
    /// The guest's pseudo-terminal.
    Tty,
    /// The same pipe as standard output (host side: both are the same file).
    Stdout,
}

/// A directory shared by the host.
#[derive(Debug)]
pub struct Share {
    /// 9p mount tag.
    pub tag: CString,
    /// Where it is mounted in the guest.
    pub path: CString,
    /// Whether the guest may write.
    pub writable: bool,
}

/// Everything the host says about this run.
#[derive(Debug, Default)]
pub struct Params {
    /// The command and its arguments.
    pub argv: Vec<CString>,
    /// Its environment.
    pub env: Vec<CString>,
    /// Its working directory.
    pub cwd: CString,
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
    /// Its file creation mask.
    pub umask: u32,
    /// Standard input, output and error.
    pub streams: [Stream; 3],
    /// Rows and columns of the terminal.
    pub winsize: (u16, u16),
    /// The host's own terminal echoes and turns line ends: the guest's shall not.
    pub tty_cooked: bool,
    /// 9p mount tag of the root file system; none means the initramfs itself is the root.
    pub root: Option<CString>,
    /// Further directories of the host.
    pub shares: Vec<Share>,
    /// Kernel modules to load, in order.
    pub modules: Vec<CString>,
    /// Name of the guest.
    pub hostname: CString,
}

impl Params {
    /// Reads and parses the file at `path`.
    pub fn read(path: &CStr) -> Result<Params, Failure> {
        let bytes = sys::read_file(path).map_err(|e| Failure::new("reading /ochre.params", e))?;
        Params::parse(&bytes).ok_or_else(|| Failure(String::from("malformed /ochre.params")))
    }

    /// Parses the file's contents; `None` if they are malformed.
    pub fn parse(bytes: &[u8]) -> Option<Params> {
        let mut params = Params::default();
        let body = bytes.strip_suffix(b"\0")?;
        let mut words = body.split(|b| *b == 0);
        while let Some(key) = words.next() {
            let value = words.next()?;
            match key {
                b"arg" => params.argv.push(CString::new(value).ok()?),
                b"env" => params.env.push(CString::new(value).ok()?),
                b"cwd" => params.cwd = CString::new(value).ok()?,
                b"uid" => params.uid = number(value)?,
                b"gid" => params.gid = number(value)?,
                b"group" => params.groups.push(number(value)?),
                b"umask" => params.umask = number(value)?,
                b"stdin" => params.streams[0] = stream(value)?,
                b"stdout" => params.streams[1] = stream(value)?,
                b"stderr" => params.streams[2] = stream(value)?,
                b"winsize" => params.winsize = winsize(value)?,
                b"tty-cooked" => params.tty_cooked = true,
                b"root" => params.root = Some(CString::new(value).ok()?),
                b"share" => params.shares.push(share(value)?),
                b"module" => params.modules.push(CString::new(value).ok()?),
                b"hostname" => params.hostname = CString::new(value).ok()?,
                _ => return None,
            }
        }
        (!params.argv.is_empty()).then_some(params)
    }

    /// Whether any of the streams is the guest's terminal.
    pub fn wants_tty(&self) -> bool {
        self.streams.contains(&Stream::Tty)
    }
}

/// A decimal number that fits the wanted type.
pub fn number<T: TryFrom<u64>>(digits: &[u8]) -> Option<T> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    T::try_from(value).ok()
}

/// `ROWS COLUMNS`, the form of the parameter and of the control message.
pub fn winsize(text: &[u8]) -> Option<(u16, u16)> {
    let space = text.iter().position(|b| *b == b' ')?;
    Some((number(text.get(..space)?)?, number(text.get(space + 1..)?)?))
}

fn stream(value: &[u8]) -> Option<Stream> {
    Some(match value {
        b"null" => Stream::Null,
        b"pipe" => Stream::Pipe,
        b"tty" => Stream::Tty,
        b"stdout" => Stream::Stdout,
        _ => return None,
    })
}

/// `TAG:ro:PATH` or `TAG:rw:PATH`; the path may contain colons.
fn share(value: &[u8]) -> Option<Share> {
    let mut parts = value.splitn(3, |b| *b == b':');
    let (tag, mode, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (tag, path) = (CString::new(tag).ok()?, CString::new(path).ok()?);
    Some(Share { tag, path, writable: mode == b"rw" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_arrive_byte_for_byte() {
        let p = Params::parse(b"arg\0printf\0arg\0\0arg\0a\nb\xff\0cwd\0/\0").expect("well-formed");
        let args: Vec<&[u8]> = p.argv.iter().map(|a| a.to_bytes()).collect();
        assert_eq!(args, [&b"printf"[..], b"", b"a\nb\xff"]);
        assert_eq!(p.cwd.as_bytes(), b"/");
    }

    #[test]
    fn malformed_files_are_refused() {
        for bad in [&b""[..], b"arg\0x", b"arg\0", b"arg\0x\0uid\0-1\0", b"what\0x\0", b"cwd\0/\0"] {
            assert!(Params::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn shares_and_sizes_are_read() {
        let p = Params::parse(b"arg\0x\0share\0s0:rw:/a:b\0winsize\x0024 80\0").expect("well-formed");
        assert_eq!(p.winsize, (24, 80));
        assert!(p.shares[0].writable);
        assert_eq!(p.shares[0].path.as_bytes(), b"/a:b");
    }
}

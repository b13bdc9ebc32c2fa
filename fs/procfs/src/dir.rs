//! Listing directories of /proc. Positions: 0 and 1 are the dots, then fixed entries by index, then processes, threads or
//! descriptors by number, so that entries that come and go meanwhile do not shift the others.

use crate::node::{Node, What};
use crate::pid::{self, PidDir};
use crate::root;
use abi::Errno;
use alloc::sync::Arc;
use core::any::Any;
use vfs::{DirSink, File, FileOps, FileType, Inode, emit_dots};

/// Positions of numbered entries start here.
pub const NUMBERED: u64 = 0x1000;

/// An open directory.
pub struct OpenDir(Arc<Node>);

impl OpenDir {
    /// Opens `node`.
    pub fn open(node: Arc<Node>) -> Arc<dyn FileOps> {
        Arc::new(OpenDir(node))
    }
}

impl FileOps for OpenDir {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn readdir(&self, f: &File, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let Some(pos) = emit_dots(f, pos, sink) else { return Ok(pos) };
        match &self.0.what {
            What::Root => {
                let sb = self.0.base().sb();
                let pos = fixed(root::entries(sb).map(|e| (e.name(), e.kind())), pos, sink);
                if (pos as usize) < 2 + root::entries(sb).count() {
                    return Ok(pos);
                }
                Ok(root::list_processes(sb, pos.max(NUMBERED), sink))
            }
            What::Dir(entries) => Ok(fixed(entries.iter().map(|e| (e.name(), e.kind())), pos, sink)),
            What::PidDir(subject, dir) => match dir {
                PidDir::Process | PidDir::Thread => Ok(fixed(pid::entries(*dir), pos, sink)),
                PidDir::Net => Ok(fixed(pid::net_entries(subject), pos, sink)),
                PidDir::Namespaces => {
                    subject.may_trace(f.cred())?;
                    Ok(fixed(task::ns::LINKS.iter().map(|l| (l.0, FileType::Symlink)), pos, sink))
                }
                _ => pid::list(subject, *dir, pos.max(NUMBERED), sink),
            },
            _ => Err(Errno::ENOTDIR),
        }
    }
}

/// Lists a fixed table from position `pos` (2 is its first entry) on.
fn fixed<'a>(entries: impl Iterator<Item = (&'a str, FileType)>, pos: u64, sink: &mut dyn DirSink) -> u64 {
    let mut at = pos;
    for (index, (name, kind)) in entries.enumerate().skip((pos - 2) as usize) {
        // Inode numbers are given by lookup only; readers get one that is stable for the name.
        if !sink.entry(at + 1, ino_of(name.as_bytes(), index as u64), kind, name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    at
}

/// A number to show for an entry whose inode may not exist.
pub fn ino_of(name: &[u8], salt: u64) -> u64 {
    name.iter().fold(0xf000_0000 + salt, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0001) & 0xffff_ffff) | 1 << 32
}

/// Decimal name of a number.
pub fn decimal(number: u64, buf: &mut [u8; 20]) -> &[u8] {
    let mut value = number;
    let mut start = buf.len();
    for slot in buf.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        start -= 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    buf.get(start..).unwrap_or_default()
}

/// The number a name spells without leading zeroes, if it does.
pub fn number(name: &[u8]) -> Option<i32> {
    if name.first() == Some(&b'0') && name.len() > 1 || name.iter().any(|b| !b.is_ascii_digit()) {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}

//! Requests to bytes.
//!
//! A message starts with its size, which [`Message::finish`] fills in; data of writes is not part of it but follows as
//! segments of its own, counted by `finish`.

use super::{HEADER, Lock, NOFID, NOTAG, Qid, SetAttr, Time, VERSION, kind};
use abi::Errno;
use smallvec::SmallVec;

/// A request being built: most fit the inline part.
pub struct Message {
    bytes: SmallVec<[u8; 192]>,
    /// A string longer than its length field can say was put in.
    overflow: bool,
}

impl Message {
    fn new(kind: u8) -> Message {
        let mut bytes = SmallVec::new();
        bytes.extend_from_slice(&[0, 0, 0, 0, kind, 0, 0]);
        Message { bytes, overflow: false }
    }
    fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }
    fn u16(mut self, value: u16) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn u32(mut self, value: u32) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn u64(mut self, value: u64) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn time(self, time: Time) -> Self {
        self.u64(time.sec).u64(time.nsec)
    }
    fn text(mut self, text: &[u8]) -> Self {
        let Ok(len) = u16::try_from(text.len()) else {
            self.overflow = true;
            return self;
        };
        self = self.u16(len);
        self.bytes.extend_from_slice(text);
        self
    }

    /// The type of this request.
    pub fn kind(&self) -> u8 {
        self.bytes.get(4).copied().unwrap_or(0)
    }

    /// Fills in the tag and the size, `data` bytes that follow as separate segments included.
    pub fn finish(mut self, tag: u16, data: usize) -> Result<SmallVec<[u8; 192]>, Errno> {
        let size = u32::try_from(self.bytes.len().saturating_add(data)).map_err(|_| Errno::EINVAL)?;
        if self.overflow {
            return Err(Errno::ENAMETOOLONG);
        }
        if let Some(header) = self.bytes.first_chunk_mut::<HEADER>() {
            let [a, b, c, d] = size.to_le_bytes();
            let [e, f] = tag.to_le_bytes();
            *header = [a, b, c, d, header[4], e, f];
        }
        Ok(self.bytes)
    }
}

/// Agrees on the version and the largest message; its tag is [`NOTAG`].
pub fn version(msize: u32) -> Message {
    debug_assert_eq!(NOTAG, u16::MAX);
    Message::new(kind::TVERSION).u32(msize).text(VERSION)
}

/// Makes `fid` the root of the tree `aname`.
pub fn attach(fid: u32, uname: &[u8], aname: &[u8], uid: u32) -> Message {
    Message::new(kind::TATTACH).u32(fid).u32(NOFID).text(uname).text(aname).u32(uid)
}

/// Gives up on the request with tag `old`.
pub fn flush(old: u16) -> Message {
    Message::new(kind::TFLUSH).u16(old)
}

/// Makes `new` the file reached from `fid` by `names` (at most [`super::MAX_WALK`]).
pub fn walk(fid: u32, new: u32, names: &[&[u8]]) -> Message {
    let message = Message::new(kind::TWALK).u32(fid).u32(new).u16(names.len() as u16);
    names.iter().fold(message, |message, name| message.text(name))
}

/// Forgets `fid`.
pub fn clunk(fid: u32) -> Message {
    Message::new(kind::TCLUNK).u32(fid)
}

/// Asks for attributes.
pub fn getattr(fid: u32, mask: u64) -> Message {
    Message::new(kind::TGETATTR).u32(fid).u64(mask)
}

/// Changes attributes.
pub fn setattr(fid: u32, attr: &SetAttr) -> Message {
    Message::new(kind::TSETATTR)
        .u32(fid)
        .u32(attr.valid)
        .u32(attr.mode)
        .u32(attr.uid)
        .u32(attr.gid)
        .u64(attr.size)
        .time(attr.atime)
        .time(attr.mtime)
}

/// Asks for figures of the file system.
pub fn statfs(fid: u32) -> Message {
    Message::new(kind::TSTATFS).u32(fid)
}

/// Opens `fid` with Linux's flags.
pub fn lopen(fid: u32, flags: u32) -> Message {
    Message::new(kind::TLOPEN).u32(fid).u32(flags)
}

/// Creates and opens `name` in the directory `fid`, which becomes the new file.
pub fn lcreate(fid: u32, name: &[u8], flags: u32, mode: u32, gid: u32) -> Message {
    Message::new(kind::TLCREATE).u32(fid).text(name).u32(flags).u32(mode).u32(gid)
}

/// Makes a symbolic link.
pub fn symlink(dir: u32, name: &[u8], target: &[u8], gid: u32) -> Message {
    Message::new(kind::TSYMLINK).u32(dir).text(name).text(target).u32(gid)
}

/// Makes a node; device numbers are (major, minor).
pub fn mknod(dir: u32, name: &[u8], mode: u32, dev: (u32, u32), gid: u32) -> Message {
    Message::new(kind::TMKNOD).u32(dir).text(name).u32(mode).u32(dev.0).u32(dev.1).u32(gid)
}

/// Makes a directory.
pub fn mkdir(dir: u32, name: &[u8], mode: u32, gid: u32) -> Message {
    Message::new(kind::TMKDIR).u32(dir).text(name).u32(mode).u32(gid)
}

/// Asks for a symbolic link's target.
pub fn readlink(fid: u32) -> Message {
    Message::new(kind::TREADLINK).u32(fid)
}

/// Makes `name` in `dir` another name of `fid`.
pub fn link(dir: u32, fid: u32, name: &[u8]) -> Message {
    Message::new(kind::TLINK).u32(dir).u32(fid).text(name)
}

/// Moves a name.
pub fn renameat(old_dir: u32, old: &[u8], new_dir: u32, new: &[u8]) -> Message {
    Message::new(kind::TRENAMEAT).u32(old_dir).text(old).u32(new_dir).text(new)
}

/// Removes a name; `flags` is 0 or AT_REMOVEDIR.
pub fn unlinkat(dir: u32, name: &[u8], flags: u32) -> Message {
    Message::new(kind::TUNLINKAT).u32(dir).text(name).u32(flags)
}

/// Makes `new` readable as the extended attribute `name` of `fid`, or as the list of names when `name` is empty.
pub fn xattrwalk(fid: u32, new: u32, name: &[u8]) -> Message {
    Message::new(kind::TXATTRWALK).u32(fid).u32(new).text(name)
}

/// Makes `fid` accept `size` bytes as the value of an extended attribute; clunk sets it.
pub fn xattrcreate(fid: u32, name: &[u8], size: u64, flags: u32) -> Message {
    Message::new(kind::TXATTRCREATE).u32(fid).text(name).u64(size).u32(flags)
}

/// Reads directory entries from the server's position `offset`.
pub fn readdir(fid: u32, offset: u64, count: u32) -> Message {
    Message::new(kind::TREADDIR).u32(fid).u64(offset).u32(count)
}

/// Reads data.
pub fn read(fid: u32, offset: u64, count: u32) -> Message {
    Message::new(kind::TREAD).u32(fid).u64(offset).u32(count)
}

/// Writes data; the `count` bytes follow the message.
pub fn write(fid: u32, offset: u64, count: u32) -> Message {
    Message::new(kind::TWRITE).u32(fid).u64(offset).u32(count)
}

/// Flushes a file to stable storage.
pub fn fsync(fid: u32, data_only: bool) -> Message {
    Message::new(kind::TFSYNC).u32(fid).u32(u32::from(data_only))
}

/// Takes or gives back a record lock; `wait` lets the server answer "blocked" and keep nothing.
pub fn set_lock(fid: u32, lock: &Lock, wait: bool, client: &[u8]) -> Message {
    Message::new(kind::TLOCK)
        .u32(fid)
        .u8(lock.kind)
        .u32(u32::from(wait))
        .u64(lock.start)
        .u64(lock.length)
        .u32(lock.proc_id)
        .text(client)
}

/// Asks what would block a record lock.
pub fn get_lock(fid: u32, lock: &Lock, client: &[u8]) -> Message {
    Message::new(kind::TGETLOCK).u32(fid).u8(lock.kind).u64(lock.start).u64(lock.length).u32(lock.proc_id).text(client)
}

/// A qid as replies carry it, for servers in tests.
pub fn qid_bytes(qid: &Qid) -> [u8; 13] {
    let mut out = [0; 13];
    out[0] = qid.kind;
    out[1..5].copy_from_slice(&qid.version.to_le_bytes());
    out[5..].copy_from_slice(&qid.path.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_longer_than_its_length_field_is_refused() {
        let long = [b'a'; 70_000];
        assert_eq!(symlink(1, b"a", &long, 0).finish(0, 0).err(), Some(Errno::ENAMETOOLONG));
    }
}

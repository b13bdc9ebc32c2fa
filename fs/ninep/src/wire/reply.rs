//! Bytes to replies.

use super::{Attr, DATA_HEADER, HEADER, Lock, MAX_WALK, Malformed, Qid, StatFs, Time, kind};
use abi::Errno;
use arrayvec::ArrayVec;

/// Reads fields from the front of a slice.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }
    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }
    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }
    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }
    fn qid(&mut self) -> Result<Qid, Malformed> {
        Ok(Qid { kind: self.u8()?, version: self.u32()?, path: self.u64()? })
    }
    fn time(&mut self) -> Result<Time, Malformed> {
        Ok(Time { sec: self.u64()?, nsec: self.u64()? })
    }
}

/// Checks the header of a reply to a request of type `request` with tag `tag`, of which the device wrote `written` bytes;
/// `head` is its beginning. Returns the reply's size and the part of its body in `head`. The server's errno is the error.
pub fn open(head: &[u8], written: usize, request: u8, tag: u16) -> Result<(usize, Reader<'_>), Errno> {
    let mut reader = Reader(head.get(..head.len().min(written)).unwrap_or(head));
    let (size, kind, got) = (reader.u32()? as usize, reader.u8()?, reader.u16()?);
    if got != tag || size > written || size < HEADER {
        return Err(Errno::EIO);
    }
    reader.0 = reader.0.get(..reader.0.len().min(size - HEADER)).unwrap_or(reader.0);
    match kind {
        kind::RLERROR => {
            // Numbers past the last errno are the kernel's own (restart codes) and not the host's to use.
            let code = reader.u32()?;
            Err(Some(code).filter(|code| *code < 512).and_then(Errno::from_raw).unwrap_or(Errno::EIO))
        }
        _ if Some(kind) == request.checked_add(1) => Ok((size, reader)),
        _ => Err(Errno::EIO),
    }
}

/// Rversion: message size and version text.
pub fn version<'a>(mut body: Reader<'a>) -> Result<(u32, &'a [u8]), Malformed> {
    Ok((body.u32()?, body.text()?))
}

/// A reply that starts with a qid: attach, open, create, mkdir...
pub fn qid(mut body: Reader<'_>) -> Result<Qid, Malformed> {
    body.qid()
}

/// Rlopen and Rlcreate: qid and preferred I/O size.
pub fn opened(mut body: Reader<'_>) -> Result<(Qid, u32), Malformed> {
    Ok((body.qid()?, body.u32()?))
}

/// Rwalk: the qids of the names that were found.
pub fn walk(mut body: Reader<'_>) -> Result<ArrayVec<Qid, MAX_WALK>, Malformed> {
    let count = usize::from(body.u16()?);
    if count > MAX_WALK {
        return Err(Malformed);
    }
    (0..count).map(|_| body.qid()).collect()
}

/// Rgetattr.
pub fn attr(mut body: Reader<'_>) -> Result<Attr, Malformed> {
    let r = &mut body;
    let attr = Attr {
        valid: r.u64()?,
        qid: r.qid()?,
        mode: r.u32()?,
        uid: r.u32()?,
        gid: r.u32()?,
        nlink: r.u64()?,
        rdev: r.u64()?,
        size: r.u64()?,
        blksize: r.u64()?,
        blocks: r.u64()?,
        atime: r.time()?,
        mtime: r.time()?,
        ctime: r.time()?,
        btime: r.time()?,
        generation: r.u64()?,
    };
    // Sizes are signed 64-bit numbers everywhere else.
    if attr.size > i64::MAX as u64 { Err(Malformed) } else { Ok(attr) }
}

/// Rstatfs.
pub fn statfs(mut body: Reader<'_>) -> Result<StatFs, Malformed> {
    let r = &mut body;
    Ok(StatFs {
        kind: r.u32()?,
        bsize: r.u32()?,
        blocks: r.u64()?,
        bfree: r.u64()?,
        bavail: r.u64()?,
        files: r.u64()?,
        ffree: r.u64()?,
        fsid: r.u64()?,
        namelen: r.u32()?,
    })
}

/// Rreadlink.
pub fn text<'a>(mut body: Reader<'a>) -> Result<&'a [u8], Malformed> {
    body.text()
}

/// Rxattrwalk: size of the value.
pub fn xattr_size(mut body: Reader<'_>) -> Result<u64, Malformed> {
    body.u64()
}

/// Rread, Rreaddir: count of the data that follows; it must be in the message and at most `asked`.
pub fn data_count(mut body: Reader<'_>, size: usize, asked: usize) -> Result<usize, Malformed> {
    let count = body.u32()? as usize;
    if count > asked || count > size.saturating_sub(DATA_HEADER) { Err(Malformed) } else { Ok(count) }
}

/// Rwrite: bytes taken, at most `asked`.
pub fn write_count(mut body: Reader<'_>, asked: usize) -> Result<usize, Malformed> {
    let count = body.u32()? as usize;
    if count > asked { Err(Malformed) } else { Ok(count) }
}

/// Rlock.
pub fn lock_status(mut body: Reader<'_>) -> Result<u8, Malformed> {
    body.u8()
}

/// Rgetlock (the client's name is not looked at).
pub fn lock(mut body: Reader<'_>) -> Result<Lock, Malformed> {
    Ok(Lock { kind: body.u8()?, start: body.u64()?, length: body.u64()?, proc_id: body.u32()? })
}

/// One directory entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirEntry<'a> {
    /// Identity.
    pub qid: Qid,
    /// Position after this entry.
    pub next: u64,
    /// DT_* type.
    pub kind: u8,
    /// Name: not empty, without `/` and NUL.
    pub name: &'a [u8],
}

/// The next entry of a readdir reply's data; `None` at its end. Names that no path could hold are malformed.
pub fn dir_entry<'a>(data: &mut Reader<'a>) -> Option<Result<DirEntry<'a>, Malformed>> {
    if data.0.is_empty() {
        return None;
    }
    let mut next = || {
        let (qid, next, kind, name) = (data.qid()?, data.u64()?, data.u8()?, data.text()?);
        if name.is_empty() || name.len() > 255 || name.iter().any(|b| matches!(b, b'/' | 0)) {
            return Err(Malformed);
        }
        Ok(DirEntry { qid, next, kind, name })
    };
    Some(next())
}

#[cfg(test)]
mod tests {
    use super::super::request::{self, qid_bytes};
    use super::*;
    use alloc::vec::Vec;

    const QID: Qid = Qid { kind: 0x80, version: 3, path: 0x1234_5678_9abc };

    fn message(kind: u8, tag: u16, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&((HEADER + body.len()) as u32).to_le_bytes());
        out.push(kind);
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn a_request_has_its_size_tag_and_fields_in_order() {
        let bytes = request::walk(1, 2, &[b"usr", b"lib"]).finish(5, 0).unwrap();
        assert_eq!(&bytes[..], b"\x1b\0\0\0\x6e\x05\0\x01\0\0\0\x02\0\0\0\x02\0\x03\0usr\x03\0lib");
        let bytes = request::write(9, 0x100, 4096).finish(1, 4096).unwrap();
        assert_eq!(bytes.len(), super::super::WRITE_HEADER);
        assert_eq!(&bytes[..4], &(4096u32 + 23).to_le_bytes());
    }

    #[test]
    fn a_reply_must_match_its_request() {
        let reply = message(kind::TATTACH + 1, 7, &qid_bytes(&QID));
        let (size, body) = open(&reply, reply.len(), kind::TATTACH, 7).unwrap();
        assert_eq!((size, qid(body)), (20, Ok(QID)));
        assert!(open(&reply, reply.len(), kind::TATTACH, 8).is_err(), "other tag");
        assert!(open(&reply, reply.len(), kind::TLOPEN, 7).is_err(), "other type");
        assert!(open(&reply, reply.len() - 1, kind::TATTACH, 7).is_err(), "longer than what was written");
        for len in 0..reply.len() {
            let cut = open(&reply[..len], reply.len(), kind::TATTACH, 7).and_then(|(_, b)| Ok(qid(b)?));
            assert!(cut.is_err(), "cut at {len}");
        }
    }

    #[test]
    fn the_servers_errno_is_the_error_and_unknown_ones_are_eio() {
        for (code, errno) in [(2u32, Errno::ENOENT), (512, Errno::EIO), (0, Errno::EIO), (u32::MAX, Errno::EIO)] {
            let reply = message(kind::RLERROR, 1, &code.to_le_bytes());
            assert_eq!(open(&reply, reply.len(), kind::TREAD, 1).err(), Some(errno));
        }
    }

    #[test]
    fn counts_beyond_the_message_or_the_question_are_malformed() {
        let count = 100u32.to_le_bytes();
        let body = Reader::new(&count);
        assert_eq!(data_count(body, DATA_HEADER + 100, 100), Ok(100));
        assert_eq!(data_count(body, DATA_HEADER + 99, 100), Err(Malformed));
        assert_eq!(data_count(body, DATA_HEADER + 100, 99), Err(Malformed));
        assert_eq!(write_count(body, 99), Err(Malformed));
    }

    #[test]
    fn directory_entries_come_one_by_one_and_bad_names_are_malformed() {
        let mut data = Vec::new();
        for name in [&b"a"[..], b".hidden", b"x/y"] {
            data.extend_from_slice(&qid_bytes(&QID));
            data.extend_from_slice(&42u64.to_le_bytes());
            data.push(4);
            data.extend_from_slice(&(name.len() as u16).to_le_bytes());
            data.extend_from_slice(name);
        }
        let mut reader = Reader::new(&data);
        assert_eq!(dir_entry(&mut reader), Some(Ok(DirEntry { qid: QID, next: 42, kind: 4, name: b"a" })));
        assert_eq!(dir_entry(&mut reader).unwrap().unwrap().name, b".hidden");
        assert_eq!(dir_entry(&mut reader), Some(Err(Malformed)));
        let mut cut = Reader::new(&data[..10]);
        assert_eq!(dir_entry(&mut cut), Some(Err(Malformed)));
    }

    #[test]
    fn walks_name_at_most_sixteen() {
        let mut body = 17u16.to_le_bytes().to_vec();
        body.extend((0..17).flat_map(|_| qid_bytes(&QID)));
        assert_eq!(walk(Reader::new(&body)), Err(Malformed));
        body[0] = 16;
        assert_eq!(walk(Reader::new(&body)).unwrap().len(), 16);
    }
}

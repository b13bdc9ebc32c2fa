//! A session with a server: requests from many threads at once, fids that clunk themselves.
//!
//! Data flow: [`Client::call`] takes a tag, writes the request into the tag's page, submits it together with the data
//! segments of the caller, sleeps until the device's interrupt completes it, and parses the reply's head out of the page. Data
//! of reads and writes moves between the device and the caller's frames directly.
//!
//! A thread that is being killed while it waits sends a flush and then still waits for the device to give the segments
//! back: memory the device may write to is never reused early.

use crate::tags::Tags;
use crate::transport::{Bus, Refused, Segment, Transport};
use crate::wire::reply::{self, Reader};
use crate::wire::request::{self, Message};
use crate::wire::{DATA_HEADER, HEADER, MAX_WALK, NOTAG, Qid, VERSION, WRITE_HEADER};
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::PAGE_SIZE;
use machine::mem::Frame;
use smallvec::SmallVec;

/// The request lies in the first half of a slot's page, the reply's head in the second.
const HEAD_OFF: usize = PAGE_SIZE / 2;
/// The longest reply without data or text is Rwalk of sixteen names, 217 bytes.
const HEAD_LEN: usize = 256;
/// Smallest message size a server may choose (Linux's limit too).
pub const MIN_MSIZE: u32 = 4096;
/// Largest message size: 125 pages of data, what fits a queue of 128 descriptors with the two headers.
pub const MAX_MSIZE: u32 = 512_000;

/// May a kill end the wait?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// Yes: the request of a system call.
    Killable,
    /// No: others depend on the result (a page of the cache, a clunk with a result).
    Uninterruptible,
}

/// A session.
pub struct Client {
    transport: Arc<dyn Transport>,
    tags: Arc<Tags>,
    msize: AtomicU32,
}

impl Client {
    /// Connects to the device with mount tag `tag` and agrees on the version and a message size of at most `msize`.
    pub fn connect(bus: &dyn Bus, tag: &[u8], msize: u32) -> Result<Arc<Client>, Errno> {
        let tags = Arc::new(Tags::default());
        let transport = bus.connect(tag, tags.clone())?;
        // The header segments of both directions do not hold data.
        let limit = transport.max_segments().saturating_sub(2).saturating_mul(PAGE_SIZE);
        let msize = msize.min(MAX_MSIZE).min(u32::try_from(limit).unwrap_or(MAX_MSIZE));
        if msize < MIN_MSIZE {
            return Err(Errno::EINVAL);
        }
        let client = Arc::new(Client { transport, tags, msize: AtomicU32::new(msize) });
        let agreed = client.call(request::version(msize), Patience::Killable, |body| {
            let (size, version) = reply::version(body)?;
            if version != VERSION { Err(Errno::EREMOTEIO) } else { Ok(size) }
        })?;
        if agreed < MIN_MSIZE {
            return Err(Errno::EREMOTEIO);
        }
        client.msize.store(agreed.min(msize), Ordering::Relaxed);
        Ok(client)
    }

    /// Bytes of data that one read, readdir or write can move.
    pub fn max_data(&self) -> usize {
        let msize = self.msize.load(Ordering::Relaxed) as usize;
        let pages = self.transport.max_segments().saturating_sub(3).saturating_mul(PAGE_SIZE);
        (msize.saturating_sub(WRITE_HEADER.max(DATA_HEADER)) & !(PAGE_SIZE - 1)).min(pages).max(PAGE_SIZE / 2)
    }
    /// The agreed message size.
    pub fn msize(&self) -> u32 {
        self.msize.load(Ordering::Relaxed)
    }

    /// Makes the root of the tree `aname` a fid.
    pub fn attach(self: &Arc<Self>, uname: &[u8], aname: &[u8], uid: u32) -> Result<(Fid, Qid), Errno> {
        let fid = self.new_fid();
        let qid = self.call(request::attach(fid.id, uname, aname, uid), Patience::Killable, |b| Ok(reply::qid(b)?));
        fid.keep_if(qid)
    }

    /// A request whose reply fits its head.
    pub fn call<R>(
        &self,
        message: Message,
        patience: Patience,
        parse: impl FnOnce(Reader<'_>) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.exchange(message, Data::None, patience, |_, body, _| parse(body))
    }

    /// A read or readdir into `into`; returns the bytes that came.
    pub fn read_data(&self, message: Message, into: &[Segment], patience: Patience) -> Result<usize, Errno> {
        let asked = into.iter().fold(0usize, |sum, s| sum.saturating_add(s.len));
        self.exchange(message, Data::In(into), patience, |_, body, size| Ok(reply::data_count(body, size, asked)?))
    }

    /// A write from `from`; returns the bytes the server took.
    pub fn write_data(&self, message: Message, from: &[Segment], patience: Patience) -> Result<usize, Errno> {
        let asked = from.iter().fold(0usize, |sum, s| sum.saturating_add(s.len));
        self.exchange(message, Data::Out(from), patience, |_, body, _| Ok(reply::write_count(body, asked)?))
    }

    /// A request whose reply is one text of up to a page.
    pub fn call_text(&self, message: Message) -> Result<Vec<u8>, Errno> {
        let more = mm::frames::alloc().map_err(|_| Errno::ENOMEM)?;
        let tail = [Segment { frame: more.clone(), off: 0, len: PAGE_SIZE }];
        self.exchange(message, Data::Tail(&tail), Patience::Killable, |page, _, size| {
            let mut text = Vec::new();
            text.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
            text.resize(size, 0);
            let (head, rest) = text.split_at_mut(size.min(PAGE_SIZE - HEAD_OFF));
            page.read(HEAD_OFF, head);
            more.read(0, rest);
            let body = reply::text(Reader::new(text.get(HEADER..).unwrap_or_default()))?.len();
            text.drain(..(HEADER + 2).min(text.len()));
            text.truncate(body);
            Ok(text)
        })
    }

    /// One request and its reply: takes a tag, submits, sleeps, checks the reply and gives it to `parse` together with the
    /// slot's page and the reply's size.
    fn exchange<R>(
        &self,
        message: Message,
        data: Data<'_>,
        patience: Patience,
        parse: impl FnOnce(&Frame, Reader<'_>, usize) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.send_clunks();
        let kind = message.kind();
        let tag = self.take_tag(patience)?;
        let lease = TagLease { client: self, tag };
        let slot = self.tags.slot(tag).ok_or(Errno::EIO)?;
        let page = slot.page()?;
        // The version request has no tag of its own; its slot is known by the token alone.
        let wire_tag = if kind == crate::wire::kind::TVERSION { NOTAG } else { tag };
        let out_len = data.out().iter().fold(0usize, |sum, s| sum.saturating_add(s.len));
        let bytes = message.finish(wire_tag, out_len)?;

        let mut out: SmallVec<[Segment; 4]> = SmallVec::new();
        let mut into: SmallVec<[Segment; 4]> = SmallVec::new();
        put_message(page, &bytes, &mut out)?;
        out.extend(data.out().iter().cloned());
        into.push(Segment { frame: page.clone(), off: HEAD_OFF, len: data.head_len() });
        into.extend(data.room().iter().cloned());
        self.submit(tag, &out, &into, patience)?;

        let mut killed = false;
        let written = match patience {
            Patience::Uninterruptible => slot.wait().wait(|| slot.done()),
            Patience::Killable => slot.wait().wait_killable(|| slot.done()).unwrap_or_else(|_| {
                killed = true;
                self.flush(tag);
                slot.wait().wait(|| slot.done())
            }),
        };
        if killed && written == 0 {
            return Err(Errno::EINTR);
        }
        let mut head = [0u8; HEAD_LEN];
        let len = page.read(HEAD_OFF, head.get_mut(..data.head_len().min(HEAD_LEN).min(written)).unwrap_or_default());
        let (size, body) = reply::open(head.get(..len).unwrap_or_default(), written, kind, wire_tag)?;
        let result = parse(page, body, size);
        drop(lease);
        result
    }

    fn take_tag(&self, patience: Patience) -> Result<u16, Errno> {
        if let Some(tag) = self.tags.take() {
            return Ok(tag);
        }
        match patience {
            Patience::Uninterruptible => Ok(self.tags.room_queue().wait(|| self.tags.take())),
            Patience::Killable => self.tags.room_queue().wait_killable(|| self.tags.take()).map_err(|_| Errno::EINTR),
        }
    }

    fn submit(&self, tag: u16, out: &[Segment], into: &[Segment], patience: Patience) -> Result<(), Errno> {
        let attempt = || match self.transport.submit(tag, out, into) {
            Ok(()) => Some(Ok(())),
            Err(Refused::Full) => None,
            Err(Refused::Failed) => Some(Err(Errno::EIO)),
        };
        if let Some(result) = attempt() {
            return result;
        }
        match patience {
            Patience::Uninterruptible => self.tags.room_queue().wait(attempt),
            Patience::Killable => self.tags.room_queue().wait_killable(attempt).map_err(|_| Errno::EINTR)?,
        }
    }

    /// Tells the server that nobody wants the reply of `tag` any more. Its own failure changes nothing: the caller goes on
    /// waiting for the device.
    fn flush(&self, tag: u16) {
        let _ = self.call(request::flush(tag), Patience::Uninterruptible, |_| Ok(()));
    }

    /// A fid the server does not know yet.
    pub fn new_fid(self: &Arc<Self>) -> Fid {
        Fid { client: self.clone(), id: self.tags.take_fid(), known: false }
    }

    /// Sends the clunks that are queued, without waiting for their replies.
    fn send_clunks(&self) {
        while let Some((tag, fid)) = self.tags.take_clunk() {
            if self.start_clunk(tag, fid).is_err() {
                self.tags.give(tag);
                self.tags.queue_clunk(fid);
                return;
            }
        }
    }

    fn start_clunk(&self, tag: u16, fid: u32) -> Result<(), Errno> {
        let page = self.tags.slot(tag).ok_or(Errno::EIO)?.page()?;
        let bytes = request::clunk(fid).finish(tag, 0)?;
        page.write(0, &bytes);
        let out = [Segment { frame: page.clone(), off: 0, len: bytes.len() }];
        let into = [Segment { frame: page.clone(), off: HEAD_OFF, len: HEAD_LEN }];
        self.transport.submit(tag, &out, &into).map_err(|_| Errno::EAGAIN)
    }
}

/// Gives the tag back on every way out.
struct TagLease<'a> {
    client: &'a Client,
    tag: u16,
}

impl Drop for TagLease<'_> {
    fn drop(&mut self) {
        self.client.tags.give(self.tag);
        self.client.send_clunks();
    }
}

/// What moves besides the message and the reply's head.
enum Data<'a> {
    None,
    /// Written to the server after the message.
    Out(&'a [Segment]),
    /// Filled by the server after an 11-byte head.
    In(&'a [Segment]),
    /// More room for a long reply.
    Tail(&'a [Segment]),
}

impl Data<'_> {
    fn out(&self) -> &[Segment] {
        if let Data::Out(segments) = self { segments } else { &[] }
    }
    fn room(&self) -> &[Segment] {
        if let Data::In(segments) | Data::Tail(segments) = self { segments } else { &[] }
    }
    fn head_len(&self) -> usize {
        match self {
            Data::In(_) => DATA_HEADER,
            Data::Tail(_) => PAGE_SIZE - HEAD_OFF,
            Data::None | Data::Out(_) => HEAD_LEN,
        }
    }
}

/// Puts a message into the first half of `page` and, when it is longer, into further pages.
fn put_message(page: &Frame, bytes: &[u8], out: &mut SmallVec<[Segment; 4]>) -> Result<(), Errno> {
    let (first, rest) = bytes.split_at(bytes.len().min(HEAD_OFF));
    page.write(0, first);
    out.push(Segment { frame: page.clone(), off: 0, len: first.len() });
    for part in rest.chunks(PAGE_SIZE) {
        let frame = mm::frames::alloc().map_err(|_| Errno::ENOMEM)?;
        frame.write(0, part);
        out.push(Segment { frame, off: 0, len: part.len() });
    }
    Ok(())
}

/// A handle of a file on the server; dropping it makes the server forget it, in the background.
pub struct Fid {
    client: Arc<Client>,
    id: u32,
    /// The server has it: it must be clunked.
    known: bool,
}

impl Fid {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }
    /// Its session.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
    /// Marks the fid as known to the server when the request that makes it succeeded.
    fn keep_if<R>(mut self, result: Result<R, Errno>) -> Result<(Fid, R), Errno> {
        let value = result?;
        self.known = true;
        Ok((self, value))
    }
    /// Walks `names` (at most sixteen); the new fid and the qid it arrived at (`None` for no names). ENOENT when a name is
    /// missing.
    pub fn walk(&self, names: &[&[u8]]) -> Result<(Fid, Option<Qid>), Errno> {
        if names.len() > MAX_WALK {
            return Err(Errno::ENAMETOOLONG);
        }
        let fid = self.client.new_fid();
        let qids = self.client.call(request::walk(self.id, fid.id, names), Patience::Killable, |body| {
            let qids = reply::walk(body)?;
            // Fewer qids than names: the walk stopped, and the new fid was not made.
            if qids.len() < names.len() { Err(Errno::ENOENT) } else { Ok(qids.last().copied()) }
        });
        fid.keep_if(qids)
    }
    /// Makes a second fid for an extended attribute, or for the list of them.
    pub fn xattr_walk(&self, name: &[u8]) -> Result<(Fid, u64), Errno> {
        let fid = self.client.new_fid();
        let size = self
            .client
            .call(request::xattrwalk(self.id, fid.id, name), Patience::Killable, |b| Ok(reply::xattr_size(b)?));
        fid.keep_if(size)
    }
    /// Forgets the fid and waits for the server's answer: it is where a written extended attribute succeeds or fails.
    pub fn clunk(mut self) -> Result<(), Errno> {
        self.known = false;
        let id = self.id;
        // Whatever the answer, the server no longer knows the fid: the drop gives the number back.
        self.client.call(request::clunk(id), Patience::Uninterruptible, |_| Ok(()))
    }
}

impl Drop for Fid {
    fn drop(&mut self) {
        if self.known {
            self.client.tags.queue_clunk(self.id);
            self.client.send_clunks();
        } else {
            self.client.tags.give_fid(self.id);
        }
    }
}

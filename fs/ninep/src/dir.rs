//! Open directories: the whole listing is fetched at once and positions are indices into it.
//!
//! The server's own positions are opaque 64-bit numbers that need not fit lseek(2). A trusting session shares one listing
//! among all who have the directory open.

use crate::client::{Fid, Patience};
use crate::content::{RDONLY, segments};
use crate::node::Node;
use crate::wire::reply::{Reader, dir_entry};
use crate::wire::request;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use machine::PAGE_SIZE;
use vfs::{DirSink, File, FileOps, FileType, emit_dots};

/// Open flag that makes the server insist on a directory.
const O_DIRECTORY: u32 = 0o200000;
/// Pages asked for at once.
const CHUNK_PAGES: usize = 8;
/// A listing longer than this is taken for a server that never ends.
const MAX_NAMES: usize = 256 << 20;

struct Entry {
    ino: u64,
    name_end: u32,
    kind: u8,
}

/// All entries of a directory but the dots.
#[derive(Default)]
pub struct Listing {
    entries: Vec<Entry>,
    names: Vec<u8>,
}

impl Listing {
    /// Reads the directory that `fid` is open on.
    fn fetch(fid: &Fid) -> Result<Listing, Errno> {
        let mut listing = Listing::default();
        let mut frames = Vec::new();
        for _ in 0..CHUNK_PAGES.min(fid.client().max_data() / PAGE_SIZE).max(1) {
            frames.push(mm::frames::alloc().map_err(|_| Errno::ENOMEM)?);
        }
        let room = (frames.len() * PAGE_SIZE).min(fid.client().max_data());
        let mut buf = Vec::new();
        buf.try_reserve_exact(room).map_err(|_| Errno::ENOMEM)?;
        buf.resize(room, 0u8);
        let mut pos = 0;
        loop {
            let message = request::readdir(fid.id(), pos, room as u32);
            let got = fid.client().read_data(message, &segments(&frames, 0, room)?, Patience::Killable)?;
            if got == 0 {
                return Ok(listing);
            }
            for (frame, page) in frames.iter().zip(buf.chunks_mut(PAGE_SIZE)) {
                frame.read(0, page);
            }
            let before = pos;
            let mut data = Reader::new(buf.get(..got).unwrap_or_default());
            while let Some(entry) = dir_entry(&mut data) {
                let entry = entry?;
                pos = entry.next;
                if entry.name != b"." && entry.name != b".." {
                    listing.push(entry.qid.path, entry.kind, entry.name)?;
                }
            }
            // A server that stays where it is would keep us here for ever.
            if pos == before || listing.names.len() > MAX_NAMES {
                return Err(Errno::EIO);
            }
        }
    }
    fn push(&mut self, ino: u64, kind: u8, name: &[u8]) -> Result<(), Errno> {
        self.names.try_reserve(name.len()).map_err(|_| Errno::ENOMEM)?;
        self.entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.names.extend_from_slice(name);
        self.entries.push(Entry { ino, name_end: self.names.len() as u32, kind });
        Ok(())
    }
    /// The entry at an index: inode number, type and name.
    fn get(&self, index: usize) -> Option<(u64, FileType, &[u8])> {
        let entry = self.entries.get(index)?;
        let start = index.checked_sub(1).and_then(|i| self.entries.get(i)).map_or(0, |e| e.name_end);
        let name = self.names.get(start as usize..entry.name_end as usize)?;
        // `d_type` values are the type bits of the mode.
        Some((entry.ino, FileType::from_mode(u32::from(entry.kind) << 12), name))
    }
}

/// An open directory.
pub struct OpenDir {
    node: Arc<Node>,
    /// Open on the server; `None` when a shared listing made that needless.
    fid: Option<Arc<Fid>>,
    listing: sched::Mutex<Option<Arc<Listing>>>,
}

/// Opens a directory.
pub fn open(node: Arc<Node>) -> Result<Arc<dyn FileOps>, Errno> {
    let shared = node.listing();
    let fid = if shared.is_some() { None } else { Some(node.content().open(RDONLY | O_DIRECTORY)?) };
    Ok(Arc::new(OpenDir { node, fid, listing: sched::Mutex::new(shared) }))
}

impl OpenDir {
    fn load(&self) -> Result<Arc<Listing>, Errno> {
        if let Some(listing) = self.node.listing() {
            return Ok(listing);
        }
        let fresh = match &self.fid {
            Some(fid) => Listing::fetch(fid)?,
            None => Listing::fetch(&*self.node.content().open(RDONLY | O_DIRECTORY)?)?,
        };
        let listing = Arc::new(fresh);
        self.node.share_listing(&listing);
        Ok(listing)
    }
}

impl FileOps for OpenDir {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn readdir(&self, f: &File, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let Some(mut at) = emit_dots(f, pos, sink) else { return Ok(pos) };
        let listing = {
            let mut slot = self.listing.lock();
            match &*slot {
                // A rewound directory shows what is there now.
                Some(listing) if pos != 0 => listing.clone(),
                _ => {
                    let listing = self.load()?;
                    *slot = Some(listing.clone());
                    listing
                }
            }
        };
        while let Some((ino, kind, name)) = usize::try_from(at - 2).ok().and_then(|index| listing.get(index)) {
            if !sink.entry(at + 1, ino, kind, name) {
                break;
            }
            at += 1;
        }
        Ok(at)
    }
    fn fsync(&self, _f: &File, data_only: bool) -> Result<(), Errno> {
        match &self.fid {
            Some(fid) => fid.client().call(request::fsync(fid.id(), data_only), Patience::Killable, |_| Ok(())),
            None => Ok(()),
        }
    }
}

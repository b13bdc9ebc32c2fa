//! Merged directory listings.
//!
//! A listing is made of all layers at once, upper first: a name seen in a higher layer, whiteouts included, hides the same name
//! below. It stays with the inode until the directory changes; an open directory keeps the one it started with until it is
//! rewound. Positions are indices.

use crate::fs::{Fs, is_whiteout};
use crate::lookup::is_dot;
use crate::node::Node;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::hash::BuildHasher;
use hashbrown::{DefaultHashBuilder, HashTable};
use vfs::{DirSink, File, FileOps, FileType, Inode, Path, emit_dots};

struct Entry {
    ino: u64,
    name_end: u32,
    kind: FileType,
    /// A whiteout: hides, is not shown.
    hidden: bool,
}

/// The entries of a merged directory, dots left out.
pub struct Listing {
    entries: Vec<Entry>,
    names: Vec<u8>,
}

impl Listing {
    fn name(&self, index: usize) -> &[u8] {
        let end = self.entries.get(index).map_or(0, |e| e.name_end) as usize;
        let start = index.checked_sub(1).and_then(|i| self.entries.get(i)).map_or(0, |e| e.name_end) as usize;
        self.names.get(start..end).unwrap_or_default()
    }
    /// No entry is shown.
    pub fn is_empty(&self) -> bool {
        self.entries.iter().all(|entry| entry.hidden)
    }
}

/// Collects the entries of one layer after another.
struct Merge {
    listing: Listing,
    hasher: DefaultHashBuilder,
    /// Indices of entries by name.
    seen: HashTable<u32>,
    /// Entries of this layer that may be whiteouts.
    suspects: Vec<u32>,
    ino: fn(usize, u64) -> u64,
    layer: usize,
    failed: bool,
}

impl Merge {
    fn new() -> Merge {
        Merge {
            listing: Listing { entries: Vec::new(), names: Vec::new() },
            hasher: DefaultHashBuilder::default(),
            seen: HashTable::new(),
            suspects: Vec::new(),
            ino: |_, ino| Fs::upper_ino(ino),
            layer: 0,
            failed: false,
        }
    }
    fn add(&mut self, ino: u64, kind: FileType, name: &[u8]) -> Result<(), ()> {
        let Merge { listing, hasher, seen, .. } = self;
        let hash = hasher.hash_one(name);
        if seen.find(hash, |&i| listing.name(i as usize) == name).is_some() {
            return Ok(());
        }
        listing.names.try_reserve(name.len()).map_err(drop)?;
        listing.entries.try_reserve(1).map_err(drop)?;
        seen.try_reserve(1, |&i| hasher.hash_one(listing.name(i as usize))).map_err(drop)?;
        let index = listing.entries.len() as u32;
        listing.names.extend_from_slice(name);
        let name_end = u32::try_from(listing.names.len()).map_err(drop)?;
        listing.entries.push(Entry { ino, name_end, kind, hidden: false });
        seen.insert_unique(hash, index, |&i| hasher.hash_one(listing.name(i as usize)));
        if kind == FileType::CharDevice {
            self.suspects.push(index);
        }
        Ok(())
    }
    /// Adds one layer's directory.
    fn layer(&mut self, fs: &Fs, place: &Path, dir: &Arc<dyn Inode>) -> Result<(), Errno> {
        let file = fs.open_real(place, dir, OpenFlags::DIRECTORY)?;
        let _guard = dir.base().lock.lock();
        let mut pos = 0;
        loop {
            let next = file.ops().readdir(&file, pos, self)?;
            if self.failed {
                return Err(Errno::ENOMEM);
            }
            // The sink takes everything, so a position that stays is the end.
            if next == pos {
                break;
            }
            pos = next;
        }
        for index in core::mem::take(&mut self.suspects) {
            let name = self.listing.name(index as usize);
            let hidden = dir.lookup(name).is_ok_and(|inode| is_whiteout(&inode));
            if let Some(entry) = self.listing.entries.get_mut(index as usize) {
                entry.hidden = hidden;
            }
        }
        Ok(())
    }
}

impl DirSink for Merge {
    fn entry(&mut self, _next: u64, ino: u64, kind: FileType, name: &[u8]) -> bool {
        if !is_dot(name) && self.add((self.ino)(self.layer, ino), kind, name).is_err() {
            self.failed = true;
        }
        !self.failed
    }
}

impl Node {
    /// The merged listing.
    pub fn list(&self) -> Result<Arc<Listing>, Errno> {
        if let Some(listing) = self.listing.lock().clone() {
            return Ok(listing);
        }
        let mut merge = Merge::new();
        if let (Some(dir), Some(place)) = (self.upper.get(), &self.fs.upper) {
            merge.layer(&self.fs, place, dir)?;
        }
        merge.ino = Fs::lower_ino;
        for lower in &self.lowers {
            merge.layer = lower.layer;
            let place = self.fs.lowers.get(lower.layer).ok_or(Errno::EIO)?;
            merge.layer(&self.fs, place, &lower.inode)?;
        }
        let listing = Arc::new(merge.listing);
        // Layers that may change by themselves are read anew each time.
        if !self.base.sb().flags().contains(vfs::SbFlags::REVALIDATE) {
            *self.listing.lock() = Some(listing.clone());
        }
        Ok(listing)
    }

    /// Prepares a directory for removal or replacement: ENOTEMPTY if it shows anything; removes the whiteouts of its upper
    /// directory.
    pub fn clear_for_removal(&self) -> Result<(), Errno> {
        let listing = self.list()?;
        if !listing.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        let Some(upper) = self.upper.get().filter(|_| !self.lowers.is_empty()) else { return Ok(()) };
        // Without its whiteouts it must not merge again, should the removal fail after this.
        self.fs.set_opaque(upper)?;
        let _guard = upper.base().lock.lock();
        for index in 0..listing.entries.len() {
            let name = listing.name(index);
            match upper.lookup(name) {
                Ok(entry) if is_whiteout(&entry) => upper.unlink(name, &entry)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// An open directory.
struct OpenDir {
    node: Arc<Node>,
    listing: sched::Mutex<Option<Arc<Listing>>>,
}

/// Opens a directory.
pub fn open(node: Arc<Node>) -> Arc<dyn FileOps> {
    Arc::new(OpenDir { node, listing: sched::Mutex::new(None) })
}

impl FileOps for OpenDir {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn readdir(&self, f: &File, pos: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let Some(mut at) = emit_dots(f, pos, sink) else { return Ok(pos) };
        let mut slot = self.listing.lock();
        let listing = match &*slot {
            Some(listing) if pos != 0 => listing.clone(),
            _ => slot.insert(self.node.list()?).clone(),
        };
        drop(slot);
        while let Some((index, entry)) =
            usize::try_from(at - 2).ok().and_then(|index| Some((index, listing.entries.get(index)?)))
        {
            if !entry.hidden && !sink.entry(at + 1, entry.ino, entry.kind, listing.name(index)) {
                break;
            }
            at += 1;
        }
        Ok(at)
    }
    fn fsync(&self, _f: &File, _data_only: bool) -> Result<(), Errno> {
        match &self.node.fs.upper {
            Some(upper) => upper.inode().sb().ops().sync(),
            None => Ok(()),
        }
    }
}

//! Attaching and detaching (shmop(2)).

use super::{Segment, remove_if_unused};
use crate::ids::Entry;
use crate::perm::{self, Who};
use crate::{IpcNamespace, seconds};
use abi::Errno;
use abi::ipc::{SHM_EXEC, SHM_RDONLY, SHM_REMAP, SHM_RND};
use abi::mman::{MapFlags, Prot};
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::fmt;
use machine::{PAGE_SIZE, VirtAddr};
use mm::space::SharedMemory;
use mm::{MapRequest, MappedFile, Mm, PageCache};

/// What a segment is to an address space: the file behind its areas.
struct Attachment {
    ns: Weak<IpcNamespace>,
    entry: Arc<Entry<Segment>>,
    memory: Arc<SharedMemory>,
    key: i32,
    size: u64,
}

impl Attachment {
    fn left(&self, by_area: bool) {
        let mut state = self.entry.lock();
        state.body.attached = state.body.attached.saturating_sub(1);
        if by_area {
            state.body.lpid = vfs::jobs().pid();
            state.body.dtime = seconds();
        }
        drop(state);
        if let Some(ns) = self.ns.upgrade() {
            remove_if_unused(&ns, &self.entry, false);
        }
    }
}

impl MappedFile for Attachment {
    fn cache(&self) -> &Arc<PageCache> {
        self.memory.cache()
    }
    fn describe(&self) -> (u64, u64) {
        // ps and its like know segments by their id, which stands where files have their inode number.
        (self.memory.describe().0, self.entry.id() as u64)
    }
    fn path(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "/SYSV{:08x} (deleted)", self.key)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn mapped(&self) {
        let mut state = self.entry.lock();
        state.body.attached += 1;
        state.body.lpid = vfs::jobs().pid();
        state.body.atime = seconds();
    }
    fn unmapped(&self) {
        self.left(true);
    }
}

/// shmat(2): gives the address.
pub fn attach(
    ns: &Arc<IpcNamespace>,
    who: Who<'_>,
    mm: &Mm,
    id: i32,
    addr: VirtAddr,
    flags: u32,
) -> Result<VirtAddr, Errno> {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let addr = place(addr, flags)?;
    let (prot, wanted) = if flags & SHM_RDONLY != 0 {
        (Prot::READ, perm::READ)
    } else {
        (Prot::READ | Prot::WRITE, perm::READ | perm::WRITE)
    };
    let (prot, wanted) = if flags & SHM_EXEC != 0 { (prot | Prot::EXEC, wanted | perm::EXEC) } else { (prot, wanted) };
    let entry = ns.shm.find(id)?;
    let attachment = {
        let mut state = entry.lock();
        state.perm.check(who, wanted)?;
        if state.removed {
            return Err(Errno::EIDRM);
        }
        // Held until the area counts itself, so that the segment stays.
        state.body.attached += 1;
        let (memory, size, key) = (state.body.memory.clone(), state.body.size, state.body.shown_key);
        drop(state);
        Arc::new(Attachment { ns: Arc::downgrade(ns), entry, memory, key, size })
    };
    let mapped = map(mm, attachment.clone(), addr, prot, flags);
    attachment.left(false);
    mapped
}

/// Where to attach: 0 for anywhere.
fn place(addr: VirtAddr, flags: u32) -> Result<VirtAddr, Errno> {
    let offset = addr.0 % PAGE_SIZE as u64;
    let rounded = VirtAddr(addr.0 - offset);
    match (addr.0, offset) {
        (0, _) if flags & SHM_REMAP != 0 => Err(Errno::EINVAL),
        (_, 0) => Ok(addr),
        _ if flags & SHM_RND == 0 || rounded.0 == 0 && flags & SHM_REMAP != 0 => Err(Errno::EINVAL),
        _ => Ok(rounded),
    }
}

fn map(mm: &Mm, file: Arc<Attachment>, addr: VirtAddr, prot: Prot, flags: u32) -> Result<VirtAddr, Errno> {
    let len = usize::try_from(file.size).map_err(|_| Errno::ENOMEM)?;
    let mut max_prot = Prot::READ | Prot::EXEC;
    max_prot.set(Prot::WRITE, flags & SHM_RDONLY == 0);
    let placed = match (addr.0, flags & SHM_REMAP) {
        (0, _) => MapFlags::empty(),
        (_, 0) => MapFlags::FIXED_NOREPLACE,
        _ => MapFlags::FIXED,
    };
    let request = MapRequest {
        addr,
        max_prot,
        flags: MapFlags::SHARED | placed,
        file: Some(file),
        ..MapRequest::anonymous(len, prot)
    };
    match mm.mmap(request) {
        // The place is taken.
        Err(Errno::EEXIST) => Err(Errno::EINVAL),
        other => other,
    }
}

/// shmdt(2).
pub fn detach(mm: &Mm, addr: VirtAddr) -> Result<(), Errno> {
    if addr.offset() != 0 {
        return Err(Errno::EINVAL);
    }
    let size_of = |file: &dyn MappedFile| file.as_any().downcast_ref::<Attachment>().map(|a| a.size);
    if mm.unmap_parts(addr, &size_of)? { Ok(()) } else { Err(Errno::EINVAL) }
}

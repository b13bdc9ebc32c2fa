//! `PROCMAP_QUERY` on `maps`: one area by address and properties, without reading them all (ioctl_procmap_query(2)). Build IDs
//! are not looked for: who asks for one gets EINVAL.

use super::{Subject, maps};
use crate::text::Text;
use abi::Errno;
use abi::mman::Prot;
use machine::VirtAddr;
use mm::user::read_extensible;
use mm::{VmaInfo, VmaName};
use vfs::{Caller, File};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// `PROCMAP_QUERY`.
const PROCMAP_QUERY: u32 = 0xc068_6611;

/// `PROCMAP_QUERY_*`: the first four are properties of areas.
mod flag {
    pub const READABLE: u64 = 1;
    pub const WRITABLE: u64 = 2;
    pub const EXECUTABLE: u64 = 4;
    pub const SHARED: u64 = 8;
    pub const COVERING_OR_NEXT: u64 = 16;
    pub const FILE_BACKED: u64 = 32;
    pub const PROPERTIES: u64 = READABLE | WRITABLE | EXECUTABLE | SHARED;
    pub const ALL: u64 = PROPERTIES | COVERING_OR_NEXT | FILE_BACKED;
}

/// `struct procmap_query`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Query {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// Bytes up to the address asked about, which every version of the structure has.
const LEAST: u64 = 24;
const PAGE: u64 = machine::PAGE_SIZE as u64;

/// Longest name given out, its NUL included.
const MAX_NAME: usize = mm::user::PATH_MAX;

/// ioctl(2) on `maps`.
pub fn ioctl(subject: &Subject, f: &File, caller: &Caller<'_>, command: u32, arg: u64) -> Result<i64, Errno> {
    if command != PROCMAP_QUERY {
        return Err(Errno::ENOTTY);
    }
    let at = VirtAddr(arg);
    let mut size = 0u64;
    read_extensible(caller.mm, at, size_of::<u64>(), size.as_mut_bytes())?;
    if size > PAGE {
        return Err(Errno::E2BIG);
    }
    if size < LEAST {
        return Err(Errno::EINVAL);
    }
    let mut query = Query::new_zeroed();
    read_extensible(caller.mm, at, size as usize, query.as_mut_bytes())?;
    let named = query.vma_name_size != 0;
    if query.query_flags & !flag::ALL != 0
        || named != (query.vma_name_addr != 0)
        || query.build_id_size != 0
        || query.build_id_addr != 0
    {
        return Err(Errno::EINVAL);
    }
    // The process may run another program than when the file was opened.
    subject.may_trace(f.cred())?;
    let mm = subject.task()?.mm().ok_or(Errno::ESRCH)?;
    let mut name = Text::new();
    let mut found = false;
    mm.for_each_vma_from(query.query_addr, &mut |vma| {
        let next = query.query_flags & flag::COVERING_OR_NEXT != 0;
        found = fits(&query, vma) && (next || vma.start <= query.query_addr);
        if found {
            answer(&mut query, vma);
            if named {
                maps::name(&mut name, &vma.name, false);
            }
        }
        !found && next
    });
    if !found {
        return Err(Errno::ENOENT);
    }
    if named {
        if name.position() != 0 {
            name.ch('\0');
        }
        let name = name.finish()?;
        if name.len() > MAX_NAME.min(query.vma_name_size as usize) {
            return Err(Errno::ENAMETOOLONG);
        }
        query.vma_name_size = name.len() as u32;
        caller.mm.write_bytes(VirtAddr(query.vma_name_addr), &name)?;
    }
    let known = query.as_bytes();
    caller.mm.write_bytes(at, known.get(..size as usize).unwrap_or(known))?;
    Ok(0)
}

/// What of the properties that can be asked for an area has.
fn properties(vma: &VmaInfo<'_>) -> u64 {
    let rows = [
        (vma.prot.contains(Prot::READ), flag::READABLE),
        (vma.prot.contains(Prot::WRITE), flag::WRITABLE),
        (vma.prot.contains(Prot::EXEC), flag::EXECUTABLE),
        (vma.shared, flag::SHARED),
    ];
    rows.iter().filter(|row| row.0).fold(0, |all, row| all | row.1)
}

/// The area is of the kind asked for.
fn fits(query: &Query, vma: &VmaInfo<'_>) -> bool {
    let file = matches!(vma.name, VmaName::File(_) | VmaName::Shared(_));
    let wanted = query.query_flags & flag::PROPERTIES;
    (file || query.query_flags & flag::FILE_BACKED == 0) && properties(vma) & wanted == wanted
}

fn answer(query: &mut Query, vma: &VmaInfo<'_>) {
    let (dev, ino) = match &vma.name {
        VmaName::File(file) => file.describe(),
        _ => (0, 0),
    };
    query.vma_start = vma.start;
    query.vma_end = vma.end;
    query.vma_flags = properties(vma);
    query.vma_page_size = PAGE;
    query.vma_offset = vma.offset;
    query.inode = ino;
    query.dev_major = maps::major(dev) as u32;
    query.dev_minor = maps::minor(dev) as u32;
}

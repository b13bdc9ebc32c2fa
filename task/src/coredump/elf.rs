//! The core file: ELF header, a segment of notes, and a segment for each area of memory. Source: elf(5).

use super::notes::{Notes, ThreadNotes};
use super::sink::Sink;
use crate::Cx;
use abi::Errno;
use abi::mman::Prot;
use abi::signal::SigInfo;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use machine::{PAGE_SIZE, VirtAddr};
use mm::Mm;
use mm::space::{DumpArea, DumpFilter};
use zerocopy::{Immutable, IntoBytes};

const PAGE: u64 = PAGE_SIZE as u64;
const ET_CORE: u16 = 4;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// `Elf64_Ehdr`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    ident: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    phoff: u64,
    shoff: u64,
    flags: u32,
    ehsize: u16,
    phentsize: u16,
    phnum: u16,
    shentsize: u16,
    shnum: u16,
    shstrndx: u16,
}

/// `Elf64_Phdr`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    filesz: u64,
    memsz: u64,
    align: u64,
}

const HEADER: u64 = size_of::<Header>() as u64;
const SEGMENT: u64 = size_of::<Segment>() as u64;

fn header(segments: usize) -> Result<Header, Errno> {
    let mut ident = [0; 16];
    ident[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    Ok(Header {
        ident,
        kind: ET_CORE,
        machine: EM_X86_64,
        version: 1,
        entry: 0,
        phoff: HEADER,
        shoff: 0,
        flags: 0,
        ehsize: HEADER as u16,
        phentsize: SEGMENT as u16,
        // As many areas as an address space may have fit.
        phnum: u16::try_from(segments).map_err(|_| Errno::E2BIG)?,
        shentsize: 0,
        shnum: 0,
        shstrndx: 0,
    })
}

fn flags(prot: Prot) -> u32 {
    let bit = |p, f| if prot.contains(p) { f } else { 0 };
    bit(Prot::READ, PF_R) | bit(Prot::WRITE, PF_W) | bit(Prot::EXEC, PF_X)
}

/// Writes the core of the calling thread's process.
pub(super) fn write(
    cx: &Cx,
    sink: &mut Sink,
    me: &ThreadNotes,
    threads: &[Arc<ThreadNotes>],
    info: &SigInfo,
) -> Result<(), Errno> {
    let process = cx.process();
    let mm = cx.mm().clone();
    let areas = mm.dump_areas(DumpFilter::from_bits_truncate(process.core_filter.load(Relaxed)))?;
    let mut notes = Notes::default();
    notes.status(me);
    notes.process(cx, process, info, &areas);
    notes.extended(me);
    for other in threads.iter().filter(|t| t.tid != me.tid) {
        notes.status(other);
        notes.extended(other);
    }
    let count = areas.len() + 1;
    let notes_at = HEADER + SEGMENT * count as u64;
    let data_at = (notes_at + notes.bytes.len() as u64).next_multiple_of(PAGE);
    sink.write(header(count)?.as_bytes())?;
    let size = notes.bytes.len() as u64;
    let segment =
        Segment { kind: PT_NOTE, flags: 0, offset: notes_at, vaddr: 0, paddr: 0, filesz: size, memsz: 0, align: 4 };
    sink.write(segment.as_bytes())?;
    let mut at = data_at;
    for area in &areas {
        let segment = Segment {
            kind: PT_LOAD,
            flags: flags(area.prot),
            offset: at,
            vaddr: area.start,
            paddr: 0,
            filesz: area.kept,
            memsz: area.end - area.start,
            align: PAGE,
        };
        sink.write(segment.as_bytes())?;
        at += area.kept;
    }
    sink.write(&notes.bytes)?;
    sink.skip(data_at - sink.at())?;
    memory(cx, &mm, sink, &areas)?;
    sink.finish()
}

/// Writes what is kept of the areas. Pages that cannot be read are zeroes.
fn memory(cx: &Cx, mm: &Mm, sink: &mut Sink, areas: &[DumpArea]) -> Result<(), Errno> {
    let mut page = Vec::new();
    page.try_reserve_exact(PAGE_SIZE).map_err(|_| Errno::ENOMEM)?;
    page.resize(PAGE_SIZE, 0u8);
    for area in areas {
        for at in (area.start..area.start + area.kept).step_by(PAGE_SIZE) {
            if cx.task.thread().is_some_and(|t| t.fatal()) {
                return Err(Errno::EINTR);
            }
            let got = mm.read_forced(VirtAddr(at), &mut page);
            if got < page.len() || page.iter().all(|b| *b == 0) {
                sink.skip(PAGE)?;
            } else {
                sink.write(&page)?;
            }
            sched::cond_resched();
        }
    }
    Ok(())
}

//! Reading ELF headers: which parts of the file go where, who interprets it. Pure: bytes in, a plan out; the file and the
//! address space are the loader's business. Sources: elf(5), the x86-64 psABI.

use abi::Errno;
use machine::{PAGE_SIZE, USER_MAX};
use smallvec::SmallVec;

/// Bytes of the file header.
pub const HEADER_SIZE: usize = 64;
/// Bytes of one program header.
pub const PHDR_SIZE: usize = 56;
/// The most bytes of program headers that are read.
const MAX_PHDRS_SIZE: usize = 65536;
/// Longest interpreter path, its NUL included.
const PATH_MAX: u64 = 4096;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// Little-endian fields of a byte string; reading past the end gives `None`.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }
    fn u16(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_le_bytes)
    }
    fn u32(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_le_bytes)
    }
    fn u64(&self, at: usize) -> Option<u64> {
        self.bytes(at).map(u64::from_le_bytes)
    }
}

/// The file header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Position-independent (`ET_DYN`).
    pub relocatable: bool,
    /// Entry point, before relocation.
    pub entry: u64,
    /// Where the program headers lie in the file.
    pub phoff: u64,
    /// How many there are.
    pub phnum: u16,
}

impl Header {
    /// Reads the header of a 64-bit x86 program or shared object.
    pub fn parse(file: &[u8]) -> Result<Header, Errno> {
        let f = Fields(file);
        Header::fields(&f).ok_or(Errno::ENOEXEC)
    }

    fn fields(f: &Fields) -> Option<Header> {
        if f.bytes(0)? != *b"\x7fELF" {
            return None;
        }
        let kind = f.u16(16)?;
        let phnum = f.u16(56)?;
        let good = (kind == ET_EXEC || kind == ET_DYN)
            && f.u16(18)? == EM_X86_64
            && f.u16(54)? as usize == PHDR_SIZE
            && phnum > 0
            && phnum as usize * PHDR_SIZE <= MAX_PHDRS_SIZE;
        good.then_some(Header { relocatable: kind == ET_DYN, entry: f.u64(24)?, phoff: f.u64(32)?, phnum })
    }

    /// Bytes of all program headers.
    pub fn phdrs_size(&self) -> usize {
        self.phnum as usize * PHDR_SIZE
    }
}

/// One part of the file to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address before relocation.
    pub vaddr: u64,
    /// Place in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub filesz: u64,
    /// Bytes in memory.
    pub memsz: u64,
    /// Alignment asked for.
    pub align: u64,
    /// Readable, writable, executable.
    pub rights: (bool, bool, bool),
}

/// What the program headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The loadable segments, in file order.
    pub segments: SmallVec<[Segment; 6]>,
    /// Place and size of the interpreter's path in the file.
    pub interp: Option<(u64, usize)>,
    /// Address of the program headers in memory, before relocation.
    pub phdr: Option<u64>,
    /// `PT_GNU_STACK` asks for an executable stack; without that header x86-64 gives none.
    pub exec_stack: bool,
}

impl Plan {
    /// Reads the table of program headers `table` of the file with header `header`.
    pub fn parse(header: &Header, table: &[u8]) -> Result<Plan, Errno> {
        let mut plan = Plan::default();
        for entry in table.chunks_exact(PHDR_SIZE).take(header.phnum as usize) {
            plan.add(header, &Fields(entry)).ok_or(Errno::ENOEXEC)?;
        }
        Ok(plan)
    }

    fn add(&mut self, header: &Header, f: &Fields) -> Option<()> {
        let (kind, flags) = (f.u32(0)?, f.u32(4)?);
        let (offset, vaddr, filesz, memsz, align) = (f.u64(8)?, f.u64(16)?, f.u64(32)?, f.u64(40)?, f.u64(48)?);
        match kind {
            PT_LOAD => {
                let rights = (flags & PF_R != 0, flags & PF_W != 0, flags & PF_X != 0);
                self.segments.push(Segment { vaddr, offset, filesz, memsz, align, rights });
                // The headers' address in memory when no PT_PHDR names it.
                if self.phdr.is_none() && header.phoff >= offset && header.phoff.wrapping_sub(offset) < filesz {
                    self.phdr = Some(header.phoff.wrapping_sub(offset).wrapping_add(vaddr));
                }
            }
            PT_INTERP if self.interp.is_none() => {
                if !(2..=PATH_MAX).contains(&filesz) {
                    return None;
                }
                self.interp = Some((offset, filesz as usize));
            }
            PT_PHDR => self.phdr = Some(vaddr),
            PT_GNU_STACK => self.exec_stack = flags & PF_X != 0,
            _ => {}
        }
        Some(())
    }

    /// First and past-the-last page address of the loaded image before relocation; `Err(EINVAL)` if a segment cannot be
    /// placed in user space.
    pub fn span(&self) -> Result<(u64, u64), Errno> {
        let (mut low, mut high) = (u64::MAX, 0);
        for s in &self.segments {
            let end = s.vaddr.checked_add(s.memsz).ok_or(Errno::EINVAL)?;
            if s.filesz > s.memsz || end > USER_MAX || (s.vaddr ^ s.offset) % PAGE_SIZE as u64 != 0 {
                return Err(Errno::EINVAL);
            }
            low = low.min(s.vaddr & !(PAGE_SIZE as u64 - 1));
            high = high.max(end.next_multiple_of(PAGE_SIZE as u64));
        }
        if low >= high { Err(Errno::EINVAL) } else { Ok((low, high)) }
    }

    /// The largest alignment a segment asks for; not a power of two counts as none.
    pub fn align(&self) -> u64 {
        let wanted = self.segments.iter().map(|s| s.align).filter(|a| a.is_power_of_two()).max();
        wanted.unwrap_or(0).clamp(PAGE_SIZE as u64, 1 << 30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn header(kind: u16, machine: u16, phnum: u16) -> Vec<u8> {
        let mut h = Vec::from([0u8; HEADER_SIZE]);
        h[..4].copy_from_slice(b"\x7fELF");
        h[16..18].copy_from_slice(&kind.to_le_bytes());
        h[18..20].copy_from_slice(&machine.to_le_bytes());
        h[24..32].copy_from_slice(&0x40_1000u64.to_le_bytes());
        h[32..40].copy_from_slice(&64u64.to_le_bytes());
        h[54..56].copy_from_slice(&(PHDR_SIZE as u16).to_le_bytes());
        h[56..58].copy_from_slice(&phnum.to_le_bytes());
        h
    }

    fn phdr(kind: u32, flags: u32, words: [u64; 6]) -> Vec<u8> {
        let mut p = Vec::new();
        p.extend(kind.to_le_bytes());
        p.extend(flags.to_le_bytes());
        words.iter().for_each(|w| p.extend(w.to_le_bytes()));
        p
    }

    #[test]
    fn a_header_must_be_an_x86_64_program() {
        assert!(Header::parse(&header(ET_EXEC, EM_X86_64, 1)).is_ok());
        for bad in [header(1, EM_X86_64, 1), header(ET_DYN, 3, 1), header(ET_DYN, EM_X86_64, 0)] {
            assert_eq!(Header::parse(&bad), Err(Errno::ENOEXEC));
        }
        assert_eq!(Header::parse(b"\x7fELF"), Err(Errno::ENOEXEC));
        assert_eq!(Header::parse(&header(ET_DYN, EM_X86_64, 2000)), Err(Errno::ENOEXEC));
    }

    #[test]
    fn the_plan_finds_segments_interpreter_and_headers() {
        let h = Header::parse(&header(ET_DYN, EM_X86_64, 3)).unwrap();
        let mut table = phdr(PT_LOAD, PF_R | PF_X, [0, 0, 0, 0x1234, 0x1234, 0x1000]);
        table.extend(phdr(PT_INTERP, PF_R, [0x300, 0x300, 0, 28, 28, 1]));
        table.extend(phdr(PT_LOAD, PF_R | PF_W, [0x2000, 0x3000, 0, 0x10, 0x5000, 0x20_0000]));
        let plan = Plan::parse(&h, &table).unwrap();
        assert_eq!(plan.segments.len(), 2);
        assert_eq!(plan.interp, Some((0x300, 28)));
        assert_eq!(plan.phdr, Some(64));
        assert_eq!(plan.span(), Ok((0, 0x8000)));
        assert_eq!(plan.align(), 0x20_0000);
        assert!(!plan.exec_stack);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic_or_plan_outside_user_space(
            mut file in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
            real in proptest::bool::ANY,
        ) {
            if real {
                let start = header(ET_DYN, EM_X86_64, 4);
                file.splice(..HEADER_SIZE.min(file.len()), start);
            }
            if let Ok(h) = Header::parse(&file)
                && let Ok(plan) = Plan::parse(&h, file.get(HEADER_SIZE..).unwrap_or_default())
                && let Ok((low, high)) = plan.span()
            {
                assert!(low < high && high <= USER_MAX + PAGE_SIZE as u64);
                assert!(plan.align().is_power_of_two());
            }
        }
    }

    #[test]
    fn segments_that_cannot_be_placed_are_refused() {
        let h = Header::parse(&header(ET_EXEC, EM_X86_64, 1)).unwrap();
        for words in [
            [0, u64::MAX - 5, 0, 1, 10, 0],
            [0, 0x1000, 0, 20, 10, 0],
            [0, USER_MAX, 0, 1, 10, 0],
            [0x10, 0x1000, 0, 1, 10, 0],
        ] {
            let plan = Plan::parse(&h, &phdr(PT_LOAD, PF_R, words)).unwrap();
            assert_eq!(plan.span(), Err(Errno::EINVAL));
        }
        assert_eq!(Plan::default().span(), Err(Errno::EINVAL));
        let interp = phdr(PT_INTERP, PF_R, [0, 0, 0, 1, 1, 1]);
        assert_eq!(Plan::parse(&h, &interp), Err(Errno::ENOEXEC));
    }
}

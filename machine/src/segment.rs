//! Segments that a program chooses itself: what it has in its data segment registers, and the descriptors of its address space's local table.
//!
//! In 64-bit mode a data segment is a number to come back unchanged and, loaded into FS or GS, a base. Code segments that could run are not to be
//! had: they would be 16 or 32 bits wide.

/// Selectors in the data segment registers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs)]
pub struct Selectors {
    pub ds: u16,
    pub es: u16,
    pub fs: u16,
    pub gs: u16,
}

impl Selectors {
    /// As one word, DS lowest.
    pub(crate) fn pack(self) -> u64 {
        [self.gs, self.fs, self.es, self.ds].iter().fold(0, |word, s| word << 16 | u64::from(*s))
    }
    /// The reverse.
    pub(crate) fn unpack(word: u64) -> Selectors {
        let [ds, es, fs, gs] = [0, 16, 32, 48].map(|at| (word >> at) as u16);
        Selectors { ds, es, fs, gs }
    }
}

/// Selectors of the segments every program has: 64-bit code, and the stack.
pub const USER_CS: u16 = 0x33;
/// See [`USER_CS`].
pub const USER_SS: u16 = 0x2b;

/// Descriptors a local table can have.
pub const LDT_ENTRIES: usize = 8192;

/// What a descriptor says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Segment {
    /// First address.
    pub base: u32,
    /// Last offset, 20 bits.
    pub limit: u32,
    /// The limit counts pages.
    pub pages: bool,
    /// Bit 0: writable, or for code readable; bit 1: grows down, or conforming; bit 2: code.
    pub kind: u8,
    /// Can be loaded.
    pub present: bool,
    /// A bit for the program's use.
    pub available: bool,
}

/// A descriptor that a program may have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Descriptor(u64);

impl Descriptor {
    /// Names no segment.
    pub const EMPTY: Descriptor = Descriptor(0);

    /// The descriptor of a 32-bit segment for programs; `None` for code that could run.
    pub fn new(s: &Segment) -> Option<Descriptor> {
        if s.kind & 4 != 0 && s.present {
            return None;
        }
        let (base, limit) = (u64::from(s.base), u64::from(s.limit));
        // Marked as used, so that the CPU has nothing to write there.
        let kind = u64::from(s.kind & 7) << 1 | 1;
        let bits = [(s.present, 47), (s.available, 52), (true, 54), (s.pages, 55)];
        let flags = bits.iter().filter(|(on, _)| *on).fold(0, |flags, (_, bit)| flags | 1 << bit);
        let low = limit & 0xffff | (base & 0xff_ffff) << 16;
        let high = (limit >> 16 & 0xf) << 48 | (base >> 24) << 56;
        Some(Descriptor(low | high | (0x70 | kind) << 40 | flags))
    }

    /// The CPU's form of it.
    pub fn word(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_the_hardwares_and_never_code_that_runs() {
        let flat = Segment { limit: 0xf_ffff, pages: true, kind: 1, present: true, ..Segment::default() };
        assert_eq!(Descriptor::new(&flat), Some(Descriptor(0x00cf_f300_0000_ffff)));
        let odd = Segment { base: 0x1234_5678, limit: 0x1_2345, available: true, ..Segment::default() };
        assert_eq!(Descriptor::new(&odd), Some(Descriptor(0x1251_7134_5678_2345)));
        assert_eq!(Descriptor::new(&Segment { kind: 4, ..flat }), None);
        let selectors = Selectors { ds: 1, es: 2, fs: 3, gs: 4 };
        assert_eq!((selectors.pack(), Selectors::unpack(selectors.pack())), (0x0004_0003_0002_0001, selectors));
        let absent = Descriptor::new(&Segment { kind: 4, present: false, ..flat });
        assert_eq!(absent.map(|d| d.word() >> 40 & 0xff), Some(0x79));
    }
}

//! The image of the extended state (x87, SSE, AVX, ...) in signal frames: where its parts lie, and whether one that a program has had in its hands may
//! be loaded. Sources: Intel SDM volume 1 chapter 13 (XSAVE), Linux `struct _fpx_sw_bytes` (`asm/sigcontext.h`).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

/// The CPU would fault on the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// MXCSR in the legacy area.
pub const MXCSR_AT: usize = 24;
/// Software-reserved bytes of the legacy area.
pub const SW_AT: usize = 464;
/// The header of XSAVE, behind the legacy area.
pub const HEADER: usize = 512;
const HEADER_END: usize = HEADER + 64;
/// First mark of an image with more than the legacy area, at its software-reserved bytes; the second is behind its last component.
pub const MAGIC1: u32 = 0x4650_5853;
/// The second of the marks.
pub const MAGIC2: u32 = 0x4650_5845;

/// What the CPU has.
pub struct Limits {
    /// Bytes of an image in the standard format.
    pub size: usize,
    /// Components, 0 without XSAVE.
    pub components: u64,
    /// Bits of MXCSR that exist.
    pub mxcsr: u32,
}

fn word<const N: usize>(image: &[u8], at: usize) -> Option<[u8; N]> {
    image.get(at..)?.first_chunk().copied()
}

fn word32(image: &[u8], at: usize) -> Option<u32> {
    word(image, at).map(u32::from_le_bytes)
}

/// Looks for what the CPU would fault on when the image is loaded; else says whether it has more than the legacy area.
pub fn check(image: &[u8], limits: &Limits) -> Result<bool, Malformed> {
    if image.len() < HEADER || word32(image, MXCSR_AT).is_none_or(|mxcsr| mxcsr & !limits.mxcsr != 0) {
        return Err(Malformed);
    }
    let extended = limits.components != 0
        && word32(image, SW_AT) == Some(MAGIC1)
        && word32(image, SW_AT + 16).is_some_and(|size| size as usize == limits.size)
        && word32(image, limits.size) == Some(MAGIC2);
    if extended {
        let present = word(image, HEADER).map(u64::from_le_bytes).ok_or(Malformed)?;
        let rest = image.get(HEADER + 8..HEADER_END).ok_or(Malformed)?;
        if present & !limits.components != 0 || rest.iter().any(|byte| *byte != 0) {
            return Err(Malformed);
        }
    }
    Ok(extended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const LIMITS: Limits = Limits { size: 832, components: 7, mxcsr: 0xffff };

    /// An image as the kernel writes it.
    fn image() -> Vec<u8> {
        let mut image = vec![0; LIMITS.size + 4];
        for (at, word) in
            [(MXCSR_AT, 0x1f80), (SW_AT, MAGIC1), (SW_AT + 16, LIMITS.size as u32), (HEADER, 3), (LIMITS.size, MAGIC2)]
        {
            image[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        image
    }

    #[test]
    fn an_image_is_whole_or_legacy() {
        assert_eq!(check(&image(), &LIMITS), Ok(true));
        assert_eq!(check(&image()[..HEADER], &LIMITS), Ok(false));
        assert_eq!(check(&image()[..HEADER - 1], &LIMITS), Err(Malformed));
        assert_eq!(check(&image(), &Limits { components: 0, ..LIMITS }), Ok(false));
        let mut bad = image();
        bad[HEADER + 15] = 0x80; // the compacted format
        assert_eq!(check(&bad, &LIMITS), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_the_cpu_would_fault_on_is_refused(
            changes in proptest::collection::vec(
                (prop_oneof![MXCSR_AT..MXCSR_AT + 4, SW_AT..HEADER_END, LIMITS.size..LIMITS.size + 4], any::<u8>()),
                0..4,
            ),
            len in prop_oneof![4 => Just(LIMITS.size + 4), 1 => 0..LIMITS.size + 8],
        ) {
            let mut image = image();
            for (at, byte) in changes {
                image[at] = byte;
            }
            image.resize(len, 0);
            let wide = |at: usize| image.get(at..at + 8).map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap()));
            let mxcsr = wide(MXCSR_AT) as u32;
            let header_faults = wide(HEADER) > 7 || (HEADER + 8..HEADER_END).step_by(8).any(|at| wide(at) != 0);
            match check(&image, &LIMITS) {
                Ok(extended) => {
                    prop_assert!(len >= HEADER && mxcsr <= 0xffff);
                    prop_assert!(!extended || !header_faults && len >= LIMITS.size + 4);
                }
                Err(_) => prop_assert!(len < HEADER || mxcsr > 0xffff || header_faults),
            }
        }
    }
}

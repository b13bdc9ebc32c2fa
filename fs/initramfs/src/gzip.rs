//! One gzip member (RFC 1952): header, deflate stream, check values.

use crate::Error;
use alloc::vec::Vec;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// First bytes of a member that uses deflate, the only method there is.
pub const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
/// Flag bits that RFC 1952 reserves.
const RESERVED: u8 = 0xe0;

/// First guess of the uncompressed size, in multiples of the compressed one, and the least room kept for output.
const GROWTH: usize = 3;
const ROOM: usize = 64 << 10;

/// Uncompresses the member at the start of `input`; returns its contents and its length in `input`.
pub fn inflate(input: &[u8]) -> Result<(Vec<u8>, usize), Error> {
    let start = header_len(input)?;
    let mut state = DecompressorOxide::new();
    let mut out = Vec::new();
    let (mut read, mut written) = (start, 0usize);
    grow(&mut out, input.len().saturating_mul(GROWTH).max(ROOM))?;
    loop {
        let rest = input.get(read..).ok_or(Error::Truncated)?;
        let (status, consumed, produced) =
            decompress(&mut state, rest, &mut out, written, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
        read = read.saturating_add(consumed);
        written = written.saturating_add(produced);
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput => {
                let more = out.len().max(ROOM);
                grow(&mut out, more)?;
            }
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => return Err(Error::Truncated),
            _ => return Err(Error::BadMember),
        }
    }
    out.truncate(written);
    let tail: &[u8; 8] = input.get(read..).and_then(|rest| rest.first_chunk()).ok_or(Error::Truncated)?;
    let [a, b, c, d, e, f, g, h] = *tail;
    if u32::from_le_bytes([a, b, c, d]) != crc32(&out) || u32::from_le_bytes([e, f, g, h]) != written as u32 {
        return Err(Error::BadMember);
    }
    Ok((out, read + tail.len()))
}

fn grow(out: &mut Vec<u8>, more: usize) -> Result<(), Error> {
    out.try_reserve_exact(more).map_err(|_| Error::NoMemory)?;
    out.resize(out.len().saturating_add(more), 0);
    Ok(())
}

/// Length of the member's header.
fn header_len(input: &[u8]) -> Result<usize, Error> {
    let [m0, m1, method, flags, ..] = *input.first_chunk::<10>().ok_or(Error::Truncated)?;
    if [m0, m1, method] != MAGIC || flags & RESERVED != 0 {
        return Err(Error::BadMember);
    }
    let mut len = 10;
    if flags & FEXTRA != 0 {
        let extra = input.get(len..).and_then(|rest| rest.first_chunk::<2>()).ok_or(Error::Truncated)?;
        len += 2 + usize::from(u16::from_le_bytes(*extra));
    }
    for text in [FNAME, FCOMMENT] {
        if flags & text != 0 {
            let rest = input.get(len..).ok_or(Error::Truncated)?;
            len += 1 + rest.iter().position(|b| *b == 0).ok_or(Error::Truncated)?;
        }
    }
    if flags & FHCRC != 0 {
        len += 2;
    }
    if len > input.len() { Err(Error::Truncated) } else { Ok(len) }
}

/// Tables of the CRC-32 of ISO 3309, eight bytes a step.
static CRC: [[u32; 256]; 8] = {
    let mut tables = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut i = 0;
        while i < 256 {
            let last = tables[table - 1][i];
            tables[table][i] = last >> 8 ^ tables[0][(last & 0xff) as usize];
            i += 1;
        }
        table += 1;
    }
    tables
};

/// CRC-32 of `data` (a byte indexes a table of 256: always in bounds).
fn crc32(data: &[u8]) -> u32 {
    let at = |table: usize, byte: u32| CRC[table][(byte & 0xff) as usize];
    let (words, tail) = data.as_chunks::<8>();
    let mut crc = !0u32;
    for word in words {
        let [a, b, c, d, e, f, g, h] = *word;
        let low = crc ^ u32::from_le_bytes([a, b, c, d]);
        let high = u32::from_le_bytes([e, f, g, h]);
        crc = at(7, low)
            ^ at(6, low >> 8)
            ^ at(5, low >> 16)
            ^ at(4, low >> 24)
            ^ at(3, high)
            ^ at(2, high >> 8)
            ^ at(1, high >> 16)
            ^ at(0, high >> 24);
    }
    !tail.iter().fold(crc, |crc, byte| crc >> 8 ^ at(0, crc ^ u32::from(*byte)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use miniz_oxide::deflate::compress_to_vec;

    /// A member with every optional header field.
    pub(crate) fn member(data: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[FEXTRA | FNAME | FCOMMENT | FHCRC, 0, 0, 0, 0, 0, 3]);
        out.extend_from_slice(&[2, 0, 9, 9]);
        out.extend_from_slice(b"name\0comment\0\x12\x34");
        out.extend_from_slice(&compress_to_vec(data, 6));
        out.extend_from_slice(&crc32(data).to_le_bytes());
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        out
    }

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_member_comes_back_and_reports_its_length() {
        let data: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let mut image = member(&data);
        let len = image.len();
        image.extend_from_slice(b"next");
        assert_eq!(inflate(&image), Ok((data, len)));
    }

    #[test]
    fn cuts_and_flipped_bits_are_errors() {
        let image = member(b"some text some text some text");
        for len in 0..image.len() {
            assert!(inflate(&image[..len]).is_err(), "cut at {len}");
        }
        for byte in image.len() - 8..image.len() {
            let mut bad = image.clone();
            bad[byte] ^= 0x10;
            assert!(inflate(&bad).is_err(), "flip at {byte}");
        }
    }
}

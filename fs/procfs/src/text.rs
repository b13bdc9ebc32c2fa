//! The text of a file being made. Numbers are written by hand: programs read these files often, and the formatting machinery
//! of `core::fmt` costs several times as much.

use abi::Errno;
use alloc::vec::Vec;
use core::fmt;

/// Room a text starts with: enough for most files.
const ROOM: usize = 512;

/// A growing text. Running out of memory is remembered and reported at the end.
pub struct Text {
    /// What is written, and room after it.
    buf: Vec<u8>,
    /// Bytes written.
    at: usize,
    full: bool,
}

impl Text {
    /// An empty text with room for a common file.
    pub fn new() -> Text {
        let mut text = Text { buf: Vec::new(), at: 0, full: false };
        text.grow(ROOM);
        text
    }
    /// The text, or ENOMEM when it did not fit.
    pub fn finish(mut self) -> Result<Vec<u8>, Errno> {
        self.buf.truncate(self.at);
        if self.full { Err(Errno::ENOMEM) } else { Ok(self.buf) }
    }
    /// Bytes so far: where the next one goes.
    pub fn position(&self) -> usize {
        self.at
    }
    /// Takes back what was written after a position.
    pub fn truncate(&mut self, to: usize) {
        self.at = self.at.min(to);
    }
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        let more = more.max(self.buf.len());
        if self.buf.try_reserve_exact(more).is_err() {
            self.full = true;
        } else {
            self.buf.resize(self.buf.len() + more, 0);
        }
    }
    /// Room for `len` bytes where the text ends; `None` without memory.
    #[inline]
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.buf.len() - self.at < len {
            self.grow(len);
        }
        let room = self.buf.get_mut(self.at..self.at.wrapping_add(len))?;
        self.at += len;
        Some(room)
    }
    /// Appends bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Text {
        if let Some(room) = self.room(bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self
    }
    /// Appends text.
    #[inline]
    pub fn str(&mut self, text: &str) -> &mut Text {
        self.bytes(text.as_bytes())
    }
    /// Appends one ASCII character.
    #[inline]
    pub fn ch(&mut self, ch: char) -> &mut Text {
        if let Some([room]) = self.room(1) {
            *room = ch as u8;
        }
        self
    }
    /// Appends a number.
    #[inline]
    pub fn dec(&mut self, value: u64) -> &mut Text {
        if value < 10 {
            return self.ch(char::from(b'0' + value as u8));
        }
        let width = value.ilog10() as usize + 1;
        if let Some(room) = self.room(width) {
            let mut value = value;
            for digit in room.iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        self
    }
    /// Appends a signed number.
    pub fn int(&mut self, value: i64) -> &mut Text {
        if value < 0 {
            self.ch('-');
        }
        self.dec(value.unsigned_abs())
    }
    /// Appends a number, right-aligned in at least `width` columns.
    pub fn dec_width(&mut self, value: u64, width: usize) -> &mut Text {
        let (digits, start) = digits(value);
        self.pad(' ', width.saturating_sub(digits.len() - start));
        self.bytes(digits.get(start..).unwrap_or_default())
    }
    /// Appends a number with leading zeroes to `width` columns.
    pub fn dec_zeros(&mut self, value: u64, width: usize) -> &mut Text {
        let (digits, start) = digits(value);
        self.pad('0', width.saturating_sub(digits.len() - start));
        self.bytes(digits.get(start..).unwrap_or_default())
    }
    /// Appends a hexadecimal number with leading zeroes to `width` columns.
    pub fn hex(&mut self, value: u64, width: usize) -> &mut Text {
        let needed = (64 - value.leading_zeros() as usize).div_ceil(4).max(1).max(width).min(16);
        for place in (0..needed).rev() {
            let digit = (value >> (4 * place)) as u8 & 15;
            self.bytes(&[if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }]);
        }
        self
    }
    /// Appends a hexadecimal number in capitals with leading zeroes to `width` columns.
    pub fn upper_hex(&mut self, value: u64, width: usize) -> &mut Text {
        let start = self.at;
        self.hex(value, width);
        self.buf.get_mut(start..self.at).unwrap_or_default().make_ascii_uppercase();
        self
    }
    /// Appends `ch` `count` times.
    pub fn pad(&mut self, ch: char, count: usize) -> &mut Text {
        for _ in 0..count {
            self.ch(ch);
        }
        self
    }
    /// Appends text padded with spaces on the right to `width` columns.
    pub fn left(&mut self, text: &str, width: usize) -> &mut Text {
        self.str(text).pad(' ', width.saturating_sub(text.len()))
    }
    /// Appends a name with the characters that separate fields written as octal escapes.
    pub fn escaped(&mut self, text: &[u8], special: &[u8]) -> &mut Text {
        for byte in text {
            if special.contains(byte) {
                let digit = |shift: u8| b'0' + (byte >> shift & 7);
                self.bytes(&[b'\\', digit(6), digit(3), digit(0)]);
            } else {
                self.bytes(&[*byte]);
            }
        }
        self
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::new()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.str(text);
        Ok(())
    }
}

/// Decimal digits of a number, at the end of the array from the returned index on.
#[inline]
fn digits(mut value: u64) -> ([u8; 20], usize) {
    let mut out = [0u8; 20];
    let mut start = out.len();
    for slot in out.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        start -= 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    (out, start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_escapes() {
        let mut t = Text::new();
        t.dec(0).ch(' ').dec(u64::MAX).ch(' ').int(-42).ch(' ').dec_width(7, 4).dec_zeros(7, 2).ch(' ').hex(0xbeef, 8);
        t.ch(' ').hex(u64::MAX, 8).ch(' ').escaped(b"a b\\", b" \t\n\\").left("x", 3).ch('|');
        assert_eq!(
            t.finish().unwrap(),
            b"0 18446744073709551615 -42    707 0000beef ffffffffffffffff a\\040b\\134x  |"
        );
    }
}

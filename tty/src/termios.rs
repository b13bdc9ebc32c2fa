//! The settings of one terminal, in typed form, and their conversion to and from the two user structures.

use abi::tty::{Cflag, Iflag, Lflag, NCC, NCCS, Oflag, RawTermio, RawTermios, RawTermios2, cc};

/// A control character with this value is switched off (`_POSIX_VDISABLE`).
pub const DISABLED: u8 = 0;

/// The settings of one terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Termios {
    /// Input modes.
    pub iflag: Iflag,
    /// Output modes.
    pub oflag: Oflag,
    /// Line parameters.
    pub cflag: Cflag,
    /// Line-discipline modes.
    pub lflag: Lflag,
    /// Number of the line discipline, as last stored by the user.
    pub line: u8,
    /// Control characters.
    pub cc: [u8; NCCS],
    /// Input and output speeds in baud; stored only.
    pub speed: (u32, u32),
}

impl Termios {
    /// Linux's `tty_std_termios`: a cooked terminal at 38400 baud.
    pub fn cooked() -> Termios {
        let mut chars = [DISABLED; NCCS];
        let set = [
            (cc::VINTR, 3),
            (cc::VQUIT, 28),
            (cc::VERASE, 127),
            (cc::VKILL, 21),
            (cc::VEOF, 4),
            (cc::VMIN, 1),
            (cc::VSTART, 17),
            (cc::VSTOP, 19),
            (cc::VSUSP, 26),
            (cc::VREPRINT, 18),
            (cc::VDISCARD, 15),
            (cc::VWERASE, 23),
            (cc::VLNEXT, 22),
        ];
        for (index, value) in set {
            chars[index] = value;
        }
        Termios {
            iflag: Iflag::ICRNL | Iflag::IXON,
            oflag: Oflag::OPOST | Oflag::ONLCR,
            cflag: Cflag::B38400 | Cflag::CS8 | Cflag::CREAD | Cflag::HUPCL,
            lflag: Lflag::ISIG
                | Lflag::ICANON
                | Lflag::ECHO
                | Lflag::ECHOE
                | Lflag::ECHOK
                | Lflag::ECHOCTL
                | Lflag::ECHOKE
                | Lflag::IEXTEN,
            line: 0,
            cc: chars,
            speed: (38400, 38400),
        }
    }

    /// What a new pty master has: every byte passes unchanged.
    pub fn transparent() -> Termios {
        Termios {
            iflag: Iflag::empty(),
            oflag: Oflag::empty(),
            cflag: Cflag::B38400 | Cflag::CS8 | Cflag::CREAD,
            lflag: Lflag::empty(),
            ..Termios::cooked()
        }
    }

    /// The user's new settings; speeds stay as they are (TCSETS carries them only as a code in `c_cflag`).
    pub fn with_raw(&self, raw: &RawTermios) -> Termios {
        let baud = baud_of(raw.c_cflag).unwrap_or(self.speed.1);
        Termios {
            iflag: Iflag::from_bits_retain(raw.c_iflag),
            oflag: Oflag::from_bits_retain(raw.c_oflag),
            cflag: Cflag::from_bits_retain(raw.c_cflag),
            lflag: Lflag::from_bits_retain(raw.c_lflag),
            line: raw.c_line,
            cc: raw.c_cc,
            speed: (baud, baud),
        }
    }

    /// As `with_raw`, with the speeds that TCSETS2 names where the code is BOTHER.
    pub fn with_raw2(&self, raw: &RawTermios2) -> Termios {
        let mut new = self.with_raw(&raw.base);
        if baud_of(raw.base.c_cflag).is_none() {
            new.speed = (raw.c_ispeed, raw.c_ospeed);
        }
        new
    }

    /// What TCSETA changes: the lower half of each flag word and the first characters.
    pub fn with_termio(&self, old: &RawTermio) -> Termios {
        let mut raw = self.raw();
        let words = [
            (&mut raw.c_iflag, old.c_iflag),
            (&mut raw.c_oflag, old.c_oflag),
            (&mut raw.c_cflag, old.c_cflag),
            (&mut raw.c_lflag, old.c_lflag),
        ];
        for (word, half) in words {
            *word = *word & 0xffff_0000 | u32::from(half);
        }
        raw.c_line = old.c_line;
        raw.c_cc.iter_mut().zip(old.c_cc).for_each(|(to, c)| *to = c);
        self.with_raw(&raw)
    }

    /// What TCGETA returns.
    pub fn termio(&self) -> RawTermio {
        let raw = self.raw();
        let mut c_cc = [0; NCC];
        c_cc.iter_mut().zip(raw.c_cc).for_each(|(to, c)| *to = c);
        RawTermio {
            c_iflag: raw.c_iflag as u16,
            c_oflag: raw.c_oflag as u16,
            c_cflag: raw.c_cflag as u16,
            c_lflag: raw.c_lflag as u16,
            c_line: raw.c_line,
            c_cc,
            pad0: 0,
        }
    }

    /// These settings, but those of `old` where `locked` (TIOCSLCKTRMIOS) has a bit, or anything in a character, set.
    pub fn kept_from(&self, old: &Termios, locked: &RawTermios) -> Termios {
        let (mut new, old) = (self.raw(), old.raw());
        let words = [
            (&mut new.c_iflag, old.c_iflag, locked.c_iflag),
            (&mut new.c_oflag, old.c_oflag, locked.c_oflag),
            (&mut new.c_cflag, old.c_cflag, locked.c_cflag),
            (&mut new.c_lflag, old.c_lflag, locked.c_lflag),
        ];
        for (word, before, mask) in words {
            *word = *word & !mask | before & mask;
        }
        if locked.c_line != 0 {
            new.c_line = old.c_line;
        }
        for ((to, before), mask) in new.c_cc.iter_mut().zip(old.c_cc).zip(locked.c_cc) {
            if mask != 0 {
                *to = before;
            }
        }
        // The speed is that of the user's settings also where its code is locked.
        Termios { speed: self.speed, ..self.with_raw(&new) }
    }

    /// What TCGETS returns.
    pub fn raw(&self) -> RawTermios {
        RawTermios {
            c_iflag: self.iflag.bits(),
            c_oflag: self.oflag.bits(),
            c_cflag: self.cflag.bits(),
            c_lflag: self.lflag.bits(),
            c_line: self.line,
            c_cc: self.cc,
        }
    }

    /// What TCGETS2 returns.
    pub fn raw2(&self) -> RawTermios2 {
        RawTermios2 { base: self.raw(), c_ispeed: self.speed.0, c_ospeed: self.speed.1 }
    }

    /// `c` is the control character at `index` and that character is switched on.
    pub fn is(&self, c: u8, index: usize) -> bool {
        self.char(index) == c && c != DISABLED
    }

    /// The control character at `index`.
    pub fn char(&self, index: usize) -> u8 {
        self.cc.get(index).copied().unwrap_or(DISABLED)
    }
}

/// The speed that the `CBAUD` code in `cflag` stands for; `None` for BOTHER and unassigned codes.
fn baud_of(cflag: u32) -> Option<u32> {
    const LOW: [u32; 16] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
    const HIGH: [u32; 15] = [
        57600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000,
        2_500_000, 3_000_000, 3_500_000, 4_000_000,
    ];
    let code = cflag & Cflag::CBAUD.bits();
    match code & 0o10000 {
        0 => LOW.get(code as usize).copied(),
        _ => HIGH.get((code & 0o17).checked_sub(1)? as usize).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_structs_round_trip() {
        let t = Termios::cooked();
        assert_eq!(t.with_raw(&t.raw()), t);
        assert_eq!(t.with_raw2(&t.raw2()), t);
        assert_eq!(size_of::<RawTermios>(), 36);
        assert_eq!(size_of::<RawTermios2>(), 44);
    }

    #[test]
    fn speed_codes_follow_termbits() {
        assert_eq!(baud_of(0o15), Some(9600));
        assert_eq!(baud_of(0o10002), Some(115_200));
        assert_eq!(baud_of(0o10000), None);
    }
}

//! Tables of typed input against echo and what programs read. Expected values are what Linux's N_TTY gives on a pty.

use super::*;
use abi::tty::{Oflag, cc};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A terminal's discipline with its output, driven as `tty` does.
struct Rig {
    t: Termios,
    disc: LineDisc,
    out: OutQueue,
    signals: Vec<u8>,
    stopped: bool,
}

impl Rig {
    fn new(t: Termios) -> Rig {
        Rig { t, disc: LineDisc::new(), out: OutQueue::new(), signals: Vec::new(), stopped: false }
    }
    fn type_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut events = Events::default();
            let used = self.disc.input(&self.t, bytes, self.stopped, &mut self.out, &mut events);
            self.signals.extend(events.signal);
            self.stopped = events.stop.unwrap_or(self.stopped);
            if used == 0 {
                break;
            }
            bytes = &bytes[used..];
        }
    }
    fn screen(&mut self) -> String {
        let bytes: Vec<u8> = self.out.drain(..).collect();
        bytes.escape_ascii().to_string()
    }
    /// One read(2) of at most `len` bytes; `None` when it would wait.
    fn read(&mut self, len: usize) -> Option<String> {
        if !self.disc.readable(&self.t, false) {
            return None;
        }
        let mut buf = alloc::vec![0; len];
        let taken = self.disc.read(&self.t, &mut buf);
        Some(buf[..taken.bytes].escape_ascii().to_string())
    }
    fn reads(&mut self) -> Vec<String> {
        core::iter::from_fn(|| self.read(100)).collect()
    }
}

fn with(change: impl Fn(&mut Termios)) -> Termios {
    let mut t = Termios::cooked();
    change(&mut t);
    t
}

#[test]
fn cooked_input_echo_and_reads() {
    let cases: &[(&[u8], &str, &[&str])] = &[
        (b"hi\r", "hi\\r\\n", &["hi\\n"]),
        (b"hi\n", "hi\\r\\n", &["hi\\n"]),
        (b"ab\x7fc\n", "ab\\x08 \\x08c\\r\\n", &["ac\\n"]),
        (b"\x7f\x7fa\n", "a\\r\\n", &["a\\n"]),
        (b"a\x01\x7f\n", "a^A\\x08 \\x08\\x08 \\x08\\r\\n", &["a\\n"]),
        (b"one two\x17x\n", "one two\\x08 \\x08\\x08 \\x08\\x08 \\x08x\\r\\n", &["one x\\n"]),
        (b"abc\x15d\n", "abc\\x08 \\x08\\x08 \\x08\\x08 \\x08d\\r\\n", &["d\\n"]),
        (b"a\tb\x7f\x7fc\n", "a\\tb\\x08 \\x08\\x08\\x08\\x08\\x08\\x08\\x08\\x08c\\r\\n", &["ac\\n"]),
        (b"ab\x12c\n", "ab^R\\r\\nabc\\r\\n", &["abc\\n"]),
        (b"a\x16\x03b\n", "a^\\x08^Cb\\r\\n", &["a\\x03b\\n"]),
        (b"a\x16\x7fb\n", "a^\\x08^?b\\r\\n", &["a\\x7fb\\n"]),
        (b"one\ntwo\n", "one\\r\\ntwo\\r\\n", &["one\\n", "two\\n"]),
        (b"part\x04", "part", &["part"]),
        (b"\x04", "", &[""]),
        (b"x\n\x04", "x\\r\\n", &["x\\n", ""]),
        (b"unfinished", "unfinished", &[]),
    ];
    for (typed, screen, reads) in cases {
        let mut rig = Rig::new(Termios::cooked());
        rig.type_in(typed);
        assert_eq!(rig.screen(), *screen, "echo of {}", typed.escape_ascii());
        assert_eq!(rig.reads(), *reads, "reads after {}", typed.escape_ascii());
    }
}

#[test]
fn other_modes() {
    let no_echo = with(|t| t.lflag.remove(Lflag::ECHO));
    let echonl = with(|t| {
        t.lflag.remove(Lflag::ECHO);
        t.lflag.insert(Lflag::ECHONL);
    });
    let echoprt = with(|t| t.lflag.insert(Lflag::ECHOPRT));
    let plain_kill = with(|t| t.lflag.remove(Lflag::ECHOKE));
    let utf8 = with(|t| t.iflag.insert(Iflag::IUTF8));
    let igncr = with(|t| t.iflag.insert(Iflag::IGNCR));
    let inlcr = with(|t| t.iflag.insert(Iflag::INLCR));
    let eol = with(|t| t.cc[cc::VEOL] = b';');
    let raw = with(|t| {
        t.lflag = Lflag::empty();
        t.iflag = Iflag::empty();
        t.oflag = Oflag::empty();
    });
    let cbreak = with(|t| t.lflag.remove(Lflag::ICANON));
    /// Name, settings, typed bytes, screen, reads.
    type Case<'a> = (&'a str, Termios, &'a [u8], &'a str, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        ("-echo", no_echo, b"pw\n", "", &["pw\\n"]),
        ("-echo echonl", echonl, b"pw\n", "\\r\\n", &["pw\\n"]),
        ("echoprt", echoprt, b"ab\x7f\x7fc\n", "ab\\\\ba/c\\r\\n", &["c\\n"]),
        ("-echoke", plain_kill, b"ab\x15c\n", "ab^U\\r\\nc\\r\\n", &["c\\n"]),
        ("iutf8", utf8, "é\x7fa\n".as_bytes(), "\\xc3\\xa9\\x08 \\x08a\\r\\n", &["a\\n"]),
        ("igncr", igncr, b"a\rb\n", "ab\\r\\n", &["ab\\n"]),
        ("inlcr -icrnl", with(|t| t.iflag = inlcr.iflag - Iflag::ICRNL), b"a\n", "a^M", &[]),
        ("eol ;", eol, b"a;b\n", "a;b\\r\\n", &["a;", "b\\n"]),
        ("raw", raw, b"a\r\x03\x7f\n", "", &["a\\r\\x03\\x7f\\n"]),
        ("cbreak", cbreak, b"a\x7f\n", "a^?^J", &["a\\x7f\\n"]),
        ("cbreak icrnl", cbreak, b"a\r", "a\\r\\n", &["a\\n"]),
    ];
    for (name, t, typed, screen, reads) in cases {
        let mut rig = Rig::new(*t);
        rig.type_in(typed);
        assert_eq!(rig.screen(), *screen, "{name}");
        assert_eq!(rig.reads(), *reads, "{name}");
    }
}

#[test]
fn signal_characters_flush_and_stop_processing() {
    let mut rig = Rig::new(Termios::cooked());
    rig.type_in(b"half\x03done\n");
    assert_eq!(rig.signals, [2]);
    assert_eq!(rig.screen(), "^Cdone\\r\\n", "the signal drops what was echoed before it");
    assert_eq!(rig.reads(), ["done\\n"]);
    rig.type_in(b"\x1c\x1a");
    assert_eq!(rig.signals, [2, 3, 20]);

    let mut rig = Rig::new(with(|t| t.lflag.insert(Lflag::NOFLSH)));
    rig.type_in(b"half\x03done\n");
    assert_eq!(rig.reads(), ["halfdone\\n"]);

    let mut rig = Rig::new(with(|t| t.lflag.remove(Lflag::ISIG)));
    rig.type_in(b"\x03\n");
    assert!(rig.signals.is_empty());
    assert_eq!(rig.reads(), ["\\x03\\n"]);
}

#[test]
fn flow_control_stops_and_starts() {
    let mut rig = Rig::new(Termios::cooked());
    rig.type_in(b"\x13");
    assert!(rig.stopped);
    rig.type_in(b"a");
    assert!(rig.stopped, "without IXANY only START starts");
    rig.type_in(b"\x11");
    assert!(!rig.stopped);
    let mut rig = Rig::new(with(|t| t.iflag.insert(Iflag::IXANY)));
    rig.type_in(b"\x13a");
    assert!(!rig.stopped);
}

#[test]
fn short_reads_keep_the_rest_of_the_line() {
    let mut rig = Rig::new(Termios::cooked());
    rig.type_in(b"hello\n");
    assert_eq!(rig.read(3).as_deref(), Some("hel"));
    assert_eq!(rig.read(3).as_deref(), Some("lo\\n"));
    assert_eq!(rig.read(3), None);
    rig.type_in(b"abc\x04");
    assert_eq!(rig.read(3).as_deref(), Some("abc"));
    assert_eq!(rig.read(3), None, "a filled buffer takes the end-of-file mark along");
}

#[test]
fn leaving_canonical_mode_makes_pending_input_readable() {
    let mut rig = Rig::new(Termios::cooked());
    rig.type_in(b"abc");
    assert_eq!(rig.read(9), None);
    let raw = with(|t| t.lflag.remove(Lflag::ICANON));
    rig.disc.set_termios(&rig.t, &raw);
    rig.t = raw;
    assert_eq!(rig.read(9).as_deref(), Some("abc"));
    rig.type_in(b"de\0");
    rig.disc.set_termios(&raw, &Termios::cooked());
    rig.t = Termios::cooked();
    assert_eq!(rig.read(9).as_deref(), Some("de\\x00"), "a zero byte of raw mode is not an end of file");
}

#[test]
fn a_full_line_still_takes_its_end() {
    let mut rig = Rig::new(with(|t| t.lflag.remove(Lflag::ECHO)));
    rig.type_in(&[b'x'; 6000]);
    assert_eq!(rig.read(9), None);
    rig.type_in(b"\n");
    let mut buf = [0; 5000];
    assert_eq!(rig.disc.read(&rig.t, &mut buf), read::Taken { bytes: 4096, ended: true });
    assert_eq!(&buf[4094..4096], b"x\n");
}

#[test]
fn raw_input_stops_when_full_and_resumes() {
    let mut rig = Rig::new(Termios::transparent());
    let mut events = Events::default();
    assert_eq!(rig.disc.input(&rig.t, &[1; 5000], false, &mut rig.out, &mut events), 4095);
    assert_eq!(rig.disc.room(&rig.t), 0);
    let mut buf = [0; 100];
    rig.disc.read(&rig.t, &mut buf);
    assert_eq!(rig.disc.room(&rig.t), 100);
}

#[test]
fn poll_waits_for_vmin_bytes() {
    let mut rig = Rig::new(with(|t| {
        t.lflag = Lflag::empty();
        t.cc[cc::VMIN] = 3;
    }));
    rig.type_in(b"ab");
    assert!(rig.disc.readable(&rig.t, false));
    assert!(!rig.disc.readable(&rig.t, true));
    rig.type_in(b"c");
    assert!(rig.disc.readable(&rig.t, true));
}

#[test]
fn output_modes() {
    let cases: &[(Oflag, &[u8], &str)] = &[
        (Oflag::OPOST | Oflag::ONLCR, b"a\nb", "a\\r\\nb"),
        (Oflag::OPOST, b"a\nb", "a\\nb"),
        (Oflag::ONLCR, b"a\nb", "a\\nb"),
        (Oflag::OPOST | Oflag::XTABS, b"a\tb\n\tc", "a       b\\n       c"),
        (Oflag::OPOST | Oflag::OCRNL, b"a\r", "a\\n"),
        (Oflag::OPOST | Oflag::ONOCR, b"\ra\r", "a\\r"),
        (Oflag::OPOST | Oflag::OLCUC, b"aB\xc3\xa9", "AB\\xc3\\xa9"),
    ];
    for (oflag, written, screen) in cases {
        let mut rig = Rig::new(with(|t| t.oflag = *oflag));
        rig.disc.output(&rig.t, written, &mut rig.out);
        assert_eq!(rig.screen(), *screen, "{oflag:?}");
    }
}

#[test]
fn pending_counts_whole_lines_without_end_of_file_marks() {
    let mut rig = Rig::new(Termios::cooked());
    rig.type_in(b"ab\ncd\x04ef");
    assert_eq!(rig.disc.pending(&rig.t), 5);
}

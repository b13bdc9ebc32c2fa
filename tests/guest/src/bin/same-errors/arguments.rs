//! What is drawn for an argument.

use ochre_guest::Rng;

/// What an argument is, which says what is mostly drawn for it.
#[derive(Clone, Copy)]
pub enum Kind {
    /// 0.
    Zero,
    /// A descriptor.
    Fd,
    /// A descriptor of something with attributes.
    File,
    /// A family of sockets.
    Family,
    /// A descriptor where a path begins.
    Dir,
    /// A path.
    Path,
    /// The name of an attribute.
    Xattr,
    /// Memory of some contents.
    Buffer,
    /// An array of buffers.
    Iovecs,
    /// A word of a futex.
    Word,
    /// The start of a mapping.
    Area,
    /// The size of a structure or of few pages.
    Size,
    /// The size of a signal set.
    SetSize,
    /// A small number.
    Small,
    /// A command of ioctl(2).
    Ioctl,
    /// A command of fcntl(2).
    Fcntl,
    /// Few bits.
    Flags,
    /// Bits of mount(2).
    MountFlags,
    /// A signal.
    Signal,
    /// A process.
    Pid,
    /// A time that passes soon.
    Timeout,
    /// Milliseconds.
    Millis,
    /// A file offset.
    Offset,
    /// Any number.
    Number,
    /// A clock.
    Clock,
    /// The level of an option of a socket.
    Level,
    /// The option.
    Option,
    /// An operation of futex(2).
    Futex,
    /// An operation of prctl(2).
    Prctl,
    /// An operation of arch_prctl(2).
    Arch,
}

impl Kind {
    /// The kind of this name in the list.
    pub fn parse(word: &str) -> Option<Kind> {
        Some(match word {
            "zero" => Kind::Zero,
            "fd" => Kind::Fd,
            "file" => Kind::File,
            "family" => Kind::Family,
            "dir" => Kind::Dir,
            "path" => Kind::Path,
            "xattr" => Kind::Xattr,
            "buffer" => Kind::Buffer,
            "iovecs" => Kind::Iovecs,
            "word" => Kind::Word,
            "area" => Kind::Area,
            "size" => Kind::Size,
            "setsize" => Kind::SetSize,
            "small" => Kind::Small,
            "ioctl" => Kind::Ioctl,
            "fcntl" => Kind::Fcntl,
            "flags" => Kind::Flags,
            "mountflags" => Kind::MountFlags,
            "signal" => Kind::Signal,
            "pid" => Kind::Pid,
            "timeout" => Kind::Timeout,
            "millis" => Kind::Millis,
            "offset" => Kind::Offset,
            "number" => Kind::Number,
            "clock" => Kind::Clock,
            "level" => Kind::Level,
            "option" => Kind::Option,
            "futex" => Kind::Futex,
            "prctl" => Kind::Prctl,
            "arch" => Kind::Arch,
            _ => return None,
        })
    }
}

const PAGE: u64 = 4096;
/// Sixteen pages that can be written; the first eight have contents of their own kind.
const BUFFER: u64 = 0x1000_0000;
const BUFFER_PAGES: u64 = 16;
/// A page that can only be read.
const READ_ONLY: u64 = 0x2000_0000;
/// Strings, one every 64 bytes.
const STRINGS: u64 = 0x3000_0000;

const PATHS: &[&str] =
    &["f", "d", "l", "loop", "nope", "", "/tmp/f", "d/x", "f/x", "p", ".", "d/.", "tmpfs", "d2", "/dev/null", "d2/.."];
const XATTRS: &[&str] = &["user.x", "trusted.y", "user.", "nope", "security.capability", "trusted.", ""];
const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    10,
    12,
    15,
    16,
    17,
    20,
    31,
    32,
    63,
    64,
    65,
    128,
    255,
    256,
    512,
    1000,
    1024,
    4095,
    4096,
    8192,
    65535,
    65536,
    1 << 19,
    1 << 20,
    1 << 21,
    i32::MAX as u64,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
    -2i64 as u64,
    -3i64 as u64,
    -100i64 as u64,
    999_999_999,
    1_000_000_000,
];
const SIZES: &[u64] = &[0, 1, 2, 4, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 100, 128, 256, 4096, 8192];
/// Terminal, namespace and socket commands, and those of every descriptor.
const IOCTLS: &[u64] = &[
    1,
    2,
    0x5401,
    0x5402,
    0x5405,
    0x5406,
    0x5409,
    0x540a,
    0x540b,
    0x540c,
    0x540d,
    0x540e,
    0x540f,
    0x5410,
    0x5411,
    0x5412,
    0x5413,
    0x5414,
    0x541b,
    0x541c,
    0x541d,
    0x5420,
    0x5421,
    0x5422,
    0x5424,
    0x5425,
    0x5428,
    0x5429,
    0x5437,
    0x5438,
    0x5439,
    0x5440,
    0x5441,
    0x5450,
    0x5451,
    0x5452,
    0x5460,
    0x8004_5430,
    0x4004_5431,
    0x8004_5432,
    0xb701,
    0xb702,
    0xb703,
    0xb704,
    0xff01,
    0x8901,
    0x8904,
    0x8905,
];
/// Without the commands of leases and of hints how a file will be written.
const FCNTLS: &[u64] =
    &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 17, 36, 37, 38, 1027, 1028, 1030, 1031, 1032, 1033, 1034];
/// Options of sockets that are there.
const OPTIONS: &[u64] =
    &[1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 15, 16, 17, 18, 19, 20, 21, 30, 31, 38, 39, 42, 59, 76, 77, 200];
const PRCTLS: &[u64] =
    &[1, 2, 3, 4, 7, 8, 13, 14, 15, 16, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 36, 37, 38, 39, 40, 43, 47, 100];

/// The memory that arguments point to, at the same addresses everywhere.
pub struct Targets(());

fn map(at: u64, pages: u64) {
    let (prot, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE);
    // SAFETY: a fresh mapping where none is.
    let got = unsafe { libc::mmap(at as *mut _, (pages * PAGE) as usize, prot, flags, -1, 0) };
    assert_eq!(got as u64, at, "memory is taken");
}

fn words(page: u64, of: impl FnMut(u64) -> u64) {
    let values: Vec<u64> = (0..PAGE / 8).map(of).collect();
    // SAFETY: pages of our own mapping.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), (BUFFER + page * PAGE) as *mut u64, values.len()) };
}

impl Targets {
    /// Maps it.
    pub fn map() -> Targets {
        map(BUFFER, BUFFER_PAGES);
        map(READ_ONLY, 1);
        map(STRINGS, 1);
        for (i, text) in PATHS.iter().chain(XATTRS).enumerate() {
            // SAFETY: room of 64 bytes each in our own page, which is zero before.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), (STRINGS + i as u64 * 64) as *mut u8, text.len()) };
        }
        // SAFETY: our own page.
        unsafe { libc::mprotect(READ_ONLY as *mut _, PAGE as usize, libc::PROT_READ) };
        Targets(())
    }
    /// Fills the pages: zeroes, ones, numbers, all bits, times, descriptors and events, buffers, single bits.
    pub fn fill(&self, rng: &mut Rng) {
        words(1, |_| 1);
        words(2, |_| rng.pick(NUMBERS));
        words(3, |_| u64::MAX);
        words(4, |i| if i % 2 == 1 { rng.below(2) * 999 } else { 0 });
        words(5, |_| rng.below(21) | rng.below(64) << 32);
        words(6, |i| if i % 2 == 1 { rng.below(9) } else { BUFFER + 8 * PAGE + i * 8 });
        words(7, |_| 1 << rng.below(64));
    }
}

fn string(list: &[&str], before: usize, rng: &mut Rng) -> u64 {
    STRINGS + (before as u64 + rng.below(list.len() as u64)) * 64
}

/// Something for an argument of any kind.
pub fn anything(rng: &mut Rng) -> u64 {
    match rng.below(10) {
        0..3 => rng.pick(NUMBERS),
        3..5 => rng.below(21),
        5..7 => BUFFER + rng.below(8) * PAGE,
        7 => string(PATHS, 0, rng),
        8 => rng.pick(&[BUFFER + BUFFER_PAGES * PAGE - 8, READ_ONLY, 0x1000, -4096i64 as u64, BUFFER + 1]),
        _ => 1 << rng.below(34),
    }
}

/// Something for an argument of this kind, now and then of another.
pub fn draw(rng: &mut Rng, kind: Kind) -> u64 {
    if rng.below(12) == 0 {
        return anything(rng);
    }
    match kind {
        Kind::Zero => 0,
        Kind::Fd => 3 + rng.below(18),
        Kind::File => rng.pick(&[3, 4, 5, 6, 15, 17, 99]),
        Kind::Family => rng.pick(&[1, 1, 1, 0, 64, 300]),
        Kind::Dir => rng.pick(&[-100i64 as u64, -100i64 as u64, 5, 5, 3, 6, 14]),
        Kind::Path => string(PATHS, 0, rng),
        Kind::Xattr => string(XATTRS, PATHS.len(), rng),
        Kind::Buffer => rng.below(9).checked_sub(1).map_or(0, |page| BUFFER + page * PAGE),
        Kind::Iovecs => BUFFER + 6 * PAGE,
        Kind::Word => BUFFER + rng.below(2) * PAGE + rng.below(3),
        Kind::Area => BUFFER + rng.below(BUFFER_PAGES + 1) * PAGE + u64::from(rng.below(6) == 0),
        Kind::Size => rng.pick(SIZES),
        Kind::SetSize => rng.pick(&[8, 8, 8, 0, 4, 16]),
        Kind::Small => {
            let below = rng.pick(&[10, 10, 10, 70]);
            rng.below(below)
        }
        Kind::Ioctl => rng.pick(IOCTLS),
        Kind::Fcntl => rng.pick(FCNTLS),
        Kind::Flags => flags(rng),
        Kind::MountFlags => {
            rng.pick(&[0, 1, 16, 32, 4096, 4096 | 16384, 8192, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 31])
        }
        Kind::Signal => rng.below(68),
        Kind::Pid => rng.pick(&[0, 1, 1, -1i64 as u64, 2, 99_999, 1 << 31]),
        Kind::Timeout => rng.pick(&[BUFFER, BUFFER + 4 * PAGE]),
        Kind::Millis => rng.below(3),
        Kind::Offset => {
            if rng.below(4) == 0 {
                rng.pick(NUMBERS)
            } else {
                rng.below(20)
            }
        }
        Kind::Number => rng.pick(NUMBERS),
        Kind::Clock => {
            if rng.below(4) == 0 {
                rng.pick(NUMBERS)
            } else {
                rng.below(12)
            }
        }
        Kind::Level => 1,
        Kind::Option => rng.pick(OPTIONS),
        Kind::Futex => rng.below(14) | rng.pick(&[0, 0, 128]) | rng.pick(&[0, 0, 0, 256]),
        Kind::Prctl => rng.pick(PRCTLS),
        Kind::Arch => rng.pick(&[0x1001, 0x1002, 0x1003, 0x1004, 0x1011, 0x1012]),
    }
}

fn flags(rng: &mut Rng) -> u64 {
    match rng.below(9) {
        0..3 => 0,
        3..6 => 1 << rng.below(16),
        6 | 7 => 1 << rng.below(33),
        _ => 1 << rng.below(16) | 1 << rng.below(33),
    }
}

/// Arguments as text.
pub fn describe(values: &[u64; 6]) -> String {
    let strings: Vec<&str> = PATHS.iter().chain(XATTRS).copied().collect();
    let one = |value: &u64| {
        let text = value.checked_sub(STRINGS).filter(|at| at % 64 == 0).and_then(|at| strings.get((at / 64) as usize));
        match (text, *value as i64) {
            (Some(text), _) => format!("{text:?}"),
            (None, small @ -200..100_000) => format!("{small}"),
            _ => format!("{value:#x}"),
        }
    };
    values.iter().map(one).collect::<Vec<_>>().join(" ")
}

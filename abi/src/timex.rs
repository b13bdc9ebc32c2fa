//! `struct timex` of adjtimex(2) and its bits. Source: `linux/timex.h`, adjtimex(2).

use crate::time::Timeval;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct timex` (`__kernel_timex`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Timex {
    pub modes: u32,
    pub pad: u32,
    pub offset: i64,
    pub freq: i64,
    pub maxerror: i64,
    pub esterror: i64,
    pub status: i32,
    pub pad2: u32,
    pub constant: i64,
    pub precision: i64,
    pub tolerance: i64,
    pub time: Timeval,
    pub tick: i64,
    pub ppsfreq: i64,
    pub jitter: i64,
    pub shift: i32,
    pub pad3: u32,
    pub stabil: i64,
    pub jitcnt: i64,
    pub calcnt: i64,
    pub errcnt: i64,
    pub stbcnt: i64,
    pub tai: i32,
    pub reserved: [u32; 11],
}

const _: () = assert!(size_of::<Timex>() == 208);

bitflags::bitflags! {
    /// `timex.modes`: what is to be changed. Bits that Linux does not know do nothing there, too.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Modes: u32 {
        /// `offset`, to be slewed away.
        const OFFSET = 0x0001;
        /// `freq`.
        const FREQUENCY = 0x0002;
        /// `maxerror`.
        const MAXERROR = 0x0004;
        /// `esterror`.
        const ESTERROR = 0x0008;
        /// `status`.
        const STATUS = 0x0010;
        /// `constant` of the phase-locked loop.
        const TIMECONST = 0x0020;
        /// `constant` is the offset of TAI.
        const TAI = 0x0080;
        /// `time` is added to the clock.
        const SETOFFSET = 0x0100;
        /// Times in microseconds from now on.
        const MICRO = 0x1000;
        /// Times in nanoseconds from now on.
        const NANO = 0x2000;
        /// `tick`.
        const TICK = 0x4000;
        /// adjtime(3): `offset` in microseconds, 500 of which are made up a second.
        const ADJTIME = 0x8000;
        const _ = !0;
    }
}

impl Modes {
    /// With [`Modes::ADJTIME`]: has to be set.
    pub const SINGLESHOT: Modes = Modes::OFFSET;
    /// With [`Modes::ADJTIME`]: only read what is left.
    pub const READONLY: Modes = Modes::NANO;
}

bitflags::bitflags! {
    /// `timex.status`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Status: i32 {
        /// The phase-locked loop follows `offset`.
        const PLL = 0x0001;
        /// Frequency follows the pulse of a radio clock.
        const PPSFREQ = 0x0002;
        /// Time follows it.
        const PPSTIME = 0x0004;
        /// Frequency-locked mode.
        const FLL = 0x0008;
        /// A second is inserted at the end of the day.
        const INS = 0x0010;
        /// The last second of the day is left out.
        const DEL = 0x0020;
        /// The clock is not synchronised.
        const UNSYNC = 0x0040;
        /// `offset` does not change the frequency.
        const FREQHOLD = 0x0080;
        /// The hardware clock is wrong.
        const CLOCKERR = 0x1000;
        /// Times are in nanoseconds.
        const NANO = 0x2000;
        /// The loop is in frequency-locked mode.
        const MODE = 0x4000;
        const _ = !0;
    }
}

impl Status {
    /// What adjtimex(2) cannot set: the five of the pulse, CLOCKERR, NANO, MODE and CLK.
    pub const READ_ONLY: Status = Status::from_bits_retain(0xff00);
}

/// States of the clock that adjtimex(2) returns.
#[allow(missing_docs)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum ClockState {
    Ok = 0,
    /// A second will be inserted.
    Insert = 1,
    /// A second will be left out.
    Delete = 2,
    /// The inserted second runs.
    Oop = 3,
    /// It is over; the bit in the status waits to be cleared.
    Wait = 4,
    /// Not synchronised.
    Error = 5,
}

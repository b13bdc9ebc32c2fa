//! Clocks and timers: time structures, clock ids, interval and POSIX timers, timerfd.
//! Sources: `linux/time.h`, `linux/time_types.h`, `linux/timerfd.h`, `asm-generic/siginfo.h` (`sigevent`), clock_gettime(2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Nanoseconds in a second.
pub const NSEC_PER_SEC: u64 = 1_000_000_000;

/// `struct timespec` with 64-bit fields.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Timespec {
    pub sec: i64,
    pub nsec: i64,
}

/// `struct timeval`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Timeval {
    pub sec: i64,
    pub usec: i64,
}

/// `struct itimerspec`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Itimerspec {
    pub interval: Timespec,
    pub value: Timespec,
}

/// `struct itimerval`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Itimerval {
    pub interval: Timeval,
    pub value: Timeval,
}

/// `struct timezone`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Timezone {
    pub minuteswest: i32,
    pub dsttime: i32,
}

/// `struct tms`: times in ticks of [`USER_HZ`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Tms {
    pub utime: i64,
    pub stime: i64,
    pub cutime: i64,
    pub cstime: i64,
}

/// Ticks a second of times(2) and /proc (`sysconf(_SC_CLK_TCK)`).
pub const USER_HZ: u64 = 100;

impl Timespec {
    /// From nanoseconds.
    #[inline]
    pub const fn from_ns(ns: u64) -> Timespec {
        Timespec { sec: (ns / NSEC_PER_SEC) as i64, nsec: (ns % NSEC_PER_SEC) as i64 }
    }
    /// Nanoseconds, cut off at `u64::MAX / 2`; `None` for a negative time or a fraction out of range.
    #[inline]
    pub const fn to_ns(self) -> Option<u64> {
        if self.sec < 0 || self.nsec < 0 || self.nsec >= NSEC_PER_SEC as i64 {
            return None;
        }
        let ns = (self.sec as u64).saturating_mul(NSEC_PER_SEC).saturating_add(self.nsec as u64);
        Some(if ns > u64::MAX / 2 { u64::MAX / 2 } else { ns })
    }
}

impl Timeval {
    /// From nanoseconds, rounded down.
    #[inline]
    pub const fn from_ns(ns: u64) -> Timeval {
        Timeval { sec: (ns / NSEC_PER_SEC) as i64, usec: (ns % NSEC_PER_SEC / 1000) as i64 }
    }
    /// Nanoseconds, cut off; `None` for a negative time or a fraction out of range.
    pub const fn to_ns(self) -> Option<u64> {
        if self.usec < 0 || self.usec >= 1_000_000 {
            return None;
        }
        Timespec { sec: self.sec, nsec: self.usec * 1000 }.to_ns()
    }
}

/// `clockid_t` values.
#[allow(missing_docs)]
pub mod clock {
    pub const REALTIME: i32 = 0;
    pub const MONOTONIC: i32 = 1;
    pub const PROCESS_CPUTIME_ID: i32 = 2;
    pub const THREAD_CPUTIME_ID: i32 = 3;
    pub const MONOTONIC_RAW: i32 = 4;
    pub const REALTIME_COARSE: i32 = 5;
    pub const MONOTONIC_COARSE: i32 = 6;
    pub const BOOTTIME: i32 = 7;
    pub const REALTIME_ALARM: i32 = 8;
    pub const BOOTTIME_ALARM: i32 = 9;
    pub const TAI: i32 = 11;
}

/// Flag of clock_nanosleep(2) and timer_settime(2): the time is a moment, not a span.
pub const TIMER_ABSTIME: u32 = 1;

/// Which timer of setitimer(2).
#[allow(missing_docs)]
pub mod itimer {
    pub const REAL: i32 = 0;
    pub const VIRTUAL: i32 = 1;
    pub const PROF: i32 = 2;
}

/// `sigev_notify`.
#[allow(missing_docs)]
pub mod sigev {
    pub const SIGNAL: i32 = 0;
    pub const NONE: i32 = 1;
    pub const THREAD: i32 = 2;
    pub const THREAD_ID: i32 = 4;
}

/// `struct sigevent`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Sigevent {
    pub value: u64,
    pub signo: i32,
    pub notify: i32,
    /// `sigev_notify_thread_id`.
    pub tid: i32,
    pub pad: [i32; 11],
}

const _: () = assert!(size_of::<Sigevent>() == 64);

bitflags::bitflags! {
    /// Flags of timerfd_create(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct TimerfdFlags: u32 {
        /// Non-blocking reads.
        const NONBLOCK = 0o4000;
        /// Closed on exec.
        const CLOEXEC = 0o2000000;
    }
}

bitflags::bitflags! {
    /// Flags of timerfd_settime(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct TimerfdSettime: u32 {
        /// The time is a moment.
        const ABSTIME = 1;
        /// Reads fail with ECANCELED when the wall clock is set.
        const CANCEL_ON_SET = 2;
    }
}

/// ioctl(2) of a timerfd: sets how often it has expired (`_IOW('T', 0, u64)`).
pub const TFD_IOC_SET_TICKS: u32 = 0x4008_5400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_convert_and_refuse_what_linux_refuses() {
        assert_eq!(Timespec { sec: 1, nsec: 5 }.to_ns(), Some(1_000_000_005));
        assert_eq!(Timespec { sec: -1, nsec: 0 }.to_ns(), None);
        assert_eq!(Timespec { sec: 0, nsec: 1_000_000_000 }.to_ns(), None);
        assert_eq!(Timespec { sec: i64::MAX, nsec: 0 }.to_ns(), Some(u64::MAX / 2));
        assert_eq!(Timeval { sec: 0, usec: 1_000_000 }.to_ns(), None);
        assert_eq!(Timespec::from_ns(2_000_000_007), Timespec { sec: 2, nsec: 7 });
    }
}

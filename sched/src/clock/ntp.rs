//! The discipline of the wall clock: what adjtimex(2) sets, and what it makes of the rate of the clock second by second. Pure
//! arithmetic; [`super::steer`] feeds it. Spans are nanoseconds with [`FRACTION`] bits behind the point.
//! Sources: adjtimex(2), RFC 5905 (the clock discipline), `linux/timex.h`.

use abi::timex::{ClockState, Modes, Status, Timex};

/// Bits behind the point of rates and spans.
const FRACTION: u32 = 32;
const NSEC: i64 = 1_000_000_000;
const DAY: i64 = 86_400;
/// Ticks a second that `tick` is meant for.
const USER_HZ: i64 = 100;
/// Limits of phase (ns) and frequency (ns a second), and of the error estimates (us).
const MAX_PHASE: i64 = 500_000_000;
const MAX_FREQ: i64 = 500_000;
const ERROR_LIMIT: i64 = 16_000_000;
/// adjtime(3) makes up this much a second (us).
const ADJTIME_STEP: i64 = 500;
/// Gains of the loop, as shifts, and the intervals of updates between which it changes from phase to frequency lock (s).
const PLL_SHIFT: i64 = 2;
const FLL_SHIFT: i64 = 2;
const MAX_CONSTANT: i64 = 10;
const MIN_INTERVAL: i64 = 256;
const MAX_INTERVAL: i64 = 2048;
/// A scaled part per million of `timex.freq` (16 bits behind the point) as a rate.
const PPM: i64 = 1000 << (FRACTION - 16);
const MAX_TAI: i64 = 100_000;
const NEVER: i64 = i64::MAX;

/// State of the discipline.
pub(super) struct Ntp {
    status: Status,
    state: ClockState,
    /// Microseconds in 1/[`USER_HZ`] of a second.
    tick: i64,
    constant: i64,
    max_error: i64,
    est_error: i64,
    /// Nanoseconds a second.
    freq: i64,
    /// What the loop has still to slew away.
    offset: i64,
    /// What adjtime(3) has still to make up, in microseconds.
    adjust: i64,
    /// When `offset` was last given (s).
    reference: i64,
    /// The second at whose start a leap second takes place.
    next_leap: i64,
    /// Length of a second: without and with what is being slewed.
    base: i64,
    length: i64,
}

impl Ntp {
    pub const fn new() -> Ntp {
        Ntp {
            status: Status::UNSYNC,
            state: ClockState::Ok,
            tick: 1_000_000 / USER_HZ,
            constant: 2,
            max_error: ERROR_LIMIT,
            est_error: ERROR_LIMIT,
            freq: 0,
            offset: 0,
            adjust: 0,
            reference: 0,
            next_leap: NEVER,
            base: NSEC << FRACTION,
            length: NSEC << FRACTION,
        }
    }

    /// Nanoseconds by which the clock is to advance in a second of the hardware, with [`FRACTION`] bits behind the point.
    pub fn rate(&self) -> u64 {
        self.length.max(0) as u64
    }

    /// Something changes at the next second.
    pub fn is_busy(&self) -> bool {
        let at_rest = self.status.contains(Status::UNSYNC) && self.max_error == ERROR_LIMIT;
        !at_rest
            || self.offset != 0
            || self.adjust != 0
            || self.length != self.base
            || self.state != ClockState::Ok
            || self.status.intersects(Status::INS | Status::DEL)
    }

    /// The clock was set: nothing known of its error holds any more.
    pub fn clear(&mut self) {
        self.adjust = 0;
        self.offset = 0;
        self.status |= Status::UNSYNC;
        (self.max_error, self.est_error) = (ERROR_LIMIT, ERROR_LIMIT);
        self.next_leap = NEVER;
        self.set_base();
        self.length = self.base;
    }

    fn set_base(&mut self) {
        let base = ((self.tick * 1000 * USER_HZ) << FRACTION) + self.freq;
        self.length += base - self.base;
        self.base = base;
    }

    /// The second `now` (of the wall clock) begins. Gives what a leap second adds to the clock: -1, 0 or 1.
    pub fn second(&mut self, now: i64) -> i64 {
        let leap = self.leap(now);
        self.max_error += MAX_FREQ / 1000;
        if self.max_error > ERROR_LIMIT {
            self.max_error = ERROR_LIMIT;
            self.status |= Status::UNSYNC;
        }
        let slewed = toward_zero(self.offset, (PLL_SHIFT + self.constant) as u32);
        self.offset -= slewed;
        let made_up = self.adjust.clamp(-ADJTIME_STEP, ADJTIME_STEP);
        self.adjust -= made_up;
        self.length = self.base + slewed + ((made_up * 1000) << FRACTION);
        leap
    }

    fn leap(&mut self, now: i64) -> i64 {
        let wants = |bit| self.status.contains(bit);
        let next = match self.state {
            ClockState::Ok if wants(Status::INS) => {
                self.next_leap = now + DAY - now.rem_euclid(DAY);
                ClockState::Insert
            }
            ClockState::Ok if wants(Status::DEL) => {
                self.next_leap = now + DAY - (now + 1).rem_euclid(DAY);
                ClockState::Delete
            }
            ClockState::Insert if !wants(Status::INS) => ClockState::Ok,
            ClockState::Delete if !wants(Status::DEL) => ClockState::Ok,
            ClockState::Insert if now == self.next_leap => {
                self.state = ClockState::Oop;
                return -1;
            }
            ClockState::Delete if now == self.next_leap => {
                self.next_leap = NEVER;
                self.state = ClockState::Wait;
                return 1;
            }
            ClockState::Oop => ClockState::Wait,
            ClockState::Wait if !self.status.intersects(Status::INS | Status::DEL) => ClockState::Ok,
            same => same,
        };
        if matches!(
            (self.state, next),
            (ClockState::Insert | ClockState::Delete, ClockState::Ok) | (ClockState::Oop, _)
        ) {
            self.next_leap = NEVER;
        }
        self.state = next;
        0
    }

    /// adjtimex(2) on a request that was checked: changes what `modes` asks for and fills in the rest. `now` is the wall clock
    /// (seconds, nanoseconds), `seconds` one that no leap moves. Gives the state of the clock.
    pub fn adjust(&mut self, request: &mut Timex, now: (i64, i64), seconds: i64, tai: &mut i32) -> ClockState {
        let modes = Modes::from_bits_retain(request.modes);
        if modes.contains(Modes::ADJTIME) {
            let left = self.adjust;
            if !modes.contains(Modes::READONLY) {
                self.adjust = request.offset;
                self.set_base();
            }
            request.offset = left;
        } else {
            self.change(modes, request, seconds, tai);
            let offset = toward_zero(self.offset, FRACTION);
            request.offset = if self.status.contains(Status::NANO) { offset } else { offset / 1000 };
        }
        self.describe(request, now, *tai)
    }

    fn change(&mut self, modes: Modes, request: &Timex, seconds: i64, tai: &mut i32) {
        if modes.contains(Modes::STATUS) {
            self.set_status(Status::from_bits_retain(request.status), seconds);
        }
        if modes.contains(Modes::NANO) {
            self.status |= Status::NANO;
        }
        if modes.contains(Modes::MICRO) {
            self.status -= Status::NANO;
        }
        if modes.contains(Modes::FREQUENCY) {
            let limit = MAX_FREQ << FRACTION;
            self.freq = request.freq.saturating_mul(PPM).clamp(-limit, limit);
        }
        if modes.contains(Modes::MAXERROR) {
            self.max_error = request.maxerror.clamp(0, ERROR_LIMIT);
        }
        if modes.contains(Modes::ESTERROR) {
            self.est_error = request.esterror.clamp(0, ERROR_LIMIT);
        }
        if modes.contains(Modes::TIMECONST) {
            let constant = request.constant.clamp(0, MAX_CONSTANT);
            let micro = !self.status.contains(Status::NANO);
            self.constant = if micro { (constant + 4).min(MAX_CONSTANT) } else { constant };
        }
        if modes.contains(Modes::TAI) && (0..=MAX_TAI).contains(&request.constant) {
            *tai = request.constant as i32;
        }
        if modes.contains(Modes::OFFSET) {
            self.set_offset(request.offset, seconds);
        }
        if modes.contains(Modes::TICK) {
            self.tick = request.tick;
        }
        if modes.intersects(Modes::TICK | Modes::FREQUENCY | Modes::OFFSET) {
            self.set_base();
        }
    }

    fn set_status(&mut self, new: Status, seconds: i64) {
        let (was, is) = (self.status.contains(Status::PLL), new.contains(Status::PLL));
        if was && !is {
            self.state = ClockState::Ok;
            self.status = Status::UNSYNC;
            self.next_leap = NEVER;
        }
        if is && !was {
            self.reference = seconds;
        }
        self.status = self.status & Status::READ_ONLY | (new - Status::READ_ONLY);
    }

    /// The phase-locked loop takes a new offset; from offsets given far apart it also learns a frequency.
    fn set_offset(&mut self, offset: i64, seconds: i64) {
        if !self.status.contains(Status::PLL) {
            return;
        }
        let nanos =
            if self.status.contains(Status::NANO) { offset } else { offset.clamp(-1_000_000, 1_000_000) * 1000 };
        let offset = nanos.clamp(-MAX_PHASE, MAX_PHASE);
        let mut interval = seconds.saturating_sub(self.reference);
        if self.status.contains(Status::FREQHOLD) {
            interval = 0;
        }
        self.reference = seconds;
        let mut freq = self.by_frequency(offset, interval);
        // With few samples the loop would overshoot.
        interval = interval.clamp(0, 1 << (PLL_SHIFT + 1 + self.constant));
        freq += (offset * interval) << (i64::from(FRACTION) - 2 * (PLL_SHIFT + 2 + self.constant)).max(0);
        let limit = MAX_FREQ << FRACTION;
        self.freq = freq.saturating_add(self.freq).clamp(-limit, limit);
        self.offset = offset << FRACTION;
    }

    fn by_frequency(&mut self, offset: i64, interval: i64) -> i64 {
        self.status -= Status::MODE;
        if interval < MIN_INTERVAL || !self.status.contains(Status::FLL) && interval <= MAX_INTERVAL {
            return 0;
        }
        self.status |= Status::MODE;
        (offset << (i64::from(FRACTION) - FLL_SHIFT)) / interval
    }

    fn describe(&self, out: &mut Timex, now: (i64, i64), tai: i32) -> ClockState {
        out.freq = self.freq / PPM;
        out.maxerror = self.max_error;
        out.esterror = self.est_error;
        out.status = self.status.bits();
        out.constant = self.constant;
        out.precision = 1;
        out.tolerance = (MAX_FREQ << FRACTION) / PPM;
        out.tick = self.tick;
        (out.ppsfreq, out.jitter, out.shift, out.stabil) = (0, 0, 0, 0);
        (out.jitcnt, out.calcnt, out.errcnt, out.stbcnt) = (0, 0, 0, 0);
        out.tai = tai;
        out.time.sec = now.0;
        out.time.usec = if self.status.contains(Status::NANO) { now.1 } else { now.1 / 1000 };
        let wrong = self.status.intersects(Status::UNSYNC | Status::CLOCKERR);
        let mut state = if wrong { ClockState::Error } else { self.state };
        // The leap second has begun, but its processing has not: tell it as it is.
        if now.0 >= self.next_leap {
            match self.state {
                ClockState::Insert if self.status.contains(Status::INS) => {
                    state = ClockState::Oop;
                    out.tai += 1;
                    out.time.sec -= 1;
                }
                ClockState::Delete if self.status.contains(Status::DEL) => {
                    state = ClockState::Wait;
                    out.tai -= 1;
                    out.time.sec += 1;
                }
                ClockState::Oop if now.0 == self.next_leap => state = ClockState::Wait,
                _ => {}
            }
        }
        state
    }

    /// The second at whose start a leap second takes place, and what it adds to the clock.
    pub fn next_leap(&self) -> Option<(i64, i64)> {
        match self.state {
            ClockState::Insert => Some((self.next_leap, -1)),
            ClockState::Delete => Some((self.next_leap, 1)),
            _ => None,
        }
        .filter(|(at, _)| *at != NEVER)
    }
}

/// `value >> by`, rounded toward zero.
fn toward_zero(value: i64, by: u32) -> i64 {
    let size = (value.unsigned_abs() >> by) as i64;
    if value < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = NSEC << FRACTION;

    fn request(modes: Modes) -> Timex {
        Timex { modes: modes.bits(), ..Timex::default() }
    }
    fn run(ntp: &mut Ntp, mut r: Timex, now: i64) -> (ClockState, Timex) {
        let state = ntp.adjust(&mut r, (now, 0), now, &mut 37);
        (state, r)
    }

    #[test]
    fn a_fresh_clock_is_at_rest_and_not_synchronised() {
        let mut ntp = Ntp::new();
        assert!(!ntp.is_busy());
        let (state, t) = run(&mut ntp, request(Modes::empty()), 5);
        assert_eq!((state, t.status, t.tick, t.tolerance), (ClockState::Error, 0x40, 10_000, 32_768_000));
        assert_eq!((t.maxerror, t.constant, t.precision, t.tai), (16_000_000, 2, 1, 37));
    }

    #[test]
    fn frequency_and_tick_change_the_length_of_a_second() {
        let mut ntp = Ntp::new();
        let (_, t) = run(&mut ntp, Timex { freq: 100 << 16, ..request(Modes::FREQUENCY) }, 5);
        assert_eq!((t.freq, ntp.rate()), (100 << 16, (SECOND + (100_000 << FRACTION)) as u64));
        run(&mut ntp, Timex { freq: -900 << 16, tick: 10_001, ..request(Modes::FREQUENCY | Modes::TICK) }, 5);
        assert_eq!(ntp.rate(), (SECOND + ((100_000 - 500_000) << FRACTION)) as u64);
    }

    #[test]
    fn adjtime_makes_up_half_a_millisecond_a_second() {
        let mut ntp = Ntp::new();
        let modes = Modes::ADJTIME | Modes::SINGLESHOT;
        run(&mut ntp, Timex { offset: -700, ..request(modes) }, 5);
        ntp.second(6);
        assert_eq!(ntp.rate(), (SECOND - (500_000 << FRACTION)) as u64);
        let (_, t) = run(&mut ntp, request(modes | Modes::READONLY), 6);
        assert_eq!(t.offset, -200);
        ntp.second(7);
        assert_eq!(ntp.rate(), (SECOND - (200_000 << FRACTION)) as u64);
        ntp.second(8);
        assert!(ntp.rate() == SECOND as u64 && !ntp.is_busy());
    }

    #[test]
    fn the_loop_slews_an_offset_away_and_learns_from_it() {
        let mut ntp = Ntp::new();
        run(&mut ntp, Timex { status: Status::PLL.bits(), ..request(Modes::STATUS) }, 0);
        let (_, t) = run(&mut ntp, Timex { offset: 1000, ..request(Modes::OFFSET) }, 16);
        assert_eq!(t.offset, 1000);
        assert!(t.freq > 0);
        let mut left = t.offset;
        for second in 17..400 {
            ntp.second(second);
            let now = run(&mut ntp, request(Modes::empty()), second).1.offset;
            assert!(now <= left);
            left = now;
        }
        assert_eq!(left, 0);
    }

    #[test]
    fn a_leap_second_is_inserted_at_midnight_and_shown_as_such() {
        let mut ntp = Ntp::new();
        run(&mut ntp, Timex { status: Status::INS.bits(), ..request(Modes::STATUS | Modes::MAXERROR) }, 86_390);
        assert_eq!(ntp.second(86_391), 0);
        assert_eq!(run(&mut ntp, request(Modes::empty()), 86_391).0, ClockState::Insert);
        assert_eq!(ntp.next_leap(), Some((86_400, -1)));
        let (early, t) = run(&mut ntp, request(Modes::empty()), 86_400);
        assert_eq!((early, t.time.sec, t.tai), (ClockState::Oop, 86_399, 38));
        assert_eq!(ntp.second(86_400), -1);
        assert_eq!(run(&mut ntp, request(Modes::empty()), 86_399).0, ClockState::Oop);
        assert_eq!(ntp.second(86_400), 0);
        assert_eq!(run(&mut ntp, request(Modes::empty()), 86_400).0, ClockState::Wait);
        run(&mut ntp, request(Modes::STATUS), 86_401);
        ntp.second(86_402);
        assert_eq!(run(&mut ntp, request(Modes::empty()), 86_402).0, ClockState::Ok);
    }

    #[test]
    fn a_leap_second_is_left_out_one_second_before_midnight() {
        let mut ntp = Ntp::new();
        run(&mut ntp, Timex { status: Status::DEL.bits(), ..request(Modes::STATUS | Modes::MAXERROR) }, 86_390);
        assert_eq!(ntp.second(86_391), 0);
        assert_eq!(ntp.next_leap(), Some((86_399, 1)));
        assert_eq!(ntp.second(86_399), 1);
        assert_eq!(run(&mut ntp, request(Modes::empty()), 86_400).0, ClockState::Wait);
    }
}

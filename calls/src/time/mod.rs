//! Clocks, sleeps and timers.

mod adjust;
mod clock;
mod itimer;
mod sleep;
mod timer;

pub use adjust::{adjtimex, clock_adjtime};
pub use clock::{clock_getres, clock_gettime, clock_settime, gettimeofday, settimeofday, time, times};
pub use itimer::{alarm, getitimer, setitimer};
pub use sleep::{clock_nanosleep, nanosleep};
pub(crate) use timer::to_host;
pub use timer::{timer_create, timer_delete, timer_getoverrun, timer_gettime, timer_settime};

//! Kernel messages: a ring that /dev/kmsg and syslog(2) read, and the console that they are printed on.
//!
//! Logging is allowed in every context but with a lock of the scheduler held (a reader may have to be woken): the ring is
//! lock-free ([`logring`]), and who prints is decided by [`nbcon`]. In the order of a message's life:
//!
//! - [`print`] makes the text and puts the record into the ring;
//! - before there are threads it also prints it; later the console's thread is woken ([`set_listener`]), which calls [`flush`];
//! - what [`print_now`] writes and the text of a panic are printed at once, by whoever writes them.
//!
//! Sources: Linux `Documentation/core-api/printk-basics.rst`, syslog(2).

pub mod rate;

use crate::imp;
use crate::sync::Once;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::*};
use logring::{LogRing, Meta};
use nbcon::{Console, Lost, Priority};

pub use logring::Record;
pub use rate::RateLimit;

/// Longest message the kernel makes; the rest is cut.
pub const LINE_MAX: usize = 240;
/// Longest record (of a program that writes to /dev/kmsg).
pub const RECORD_MAX: usize = 1024;

static RING: LogRing<1024, 16384> = LogRing::new();
static CONSOLE: Console = Console::new("ttyS0", imp::console::write_text, imp::cpu::relax);
static LISTENER: Once<fn(bool)> = Once::new();
static CALLER: Once<fn() -> u32> = Once::new();
/// The console has a thread of its own.
static THREADED: AtomicBool = AtomicBool::new(false);
/// CPU that panics, plus one.
static PANICS: AtomicU32 = AtomicU32::new(0);

/// Messages of a lower number reach the console (`kernel.printk`).
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(7);
/// The level of messages without one.
pub static DEFAULT_LEVEL: AtomicU8 = AtomicU8::new(4);
/// The lowest console level that syslog(2) lets be set.
pub static MINIMUM_LEVEL: AtomicU8 = AtomicU8::new(1);
/// What "switch console messages on" goes back to.
pub static BOOT_LEVEL: AtomicU8 = AtomicU8::new(7);

struct Line<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Line<N> {
    fn new() -> Self {
        Line { bytes: [0; N], len: 0 }
    }
    fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<const N: usize> Write for Line<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let n = s.len().min(room.len());
        room[..n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// Logs one message of the kernel.
pub fn print(level: u8, args: fmt::Arguments<'_>) {
    let mut line = Line::<LINE_MAX>::new();
    // A `Line` takes everything; what does not fit is cut.
    let _ = line.write_fmt(args);
    write(u32::from(level), line.text());
}

/// Logs one message of several lines.
pub fn print_long(level: u8, args: fmt::Arguments<'_>) {
    let mut line = Line::<RECORD_MAX>::new();
    // As in `print`.
    let _ = line.write_fmt(args);
    write(u32::from(level), line.text());
}

/// Times that [`print_now`] asks for the console.
const ATTEMPTS: u32 = 10_000;

/// Logs one message, of several lines if need be, and returns when it is on the console, before those that wait for the console's
/// thread: warnings, traces. The thread has to print it if what this CPU was interrupted in is a message itself.
pub fn print_now(level: u8, args: fmt::Arguments<'_>) {
    let mut line = Line::<RECORD_MAX>::new();
    // As in `print`.
    let _ = line.write_fmt(args);
    let Some(seq) = push(u32::from(level), line.text()) else { return };
    let waits = || CONSOLE.next() <= seq && PANICS.load(Relaxed) == 0;
    for _ in 0..ATTEMPTS {
        // The owner, or the writer of a record before this one, cannot go on while this CPU waits for him here.
        if !waits() || is_printing() {
            break;
        }
        flush_as(Priority::Emergency, crate::cpu::this().0);
        imp::cpu::relax();
    }
    tell(waits());
}

/// Puts a record into the ring.
fn push(priority: u32, text: &[u8]) -> Option<u64> {
    let caller = CALLER.get().map_or(0, |f| f());
    RING.push(Meta { priority, caller, time_ns: crate::time::now_ns() }, &text[..text.len().min(RECORD_MAX)])
}

/// Tells the readers, and the console's thread if there is something for it.
fn tell(print: bool) {
    if let Some(listener) = LISTENER.get() {
        listener(print);
    }
}

/// Logs a text with a level and, in the bits above it, a facility.
pub fn write(priority: u32, text: &[u8]) {
    let cpu = crate::cpu::this().0;
    let panics = PANICS.load(Relaxed);
    // Nothing is to come between the last words of the CPU that panics.
    if panics != 0 && panics != cpu + 1 {
        return;
    }
    let kept = push(priority, text);
    if panics != 0 {
        flush_as(Priority::Panic, cpu);
        if kept.is_none() {
            last_resort(text);
        }
        return;
    }
    if !THREADED.load(Relaxed) {
        flush_as(Priority::Normal, cpu);
    }
    tell(is_shown(priority));
}

/// Messages of this priority reach the console.
fn is_shown(priority: u32) -> bool {
    (priority & 7) < u32::from(CONSOLE_LEVEL.load(Relaxed))
}

/// This CPU is about to end the machine: from now on only its messages count, and each is printed at once, after all that wait.
#[cfg_attr(not(target_os = "none"), allow(dead_code))] // a host ends and prints by itself
pub(crate) fn begin_panic() {
    PANICS.store(crate::cpu::this().0 + 1, Release);
    CONSOLE_LEVEL.store(15, Relaxed);
    flush_as(Priority::Panic, crate::cpu::this().0);
}

/// Puts a text out whoever owns the console: there is no ring and no order left.
fn last_resort(text: &[u8]) {
    imp::console::write_text(text);
    imp::console::write_text(b"\n");
}

/// Prints a few of the records that wait, as the console's thread; it comes again while there are more.
pub fn flush() {
    flush_some(Priority::Normal, crate::cpu::this().0, 16);
}

/// Records wait to be printed.
pub fn printing_waits() -> bool {
    RING.range().1 > CONSOLE.next()
}

/// From now on a thread calls [`flush`] when the listener is called.
pub fn set_threaded() {
    THREADED.store(true, Release);
}

/// Prints all records that wait, unless the console is not to be had or gets lost.
fn flush_as(priority: Priority, cpu: u32) {
    flush_some(priority, cpu, usize::MAX);
}

fn flush_some(priority: Priority, cpu: u32, most: usize) {
    let mut text = [0; RECORD_MAX];
    for _ in 0..most {
        // Between two records whoever else wants the console may have it.
        let Some(owner) = CONSOLE.acquire(priority, cpu) else { return };
        let next = CONSOLE.next();
        let found = match priority {
            // A stopped CPU may leave a record unfinished for ever.
            Priority::Panic => RING.read_past(next, &mut text),
            _ => RING.read(next, &mut text),
        };
        let Some(record) = found else { return };
        let text = &text[..record.len.min(RECORD_MAX)];
        if is_shown(record.meta.priority) && show(&owner, &record, record.seq - next, text) == Err(Lost) {
            return;
        }
        CONSOLE.advance(next, record.seq + 1);
    }
}

/// One record as lines with a time stamp each, after a word about those that were lost before it.
fn show(owner: &nbcon::Owner<'_>, record: &Record, lost: u64, text: &[u8]) -> Result<(), Lost> {
    if lost != 0 {
        let mut line = Line::<64>::new();
        // As below.
        let _ = writeln!(line, "** {lost} messages dropped **");
        owner.print(line.text())?;
    }
    let us = record.meta.time_ns / 1000;
    let mut stamp = Line::<32>::new();
    // A `Line` takes everything.
    let _ = write!(stamp, "[{:5}.{:06}] ", us / 1_000_000, us % 1_000_000);
    for line in text.split(|b| *b == b'\n') {
        owner.print(stamp.text())?;
        owner.print(line)?;
        owner.print(b"\n")?;
    }
    Ok(())
}

/// Writes the output of a terminal to the console: not in the middle of a message, and no more once the machine ends.
#[cfg_attr(not(target_os = "none"), allow(dead_code))] // a host ends and prints by itself
pub(crate) fn write_terminal(bytes: &[u8], out: fn(&[u8])) {
    loop {
        if PANICS.load(Relaxed) != 0 {
            return;
        }
        if let Some(_owner) = CONSOLE.acquire(Priority::Normal, crate::cpu::this().0) {
            return out(bytes);
        }
        imp::cpu::relax();
    }
}

/// The first message numbered `from` or higher; its text goes to `text`, cut where that ends.
pub fn read(from: u64, text: &mut [u8]) -> Option<Record> {
    RING.read(from, text)
}

/// Numbers of the oldest message and of the next one to come.
pub fn range() -> (u64, u64) {
    RING.range()
}

/// Installs what is called after each message, also from interrupt handlers, with whether it is to be printed; the first call
/// counts.
pub fn set_listener(listener: fn(bool)) {
    let _ = LISTENER.set(listener);
}

/// Installs what names the writer of a message (the id of the running thread); the first call counts.
pub fn set_caller(caller: fn() -> u32) {
    let _ = CALLER.set(caller);
}

/// Messages of a lower number reach the console.
pub fn console_level() -> u8 {
    CONSOLE_LEVEL.load(Relaxed)
}

/// Sets the console level (`loglevel=` and `quiet` on the command line, syslog(2), `kernel.printk`).
pub fn set_console_level(level: u8) {
    CONSOLE_LEVEL.store(level, Relaxed);
}

/// This CPU is in the midst of printing.
pub(crate) fn is_printing() -> bool {
    CONSOLE.is_owned_by(crate::cpu::this().0)
}

/// The name of the console, if there is one.
pub fn console_name() -> Option<&'static str> {
    imp::console::present().then_some(CONSOLE.name())
}

/// Logs a message at level info: `kinfo!("found {} CPUs", n)`.
#[macro_export]
macro_rules! kinfo {
    ($($arg:tt)*) => { $crate::log::print(6, format_args!($($arg)*)) };
}

/// Logs a warning.
#[macro_export]
macro_rules! kwarn {
    ($($arg:tt)*) => { $crate::log::print(4, format_args!($($arg)*)) };
}

/// Logs a warning of a kind that a program can cause at will: no more than `kernel.printk_ratelimit_burst` in
/// `kernel.printk_ratelimit` seconds.
#[macro_export]
macro_rules! kwarn_limited {
    ($($arg:tt)*) => { $crate::limited!(4, $($arg)*) };
}

/// The same at level info.
#[macro_export]
macro_rules! kinfo_limited {
    ($($arg:tt)*) => { $crate::limited!(6, $($arg)*) };
}

/// Logs at a level within the rate limit of the place it is used.
#[doc(hidden)]
#[macro_export]
macro_rules! limited {
    ($level:literal, $($arg:tt)*) => {{
        static LIMIT: $crate::log::RateLimit = $crate::log::RateLimit::new();
        if let Some(missed) = LIMIT.pass() {
            if missed != 0 {
                $crate::log::print(4, format_args!("{}: {} messages suppressed", module_path!(), missed));
            }
            $crate::log::print($level, format_args!($($arg)*));
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_does_not_wait_for_what_its_own_cpu_was_at() {
        let me = crate::cpu::this().0;
        let owner = loop {
            if let Some(owner) = CONSOLE.acquire(Priority::Normal, me) {
                break owner;
            }
        };
        print_now(4, format_args!("in the midst of a message"));
        drop(owner);
    }
}

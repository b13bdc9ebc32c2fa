//! When the kernel itself is at fault: oopses, warnings, the end of the machine, and how often each may come.
//!
//! An oops is a panic of the code or an exception in kernel mode. It costs the task whose system call it happened in its life, and
//! the machine goes on, where that is sound; anywhere else it ends the machine ([`die`]). There is no unwinding: what the call
//! holds is never given back. So it is sound only if nobody can be kept waiting by that or find it half done:
//!
//! - the call holds no lock, spinning or sleeping. The machine counts a thread's locks; [`Hold`] counts as one;
//! - interrupts are on. They are off in interrupt handlers, with an `IrqLock` held, and where per-CPU state is changed;
//! - it is not in the midst of a wait, where the scheduler's queues name it, nor in the midst of a message to the console;
//! - it runs below a [`guard`], on its thread's own stack.
//!
//! Then the stack is cut back to the guard. What lay on it is forgotten, as by `mem::forget`: references it held leak, which
//! is why the number of oopses is bounded. Whoever called `guard` still owns the task, and ends it in the ordinary way.
//!
//! Sources: Linux `Documentation/admin-guide/sysctl/kernel.rst`, `tainted-kernels.rst`.

use crate::sync::Once;
use crate::{imp, log};
use core::fmt;
use core::marker::PhantomData;
use core::panic::Location;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

/// `kernel.oops_limit`: so many oopses end the machine; 0 for any number.
pub static OOPS_LIMIT: AtomicU32 = AtomicU32::new(10_000);
/// `kernel.warn_limit`: so many warnings end the machine; 0 for any number.
pub static WARN_LIMIT: AtomicU32 = AtomicU32::new(0);
/// `kernel.panic_on_oops`: the first oops ends it, unless 0.
pub static PANIC_ON_OOPS: AtomicI32 = AtomicI32::new(0);
/// `kernel.panic_on_warn`: the first warning ends it.
pub static PANIC_ON_WARN: AtomicBool = AtomicBool::new(false);

static OOPSES: AtomicU32 = AtomicU32::new(0);
static WARNINGS: AtomicU32 = AtomicU32::new(0);
static TAINT: AtomicU64 = AtomicU64::new(0);
static SUBJECT: Once<fn(bool) -> Subject> = Once::new();

/// Bits of [`taint`].
pub mod taint {
    /// There was an oops.
    pub const DIE: u64 = 1 << 7;
    /// There was a warning.
    pub const WARN: u64 = 1 << 9;
    /// All bits that have a meaning.
    pub const ALL: u64 = (1 << 20) - 1;
    /// A letter for each.
    pub(super) const LETTERS: [char; 20] =
        ['P', 'F', 'S', 'R', 'M', 'B', 'U', 'D', 'A', 'W', 'C', 'I', 'O', 'E', 'L', 'K', 'X', 'T', 'N', 'J'];
}

/// How a guarded function was ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// By a panic of its code, or an exception other than a page fault.
    Bug,
    /// By a page fault in kernel mode.
    Fault,
}

/// The running task, as a message names it.
#[derive(Clone, Copy, Default)]
pub struct Subject {
    /// Its number, 0 for a thread of the kernel.
    pub tid: i32,
    /// Its name, padded with NULs.
    pub name: [u8; 16],
    /// It can be ended where it is.
    pub may_end: bool,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.split(|b| *b == 0).next().unwrap_or_default();
        write!(f, "CPU: {} PID: {} Comm: {}", crate::cpu::this().0, self.tid, name.escape_ascii())
    }
}

/// Installs what tells of the running task. It is called with whether it may take locks (for the name), in any context.
pub fn set_subject(subject: fn(bool) -> Subject) {
    let _ = SUBJECT.set(subject);
}

fn subject() -> Subject {
    SUBJECT.get().map_or_else(Subject::default, |f| f(imp::cpu::locks_held() == 0))
}

/// Runs `f`; gives how it was ended if it has not returned. Guards do not nest.
pub fn guard(f: &mut dyn FnMut()) -> Option<Cause> {
    match imp::thread::guard(f) {
        0 => None,
        FAULT => Some(Cause::Fault),
        _ => Some(Cause::Bug),
    }
}

const FAULT: u64 = 2;

impl Cause {
    #[cfg_attr(not(target_os = "none"), allow(dead_code))] // a host ends by itself
    pub(crate) fn code(self) -> u64 {
        match self {
            Cause::Bug => 1,
            Cause::Fault => FAULT,
        }
    }
}

/// While this lives an oops ends the machine: the thread runs code that is not its task's own, or that others rely on to end.
pub struct Hold(PhantomData<*mut ()>);

impl Hold {
    /// Begins.
    #[inline]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Hold {
        imp::cpu::lock_taken();
        Hold(PhantomData)
    }
}

impl Drop for Hold {
    #[inline]
    fn drop(&mut self) {
        imp::cpu::lock_given();
    }
}

/// Locks (and [`Hold`]s) of the running thread.
pub fn locks_held() -> u64 {
    imp::cpu::locks_held()
}

/// Oopses so far.
pub fn oops_count() -> u32 {
    OOPSES.load(Relaxed)
}

/// Warnings so far.
pub fn warn_count() -> u32 {
    WARNINGS.load(Relaxed)
}

/// What has happened to this kernel since boot that casts doubt on its state (`kernel.tainted`).
pub fn taint() -> u64 {
    TAINT.load(Relaxed)
}

/// Adds bits to it.
pub fn add_taint(bits: u64) {
    TAINT.fetch_or(bits & taint::ALL, Relaxed);
}

/// The taint as messages have it.
struct Tainted;

impl fmt::Display for Tainted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = taint();
        if bits == 0 {
            return f.write_str("Not tainted");
        }
        f.write_str("Tainted: ")?;
        let set = taint::LETTERS.iter().enumerate().filter(|(bit, _)| bits & 1 << bit != 0);
        set.into_iter().try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// Ends the machine with a message.
pub fn die(what: fmt::Arguments<'_>) -> ! {
    imp::panic::die(what)
}

/// Whether the running task can be ended in place of the machine; else why not.
#[cfg_attr(not(target_os = "none"), allow(dead_code))] // as above
pub(crate) fn confine(interrupts_on: bool) -> Result<Subject, &'static str> {
    if !interrupts_on {
        return Err("interrupts are masked");
    }
    if imp::cpu::locks_held() != 0 {
        return Err("a lock is held");
    }
    if log::is_printing() {
        return Err("the console is held");
    }
    let subject = subject();
    if subject.may_end { Ok(subject) } else { Err("no task can be ended here") }
}

/// Reports an oops of `subject` and counts it; returns unless it was one too many.
#[cfg_attr(not(target_os = "none"), allow(dead_code))] // as above
pub(crate) fn report(subject: &Subject, what: fmt::Arguments<'_>, trace: &dyn fmt::Display) {
    let number = OOPSES.fetch_add(1, Relaxed).saturating_add(1);
    log::print_now(0, format_args!("{what}\nOops: #{number} {subject} {Tainted}\nCall Trace:{trace}"));
    add_taint(taint::DIE);
    if PANIC_ON_OOPS.load(Relaxed) != 0 {
        die(format_args!("Fatal exception: panic_on_oops is set"));
    }
    let limit = OOPS_LIMIT.load(Relaxed);
    if number >= limit && limit != 0 {
        die(format_args!("Oopsed too often (kernel.oops_limit is {limit})"));
    }
}

/// Reports what should not have come to pass but can be lived with (the macro [`crate::warning!`] calls this).
#[track_caller]
pub fn warn(what: fmt::Arguments<'_>) {
    let at = Location::caller();
    let (file, line, subject) = (at.file(), at.line(), subject());
    let trace = imp::panic::trace_here();
    log::print_now(
        4,
        format_args!("WARNING: {file}:{line}: {what}\n{subject} {Tainted}\nCall Trace:{trace}\n---[ end trace ]---"),
    );
    if PANIC_ON_WARN.load(Relaxed) {
        die(format_args!("panic_on_warn is set"));
    }
    let limit = WARN_LIMIT.load(Relaxed);
    if WARNINGS.fetch_add(1, Relaxed).saturating_add(1) >= limit && limit != 0 {
        die(format_args!("system warned too often (kernel.warn_limit is {limit})"));
    }
    add_taint(taint::WARN);
}

/// Warns of a fault of the kernel's own that it can live with: counted, and shown with the place and how it was reached.
#[macro_export]
macro_rules! warning {
    ($($arg:tt)*) => { $crate::oops::warn(format_args!($($arg)*)) };
}

/// Writes to address 0 in kernel mode, for tests of what follows.
pub fn provoke_fault() {
    imp::panic::provoke_fault()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taint_adds_up_and_has_a_letter_for_each_bit() {
        assert_eq!(Tainted.to_string(), "Not tainted");
        add_taint(taint::DIE | 1 << 40);
        add_taint(taint::WARN);
        assert_eq!(taint(), 640);
        assert_eq!(Tainted.to_string(), "Tainted: DW");
    }

    #[test]
    fn a_guarded_function_that_returns_has_no_cause_of_death() {
        let mut ran = 0;
        assert_eq!(guard(&mut || ran += 1), None);
        assert_eq!(ran, 1);
    }
}

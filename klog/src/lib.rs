//! The kernel log above the ring of `machine::log`: the console's thread, the readers' queue, and what syslog(2), /dev/kmsg and
//! the `kernel.printk*` settings share.
//!
//! - [`syslog`] is the one reader that all callers of syslog(2) share, and the settings of the console;
//! - [`format`] makes the text of records.
//!
//! Lock order: `syslog::STATE` (a sleeping lock) is held while records are copied to user space; nothing else here locks.
//!
//! Sources: syslog(2), proc_sys_kernel(5), Linux `Documentation/admin-guide/sysctl/kernel.rst`.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod format;
pub mod syslog;

use abi::Errno;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use machine::log;
use sched::WaitQueue;

/// Readers of the log wait here.
pub static ARRIVED: WaitQueue = WaitQueue::new();
/// The console's thread waits here.
static TO_PRINT: WaitQueue = WaitQueue::new();

/// `kernel.dmesg_restrict`: only who has CAP_SYSLOG may read the log.
pub static DMESG_RESTRICT: AtomicBool = AtomicBool::new(false);

/// `kernel.printk_devkmsg`: what becomes of messages that programs write to /dev/kmsg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum DevKmsg {
    /// They are logged.
    On,
    /// They are ignored, and the device cannot be opened.
    Off,
    /// Each open file may write a few in a while.
    RateLimit,
}

impl DevKmsg {
    /// All settings with their names.
    pub const NAMES: [(&'static str, DevKmsg); 3] =
        [("on", DevKmsg::On), ("off", DevKmsg::Off), ("ratelimit", DevKmsg::RateLimit)];
}

static DEVKMSG: AtomicU8 = AtomicU8::new(DevKmsg::RateLimit as u8);

/// The setting now.
pub fn devkmsg() -> DevKmsg {
    DevKmsg::NAMES.iter().find(|(_, d)| *d as u8 == DEVKMSG.load(Relaxed)).map_or(DevKmsg::RateLimit, |(_, d)| *d)
}

/// Changes it.
pub fn set_devkmsg(to: DevKmsg) {
    DEVKMSG.store(to as u8, Relaxed);
}

/// Starts the console's thread; from now on messages are printed by it. `caller` names the running thread.
pub fn init(caller: fn() -> u32) -> Result<(), Errno> {
    log::set_caller(caller);
    log::set_listener(|print| {
        ARRIVED.wake_all();
        if print {
            TO_PRINT.wake_one();
        }
    });
    if let Some(name) = log::console_name() {
        let mut title = alloc::string::String::from("pr/");
        title.push_str(name);
        sched::spawn(&title, None, Box::new(print)).map_err(|_| Errno::ENOMEM)?.start();
        log::set_threaded();
    }
    Ok(())
}

/// The console's thread.
fn print() {
    loop {
        TO_PRINT.wait(|| log::printing_waits().then_some(()));
        log::flush();
        // Not to be had just now, or there was much: others go on meanwhile.
        sched::cond_resched();
    }
}

//! Settings of the kernel log in `/proc/sys/kernel`, and /proc/consoles.

use crate::file::{parse_numbers, parse_switch};
use crate::sysctl::admin_only;
use crate::text::Text;
use abi::Errno;
use core::sync::atomic::Ordering::Relaxed;
use klog::{DMESG_RESTRICT, DevKmsg};
use machine::log;

type Shown = Result<(), Errno>;

/// `printk`: console level, default level, lowest console level, console level at boot.
pub fn printk(out: &mut Text) -> Shown {
    let rest = [&log::DEFAULT_LEVEL, &log::MINIMUM_LEVEL, &log::BOOT_LEVEL];
    out.dec(log::console_level().into());
    for level in rest {
        out.ch('\t').dec(level.load(Relaxed).into());
    }
    out.ch('\n');
    Ok(())
}

/// Writing `printk`: as many of the four as are given. A bad one leaves those before it set, as on Linux.
pub fn set_printk(input: &[u8]) -> Shown {
    parse_numbers::<u8>(input, 4, |at, level| {
        match at {
            0 => log::set_console_level(level),
            1 => log::DEFAULT_LEVEL.store(level, Relaxed),
            2 => log::MINIMUM_LEVEL.store(level, Relaxed),
            _ => log::BOOT_LEVEL.store(level, Relaxed),
        }
        Ok(())
    })
}

/// `printk_devkmsg`.
pub fn devkmsg(out: &mut Text) -> Shown {
    let now = klog::devkmsg();
    let name = DevKmsg::NAMES.iter().find(|(_, d)| *d == now).map_or("", |(name, _)| name);
    out.str(name).ch('\n');
    Ok(())
}

/// Writing `printk_devkmsg`.
pub fn set_devkmsg(input: &[u8]) -> Shown {
    let word = input.strip_suffix(b"\n").unwrap_or(input);
    let (_, to) = DevKmsg::NAMES.iter().find(|(name, _)| name.as_bytes() == word).ok_or(Errno::EINVAL)?;
    klog::set_devkmsg(*to);
    Ok(())
}

/// `dmesg_restrict`.
pub fn restrict(out: &mut Text) -> Shown {
    out.dec(DMESG_RESTRICT.load(Relaxed).into()).ch('\n');
    Ok(())
}

/// Writing `dmesg_restrict`.
pub fn set_restrict(input: &[u8]) -> Shown {
    admin_only()?;
    DMESG_RESTRICT.store(parse_switch(input)?, Relaxed);
    Ok(())
}

/// /proc/consoles: the serial line, which prints by a thread of its own (`N`) and in any context (`a`).
pub fn consoles(out: &mut Text) -> Shown {
    if let Some(name) = log::console_name() {
        out.left(name, 21).str("-W- (EC Np a)    4:64\n");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_set_from_the_front_up_to_a_bad_one() {
        set_printk(b"4 4 1 7\n").unwrap();
        assert_eq!(set_printk(b"8 x"), Err(Errno::EINVAL));
        let mut out = Text::new();
        printk(&mut out).unwrap();
        assert_eq!(out.finish().unwrap(), b"8\t4\t1\t7\n");
        set_printk(b"5").unwrap();
        let mut out = Text::new();
        printk(&mut out).unwrap();
        assert_eq!(out.finish().unwrap(), b"5\t4\t1\t7\n");
    }
}

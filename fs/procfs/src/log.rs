//! Settings of the kernel log in `/proc/sys/kernel`, and /proc/consoles.

use crate::file::parse_switch;
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

/// Writing `printk`: as many of the four as are given.
pub fn set_printk(input: &[u8]) -> Shown {
    let text = core::str::from_utf8(input).map_err(|_| Errno::EINVAL)?;
    let mut levels = [None; 4];
    for (slot, word) in levels.iter_mut().zip(text.split_ascii_whitespace()) {
        *slot = Some(word.parse::<u8>().map_err(|_| Errno::EINVAL)?);
    }
    let [console, rest @ ..] = levels;
    if let Some(level) = console {
        log::set_console_level(level);
    }
    for (level, to) in rest.into_iter().zip([&log::DEFAULT_LEVEL, &log::MINIMUM_LEVEL, &log::BOOT_LEVEL]) {
        if let Some(level) = level {
            to.store(level, Relaxed);
        }
    }
    Ok(())
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
    fn levels_are_set_from_the_front_and_nothing_is_set_by_half() {
        set_printk(b"4 4 1 7\n").unwrap();
        assert_eq!(set_printk(b"8 x"), Err(Errno::EINVAL));
        set_printk(b"5").unwrap();
        let mut out = Text::new();
        printk(&mut out).unwrap();
        assert_eq!(out.finish().unwrap(), b"5\t4\t1\t7\n");
    }
}

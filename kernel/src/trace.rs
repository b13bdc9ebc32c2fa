//! `--trace`: prints each system call with its decoded arguments, strace-like, from the rows of the call table.
//!
//! Strings are read when the call is entered (exec replaces the memory they lie in); the line is printed when it returns, or at
//! once for calls that do not return.

use crate::table::{Arg, Kind, Row, row};
use alloc::string::String;
use core::fmt::Write;
use machine::VirtAddr;
use task::Cx;

/// Longest piece of a string or buffer that is shown.
const SHOWN: usize = 48;

/// Runs the call through `dispatch` and prints it.
pub fn traced(cx: &mut Cx, dispatch: fn(&mut Cx) -> i64) -> i64 {
    let nr = cx.user.regs.orig_rax as u32;
    let mut line = String::new();
    let tid = cx.task.tid();
    match row(nr) {
        Some(row) => entry(&mut line, cx, row),
        None => drop(write!(line, "syscall_{nr}(...)")),
    }
    if matches!(row(nr).map(|r| r.name), Some("exit" | "exit_group")) {
        machine::log::print_now(6, format_args!("[{tid}] {line}"));
    }
    let ret = dispatch(cx);
    match u32::try_from(ret.wrapping_neg()).ok().and_then(abi::Errno::from_raw) {
        Some(e) => machine::log::print_now(6, format_args!("[{tid}] {line} = -1 {e}")),
        None if ret as u64 >= 0x1_0000 => machine::log::print_now(6, format_args!("[{tid}] {line} = {ret:#x}")),
        None => machine::log::print_now(6, format_args!("[{tid}] {line} = {ret}")),
    }
    ret
}

fn entry(line: &mut String, cx: &Cx, row: &Row) {
    let r = &cx.user.regs;
    let regs = [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9];
    line.push_str(row.name);
    line.push('(');
    for (i, (arg, value)) in row.args.iter().zip(regs).enumerate() {
        if i > 0 {
            line.push_str(", ");
        }
        let following = regs.get(i + 1).copied().unwrap_or(0);
        argument(line, cx, row, arg, value, following);
    }
    line.push(')');
}

fn argument(line: &mut String, cx: &Cx, row: &Row, arg: &Arg, value: u64, following: u64) {
    let _ = match arg.kind {
        Kind::Int | Kind::Fd | Kind::Pid | Kind::Sig => write!(line, "{}", value as i32),
        Kind::Uint | Kind::Size => write!(line, "{value}"),
        Kind::Off => write!(line, "{}", value as i64),
        Kind::Hex => write!(line, "{value:#x}"),
        Kind::Mode => write!(line, "{:#o}", value as u32),
        Kind::DirFd if value as i32 == -100 => write!(line, "AT_FDCWD"),
        Kind::DirFd => write!(line, "{}", value as i32),
        Kind::Ptr if value == 0 => write!(line, "NULL"),
        Kind::Ptr => write!(line, "{value:#x}"),
        Kind::Str => text(line, cx, value, SHOWN, true),
        // What a write passes in is worth showing; what a read will fill is not known yet.
        Kind::Buf if row.name.contains("write") || row.name.contains("send") => {
            text(line, cx, value, SHOWN.min(following as usize), false)
        }
        Kind::Buf => write!(line, "{value:#x}"),
        Kind::Open => names(line, value, OPEN, Some("O_RDONLY")),
        Kind::Prot => names(line, value, PROT, Some("PROT_NONE")),
        Kind::Map => names(line, value, MAP, None),
        Kind::Clock => match CLOCKS.get(value as usize) {
            Some(name) => write!(line, "{name}"),
            None => write!(line, "{}", value as i32),
        },
    };
}

/// Shows memory of the caller in quotes; an unreadable address as a number.
fn text(line: &mut String, cx: &Cx, at: u64, len: usize, until_nul: bool) -> core::fmt::Result {
    let mut buf = [0u8; SHOWN];
    let mut got = 0;
    for (i, b) in buf.iter_mut().enumerate().take(len) {
        let mut byte = [0u8];
        if cx.mm().read_bytes(VirtAddr(at.wrapping_add(i as u64)), &mut byte).is_err() {
            break;
        }
        if until_nul && byte[0] == 0 {
            return write!(line, "\"{}\"", buf_text(&buf, got));
        }
        *b = byte[0];
        got += 1;
    }
    if got == 0 && len > 0 {
        return if at == 0 { write!(line, "NULL") } else { write!(line, "{at:#x}") };
    }
    write!(line, "\"{}\"{}", buf_text(&buf, got), if got == SHOWN { "..." } else { "" })
}

fn buf_text(buf: &[u8; SHOWN], len: usize) -> core::slice::EscapeAscii<'_> {
    buf.get(..len).unwrap_or(&[]).escape_ascii()
}

fn names(line: &mut String, value: u64, table: &[(u64, &str)], zero: Option<&str>) -> core::fmt::Result {
    let mut left = value;
    let mut first = true;
    let mut put = |line: &mut String, s: &str| {
        if !first {
            line.push('|');
        }
        first = false;
        line.push_str(s);
    };
    if let Some(z) = zero
        && value & 3 == 0
    {
        put(line, z);
    }
    for (bits, name) in table {
        if left & bits == *bits {
            put(line, name);
            left &= !bits;
        }
    }
    if left != 0 {
        write!(line, "|{left:#x}")?;
    }
    Ok(())
}

/// open(2) flags (`asm-generic/fcntl.h`); combined values before their parts.
const OPEN: &[(u64, &str)] = &[
    (0o1, "O_WRONLY"),
    (0o2, "O_RDWR"),
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o4010000, "O_SYNC"),
    (0o10000, "O_DSYNC"),
    (0o40000, "O_DIRECT"),
    (0o100000, "O_LARGEFILE"),
    (0o20200000, "O_TMPFILE"),
    (0o200000, "O_DIRECTORY"),
    (0o400000, "O_NOFOLLOW"),
    (0o1000000, "O_NOATIME"),
    (0o2000000, "O_CLOEXEC"),
    (0o10000000, "O_PATH"),
];

/// mmap(2) protection bits.
const PROT: &[(u64, &str)] = &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")];

/// mmap(2) flags (`asm-generic/mman.h`).
const MAP: &[(u64, &str)] = &[
    (0x03, "MAP_SHARED_VALIDATE"),
    (0x01, "MAP_SHARED"),
    (0x02, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x40, "MAP_32BIT"),
    (0x100, "MAP_GROWSDOWN"),
    (0x800, "MAP_DENYWRITE"),
    (0x1000, "MAP_EXECUTABLE"),
    (0x2000, "MAP_LOCKED"),
    (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"),
    (0x20000, "MAP_STACK"),
    (0x100000, "MAP_FIXED_NOREPLACE"),
];

/// Clock ids by number (`linux/time.h`).
const CLOCKS: &[&str] = &[
    "CLOCK_REALTIME",
    "CLOCK_MONOTONIC",
    "CLOCK_PROCESS_CPUTIME_ID",
    "CLOCK_THREAD_CPUTIME_ID",
    "CLOCK_MONOTONIC_RAW",
    "CLOCK_REALTIME_COARSE",
    "CLOCK_MONOTONIC_COARSE",
    "CLOCK_BOOTTIME",
];

#[cfg(test)]
mod tests {
    use super::{MAP, OPEN, PROT, names};
    use alloc::string::String;

    fn shown(value: u64, table: &[(u64, &str)], zero: Option<&str>) -> String {
        let mut s = String::new();
        names(&mut s, value, table, zero).expect("a string takes any text");
        s
    }

    #[test]
    fn flag_words_are_spelled_out_and_unknown_bits_are_kept() {
        assert_eq!(shown(0o2000000, OPEN, Some("O_RDONLY")), "O_RDONLY|O_CLOEXEC");
        assert_eq!(shown(0o1101, OPEN, Some("O_RDONLY")), "O_WRONLY|O_CREAT|O_TRUNC");
        assert_eq!(shown(0, PROT, Some("PROT_NONE")), "PROT_NONE");
        assert_eq!(shown(0x22, MAP, None), "MAP_PRIVATE|MAP_ANONYMOUS");
        assert_eq!(shown(0x4000_0022, MAP, None), "MAP_PRIVATE|MAP_ANONYMOUS|0x40000000");
    }
}

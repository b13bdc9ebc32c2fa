//! `limits`: proc_pid_limits(5).

use super::Subject;
use crate::text::Text;
use abi::Errno;
use abi::resource::{RLIM_INFINITY, Resource};
use vfs::File;

const ROWS: [(Resource, &str, &str); 16] = [
    (Resource::Cpu, "Max cpu time", "seconds"),
    (Resource::Fsize, "Max file size", "bytes"),
    (Resource::Data, "Max data size", "bytes"),
    (Resource::Stack, "Max stack size", "bytes"),
    (Resource::Core, "Max core file size", "bytes"),
    (Resource::Rss, "Max resident set", "bytes"),
    (Resource::Nproc, "Max processes", "processes"),
    (Resource::Nofile, "Max open files", "files"),
    (Resource::Memlock, "Max locked memory", "bytes"),
    (Resource::As, "Max address space", "bytes"),
    (Resource::Locks, "Max file locks", "locks"),
    (Resource::Sigpending, "Max pending signals", "signals"),
    (Resource::Msgqueue, "Max msgqueue size", "bytes"),
    (Resource::Nice, "Max nice priority", ""),
    (Resource::Rtprio, "Max realtime priority", ""),
    (Resource::Rttime, "Max realtime timeout", "us"),
];

/// `/proc/PID/limits`.
pub fn limits(subject: &Subject, _: &File, out: &mut Text) -> Result<(), Errno> {
    let process = subject.process()?;
    out.str("Limit                     Soft Limit           Hard Limit           Units     \n");
    for (resource, name, unit) in ROWS {
        let limit = process.limits.get(resource);
        row(out, name, limit.cur, limit.max, unit);
    }
    Ok(())
}

fn row(out: &mut Text, name: &str, soft: u64, hard: u64, unit: &str) {
    out.left(name, 26);
    for value in [soft, hard] {
        let start = out.position();
        if value == RLIM_INFINITY {
            out.str("unlimited");
        } else {
            out.dec(value);
        }
        let width = out.position() - start;
        out.pad(' ', 20usize.saturating_sub(width)).ch(' ');
    }
    if !unit.is_empty() {
        out.left(unit, 10);
    }
    out.ch('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_linuxs_columns() {
        let mut out = Text::new();
        row(&mut out, "Max stack size", 8 << 20, RLIM_INFINITY, "bytes");
        row(&mut out, "Max nice priority", 0, 0, "");
        assert_eq!(
            core::str::from_utf8(&out.finish().unwrap()).unwrap(),
            "Max stack size            8388608              unlimited            bytes     \n\
             Max nice priority         0                    0                    \n"
        );
    }
}

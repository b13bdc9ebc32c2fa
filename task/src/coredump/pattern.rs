//! Where a core goes: `kernel.core_pattern` and its specifiers, core(5).

use alloc::vec::Vec;

/// Most bytes of a pattern, its NUL included (`CORENAME_MAX_SIZE`).
pub const MAX_LEN: usize = 128;

/// What the specifiers stand for.
pub struct Facts<'a> {
    /// `%p`, `%P`, `%i`, `%I`: process in its namespace and in the first, thread likewise.
    pub ids: [i32; 4],
    /// `%u`, `%g`.
    pub user: [u32; 2],
    /// `%d`.
    pub dumpable: u8,
    /// `%s`.
    pub signal: i32,
    /// `%t`: seconds since 1970.
    pub time: u64,
    /// `%h`.
    pub host: &'a [u8],
    /// `%e`.
    pub comm: &'a [u8],
    /// `%E`, and `%f` its last part.
    pub exe: &'a [u8],
    /// `%c`.
    pub limit: u64,
    /// `%C`.
    pub cpu: u32,
    /// `%F`: the helper's descriptor of the process; files have none.
    pub pidfd: Option<u32>,
}

/// Appends a name that must not lead elsewhere: slashes become `!`, and so does the beginning of the names of directories.
fn escaped(out: &mut Vec<u8>, name: &[u8]) {
    let from = out.len();
    out.extend(name.iter().map(|b| if *b == b'/' { b'!' } else { *b }));
    if matches!(name, b"." | b"..") || name.is_empty() {
        match out.get_mut(from) {
            Some(first) => *first = b'!',
            None => out.push(b'!'),
        }
    }
}

/// Expands one word of a pattern; true when it named the process id.
pub fn expand(pattern: &[u8], facts: &Facts<'_>, out: &mut Vec<u8>) -> bool {
    let mut pid_used = false;
    let mut rest = pattern.iter();
    let number = |out: &mut Vec<u8>, n: i64| out.extend_from_slice(alloc::format!("{n}").as_bytes());
    while let Some(b) = rest.next() {
        if *b != b'%' {
            out.push(*b);
            continue;
        }
        match rest.next() {
            None => break,
            Some(b'%') => out.push(b'%'),
            Some(b'p') => {
                pid_used = true;
                number(out, facts.ids[0].into());
            }
            Some(b'P') => number(out, facts.ids[1].into()),
            Some(b'i') => number(out, facts.ids[2].into()),
            Some(b'I') => number(out, facts.ids[3].into()),
            Some(b'u') => number(out, facts.user[0].into()),
            Some(b'g') => number(out, facts.user[1].into()),
            Some(b'd') => number(out, facts.dumpable.into()),
            Some(b's') => number(out, facts.signal.into()),
            Some(b't') => number(out, facts.time as i64),
            Some(b'h') => escaped(out, facts.host),
            Some(b'e') => escaped(out, facts.comm),
            Some(b'f') => escaped(out, facts.exe.rsplit(|b| *b == b'/').next().unwrap_or_default()),
            Some(b'E') => escaped(out, facts.exe),
            Some(b'c') => out.extend_from_slice(alloc::format!("{}", facts.limit).as_bytes()),
            Some(b'C') => number(out, facts.cpu.into()),
            Some(b'F') => facts.pidfd.into_iter().for_each(|fd| number(out, fd.into())),
            // Unknown specifiers stand for nothing.
            Some(_) => {}
        }
    }
    pid_used
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_name_leads_elsewhere_and_any_pattern_expands(
            pattern in proptest::collection::vec(proptest::num::u8::ANY, 0..MAX_LEN),
            name in proptest::collection::vec(proptest::sample::select(b"/.%a\xff".to_vec()), 0..20),
        ) {
            let facts = Facts {
                ids: [i32::MAX, i32::MIN, 0, -1],
                user: [u32::MAX; 2],
                dumpable: u8::MAX,
                signal: i32::MIN,
                time: u64::MAX,
                host: &name,
                comm: &name,
                exe: &name,
                limit: u64::MAX,
                cpu: u32::MAX,
                pidfd: None,
            };
            let (mut any, mut parts) = (Vec::new(), Vec::new());
            expand(&pattern, &facts, &mut any);
            // The slashes are the pattern's own.
            assert_eq!(any.iter().filter(|b| **b == b'/').count(), plain_slashes(&pattern));
            expand(b"%h/%e/%f/%E", &facts, &mut parts);
            assert!(parts.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b"..")));
        }
    }

    /// Slashes that do not follow a per cent sign that begins a specifier.
    fn plain_slashes(pattern: &[u8]) -> usize {
        let mut bytes = pattern.iter();
        let mut count = 0;
        while let Some(b) = bytes.next() {
            match b {
                b'%' => drop(bytes.next()),
                b'/' => count += 1,
                _ => {}
            }
        }
        count
    }

    #[test]
    fn specifiers_expand_as_core_5_says() {
        let facts = Facts {
            ids: [7, 70, 8, 80],
            user: [1000, 100],
            dumpable: 1,
            signal: 11,
            time: 5,
            host: b"box",
            comm: b"a/b",
            exe: b"/usr/bin/x",
            limit: u64::MAX,
            cpu: 3,
            pidfd: Some(4),
        };
        let run = |p: &[u8]| {
            let mut out = Vec::new();
            let used = expand(p, &facts, &mut out);
            (alloc::string::String::from_utf8(out).unwrap(), used)
        };
        assert_eq!(run(b"core"), ("core".into(), false));
        assert_eq!(run(b"/c/%e.%p.%P.%i.%I.%s%%%q%"), ("/c/a!b.7.70.8.80.11%".into(), true));
        assert_eq!(run(b"%u.%g.%d.%t.%h.%f.%E.%C"), ("1000.100.1.5.box.x.!usr!bin!x.3".into(), false));
        assert_eq!(run(b"%F"), ("4".into(), false));
        assert_eq!(run(b"%c"), ("18446744073709551615".into(), false));
        let mut out = Vec::new();
        escaped(&mut out, b"..");
        assert_eq!(out, b"!.");
    }
}

//! The first line of a script: `#!interpreter [one argument]`. Source: execve(2).

use abi::Errno;

/// How much of a file decides what it is.
pub const HEAD_SIZE: usize = 256;

/// The interpreter and its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// Path of the interpreter.
    pub interpreter: &'a [u8],
    /// The rest of the line as one argument.
    pub argument: Option<&'a [u8]>,
}

fn blank(c: u8) -> bool {
    c == b' ' || c == b'\t'
}

fn trim_start(line: &[u8]) -> &[u8] {
    let from = line.iter().position(|c| !blank(*c)).unwrap_or(line.len());
    line.get(from..).unwrap_or_default()
}

/// Splits the first line of a file that starts with `#!`; `None` when it does not. `head` is the first [`HEAD_SIZE`]
/// bytes, or the whole file when it is shorter.
pub fn parse(head: &[u8]) -> Option<Result<Script<'_>, Errno>> {
    let rest = head.strip_prefix(b"#!")?;
    Some(line(rest, head.len() >= HEAD_SIZE).ok_or(Errno::ENOEXEC))
}

fn line(rest: &[u8], cut_off: bool) -> Option<Script<'_>> {
    let end = rest.iter().position(|c| *c == b'\n' || *c == 0);
    let line = match end {
        Some(end) => rest.get(..end)?,
        // A name that runs to the end of what was read may have been cut.
        None if cut_off && !trim_start(rest).iter().any(|c| blank(*c)) => return None,
        None => rest,
    };
    let mut line = trim_start(line);
    while let [head @ .., last] = line
        && blank(*last)
    {
        line = head;
    }
    let name_end = line.iter().position(|c| blank(*c)).unwrap_or(line.len());
    let (interpreter, rest) = line.split_at_checked(name_end)?;
    let argument = trim_start(rest);
    (!interpreter.is_empty()).then_some(Script { interpreter, argument: (!argument.is_empty()).then_some(argument) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok<'a>(interpreter: &'a [u8], argument: Option<&'a [u8]>) -> Option<Result<Script<'a>, Errno>> {
        Some(Ok(Script { interpreter, argument }))
    }

    #[test]
    fn lines_split_as_linux_splits_them() {
        assert_eq!(parse(b"#!/bin/sh\necho"), ok(b"/bin/sh", None));
        assert_eq!(parse(b"#! \t/bin/sh -e  x \nrest"), ok(b"/bin/sh", Some(b"-e  x")));
        assert_eq!(parse(b"#!/bin/sh"), ok(b"/bin/sh", None));
        assert_eq!(parse(b"#!/bin/sh\0-e\n"), ok(b"/bin/sh", None));
        assert_eq!(parse(b"#!\n"), Some(Err(Errno::ENOEXEC)));
        assert_eq!(parse(b"#!   "), Some(Err(Errno::ENOEXEC)));
        assert_eq!(parse(b"\x7fELF"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_line_gives_an_interpreter_without_blanks_or_an_error(
            line in proptest::collection::vec(proptest::num::u8::ANY, 0..HEAD_SIZE),
        ) {
            let mut head = b"#!".to_vec();
            head.extend(line);
            head.truncate(HEAD_SIZE);
            if let Some(Ok(script)) = parse(&head) {
                assert!(!script.interpreter.is_empty());
                assert!(!script.interpreter.iter().any(|c| blank(*c) || *c == b'\n' || *c == 0));
                assert!(script.argument.is_none_or(|a| !a.is_empty()));
            }
        }
    }

    #[test]
    fn a_name_longer_than_the_head_is_refused_but_an_argument_is_cut() {
        let mut head = [b'x'; HEAD_SIZE];
        head[..2].copy_from_slice(b"#!");
        assert_eq!(parse(&head), Some(Err(Errno::ENOEXEC)));
        head[10] = b' ';
        let script = parse(&head).unwrap().unwrap();
        assert_eq!(script.interpreter.len(), 8);
        assert_eq!(script.argument.map(<[u8]>::len), Some(HEAD_SIZE - 11));
    }
}

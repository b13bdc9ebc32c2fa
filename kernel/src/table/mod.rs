//! THE system-call table: one row a call. From it come dispatch, `--trace` output, the compatibility page, the count in the
//! README and the grammar of the call fuzzer.
//!
//! A row reads: number, name, arguments with the kind a trace shows them as, the function, support level, manual page, test.
//! The function's own signature gives the types: each register is decoded once, here, through [`FromReg`].

mod decode;
mod page;
mod rows;

pub use decode::{FromReg, IntoRet};
pub use page::markdown;
pub use rows::{ROWS, dispatch};

/// How a trace shows an argument (and how the fuzzer makes one up).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A signed number.
    Int,
    /// An unsigned number.
    Uint,
    /// A number or flag word shown in hexadecimal.
    Hex,
    /// A size in bytes or elements.
    Size,
    /// A file offset.
    Off,
    /// A file descriptor.
    Fd,
    /// A directory descriptor or `AT_FDCWD`.
    DirFd,
    /// A user pointer.
    Ptr,
    /// A NUL-terminated string in user memory.
    Str,
    /// A buffer in user memory whose length is the next argument.
    Buf,
    /// open(2) flags.
    Open,
    /// File mode bits.
    Mode,
    /// A process or thread id.
    Pid,
    /// A signal number.
    Sig,
    /// PROT_* bits.
    Prot,
    /// MAP_* bits.
    Map,
    /// A CLOCK_* id.
    Clock,
}

/// An argument of a row.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// Name, as in the manual page.
    pub name: &'static str,
    /// How it is shown.
    pub kind: Kind,
}

/// How much of a call there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// All of it.
    Full,
    /// All but what is said.
    Partial(&'static str),
}

/// One system call.
#[derive(Debug)]
pub struct Row {
    /// x86-64 number.
    pub nr: u32,
    /// Name without prefix.
    pub name: &'static str,
    /// Arguments in register order.
    pub args: &'static [Arg],
    /// Support level.
    pub support: Support,
    /// Manual page.
    pub man: &'static str,
    /// The test that proves it.
    pub test: &'static str,
}

/// The row of a call number.
pub fn row(nr: u32) -> Option<&'static Row> {
    ROWS.binary_search_by_key(&nr, |r| r.nr).ok().and_then(|i| ROWS.get(i))
}

/// Declares the rows: the data and the dispatch function are made from the same text, so they cannot differ.
macro_rules! syscall_table {
    ($($nr:literal $name:ident ($($arg:ident: $kind:ident),*) => $f:path; $support:expr; $man:literal; $test:literal)*) => {
        /// All rows, ordered by number.
        pub static ROWS: &[$crate::table::Row] = &[$(
            $crate::table::Row {
                nr: $nr,
                name: stringify!($name),
                args: &[$($crate::table::Arg { name: stringify!($arg), kind: $crate::table::Kind::$kind }),*],
                support: $support,
                man: $man,
                test: $test,
            },
        )*];

        /// Decodes the arguments of the call in `cx`'s registers, runs it, and returns what goes back in `rax`.
        pub fn dispatch(cx: &mut task::Cx) -> i64 {
            let regs = &cx.user.regs;
            #[allow(unused_mut, unused_variables)]
            match regs.orig_rax as u32 {
                $($nr => {
                    let mut next = $crate::table::decode::Args::new(regs);
                    $(let $arg = $crate::table::FromReg::from_reg(next.next());)*
                    $crate::table::IntoRet::into_ret($f(cx, $($arg),*))
                })*
                _ => abi::Errno::ENOSYS.to_ret(),
            }
        }
    };
}
pub(crate) use syscall_table;

#[cfg(test)]
mod tests {
    use super::{ROWS, row};

    #[test]
    fn rows_are_ordered_by_number_and_unique() {
        assert!(ROWS.windows(2).all(|w| w[0].nr < w[1].nr));
    }

    #[test]
    fn names_are_unique_and_every_row_names_its_manual_page_and_test() {
        let names: std::collections::BTreeSet<_> = ROWS.iter().map(|r| r.name).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(ROWS.iter().all(|r| r.man.ends_with(')') && !r.test.is_empty()));
        assert_eq!(row(39).map(|r| r.name), Some("getpid"));
        assert!(row(9999).is_none());
    }
}

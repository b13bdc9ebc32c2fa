//! Mount parameters: `size`, `nr_blocks`, `nr_inodes`, `mode`, `uid`, `gid` and what concerns inode numbers and swap (tmpfs(5)).

use crate::space::{Limit, Space};
use abi::Errno;
use alloc::sync::Arc;
use vfs::user_ns::IdKind;
use vfs::{Configure, Cred, Inode, Kind, Mounting, Param, SbFlags, SuperBlock, UserNamespace, Value};

/// What an instance starts with. A limit of 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub max_pages: u64,
    pub max_inodes: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Its pages are never swapped; there is no swap.
    pub noswap: bool,
    /// `inode64` was asked for, which is shown; numbers are wide anyway.
    pub wide: bool,
    /// What it was made as.
    pub kind: What,
}

/// The kinds of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A mounted tmpfs.
    Tmpfs,
    /// A mounted ramfs.
    Ramfs,
    /// One of the kernel's own.
    Internal,
}

fn total_pages() -> u64 {
    machine::mem::extent().1 as u64
}

impl Options {
    /// Half of memory in pages and in inodes.
    pub fn limited() -> Options {
        let half = total_pages() / 2;
        Options { max_pages: half, max_inodes: half, ..Options::unlimited() }
    }
    /// No limits, a world-writable sticky root.
    pub fn unlimited() -> Options {
        Options {
            max_pages: 0,
            max_inodes: 0,
            mode: 0o1777,
            uid: 0,
            gid: 0,
            noswap: false,
            wide: false,
            kind: What::Internal,
        }
    }
}

/// What a mount or remount asks for.
#[derive(Default)]
pub struct Asked {
    pages: Option<u64>,
    inodes: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    noswap: bool,
    /// Whether inode numbers were asked to be wide.
    wide: Option<bool>,
    /// The instance to be changed.
    changes: Option<Arc<Space>>,
}

const TABLE: &[Param] = &[
    ("gid", Kind::Gid),
    ("huge", Kind::Word(&[("never", HUGE_NEVER), ("always", 1), ("within_size", 2), ("advise", 3)])),
    ("mode", Kind::Number(8)),
    ("mpol", Kind::Text),
    ("nr_blocks", Kind::Text),
    ("nr_inodes", Kind::Text),
    ("size", Kind::Text),
    ("uid", Kind::Uid),
    ("inode32", Kind::Flag),
    ("inode64", Kind::Flag),
    ("noswap", Kind::Flag),
];
const HUGE_NEVER: u32 = 0;

impl Asked {
    /// For a change of the instance that `space` belongs to.
    pub fn change(space: Arc<Space>) -> Asked {
        Asked { changes: Some(space), ..Asked::default() }
    }
    /// The options of a new instance whose root belongs to who mounts it if nothing else is said.
    fn options(&self, cred: &Cred) -> Options {
        let usual = Options::limited();
        Options {
            max_pages: self.pages.unwrap_or(usual.max_pages),
            max_inodes: self.inodes.unwrap_or(usual.max_inodes),
            mode: self.mode.unwrap_or(usual.mode),
            uid: self.uid.unwrap_or(cred.fsuid),
            gid: self.gid.unwrap_or(cred.fsgid),
            noswap: self.noswap,
            wide: self.wide.unwrap_or(false),
            kind: What::Tmpfs,
        }
    }
    fn take(&mut self, name: &str, value: Value<'_>, owner: &UserNamespace) -> Option<()> {
        match (name, value) {
            ("size", Value::Text(text)) => self.pages = Some(size(text)?),
            ("nr_blocks", Value::Text(text)) => self.pages = Some(number(text).filter(|n| i64::try_from(*n).is_ok())?),
            ("nr_inodes", Value::Text(text)) => {
                self.inodes = Some(number(text).filter(|n| *n <= u64::MAX / INODE_SIZE)?)
            }
            ("mode", Value::Number(mode)) => self.mode = Some(mode & 0o7777),
            ("uid", Value::Id(id)) => self.uid = Some(owner.up(IdKind::Uid, id).map(|_| id)?),
            ("gid", Value::Id(id)) => self.gid = Some(owner.up(IdKind::Gid, id).map(|_| id)?),
            ("inode32" | "inode64", _) => self.wide = Some(name == "inode64"),
            _ => return None,
        }
        Some(())
    }
}

/// What one inode counts for among `nr_inodes` of an instance.
const INODE_SIZE: u64 = 1024;

impl Configure for Asked {
    fn params(&self) -> &'static [Param] {
        TABLE
    }
    fn set(&mut self, name: &'static str, value: Value<'_>, by: &mut Mounting<'_>) -> Result<(), Errno> {
        match (name, value) {
            // No huge page is ever used.
            ("huge", Value::Number(HUGE_NEVER)) => Ok(()),
            // As by a Linux without huge pages and without memory policies.
            ("huge" | "mpol", _) => Err(by.log.invalid_fs(format_args!("Unsupported parameter '{name}'"))),
            ("noswap", _) if !by.user_ns.is_first() || !by.cred().capable(vfs::Cap::SysAdmin) => {
                Err(by.log.invalid_fs(format_args!("Turning off swap in unprivileged tmpfs mounts unsupported")))
            }
            ("noswap", _) => {
                self.noswap = true;
                Ok(())
            }
            _ => {
                let taken = self.take(name, value, by.user_ns);
                taken.ok_or_else(|| by.log.invalid_fs(format_args!("Bad value for '{name}'")))
            }
        }
    }
    /// A node list of `mpol` may contain commas.
    fn next_option<'t>(&self, text: &'t [u8]) -> (&'t [u8], Option<&'t [u8]>) {
        vfs::config::split_at(text, |_, rest| !rest.first().is_some_and(u8::is_ascii_digit))
    }
    fn create(&mut self, _: Option<&[u8]>, flags: SbFlags, by: &mut Mounting<'_>) -> Result<Arc<dyn Inode>, Errno> {
        Ok(crate::new_root("tmpfs", flags, &self.options(by.cred()), by.user_ns))
    }
    fn reconfigure(&mut self, _: &Arc<SuperBlock>, by: &mut Mounting<'_>) -> Result<(), Errno> {
        let Some(space) = &self.changes else { return Err(Errno::EINVAL) };
        let refusal = match space.set_limits(self.pages, self.inodes, self.noswap) {
            Ok(()) => {
                space.set_wide(self.wide);
                return Ok(());
            }
            Err(Limit::NoSize) => "Cannot retroactively limit size",
            Err(Limit::Size) => "Too small a size for current use",
            Err(Limit::NoInodes) => "Cannot retroactively limit inodes",
            Err(Limit::Inodes) => "Too few inodes for current use",
            Err(Limit::Swap) => "Cannot disable swap on remount",
        };
        Err(by.log.invalid_fs(format_args!("{refusal}")))
    }
}

/// `mode` of a ramfs, which knows nothing else and passes over the rest.
pub struct RamOptions(pub u32);

impl Configure for RamOptions {
    fn params(&self) -> &'static [Param] {
        &[("mode", Kind::Number(8))]
    }
    fn set(&mut self, _: &'static str, value: Value<'_>, _: &mut Mounting<'_>) -> Result<(), Errno> {
        let Value::Number(mode) = value else { return Err(Errno::EINVAL) };
        self.0 = mode & 0o7777;
        Ok(())
    }
    fn ignores_unknown(&self) -> bool {
        true
    }
    fn create(&mut self, _: Option<&[u8]>, flags: SbFlags, by: &mut Mounting<'_>) -> Result<Arc<dyn Inode>, Errno> {
        Ok(crate::new_root(
            "ramfs",
            flags,
            &Options { mode: self.0, kind: What::Ramfs, ..Options::unlimited() },
            by.user_ns,
        ))
    }
}

/// Reads a number with an optional suffix at the start of `text`, as the kernel reads sizes; gives the rest. What does not fit loses its upper bits.
fn leading_number(text: &[u8]) -> (u64, &[u8]) {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => (rest, 16),
        [b'0', rest @ ..] if rest.first().is_some_and(u8::is_ascii_digit) => (rest, 8),
        _ => (text, 10),
    };
    let value = |b: &u8| char::from(*b).to_digit(radix);
    let end = digits.iter().position(|b| value(b).is_none()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end).unwrap_or((digits, &[]));
    let number = digits
        .iter()
        .filter_map(value)
        .fold(0u64, |n, digit| n.wrapping_mul(u64::from(radix)).wrapping_add(u64::from(digit)));
    let shift = match rest.first().map(u8::to_ascii_lowercase) {
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        Some(b't') => 40,
        Some(b'p') => 50,
        Some(b'e') => 60,
        _ => return (number, rest),
    };
    (number.checked_shl(shift).unwrap_or(0), rest.get(1..).unwrap_or_default())
}

/// A number with an optional suffix k, m, g, t, p, e.
fn number(text: &[u8]) -> Option<u64> {
    match leading_number(text) {
        (number, []) => Some(number),
        _ => None,
    }
}

/// Pages for so many bytes, or with `%` for a share of memory.
fn size(text: &[u8]) -> Option<u64> {
    match leading_number(text) {
        (number, []) => Some(number.div_ceil(4096)),
        (number, b"%") => Some(number.wrapping_mul(4096).wrapping_mul(total_pages()) / 100 / 4096),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_take_suffixes_and_shares() {
        assert_eq!((number(b"2k"), number(b"0x10"), number(b"010m")), (Some(2048), Some(16), Some(8 << 20)));
        assert_eq!((size(b"1m"), size(b"5000"), size(b"100%")), (Some(256), Some(2), Some(total_pages())));
        assert_eq!(
            (number(b"1x"), number(b"-1"), size(b"50%%"), size(b"1k%")),
            (None, None, None, Some(1024 * total_pages() / 100))
        );
    }

    #[test]
    fn parameters_are_kept_until_the_instance_is_made() {
        let first = UserNamespace::first();
        let mut asked = Asked::default();
        for (name, text) in [("size", "1m"), ("nr_inodes", "2k")] {
            assert!(asked.take(name, Value::Text(text.as_bytes()), first).is_some());
        }
        assert!(asked.take("uid", Value::Id(7), first).is_some());
        assert!(asked.take("nr_inodes", Value::Text(b"16e"), first).is_some());
        assert!(asked.take("nr_blocks", Value::Text(b"15e"), first).is_none());
        let o = asked.options(&Cred::root());
        assert_eq!((o.max_pages, o.uid, o.gid, o.mode), (256, 7, 0, 0o1777));
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_not(text in "[0-9a-gxktmp%.-]{0,24}") {
            let (_, rest) = leading_number(text.as_bytes());
            prop_assert!(text.as_bytes().ends_with(rest));
            let _ = (number(text.as_bytes()), size(text.as_bytes()));
        }
    }
}

//! Mount options: `uid`, `gid`, `mode`, `ptmxmode`, `max`, `newinstance`.

use abi::Errno;

/// Ptys of one instance unless `max` says less; all instances together have [`crate::limits`].
pub const MAX: u32 = 1 << 20;

/// The parsed options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Owner of new slaves; `None`: who opened the master.
    pub uid: Option<u32>,
    /// Their group.
    pub gid: Option<u32>,
    /// Their permission bits.
    pub mode: u32,
    /// Permission bits of the `ptmx` node.
    pub ptmxmode: u32,
    /// Most ptys.
    pub max: u32,
}

impl Options {
    /// Applies an option string; EINVAL for what is unknown or malformed.
    pub fn parse(data: &[u8]) -> Result<Options, Errno> {
        let mut o = Options { uid: None, gid: None, mode: 0o600, ptmxmode: 0, max: MAX };
        for (key, value) in vfs::parse_options(data) {
            match (key, value) {
                (b"uid", Some(v)) => o.uid = Some(number(v, 10)?),
                (b"gid", Some(v)) => o.gid = Some(number(v, 10)?),
                (b"mode", Some(v)) => o.mode = number(v, 8)? & 0o7777,
                (b"ptmxmode", Some(v)) => o.ptmxmode = number(v, 8)? & 0o7777,
                (b"max", Some(v)) => o.max = number(v, 10).ok().filter(|max| *max <= MAX).ok_or(Errno::EINVAL)?,
                // Every mount is a new instance anyway.
                (b"newinstance", None) => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(o)
    }
}

fn number(v: &[u8], radix: u32) -> Result<u32, Errno> {
    let text = core::str::from_utf8(v).map_err(|_| Errno::EINVAL)?;
    u32::from_str_radix(text, radix).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_devpts_does() {
        let o = Options::parse(b"mode=0620,ptmxmode=0666,gid=5").unwrap();
        assert_eq!(o, Options { uid: None, gid: Some(5), mode: 0o620, ptmxmode: 0o666, max: MAX });
        assert_eq!(Options::parse(b"newinstance,max=2").unwrap().max, 2);
        assert_eq!(Options::parse(b"mode=9"), Err(Errno::EINVAL));
        assert_eq!(Options::parse(b"bogus"), Err(Errno::EINVAL));
    }
}

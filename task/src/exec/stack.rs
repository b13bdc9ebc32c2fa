//! The first stack of a program: strings at the top, then the auxiliary vector, the environment and the arguments as the
//! x86-64 psABI (3.4.1) lays them out. Pure: builds the bytes; the loader writes them.

use abi::Errno;
use abi::auxv::{AT_EXECFN, AT_NULL, AT_PLATFORM, AT_RANDOM};
use alloc::vec::Vec;

/// Longest single argument, its NUL included.
pub const MAX_ARG_STRLEN: usize = 131_072;
/// What a program may always pass, whatever its stack limit.
const ARG_MAX: u64 = 131_072;
/// A quarter of this is the ceiling for arguments and environment.
const STACK_CEILING: u64 = 8 << 20;
/// `AT_PLATFORM`.
const PLATFORM: &[u8] = b"x86_64\0";

/// Strings are kept in pieces of this size: the heap has no large ones when memory is scattered.
const CHUNK: usize = 1 << 16;

/// NUL-terminated strings one after the other.
#[derive(Clone, Default, Debug)]
pub struct Strings {
    /// All bytes with their NULs; every piece but the last is full.
    chunks: Vec<Vec<u8>>,
    /// Length of each string, its NUL included.
    lens: Vec<u32>,
}

impl Strings {
    /// Adds one string, given without its NUL.
    pub fn push(&mut self, s: &[u8]) -> Result<(), Errno> {
        if s.len() >= MAX_ARG_STRLEN {
            return Err(Errno::E2BIG);
        }
        self.lens.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.append(s)?;
        self.append(&[0])?;
        self.lens.push(s.len() as u32 + 1);
        Ok(())
    }
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        let oom = |_| Errno::ENOMEM;
        while !bytes.is_empty() {
            if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
                self.chunks.try_reserve(1).map_err(oom)?;
                self.chunks.push(Vec::new());
            }
            let Some(last) = self.chunks.last_mut() else { break };
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - last.len()));
            last.try_reserve(now.len()).map_err(oom)?;
            last.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.lens.len()
    }
    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }
    /// Bytes with their NULs.
    pub fn size(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }
    /// Those bytes, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(Vec::as_slice)
    }
    /// Replaces the first string by `new` (a script's arguments).
    pub fn replace_first(&mut self, new: &[&[u8]]) -> Result<(), Errno> {
        let mut all = Strings::default();
        for s in new {
            all.push(s)?;
        }
        let (first, lens) = self.lens.split_first().map_or((0, &[][..]), |(first, rest)| (*first as usize, rest));
        let mut skip = first;
        for piece in self.pieces() {
            let from = skip.min(piece.len());
            skip -= from;
            all.append(piece.get(from..).unwrap_or_default())?;
        }
        all.lens.try_reserve(lens.len()).map_err(|_| Errno::ENOMEM)?;
        all.lens.extend_from_slice(lens);
        *self = all;
        Ok(())
    }
}

/// What arguments and environment may take under a stack limit (execve(2), "Limits on size of arguments").
pub fn size_limit(stack_limit: u64) -> u64 {
    (stack_limit / 4).clamp(ARG_MAX, STACK_CEILING / 4 * 3)
}

/// Refuses arguments and environment beyond that.
pub fn check_size(stack_limit: u64, bytes: usize, pointers: usize) -> Result<(), Errno> {
    let size = bytes as u64 + pointers as u64 * 8;
    if size > size_limit(stack_limit) { Err(Errno::E2BIG) } else { Ok(()) }
}

/// Finished stack contents and where they go.
#[derive(Debug)]
pub struct Image {
    /// The stack pointer of the first instruction; `bytes` start here.
    pub sp: u64,
    /// From `sp` up to the strings: those of the arguments, of the environment, the program's name.
    pub bytes: Vec<u8>,
    /// First and past-the-last address of the argument strings.
    pub args: (u64, u64),
    /// The same of the environment strings.
    pub env: (u64, u64),
    /// Address of the auxiliary vector, and its bytes within `bytes`.
    pub auxv: (u64, usize, usize),
}

/// Lays out a stack that ends at `top` (16-byte aligned). `shift` moves the pointers down by a random amount below the strings.
pub fn build(
    top: u64,
    shift: u64,
    argv: &Strings,
    envp: &Strings,
    execfn: &[u8],
    random: &[u8; 16],
    auxv: &[(u64, u64)],
) -> Result<Image, Errno> {
    let strings = argv.size() + envp.size() + execfn.len() + 1 + 8;
    let vectors = 8 * (1 + argv.len() + 1 + envp.len() + 1 + 2 * (auxv.len() + 4));
    let arg_start = top.checked_sub(strings as u64).ok_or(Errno::E2BIG)?;
    let env_start = arg_start + argv.size() as u64;
    let execfn_at = env_start + envp.size() as u64;
    let below = arg_start.checked_sub(shift % 8192 + 48).ok_or(Errno::E2BIG)? & !15;
    let (platform_at, random_at) = (below + 16, below);
    let sp = below.checked_sub(vectors as u64).ok_or(Errno::E2BIG)? & !15;

    let len = (arg_start - sp) as usize;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    let word = |bytes: &mut Vec<u8>, v: u64| bytes.extend_from_slice(&v.to_le_bytes());
    word(&mut bytes, argv.len() as u64);
    pointers(&mut bytes, argv, arg_start);
    pointers(&mut bytes, envp, env_start);
    let auxv_from = bytes.len();
    for (key, value) in auxv {
        word(&mut bytes, *key);
        word(&mut bytes, *value);
    }
    for v in [AT_RANDOM, random_at, AT_EXECFN, execfn_at, AT_PLATFORM, platform_at, AT_NULL, 0] {
        word(&mut bytes, v);
    }
    let auxv_to = bytes.len();
    bytes.resize((random_at - sp) as usize, 0);
    bytes.extend_from_slice(random);
    bytes.extend_from_slice(PLATFORM);
    bytes.resize(len, 0);
    Ok(Image {
        sp,
        bytes,
        args: (arg_start, env_start),
        env: (env_start, execfn_at),
        auxv: (sp + auxv_from as u64, auxv_from, auxv_to),
    })
}

/// Appends the addresses of the strings, which lie from `base` on, and a null pointer.
fn pointers(out: &mut Vec<u8>, strings: &Strings, base: u64) {
    let mut start = base;
    for len in &strings.lens {
        out.extend_from_slice(&start.to_le_bytes());
        start += u64::from(*len);
    }
    out.extend_from_slice(&0u64.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&[u8]]) -> Strings {
        let mut s = Strings::default();
        list.iter().for_each(|x| s.push(x).unwrap());
        s
    }

    #[test]
    fn a_program_finds_its_arguments_where_the_abi_says() {
        const TOP: u64 = 0x7fff_0000_0000;
        let (argv, envp) = (strings(&[b"prog", b"-x"]), strings(&[b"A=1"]));
        let image = build(TOP, 77, &argv, &envp, b"/bin/prog", &[7; 16], &[(6, 4096)]).unwrap();
        assert_eq!(image.sp % 16, 0);
        assert_eq!(image.sp + image.bytes.len() as u64, image.args.0);
        let whole: Vec<u8> = [&image.bytes[..], b"prog\0-x\0A=1\0/bin/prog\0"].concat();
        let word = |i: usize| u64::from_le_bytes(image.bytes[i * 8..i * 8 + 8].try_into().unwrap());
        let text = |addr: u64| {
            let from = (addr - image.sp) as usize;
            whole[from..].split(|b| *b == 0).next().unwrap()
        };
        assert_eq!(word(0), 2);
        assert_eq!((text(word(1)), text(word(2)), word(3)), (&b"prog"[..], &b"-x"[..], 0));
        assert_eq!((text(word(4)), word(5)), (&b"A=1"[..], 0));
        assert_eq!((word(6), word(7)), (6, 4096));
        assert_eq!(word(8), AT_RANDOM);
        assert_eq!(text(word(11)), b"/bin/prog");
        assert_eq!(text(word(13)), b"x86_64");
        assert_eq!(word(14), AT_NULL);
        assert_eq!(image.args.0, word(1));
        assert_eq!(image.env, (word(4), word(11)));
    }

    #[test]
    fn a_script_replaces_the_first_argument() {
        let mut argv = strings(&[b"old", b"rest"]);
        argv.replace_first(&[b"/bin/sh", b"-e", b"./old"]).unwrap();
        assert_eq!((argv.len(), argv.chunks.concat()), (4, b"/bin/sh\0-e\0./old\0rest\0".to_vec()));
        let mut none = Strings::default();
        none.replace_first(&[b"/bin/sh", b"x"]).unwrap();
        assert_eq!(none.len(), 2);
    }

    #[test]
    fn long_strings_lie_in_pieces() {
        let (a, b) = ([b'a'; 100_000], [b'b'; 131_071]);
        let mut s = strings(&[&a, &b, b"end"]);
        assert_eq!((s.len(), s.size(), s.chunks.len()), (3, 231_077, 4));
        s.replace_first(&[b"sh"]).unwrap();
        let whole = s.chunks.concat();
        assert_eq!((s.len(), whole.len()), (3, 131_079));
        assert!(whole.starts_with(b"sh\0bbb") && whole.ends_with(b"b\0end\0"));
    }

    #[test]
    fn sizes_follow_the_stack_limit() {
        assert!(check_size(0, 100_000, 10).is_ok());
        assert_eq!(check_size(0, 131_072, 1), Err(Errno::E2BIG));
        assert!(check_size(8 << 20, 2_000_000, 10).is_ok());
        assert_eq!(check_size(8 << 20, 2 << 20, 1), Err(Errno::E2BIG));
        assert_eq!(check_size(u64::MAX, 6 << 20, 1), Err(Errno::E2BIG));
        assert_eq!(Strings::default().push(&[b'x'; MAX_ARG_STRLEN]), Err(Errno::E2BIG));
    }
}

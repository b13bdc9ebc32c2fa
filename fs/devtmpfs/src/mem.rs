//! The memory devices, major number 1: null, zero, full (null(4), full(4)), random and urandom (random(4)).

use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use core::any::Any;
use machine::VirtAddr;
use mm::{Dst, Src, UserPtr};
use vfs::{Caller, Cap, CharDevice, File, FileOps, MmapKind, Path};

/// Major number of these devices.
pub const MAJOR: u32 = 1;
/// Minor numbers.
pub mod minor {
    /// /dev/null
    pub const NULL: u32 = 3;
    /// /dev/zero
    pub const ZERO: u32 = 5;
    /// /dev/full
    pub const FULL: u32 = 7;
    /// /dev/random
    pub const RANDOM: u32 = 8;
    /// /dev/urandom
    pub const URANDOM: u32 = 9;
    /// /dev/kmsg
    pub const KMSG: u32 = 11;
}

/// `RNDGETENTCNT`, `RNDADDTOENTCNT`, `RNDADDENTROPY`, `RNDRESEEDCRNG` (`linux/random.h`).
const RNDGETENTCNT: u32 = 0x8004_5200;
const RNDADDTOENTCNT: u32 = 0x4004_5201;
const RNDADDENTROPY: u32 = 0x4008_5203;
const RNDRESEEDCRNG: u32 = 0x5207;
/// Bits of entropy of a seeded generator.
const POOL_BITS: i32 = 256;
/// Bytes produced between looks at signals and the scheduler.
const STEP: usize = 1 << 16;

/// Opens the devices of major 1.
pub struct MemDevices;

impl CharDevice for MemDevices {
    fn open(&self, minor: u32, _: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(match minor {
            minor::NULL => Arc::new(MemFile::Null),
            minor::ZERO => Arc::new(MemFile::Zero),
            minor::FULL => Arc::new(MemFile::Full),
            minor::RANDOM | minor::URANDOM => Arc::new(MemFile::Random),
            minor::KMSG => return crate::kmsg::open(flags, caller),
            _ => return Err(Errno::ENXIO),
        })
    }
}

enum MemFile {
    Null,
    Zero,
    Full,
    Random,
}

/// Calls `step` until `dst` is full, with pauses for others; a signal ends it early.
fn produce(dst: &mut Dst<'_>, mut step: impl FnMut(&mut Dst<'_>) -> Result<usize, Errno>) -> Result<usize, Errno> {
    let start = dst.done();
    while dst.remaining() > 0 {
        match step(dst) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if dst.done() == start => return Err(e),
            Err(_) => break,
        }
        if dst.remaining() > 0 {
            sched::cond_resched();
            if sched::with_current(|t| t.interrupted()) {
                break;
            }
        }
    }
    Ok(dst.done() - start)
}

fn random_bytes(dst: &mut Dst<'_>) -> Result<usize, Errno> {
    let mut chunk = [0; 256];
    if dst.remaining() <= 32 {
        let out = chunk.get_mut(..dst.remaining()).unwrap_or_default();
        random::fill(out);
        return dst.put(out);
    }
    let mut stream = random::Stream::new();
    produce(dst, |dst| {
        let mut done = 0;
        while done < STEP / 16 && dst.remaining() > 0 {
            stream.fill(&mut chunk);
            done += dst.put(&chunk)?;
        }
        Ok(done)
    })
}

/// Mixes what user space wrote in.
fn stir(src: &mut Src<'_>) -> Result<usize, Errno> {
    let start = src.done();
    let mut chunk = [0; 64];
    while src.remaining() > 0 {
        let n = src.get(&mut chunk)?;
        random::add_entropy(chunk.get(..n).unwrap_or_default());
        sched::cond_resched();
    }
    Ok(src.done() - start)
}

impl FileOps for MemFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, _f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        match self {
            MemFile::Null => Ok(0),
            MemFile::Zero | MemFile::Full => produce(dst, |dst| dst.put_zeros(STEP)),
            MemFile::Random => random_bytes(dst),
        }
    }
    fn write_at(&self, _f: &File, src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        match self {
            MemFile::Null | MemFile::Zero => Ok(src.remaining()),
            MemFile::Full => Err(Errno::ENOSPC),
            MemFile::Random => stir(src),
        }
    }
    fn seek(&self, _f: &File, _off: i64, _whence: u32) -> Option<Result<u64, Errno>> {
        Some(Ok(0))
    }
    fn ioctl(&self, _f: &File, caller: &Caller<'_>, cmd: u32, arg: u64) -> Result<i64, Errno> {
        if !matches!(self, MemFile::Random) {
            return Err(Errno::ENOTTY);
        }
        let admin = || if caller.cred.capable(Cap::SysAdmin) { Ok(()) } else { Err(Errno::EPERM) };
        let at = UserPtr::<[i32; 2]>::new(VirtAddr(arg));
        match cmd {
            RNDGETENTCNT => at.cast::<i32>().write(caller.mm, &POOL_BITS)?,
            // The count is always full: crediting bits cannot raise it.
            RNDADDTOENTCNT => {
                admin()?;
                if at.cast::<i32>().read(caller.mm)? < 0 {
                    return Err(Errno::EINVAL);
                }
            }
            RNDADDENTROPY => {
                admin()?;
                let [bits, size] = at.read(caller.mm)?;
                let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
                if bits < 0 {
                    return Err(Errno::EINVAL);
                }
                stir(&mut Src::user(caller.mm, at.at(1).addr(), size))?;
            }
            RNDRESEEDCRNG => {
                admin()?;
                random::add_entropy(&machine::time::now_ns().to_ne_bytes());
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    }
    fn mmap(&self, _f: &File) -> Result<MmapKind, Errno> {
        match self {
            MemFile::Zero => Ok(MmapKind::Anonymous),
            _ => Err(Errno::ENODEV),
        }
    }
}

//! Ptys through a mounted devpts.

use abi::Errno;
use alloc::vec::Vec;
use tmpfs::testing::World;
use vfs::{Dst, File, Src};

const RDWR: u32 = 0o2;
const NONBLOCK: u32 = 0o4000;
const NOCTTY: u32 = 0o400;

fn world() -> World {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        devtmpfs::init();
        crate::init();
    });
    let w = World::new();
    w.mkdir("/dev").unwrap();
    w.mount("devtmpfs", "/dev", "").unwrap();
    // The tree of devtmpfs is one for all tests.
    let _ = w.mkdir("/dev/pts");
    w.mount("devpts", "/dev/pts", "mode=0620,ptmxmode=0666,gid=5").unwrap();
    w
}

fn read(f: &alloc::sync::Arc<File>) -> Result<Vec<u8>, Errno> {
    let mut buf = [0; 256];
    let n = f.read(&mut Dst::kernel(&mut buf))?;
    Ok(buf[..n].to_vec())
}

fn write(f: &alloc::sync::Arc<File>, bytes: &[u8]) -> Result<usize, Errno> {
    f.write(&mut Src::kernel(bytes), u64::MAX)
}

fn ioctl(w: &World, f: &File, cmd: u32) -> Result<i64, Errno> {
    // Address zero reads as unmapped: only commands without an argument work here.
    w.with_caller(|c| f.ioctl(c, cmd, 0))
}

fn open_pair(w: &World) -> (alloc::sync::Arc<File>, alloc::sync::Arc<File>) {
    let master = w.open("/dev/ptmx", RDWR | NONBLOCK, 0).unwrap();
    assert_eq!(w.open("/dev/pts/0", RDWR | NOCTTY, 0).err(), Some(Errno::EIO), "a new slave is locked");
    master.ops_as::<tty::pty::Master>().unwrap().unlock();
    let slave = w.open("/dev/pts/0", RDWR | NONBLOCK | NOCTTY, 0).unwrap();
    (master, slave)
}

#[test]
fn what_is_typed_is_echoed_and_read() {
    let w = world();
    let (master, slave) = open_pair(&w);
    assert_eq!(write(&master, b"hi\r"), Ok(3));
    assert_eq!(read(&master).unwrap(), b"hi\r\n");
    assert_eq!(read(&slave).unwrap(), b"hi\n");
    assert_eq!(read(&slave), Err(Errno::EAGAIN));
    assert_eq!(write(&slave, b"a\nb"), Ok(3));
    assert_eq!(read(&master).unwrap(), b"a\r\nb");
    assert_eq!(read(&master), Err(Errno::EAGAIN));
}

#[test]
fn closing_one_side_is_seen_by_the_other() {
    let w = world();
    let (master, slave) = open_pair(&w);
    write(&slave, b"bye").unwrap();
    drop(slave);
    assert_eq!(read(&master).unwrap(), b"bye", "output comes before the end");
    assert_eq!(read(&master), Err(Errno::EIO));
    let slave = w.open("/dev/pts/0", RDWR | NONBLOCK | NOCTTY, 0).unwrap();
    assert_eq!(read(&master), Err(Errno::EAGAIN), "an open slave revives it");
    drop(master);
    assert_eq!(read(&slave), Ok(Vec::new()));
    assert_eq!(write(&slave, b"x"), Err(Errno::EIO));
    assert_eq!(ioctl(&w, &slave, abi::tty::ioctl::TCGETS), Err(Errno::EIO));
    assert_eq!(w.open("/dev/pts/0", RDWR, 0).err(), Some(Errno::ENOENT));
}

#[test]
fn indices_are_the_lowest_free_ones_and_nodes_get_their_owner() {
    let w = world();
    let first = w.open("/dev/ptmx", RDWR, 0).unwrap();
    let _second = w.open("/dev/pts/ptmx", RDWR, 0).unwrap();
    let attr = w.lstat("/dev/pts/1").unwrap();
    assert_eq!((attr.mode, attr.gid, attr.rdev), (0o20620, 5, vfs::makedev(136, 1)));
    let slave = {
        first.ops_as::<tty::pty::Master>().unwrap().unlock();
        w.open("/dev/pts/0", RDWR | NOCTTY, 0).unwrap()
    };
    drop(first);
    let third = w.open("/dev/ptmx", RDWR, 0).unwrap();
    assert!(w.lstat("/dev/pts/2").is_ok(), "the open slave keeps its index");
    drop((slave, third));
    let _third = w.open("/dev/ptmx", RDWR, 0).unwrap();
    assert!(w.lstat("/dev/pts/0").is_ok());
    assert_eq!(w.lstat("/dev/pts/00").err(), Some(Errno::ENOENT));
}

//! The devices through a mounted devtmpfs.

use abi::Errno;
use tmpfs::testing::World;
use vfs::{Dst, Src};

fn world() -> World {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        random::init(|seed| seed.fill(3));
        crate::init();
    });
    let world = World::new();
    world.mkdir("/dev").unwrap();
    world.mount("devtmpfs", "/dev", "").unwrap();
    world
}

fn read(world: &World, path: &str, len: usize) -> Result<alloc::vec::Vec<u8>, Errno> {
    let mut buf = alloc::vec![0xaa; len];
    let n = world.open(path, 0, 0)?.read(&mut Dst::kernel(&mut buf))?;
    buf.truncate(n);
    Ok(buf)
}

fn write(world: &World, path: &str, bytes: &[u8]) -> Result<usize, Errno> {
    world.open(path, 1, 0)?.write(&mut Src::kernel(bytes), u64::MAX)
}

#[test]
fn memory_devices_read_and_write_as_their_manual_pages_say() {
    let w = world();
    assert_eq!(read(&w, "/dev/null", 10), Ok(alloc::vec![]));
    assert_eq!(read(&w, "/dev/zero", 10), Ok(alloc::vec![0; 10]));
    assert_eq!(read(&w, "/dev/full", 10), Ok(alloc::vec![0; 10]));
    assert_eq!(write(&w, "/dev/null", b"abc"), Ok(3));
    assert_eq!(write(&w, "/dev/zero", b"abc"), Ok(3));
    assert_eq!(write(&w, "/dev/full", b"abc"), Err(Errno::ENOSPC));
}

#[test]
fn urandom_gives_different_bytes_every_time() {
    let w = world();
    for len in [16, 40, 100_000] {
        let (a, b) = (read(&w, "/dev/urandom", len).unwrap(), read(&w, "/dev/random", len).unwrap());
        assert_eq!((a.len(), b.len()), (len, len));
        assert_ne!(a, b);
    }
}

#[test]
fn every_mount_shows_the_same_nodes_and_drivers_add_theirs() {
    let (one, two) = (world(), world());
    crate::add_node("virtio-ports/org.test", 0o600, vfs::makedev(250, 1));
    for w in [&one, &two] {
        let attr = w.lstat("/dev/virtio-ports/org.test").unwrap();
        assert_eq!((attr.mode, attr.rdev), (0o20600, vfs::makedev(250, 1)));
    }
    assert_eq!(one.open("/dev/virtio-ports/org.test", 0, 0).err(), Some(Errno::ENXIO));
}

#[test]
fn what_is_written_to_kmsg_can_be_read() {
    let w = world();
    assert_eq!(write(&w, "/dev/kmsg", b"<14>hello from user space\n"), Ok(26));
    let text = read(&w, "/dev/kmsg", 4096).unwrap();
    assert!(text.ends_with(b";hello from user space\n"), "{}", text.escape_ascii());
    assert!(text.starts_with(b"14,"));
}

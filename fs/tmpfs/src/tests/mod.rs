//! The path walk, the operations, mounts and this file system together, on the mock machine.

use crate::testing::World;
use abi::Errno::*;
use abi::fcntl::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};
mod mounts;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use vfs::{DirSink, FileType};

fn world() -> World {
    static ONCE: machine::sync::Once<()> = machine::sync::Once::new();
    ONCE.get_or_init(crate::init);
    World::new()
}

#[test]
fn files_keep_what_was_written() {
    let w = world();
    let content: Vec<u8> = (0..20_000u32).map(|i| i as u8).collect();
    w.write("/f", &content).unwrap();
    assert_eq!(w.read("/f").unwrap(), content);
    assert_eq!(w.lstat("/f").unwrap().size, 20_000);
    assert_eq!(w.lstat("/f").unwrap().mode, 0o100644);
    w.write("/f", b"short").unwrap();
    assert_eq!(w.read("/f").unwrap(), b"short");
}

#[test]
fn walks_give_linux_errors() {
    let w = world();
    w.mkdir("/d").unwrap();
    w.mkdir("/d/e").unwrap();
    w.write("/d/f", b"x").unwrap();
    w.symlink("d/e", "/l").unwrap();
    w.symlink("/loop2", "/loop1").unwrap();
    w.symlink("loop1", "/loop2").unwrap();
    w.symlink("nowhere", "/dangling").unwrap();
    let long = format!("/{}", "n".repeat(256));
    let cases: [(&str, Result<&str, abi::Errno>); 17] = [
        ("/", Ok("/")),
        ("/d/./e/../f", Ok("/d/f")),
        ("//d///e//", Ok("/d/e")),
        ("/../../d", Ok("/d")),
        ("d/f", Ok("/d/f")),
        ("/l", Ok("/d/e")),
        ("/l/..", Ok("/d")),
        ("/l/", Ok("/d/e")),
        ("", Err(ENOENT)),
        ("/nope", Err(ENOENT)),
        ("/nope/x", Err(ENOENT)),
        ("/d/f/x", Err(ENOTDIR)),
        ("/d/f/", Err(ENOTDIR)),
        ("/d/f/..", Err(ENOTDIR)),
        ("/loop1", Err(ELOOP)),
        ("/dangling", Err(ENOENT)),
        (&long, Err(ENAMETOOLONG)),
    ];
    for (path, want) in cases {
        let got = w.lookup(path).map(|p| w.text(&p));
        assert_eq!(got, want.map(String::from), "{path:?}");
    }
    let chain = 45;
    for i in 0..chain {
        w.symlink(&if i == 0 { String::from("d") } else { format!("c{}", i - 1) }, &format!("/c{i}")).unwrap();
    }
    w.symlink("/d/e/../e/", "/slash").unwrap();
    w.symlink("/d/f/", "/fslash").unwrap();
    w.symlink("l/../../slash/..", "/mixed").unwrap();
    for (path, want) in
        [("/slash", Ok("/d/e")), ("/fslash", Err(ENOTDIR)), ("/mixed/e", Ok("/d/e")), ("/mixed", Ok("/d"))]
    {
        assert_eq!(w.lookup(path).map(|p| w.text(&p)), want.map(String::from), "{path:?}");
    }
    assert!(w.lookup("/c39").is_ok(), "40 links are allowed");
    assert_eq!(w.lookup("/c40").err(), Some(ELOOP));
}

#[test]
fn making_and_removing_give_linux_errors() {
    let w = world();
    w.mkdir("/d").unwrap();
    w.write("/f", b"").unwrap();
    for (got, want) in [
        (w.mkdir("/d").err(), EEXIST),
        (w.mkdir("/").err(), EEXIST),
        (w.mkdir("/d/.").err(), EEXIST),
        (w.mkdir("/no/d").err(), ENOENT),
        (w.mkdir("/f/d").err(), ENOTDIR),
        (w.unlink("/d").err(), EISDIR),
        (w.unlink("/").err(), EISDIR),
        (w.unlink("/f/").err(), ENOTDIR),
        (w.unlink("/none").err(), ENOENT),
        (w.rmdir("/f").err(), ENOTDIR),
        (w.rmdir("/").err(), EBUSY),
        (w.rmdir("/d/.").err(), EINVAL),
        (w.rmdir("/d/..").err(), ENOTEMPTY),
        (w.symlink("x", "/l/").err(), ENOENT),
        (w.open("/f", 0o300, 0o600).err(), EEXIST),
        (w.open("/d", 0o100, 0o600).err(), EISDIR),
        (w.open("/d", 1, 0).err(), EISDIR),
        (w.open("/f", 0o200000, 0).err(), ENOTDIR),
        (w.open("/new/", 0o101, 0o600).err(), EISDIR),
        (w.open("/d", 0o200100, 0o600).err(), EINVAL),
    ] {
        assert_eq!(got, Some(want));
    }
    w.mkdir("/d/sub/").unwrap();
    assert_eq!(w.lstat("/d").unwrap().nlink, 3);
    assert_eq!(w.rmdir("/d").err(), Some(ENOTEMPTY));
    w.rmdir("/d/sub").unwrap();
    w.rmdir("/d").unwrap();
    assert_eq!(w.lookup("/d").err(), Some(ENOENT));
}

#[test]
fn creating_through_a_dangling_link_makes_its_target() {
    let w = world();
    w.mkdir("/d").unwrap();
    w.symlink("d/target", "/l").unwrap();
    assert_eq!(w.open("/l", 0o301, 0o600).err(), Some(EEXIST), "O_EXCL does not follow");
    w.write("/l", b"through").unwrap();
    assert_eq!(w.read("/d/target").unwrap(), b"through");
    assert_eq!(w.open("/l", 0o400000, 0).err(), Some(ELOOP), "O_NOFOLLOW");
    assert!(w.open("/l", 0o10400000, 0).is_ok(), "O_PATH | O_NOFOLLOW opens the link itself");
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let w = world();
    w.write("/f", b"still here").unwrap();
    let file = w.open("/f", 0, 0).unwrap();
    w.unlink("/f").unwrap();
    let mut buf = [0; 32];
    let n = file.read(&mut vfs::Dst::kernel(&mut buf)).unwrap();
    assert_eq!(&buf[..n], b"still here");
    assert_eq!(file.attr().unwrap().nlink, 0);
    assert_eq!(file.path().display(&w.fs.dirs().root), b"/f (deleted)");
}

#[test]
fn hard_links_share_the_inode() {
    let w = world();
    w.write("/a", b"1").unwrap();
    w.mkdir("/d").unwrap();
    w.link("/a", "/d/b").unwrap();
    assert_eq!(w.lstat("/a").unwrap().ino, w.lstat("/d/b").unwrap().ino);
    assert_eq!(w.lstat("/a").unwrap().nlink, 2);
    assert_eq!(w.link("/d", "/e").err(), Some(EPERM));
    assert_eq!(w.link("/a", "/d/b").err(), Some(EEXIST));
    w.rename("/a", "/d/b", 0).unwrap();
    assert!(w.lookup("/a").is_ok(), "renaming onto another name of the same file does nothing");
    w.unlink("/a").unwrap();
    assert_eq!(w.lstat("/d/b").unwrap().nlink, 1);
}

#[test]
fn rename_follows_its_rules() {
    let w = world();
    for d in ["/a", "/a/b", "/a/b/c", "/empty", "/full", "/full/x"] {
        w.mkdir(d).unwrap();
    }
    w.write("/f", b"f").unwrap();
    w.write("/g", b"g").unwrap();
    for (old, new, flags, want) in [
        ("/a", "/a/b/c/d", 0, EINVAL),
        ("/a/b/c", "/a", 0, ENOTEMPTY),
        ("/a", "/full", 0, ENOTEMPTY),
        ("/a", "/f", 0, ENOTDIR),
        ("/f", "/empty", 0, EISDIR),
        ("/none", "/x", 0, ENOENT),
        ("/f", "/g", RENAME_NOREPLACE, EEXIST),
        ("/f", "/none", RENAME_EXCHANGE, ENOENT),
        ("/f", "/g", 8, EINVAL),
        ("/f", "/g", RENAME_EXCHANGE | RENAME_NOREPLACE, EINVAL),
        ("/a/.", "/x", 0, EBUSY),
        ("/f", "/x/", 0, ENOTDIR),
    ] {
        assert_eq!(w.rename(old, new, flags).err(), Some(want), "{old} -> {new} {flags}");
    }
    let open_dir = w.lookup("/a/b").unwrap();
    w.rename("/a", "/empty", 0).unwrap();
    assert_eq!(w.text(&open_dir), "/empty/b", "open directories follow");
    w.rename("/f", "/g", RENAME_EXCHANGE).unwrap();
    assert_eq!((w.read("/f").unwrap(), w.read("/g").unwrap()), (b"g".to_vec(), b"f".to_vec()));
    w.rename("/f", "/empty", RENAME_EXCHANGE).unwrap();
    assert_eq!(w.read("/empty").unwrap(), b"g");
    assert_eq!(w.text(&open_dir), "/f/b");
    w.rename("/empty", "/moved", RENAME_WHITEOUT).unwrap();
    let white = w.lstat("/empty").unwrap();
    assert_eq!((FileType::from_mode(white.mode), white.rdev), (FileType::CharDevice, 0));
    assert_eq!(w.lstat("/").unwrap().nlink, 4, "/f, /full");
}

#[test]
fn permissions_count_for_ordinary_users() {
    let w = world();
    w.mkdir("/d").unwrap();
    w.write("/d/f", b"x").unwrap();
    let user = w.as_user(1000);
    assert_eq!(user.read("/d/f").unwrap(), b"x");
    assert_eq!(user.write("/d/f", b"y").err(), Some(EACCES));
    assert_eq!(user.mkdir("/d/e").err(), Some(EACCES));
    assert_eq!(user.unlink("/d/f").err(), Some(EACCES));
    let d = w.lookup("/d").unwrap();
    d.inode().base().set_mode(0o1777);
    user.write("/d/mine", b"m").unwrap();
    assert_eq!(user.unlink("/d/f").err(), Some(EPERM), "sticky");
    assert_eq!(w.as_user(1001).rename("/d/mine", "/d/stolen", 0).err(), Some(EPERM));
    user.unlink("/d/mine").unwrap();
    d.inode().base().set_mode(0o700);
    assert_eq!(user.lookup("/d/f").err(), Some(EACCES));
    assert!(w.lookup("/d/f").is_ok());
}

struct Names(Vec<String>, usize);

impl DirSink for Names {
    fn entry(&mut self, _next: u64, _ino: u64, _kind: FileType, name: &[u8]) -> bool {
        if self.1 == 0 {
            return false;
        }
        self.1 -= 1;
        self.0.push(String::from_utf8_lossy(name).into_owned());
        true
    }
}

#[test]
fn a_directory_scan_survives_changes() {
    let w = world();
    for i in 0..100 {
        w.write(&format!("/f{i}"), b"").unwrap();
    }
    let dir = w.open("/", 0o200000, 0).unwrap();
    let mut seen = Vec::new();
    loop {
        let mut batch = Names(Vec::new(), 7);
        dir.readdir(&mut batch).unwrap();
        if batch.0.is_empty() {
            break;
        }
        for name in batch.0 {
            if name.starts_with('f') {
                w.unlink(&format!("/{name}")).unwrap();
            }
            seen.push(name);
        }
    }
    assert_eq!(seen.len(), 102);
    assert_eq!(&seen[..2], [".", ".."]);
    assert!(w.rename("/f1", "/x", 0).is_err());
}

#[test]
fn executed_files_cannot_be_written() {
    let w = world();
    w.write("/prog", b"#!").unwrap();
    let base = w.lookup("/prog").unwrap();
    base.inode().base().deny_write_access().unwrap();
    assert_eq!(w.open("/prog", 1, 0).err(), Some(ETXTBSY));
    base.inode().base().allow_write_access();
    let writer = w.open("/prog", 1, 0).unwrap();
    assert_eq!(base.inode().base().deny_write_access(), Err(ETXTBSY));
    drop(writer);
    assert_eq!(base.inode().base().deny_write_access(), Ok(()));
}

#[test]
fn appended_writes_go_to_the_end_and_limits_hold() {
    let w = world();
    w.write("/f", b"12345").unwrap();
    let f = w.open("/f", 0o2002, 0).unwrap();
    assert_eq!(f.write(&mut vfs::Src::kernel(b"67"), u64::MAX), Ok(2));
    assert_eq!(f.pos(), 7);
    assert_eq!(f.pwrite(&mut vfs::Src::kernel(b"8"), 0, u64::MAX), Ok(1));
    assert_eq!(w.read("/f").unwrap(), b"12345678");
    assert_eq!(f.write(&mut vfs::Src::kernel(b"abc"), 10), Ok(2), "clipped at RLIMIT_FSIZE");
    assert_eq!(f.write(&mut vfs::Src::kernel(b"abc"), 10), Err(EFBIG));
    assert_eq!(f.seek(-1, 0), Err(EINVAL));
    assert_eq!(f.seek(-3, 2), Ok(7));
    assert_eq!(f.seek(0, 9), Err(EINVAL));
}

#[test]
fn holes_are_found() {
    let w = world();
    w.write("/f", b"").unwrap();
    let f = w.open("/f", 2, 0).unwrap();
    f.pwrite(&mut vfs::Src::kernel(b"x"), 3 * 4096 + 5, u64::MAX).unwrap();
    assert_eq!(f.seek(0, 3), Ok(3 * 4096));
    assert_eq!(f.seek(0, 4), Ok(0));
    assert_eq!(f.seek(3 * 4096, 4), Ok(3 * 4096 + 6));
    assert_eq!(f.seek(4 * 4096, 3), Err(ENXIO));
    assert_eq!(f.attr().unwrap().blocks, 8);
}

#[test]
fn sealed_memfds_refuse_changes() {
    use abi::fcntl::seal;
    let w = world();
    let f = crate::memfd(b"m", crate::MemfdKind { sealable: true, noexec: false }, &w.cred).unwrap();
    f.write(&mut vfs::Src::kernel(b"data"), u64::MAX).unwrap();
    f.inode().add_seals(seal::GROW).unwrap();
    assert_eq!(f.pwrite(&mut vfs::Src::kernel(b"x"), 4, u64::MAX), Err(EPERM));
    assert_eq!(f.pwrite(&mut vfs::Src::kernel(b"x"), 3, u64::MAX), Ok(1));
    f.inode().add_seals(seal::WRITE | seal::SEAL).unwrap();
    assert_eq!(f.pwrite(&mut vfs::Src::kernel(b"x"), 0, u64::MAX), Err(EPERM));
    assert_eq!(f.inode().add_seals(seal::SHRINK), Err(EPERM));
    assert_eq!(f.path().display(&w.fs.dirs().root), b"/memfd:m (deleted)");
    assert_eq!(w.lstat("/").unwrap().nlink, 2);
}

#[test]
fn attributes_and_limits_of_an_instance() {
    let w = world();
    w.write("/f", b"").unwrap();
    let f = w.lookup("/f").unwrap();
    f.inode().set_xattr(b"user.a", b"1", 0).unwrap();
    f.inode().set_xattr(b"user.b", b"22", abi::stat::XATTR_CREATE).unwrap();
    assert_eq!(f.inode().set_xattr(b"user.b", b"", abi::stat::XATTR_CREATE), Err(EEXIST));
    assert_eq!(f.inode().set_xattr(b"user.c", b"", abi::stat::XATTR_REPLACE), Err(ENODATA));
    assert_eq!(f.inode().list_xattr().unwrap(), b"user.a\0user.b\0");
    f.inode().remove_xattr(b"user.a").unwrap();
    assert_eq!(f.inode().get_xattr(b"user.a"), Err(ENODATA));
    assert_eq!(f.inode().get_xattr(b"user.b").unwrap(), b"22");
    w.mkdir("/m").unwrap();
    w.mount("tmpfs", "/m", "nr_inodes=3").unwrap();
    w.write("/m/1", b"").unwrap();
    w.write("/m/2", b"").unwrap();
    assert_eq!(w.write("/m/3", b"").err(), Some(ENOSPC));
    let mut options = String::new();
    let m = w.lookup("/m").unwrap();
    m.mnt.sb().ops().show_options(&mut options).unwrap();
    assert!(options.ends_with(",nr_inodes=3"), "{options}");
    assert_eq!(w.remount("/m", "nr_inodes=2"), Err(EINVAL));
}

#[test]
fn inotify_tells_what_happened_in_a_directory() {
    use abi::fcntl::OpenFlags;
    use abi::inotify::{IN_IGNORED, InotifyEvent};
    use vfs::inotify::Inotify;
    use zerocopy::FromBytes;
    let w = world();
    w.mkdir("/d").unwrap();
    let file = Inotify::create(OpenFlags::NONBLOCK, &w.cred);
    let instance = Inotify::of(&file).unwrap();
    let dir = w.lookup("/d").unwrap();
    let wd = instance.add(dir.inode(), 0xfff).unwrap();
    assert_eq!(instance.add(dir.inode(), 0x3c0), Ok(wd), "the same inode is the same watch");
    let mut buf = [0; 512];
    assert_eq!(file.read(&mut vfs::Dst::kernel(&mut buf)), Err(EAGAIN));
    w.write("/d/a", b"x").unwrap();
    w.rename("/d/a", "/d/b", 0).unwrap();
    w.unlink("/d/b").unwrap();
    w.rmdir("/d").unwrap();
    let n = file.read(&mut vfs::Dst::kernel(&mut buf)).unwrap();
    let mut seen = Vec::new();
    let mut rest = &buf[..n];
    while let Ok((head, tail)) = InotifyEvent::read_from_prefix(rest) {
        let (name, tail) = tail.split_at(head.len as usize);
        let name = String::from_utf8_lossy(name).trim_end_matches('\0').into();
        seen.push((head.mask, head.cookie, name));
        rest = tail;
    }
    let cookie = seen[1].1;
    assert_ne!(cookie, 0);
    let expected: Vec<(u32, u32, String)> =
        [(0x100, 0, "a"), (0x40, cookie, "a"), (0x80, cookie, "b"), (0x200, 0, "b"), (IN_IGNORED, 0, "")]
            .map(|(m, c, n)| (m, c, n.into()))
            .into();
    assert_eq!(seen, expected);
    assert_eq!(instance.remove(wd), Err(EINVAL));
}

#[test]
fn growing_a_file_takes_no_space() {
    let w = world();
    let f = w.open("/f", 0o102, 0o600).unwrap();
    vfs::ops::set_attr(f.path(), vfs::SetAttr { size: Some(10 << 20), ..Default::default() }).unwrap();
    let attr = f.attr().unwrap();
    assert_eq!((attr.size, attr.blocks), (10 << 20, 0));
}

//! An overlay of tmpfs trees, driven by paths as programs would.

use abi::Errno;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use machine::sync::Once;
use tmpfs::testing::World;
use vfs::{DirSink, FileType};

const O_RDWR: u32 = 2;
const O_TRUNC: u32 = 0o1000;
const EXCHANGE: u32 = 2;

/// A lower tree with a few files, mounted under an empty upper layer at `/m`.
fn world() -> World {
    static REGISTERED: Once<()> = Once::new();
    REGISTERED.get_or_init(crate::init);
    let w = World::new();
    for dir in ["/low", "/low/dir", "/low/dir/sub", "/low2", "/low2/dir", "/up", "/scratch", "/m"] {
        w.mkdir(dir).unwrap();
    }
    for (path, text) in [
        ("/low/file", "lower"),
        ("/low/other", "other"),
        ("/low/dir/a", "a"),
        ("/low/dir/b", "b"),
        ("/low/dir/sub/deep", "deep"),
        ("/low2/dir/a", "hidden"),
        ("/low2/dir/c", "c"),
    ] {
        w.write(path, text.as_bytes()).unwrap();
    }
    w.mount("overlay", "/m", "lowerdir=/low:/low2,upperdir=/up,workdir=/scratch").unwrap();
    w
}

fn list(w: &World, path: &str) -> String {
    struct Names(Vec<String>);
    impl DirSink for Names {
        fn entry(&mut self, _: u64, _: u64, kind: FileType, name: &[u8]) -> bool {
            let mark = if kind == FileType::Directory { "/" } else { "" };
            let name = String::from_utf8_lossy(name).to_string();
            if name != "." && name != ".." {
                self.0.push(format!("{name}{mark}"));
            }
            true
        }
    }
    let mut names = Names(Vec::new());
    w.open(path, 0o200000, 0).unwrap().readdir(&mut names).unwrap();
    names.0.sort();
    names.0.join(" ")
}

fn text(w: &World, path: &str) -> String {
    match w.read(path) {
        Ok(bytes) => String::from_utf8(bytes).unwrap(),
        Err(e) => format!("{e}"),
    }
}

#[test]
fn layers_merge_and_higher_ones_hide_lower_ones() {
    let w = world();
    assert_eq!(list(&w, "/m"), "dir/ file other");
    assert_eq!(list(&w, "/m/dir"), "a b c sub/");
    assert_eq!((text(&w, "/m/dir/a"), text(&w, "/m/dir/c")), ("a".into(), "c".into()));
    assert_eq!(text(&w, "/m/nothing"), "ENOENT");
}

#[test]
fn writing_copies_up_and_leaves_the_lower_file_alone() {
    let w = world();
    let before = w.lstat("/m/dir/sub/deep").unwrap();
    let mtime = w.lstat("/m/dir/sub").unwrap().mtime;
    let file = w.open("/m/dir/sub/deep", O_RDWR, 0).unwrap();
    file.pwrite(&mut vfs::Src::kernel(b"DE"), 0, u64::MAX).unwrap();
    assert_eq!(text(&w, "/m/dir/sub/deep"), "DEep");
    assert_eq!(text(&w, "/up/dir/sub/deep"), "DEep");
    assert_eq!(text(&w, "/low/dir/sub/deep"), "deep");
    let after = w.lstat("/m/dir/sub/deep").unwrap();
    assert_eq!((before.ino, before.dev, before.mode), (after.ino, after.dev, after.mode));
    assert_eq!(w.lstat("/m/dir/sub").unwrap().mtime, mtime);
    assert_eq!(list(&w, "/scratch/work"), "");
}

#[test]
fn truncating_open_copies_no_data() {
    let w = world();
    drop(w.open("/m/file", O_RDWR | O_TRUNC, 0).unwrap());
    assert_eq!((text(&w, "/m/file"), text(&w, "/low/file")), (String::new(), "lower".into()));
}

#[test]
fn removal_leaves_a_whiteout_only_over_lower_names() {
    let w = world();
    w.unlink("/m/file").unwrap();
    assert_eq!(text(&w, "/m/file"), "ENOENT");
    assert_eq!(list(&w, "/m"), "dir/ other");
    assert_eq!(w.lstat("/up/file").unwrap().mode & 0o170000, 0o020000);
    w.write("/m/new", b"x").unwrap();
    w.unlink("/m/new").unwrap();
    assert_eq!(list(&w, "/up"), "file");
    w.write("/m/file", b"again").unwrap();
    assert_eq!((text(&w, "/m/file"), list(&w, "/up")), ("again".into(), "file".into()));
    w.unlink("/m/file").unwrap();
    assert_eq!((text(&w, "/m/file"), list(&w, "/m")), ("ENOENT".into(), "dir/ other".into()));
}

#[test]
fn a_removed_directory_that_comes_again_is_empty() {
    let w = world();
    assert_eq!(w.rmdir("/m/dir"), Err(Errno::ENOTEMPTY));
    for name in ["a", "b", "c", "sub/deep"] {
        w.unlink(&format!("/m/dir/{name}")).unwrap();
    }
    w.rmdir("/m/dir/sub").unwrap();
    assert_eq!(list(&w, "/m/dir"), "");
    w.rmdir("/m/dir").unwrap();
    assert_eq!(list(&w, "/m"), "file other");
    w.mkdir("/m/dir").unwrap();
    assert_eq!(list(&w, "/m/dir"), "");
    w.write("/m/dir/a", b"mine").unwrap();
    assert_eq!((list(&w, "/m/dir"), text(&w, "/m/dir/a")), ("a".into(), "mine".into()));
}

#[test]
fn files_move_and_leave_whiteouts_and_lower_directories_stay() {
    let w = world();
    w.rename("/m/file", "/m/dir/moved", 0).unwrap();
    assert_eq!((text(&w, "/m/file"), text(&w, "/m/dir/moved")), ("ENOENT".into(), "lower".into()));
    w.rename("/m/dir/a", "/m/other", 0).unwrap();
    assert_eq!((text(&w, "/m/other"), list(&w, "/m/dir")), ("a".into(), "b c moved sub/".into()));
    assert_eq!(w.rename("/m/dir", "/m/dir2", 0), Err(Errno::EXDEV));
    w.mkdir("/m/own").unwrap();
    w.write("/m/own/f", b"f").unwrap();
    w.rename("/m/own", "/m/own2", 0).unwrap();
    assert_eq!((list(&w, "/m"), text(&w, "/m/own2/f")), ("dir/ other own2/".into(), "f".into()));
    w.rename("/m/own2/f", "/m/other", EXCHANGE).unwrap();
    assert_eq!((text(&w, "/m/other"), text(&w, "/m/own2/f")), ("f".into(), "a".into()));
}

#[test]
fn an_own_directory_moved_over_a_removed_lower_one_stays_alone() {
    let w = world();
    for name in ["a", "b", "c", "sub/deep"] {
        w.unlink(&format!("/m/dir/{name}")).unwrap();
    }
    w.rmdir("/m/dir/sub").unwrap();
    w.mkdir("/m/own").unwrap();
    w.write("/m/own/f", b"f").unwrap();
    w.rename("/m/own", "/m/dir", 0).unwrap();
    assert_eq!((list(&w, "/m"), list(&w, "/m/dir")), ("dir/ file other".into(), "f".into()));
}

#[test]
fn hard_links_share_one_file() {
    let w = world();
    w.link("/m/file", "/m/link").unwrap();
    let (a, b) = (w.lstat("/m/file").unwrap(), w.lstat("/m/link").unwrap());
    assert_eq!((a.ino, a.nlink, b.nlink), (b.ino, 2, 2));
    w.open("/m/link", O_RDWR, 0).unwrap().pwrite(&mut vfs::Src::kernel(b"L"), 0, u64::MAX).unwrap();
    assert_eq!(text(&w, "/m/file"), "Lower");
    w.unlink("/m/file").unwrap();
    assert_eq!((text(&w, "/m/link"), text(&w, "/m/file")), ("Lower".into(), "ENOENT".into()));
    assert_eq!(w.lstat("/m/link").unwrap().nlink, 1);
}

#[test]
fn metadata_changes_copy_up() {
    let w = world();
    let path = w.lookup("/m/other").unwrap();
    vfs::ops::set_attr(&path, vfs::SetAttr { mode: Some(0o600), uid: Some(5), ..Default::default() }).unwrap();
    let attr = w.lstat("/m/other").unwrap();
    assert_eq!((attr.mode & 0o7777, attr.uid, attr.size), (0o600, 5, 5));
    assert_eq!(w.lstat("/low/other").unwrap().mode & 0o7777, 0o644);
    path.inode().set_xattr(b"user.k", b"v", 0).unwrap();
    assert_eq!(path.inode().list_xattr().unwrap(), b"user.k\0");
    assert_eq!(path.inode().get_xattr(b"trusted.overlay.origin"), Err(Errno::EOPNOTSUPP));
}

#[test]
fn a_removed_open_lower_file_can_still_be_changed() {
    let w = world();
    let path = w.lookup("/m/file").unwrap();
    w.unlink("/m/file").unwrap();
    vfs::ops::set_attr(&path, vfs::SetAttr { mode: Some(0o600), ..Default::default() }).unwrap();
    assert_eq!(path.inode().attr().unwrap().mode & 0o7777, 0o600);
    assert_eq!(list(&w, "/m"), "dir/ other");
}

#[test]
fn without_an_upper_layer_nothing_changes() {
    let w = world();
    w.mkdir("/ro").unwrap();
    w.mount("overlay", "/ro", "lowerdir=/low:/low2").unwrap();
    assert_eq!(list(&w, "/ro/dir"), "a b c sub/");
    assert_eq!(w.write("/ro/new", b"x"), Err(Errno::EROFS));
    assert_eq!(w.unlink("/ro/file"), Err(Errno::EROFS));
}

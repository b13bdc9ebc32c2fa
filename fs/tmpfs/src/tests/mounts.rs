//! Mounts, propagation, roots and what a walk may not leave.

use super::world;
use abi::Errno::*;
use abi::fcntl::ResolveFlags;
use abi::mount::UmountFlags;
use vfs::namespace;
use vfs::propagate::PropagationType;
use vfs::{FsContext, Path, Start, walk};

#[test]
fn mounts_cover_and_uncover() {
    let w = world();
    w.mkdir("/mnt").unwrap();
    w.write("/mnt/below", b"").unwrap();
    w.mount("tmpfs", "/mnt", "size=64k,mode=755").unwrap();
    assert_eq!(w.lookup("/mnt/below").err(), Some(ENOENT));
    w.write("/mnt/above", b"x").unwrap();
    let inside = w.lookup("/mnt/above").unwrap();
    assert_eq!(w.text(&inside), "/mnt/above");
    assert_eq!(w.text(&w.lookup("/mnt/..").unwrap()), "/");
    assert_eq!(w.rename("/mnt/above", "/x", 0).err(), Some(EXDEV));
    assert_eq!(w.rmdir("/mnt").err(), Some(EBUSY));
    assert_eq!(w.write("/mnt/big", &[1; 100_000]).err(), Some(ENOSPC));
    w.unlink("/mnt/big").unwrap();
    let dirs = w.fs.dirs();
    let at = w.lookup("/mnt").unwrap();
    assert_eq!(namespace::umount(at, UmountFlags::empty(), &dirs.ns, &dirs.root).err(), Some(EBUSY));
    drop(inside);
    let at = w.lookup("/mnt").unwrap();
    namespace::umount(at, UmountFlags::empty(), &dirs.ns, &dirs.root).unwrap();
    assert!(w.lookup("/mnt/below").is_ok());
}

#[test]
fn bind_mounts_show_a_tree_twice_and_move_moves_it() {
    let w = world();
    for d in ["/a", "/a/sub", "/b", "/c"] {
        w.mkdir(d).unwrap();
    }
    w.mount("tmpfs", "/a/sub", "").unwrap();
    w.write("/a/sub/f", b"x").unwrap();
    namespace::bind(&w.lookup("/a").unwrap(), &w.lookup("/b").unwrap(), true, &w.fs.dirs().ns).unwrap();
    assert_eq!(w.read("/b/sub/f").unwrap(), b"x");
    let ns = w.fs.dirs().ns.clone();
    namespace::move_mount(&w.lookup("/b").unwrap(), &w.lookup("/c").unwrap(), false, &ns).unwrap();
    assert!(w.lookup("/b/sub").is_err());
    assert_eq!(w.text(&w.lookup("/c/sub/f").unwrap()), "/c/sub/f");
    let c = w.lookup("/c").unwrap();
    namespace::change_flags(&c, vfs::MntFlags::RDONLY, &ns).unwrap();
    assert_eq!(w.write("/c/new", b"").err(), Some(EROFS));
    assert!(w.write("/a/new", b"").is_ok());
    let moved = namespace::move_mount(&w.lookup("/c").unwrap(), &w.lookup("/c/sub").unwrap(), false, &ns);
    assert_eq!(moved.err(), Some(ELOOP));
}

#[test]
fn a_detached_tree_ends_with_its_descriptor() {
    let w = world();
    w.mkdir("/a").unwrap();
    w.mount("tmpfs", "/a", "").unwrap();
    w.mkdir("/a/sub").unwrap();
    w.mount("tmpfs", "/a/sub", "").unwrap();
    w.mkdir("/b").unwrap();
    let ns = w.fs.dirs().ns.clone();
    let open = || namespace::open_copy(&w.lookup("/a").unwrap(), true, &ns, &w.cred).unwrap();
    let inner = |top: &alloc::sync::Arc<vfs::Mount>| alloc::sync::Arc::downgrade(&top.children()[0]);
    let file = open();
    let sub = inner(&file.path().mnt);
    assert!(sub.upgrade().is_some());
    drop(file);
    assert!(sub.upgrade().is_none());
    // Attached somewhere it stays.
    let file = open();
    let sub = inner(&file.path().mnt);
    namespace::move_mount(file.path(), &w.lookup("/b").unwrap(), false, &ns).unwrap();
    drop(file);
    assert!(sub.upgrade().is_some() && w.write("/b/sub/f", b"").is_ok());
}

#[test]
fn huge_pages_and_memory_policies_are_not_promised() {
    let w = world();
    w.mkdir("/m").unwrap();
    for options in ["huge=always", "huge=advise", "mpol=local", "mpol=interleave:0"] {
        assert_eq!(w.mount("tmpfs", "/m", options), Err(EINVAL), "{options}");
    }
    w.mount("tmpfs", "/m", "huge=never").unwrap();
}

#[test]
fn shared_mounts_propagate() {
    let w = world();
    for d in ["/s", "/peer", "/slave"] {
        w.mkdir(d).unwrap();
    }
    w.mount("tmpfs", "/s", "").unwrap();
    let s = w.lookup("/s").unwrap();
    namespace::change_propagation(&s, PropagationType::Shared, false, &w.cred).unwrap();
    namespace::bind(&s, &w.lookup("/peer").unwrap(), false, &w.fs.dirs().ns).unwrap();
    namespace::bind(&s, &w.lookup("/slave").unwrap(), false, &w.fs.dirs().ns).unwrap();
    namespace::change_propagation(&w.lookup("/slave").unwrap(), PropagationType::Slave, false, &w.cred).unwrap();
    w.mkdir("/s/m").unwrap();
    w.mount("tmpfs", "/s/m", "").unwrap();
    w.write("/s/m/f", b"").unwrap();
    assert!(w.lookup("/peer/m/f").is_ok());
    assert!(w.lookup("/slave/m/f").is_ok());
    w.mkdir("/slave/n").unwrap();
    w.mount("tmpfs", "/slave/n", "").unwrap();
    w.write("/slave/n/f", b"").unwrap();
    assert!(w.lookup("/s/n/f").is_err(), "slaves send nothing");
}

#[test]
fn pivot_root_swaps_the_roots() {
    let ns = vfs::MountNamespace::first(nullfs::mount());
    namespace::attach(&crate::rootfs(), &Path::root_of(&ns.root()), &ns).unwrap();
    let mut w = world();
    w.fs = FsContext::new(ns.clone());
    w.mkdir("/new").unwrap();
    w.write("/old-file", b"").unwrap();
    w.mount("tmpfs", "/new", "").unwrap();
    w.mkdir("/new/old").unwrap();
    let (new, old) = (w.lookup("/new").unwrap(), w.lookup("/new/old").unwrap());
    let root = w.fs.dirs().root.clone();
    namespace::pivot_root(&new, &old, &root, &ns).unwrap();
    w.fs.set_root(new.clone());
    w.fs.set_cwd(new);
    assert!(w.lookup("/old/old-file").is_ok());
    assert_eq!(w.text(&w.lookup("/old/..").unwrap()), "/");
    assert_eq!(w.text(&w.lookup("/..").unwrap()), "/");
}

#[test]
fn a_process_cannot_leave_its_root_and_resolve_flags_hold() {
    let w = world();
    for d in ["/jail", "/jail/in", "/out"] {
        w.mkdir(d).unwrap();
    }
    w.symlink("/out", "/jail/abs").unwrap();
    w.symlink("../out", "/jail/rel").unwrap();
    let jail = w.lookup("/jail").unwrap();
    let dirs = w.fs.dirs();
    let go = |resolve, path: &str| {
        let start = Start { root: &dirs.root, base: &jail, cred: &w.cred, resolve };
        walk::lookup(&start, path.as_bytes(), true).map(|p| w.text(&p))
    };
    assert_eq!(go(ResolveFlags::BENEATH, "in/../in"), Ok("/jail/in".into()));
    for path in ["..", "abs", "rel", "/jail", "in/../.."] {
        assert_eq!(go(ResolveFlags::BENEATH, path), Err(EXDEV), "{path}");
    }
    assert_eq!(go(ResolveFlags::IN_ROOT, "/in"), Ok("/jail/in".into()));
    assert_eq!(go(ResolveFlags::IN_ROOT, "../../in"), Ok("/jail/in".into()));
    assert_eq!(go(ResolveFlags::IN_ROOT, "abs"), Err(ENOENT));
    assert_eq!(go(ResolveFlags::NO_SYMLINKS, "rel"), Err(ELOOP));
    w.mount("tmpfs", "/jail/in", "").unwrap();
    assert_eq!(go(ResolveFlags::NO_XDEV, "in"), Err(EXDEV));
    w.fs.set_root(jail.clone());
    w.fs.set_cwd(jail.clone());
    assert_eq!(w.lookup("/../../in").map(|p| w.text(&p)), Ok("/in".into()));
    assert_eq!(w.lookup("/abs").err(), Some(ENOENT));
}

#[test]
fn very_deep_trees_are_dropped_without_recursion() {
    let w = world();
    w.mkdir("/m").unwrap();
    w.mount("tmpfs", "/m", "nr_inodes=0").unwrap();
    w.fs.set_cwd(w.lookup("/m").unwrap());
    for _ in 0..20_000 {
        w.mkdir("d").unwrap();
        w.fs.set_cwd(w.lookup("d").unwrap());
    }
    w.fs.set_cwd(w.lookup("/").unwrap());
    let dirs = w.fs.dirs();
    let at = w.lookup("/m").unwrap();
    namespace::umount(at, UmountFlags::DETACH, &dirs.ns, &dirs.root).unwrap();
}

#[test]
fn a_bind_mount_keeps_what_is_mounted_below_when_its_twin_goes() {
    let w = world();
    for d in ["/a", "/b"] {
        w.mkdir(d).unwrap();
    }
    w.mount("tmpfs", "/a", "").unwrap();
    w.mkdir("/a/in").unwrap();
    namespace::bind(&w.lookup("/a").unwrap(), &w.lookup("/b").unwrap(), false, &w.fs.dirs().ns).unwrap();
    w.mount("tmpfs", "/a/in", "").unwrap();
    w.write("/a/in/f", b"x").unwrap();
    let dirs = w.fs.dirs();
    let b = w.lookup("/b").unwrap();
    namespace::umount(b, UmountFlags::empty(), &dirs.ns, &dirs.root).unwrap();
    assert_eq!(w.read("/a/in/f").unwrap(), b"x");
}

#[test]
fn what_mounts_cover_stays_covered_for_other_owners() {
    let w = world();
    for d in ["/secret", "/free", "/to"] {
        w.mkdir(d).unwrap();
    }
    w.mount("tmpfs", "/secret", "").unwrap();
    let at = w.lookup("/secret").unwrap();
    namespace::change_flags(&at, vfs::MntFlags::RDONLY | vfs::MntFlags::NOSUID, &w.fs.dirs().ns).unwrap();
    drop(at);
    let owner = vfs::user_ns::create(&vfs::Cred::user(1, 1), false, 9).unwrap().user_ns;
    let mut inside = world();
    let ns = w.fs.dirs().ns.copy(&owner, |_, _| {}).unwrap();
    inside.fs = FsContext::new(ns.clone());
    let secret = || inside.lookup("/secret").unwrap();
    let root = inside.lookup("/").unwrap();
    assert_eq!(namespace::umount(secret(), UmountFlags::DETACH, &ns, &root).err(), Some(EINVAL));
    assert_eq!(namespace::move_mount(&secret(), &inside.lookup("/to").unwrap(), false, &ns).err(), Some(EINVAL));
    assert_eq!(namespace::bind(&root, &inside.lookup("/to").unwrap(), false, &ns).err(), Some(EINVAL));
    let remount = |flags| namespace::change_flags(&secret(), flags, &ns).err();
    assert_eq!(remount(vfs::MntFlags::RDONLY), Some(EPERM));
    assert_eq!(remount(vfs::MntFlags::RDONLY | vfs::MntFlags::NOSUID | vfs::MntFlags::NOEXEC), None);
    inside.mount("tmpfs", "/free", "").unwrap();
    assert_eq!(namespace::umount(inside.lookup("/free").unwrap(), UmountFlags::empty(), &ns, &root), Ok(()));
}

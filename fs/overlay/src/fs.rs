//! One overlay: its layers, the identity of its inodes, whiteouts and temporary names in the work directory.
//!
//! Lock order: the locks of overlay inodes, then `Node::copying`, then locks of upper directories (two of them by
//! address), then the lock of the work directory; the spin locks here are leaves. Layers must not be changed from elsewhere
//! while they are mounted.

use crate::mount::Asked;
use crate::node::Node;
use crate::options::Options;
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use hashbrown::HashMap;
use machine::sync::SpinLock;
use mm::Mm;
use vfs::{Caller, Configure, Cred, Dentry, File, FileType, Inode, NoJobs, Path, Rename, StatFs, SuperBlock, SuperOps};

/// `statfs` type of an overlay.
const OVERLAYFS_SUPER_MAGIC: u64 = 0x794c_7630;
/// Marks an inode number of the upper layer; lower layers below the first carry their index from bit 54 on. All files of an
/// overlay have its device number, so numbers of different layers must differ.
const UPPER_INO: u64 = 1 << 62;

/// The layers and everything an overlay's inodes share.
pub struct Fs {
    pub(crate) upper: Option<Path>,
    pub(crate) lowers: Vec<Path>,
    /// `workdir/work`: holds what is being made until it is moved into place.
    work: Option<Arc<dyn Inode>>,
    options: Options,
    /// The mounter: layers are changed with its rights.
    pub(crate) cred: Arc<Cred>,
    mm: Arc<Mm>,
    sb: SpinLock<Weak<SuperBlock>>,
    /// Inodes of upper files with several names, by address of the upper inode.
    shared: SpinLock<HashMap<usize, Weak<Node>>>,
    temp: AtomicU64,
}

impl Fs {
    /// The overlay of resolved layers.
    pub fn new(
        upper: Option<Path>,
        lowers: Vec<Path>,
        work: Option<Arc<dyn Inode>>,
        options: Options,
        cred: Arc<Cred>,
    ) -> Result<Arc<Fs>, Errno> {
        Ok(Arc::new(Fs {
            upper,
            lowers,
            work,
            options,
            cred,
            mm: Mm::new()?,
            sb: SpinLock::new(Weak::new()),
            shared: SpinLock::new(HashMap::new()),
            temp: AtomicU64::new(machine::time::now_ns()),
        }))
    }
    /// Ties it to its instance; called once.
    pub fn bind(&self, sb: &Arc<SuperBlock>) {
        *self.sb.lock() = Arc::downgrade(sb);
    }
    /// The instance; EIO after it is gone.
    pub fn sb(&self) -> Result<Arc<SuperBlock>, Errno> {
        self.sb.lock().upgrade().ok_or(Errno::EIO)
    }
    /// The work directory; EROFS without an upper layer.
    pub fn work(&self) -> Result<&Arc<dyn Inode>, Errno> {
        self.work.as_ref().ok_or(Errno::EROFS)
    }
    /// A name nobody uses in the work directory: remains of an earlier mount start from another number.
    pub fn temp_name(&self) -> String {
        format!("#{:x}", self.temp.fetch_add(1, Ordering::Relaxed))
    }
    /// Full name of one of overlay's own extended attributes.
    pub fn mark(&self, name: &str) -> String {
        format!("{}{name}", self.mark_prefix())
    }
    /// What all of them start with.
    pub fn mark_prefix(&self) -> &'static str {
        if self.options.user_xattrs { "user.overlay." } else { "trusted.overlay." }
    }
    /// A directory hides what lies below it in lower layers.
    pub fn is_opaque(&self, dir: &Arc<dyn Inode>) -> bool {
        dir.get_xattr(self.mark("opaque").as_bytes()).is_ok_and(|value| value == b"y")
    }
    /// Makes a directory of the upper layer opaque.
    pub fn set_opaque(&self, dir: &Arc<dyn Inode>) -> Result<(), Errno> {
        let _guard = dir.base().lock.lock();
        dir.set_xattr(self.mark("opaque").as_bytes(), b"y", 0)
    }
    /// Number of an upper inode in the overlay.
    pub fn upper_ino(ino: u64) -> u64 {
        ino ^ UPPER_INO
    }
    /// Number of an inode of lower layer `layer` in the overlay.
    pub fn lower_ino(layer: usize, ino: u64) -> u64 {
        ino ^ (layer as u64) << 54
    }

    /// Identity of an inode in memory: orders locks.
    pub fn address(inode: &Arc<dyn Inode>) -> usize {
        Arc::as_ptr(inode).cast::<()>() as usize
    }
    /// The overlay inode of an upper file with several names.
    pub fn shared(&self, upper: &Arc<dyn Inode>) -> Option<Arc<Node>> {
        self.shared.lock().get(&Fs::address(upper)).and_then(Weak::upgrade)
    }
    /// Makes an overlay inode known as the one of its upper file.
    pub fn share(&self, upper: &Arc<dyn Inode>, node: &Arc<Node>) {
        self.shared.lock().insert(Fs::address(upper), Arc::downgrade(node));
    }
    /// An overlay inode is gone.
    pub fn unshare(&self, upper: &Arc<dyn Inode>, node: &Node) {
        let mut shared = self.shared.lock();
        if shared.get(&Fs::address(upper)).is_some_and(|entry| core::ptr::eq(entry.as_ptr(), node)) {
            shared.remove(&Fs::address(upper));
        }
    }

    /// Opens an object of a layer for the overlay itself. `layer` is any place on the layer's mount.
    pub fn open_real(&self, layer: &Path, real: &Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<File>, Errno> {
        let path = Path { mnt: layer.mnt.clone(), dentry: Dentry::detached(real.clone(), b"/", false) };
        let caller = Caller { mm: &self.mm, cred: &self.cred, jobs: &NoJobs };
        let ops = real.clone().open(&path, flags, &caller)?;
        Ok(File::new(path, ops, flags, self.cred.clone()))
    }

    /// Puts a whiteout at `name` in the upper directory `dir`, whose lock is held, over `covered` (what the upper layer has
    /// there).
    pub fn whiteout(&self, dir: &Arc<dyn Inode>, name: &[u8], covered: Option<&Arc<dyn Inode>>) -> Result<(), Errno> {
        let work = self.work()?;
        let temp = self.temp_name();
        let _guard = work.base().lock.lock();
        let mark = work.create(temp.as_bytes(), FileType::CharDevice.mode(), 0, &self.cred)?;
        // A directory cannot be replaced by a file: it goes first, when nothing can fail any more but the move.
        let removed = match covered {
            Some(old) if old.is_dir() => dir.rmdir(name, old).map(|()| None),
            other => Ok(other),
        };
        removed.and_then(|victim| self.move_in(work, &temp, &mark, dir, name, victim)).inspect_err(|_| {
            // What stays behind if this fails too is only a name in the work directory.
            let _ = work.unlink(temp.as_bytes(), &mark);
        })
    }
    /// Moves what was made in the work directory to its place; both directory locks are held.
    pub fn move_in(
        &self,
        work: &Arc<dyn Inode>,
        temp: &str,
        made: &Arc<dyn Inode>,
        dir: &Arc<dyn Inode>,
        name: &[u8],
        victim: Option<&Arc<dyn Inode>>,
    ) -> Result<(), Errno> {
        work.rename(&Rename {
            old_name: temp.as_bytes(),
            old: made,
            new_dir: dir,
            new_name: name,
            victim,
            flags: 0,
            cred: &self.cred,
        })
    }
}

/// A name of a layer that says "nothing here".
pub fn is_whiteout(inode: &Arc<dyn Inode>) -> bool {
    let base = inode.base();
    base.kind() == FileType::CharDevice && base.rdev() == 0
}

/// The instance's operations.
pub struct Overlay(pub Arc<Fs>);

impl SuperOps for Overlay {
    fn statfs(&self) -> Result<StatFs, Errno> {
        let layer = self.0.upper.as_ref().or(self.0.lowers.first()).ok_or(Errno::EIO)?;
        Ok(StatFs { magic: OVERLAYFS_SUPER_MAGIC, ..layer.inode().sb().ops().statfs()? })
    }
    fn sync(&self) -> Result<(), Errno> {
        match &self.0.upper {
            Some(upper) if !self.0.options.volatile => upper.inode().sb().ops().sync(),
            _ => Ok(()),
        }
    }
    fn show_options(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let options = &self.0.options;
        let lowers = options.lowers.iter().map(|(name, _)| ("lowerdir+", name));
        let all = options.lowerdir.iter().map(|text| ("lowerdir", text));
        for (name, text) in all.chain(lowers.filter(|_| options.lowerdir.is_none())) {
            show_path(out, name, text)?;
        }
        for (name, layer) in [("upperdir", &options.upper), ("workdir", &options.work)] {
            if let (Some((text, _)), Some(_)) = (layer, &options.upper) {
                show_path(out, name, text)?;
            }
        }
        if options.user_xattrs {
            out.write_str(",userxattr")?;
        }
        if options.volatile {
            out.write_str(",fsync=volatile")?;
        }
        Ok(())
    }
    fn configure(&self) -> Box<dyn Configure> {
        Box::new(Asked::default())
    }
}

/// An option with a path, in which what would end it is escaped in octal.
fn show_path(out: &mut dyn fmt::Write, name: &str, path: &[u8]) -> fmt::Result {
    write!(out, ",{name}=")?;
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if matches!(c, ' ' | '\t' | '\n' | '\\' | ',') {
                write!(out, "\\{:03o}", c as u32)?;
            } else {
                out.write_char(c)?;
            }
        }
        chunk.invalid().iter().try_for_each(|b| write!(out, "\\{b:03o}"))?;
    }
    Ok(())
}

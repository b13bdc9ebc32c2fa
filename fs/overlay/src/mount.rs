//! The file-system type `overlay`: from paths of layers to the root inode.

use crate::fs::{Fs, Overlay};
use crate::node::{Covers, Found, Lower, Node};
use crate::options::{self, Layer, Options};
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use vfs::{Configure, Cred, FileType, FsType, Inode, Mounting, Param, Path, SbFlags, SuperBlock, Value, namespace};

/// What is being made lies here, inside the work directory.
const WORK_NAME: &[u8] = b"work";

/// `overlay`.
pub struct OverlayType;

impl FsType for OverlayType {
    fn name(&self) -> &'static str {
        "overlay"
    }
    fn in_user_ns(&self) -> bool {
        true
    }
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(Asked::default()))
    }
}

/// What a mount asks for. An instance takes no changes: mount(2)'s are passed over, fsconfig(2)'s refused.
#[derive(Default)]
pub struct Asked(Options);

impl Configure for Asked {
    fn params(&self) -> &'static [Param] {
        options::TABLE
    }
    fn set(&mut self, name: &'static str, value: Value<'_>, by: &mut Mounting<'_>) -> Result<(), Errno> {
        match (by.reconfigures, by.legacy) {
            (true, true) => Ok(()),
            (true, false) => Err(by.log.invalid_fs(format_args!("No changes allowed in reconfigure"))),
            (false, _) => self.0.set(name, value, by),
        }
    }
    fn next_option<'t>(&self, text: &'t [u8]) -> (&'t [u8], Option<&'t [u8]>) {
        options::next_option(text)
    }
    fn create(&mut self, _: Option<&[u8]>, flags: SbFlags, by: &mut Mounting<'_>) -> Result<Arc<dyn Inode>, Errno> {
        // Layers are used with the rights of who makes the instance, which belongs to who opened the context.
        if *by.user_ns != by.cred().user_ns {
            return Err(Errno::EIO);
        }
        let options = core::mem::take(&mut self.0);
        options.check()?;
        let cred = by.cred();
        let work = match (&options.upper, &options.work) {
            (Some((_, upper)), Some((_, work))) => Some(work_dir(upper, work, cred)?),
            _ => None,
        };
        // Mounts of its own keep the layers whatever becomes of the ones they were named by.
        let own = |(_, path): &Layer| namespace::private_copy(path, &by.dirs.ns, cred);
        let upper = options.upper.as_ref().map(own).transpose()?;
        let lowers = options.lowers.iter().map(own).collect::<Result<Vec<Path>, Errno>>()?;
        instance(upper, lowers, work, options, flags, by)
    }
    fn reconfigure(&mut self, sb: &Arc<SuperBlock>, _: &mut Mounting<'_>) -> Result<(), Errno> {
        sb.ops().sync()
    }
}

fn instance(
    upper: Option<Path>,
    lowers: Vec<Path>,
    work: Option<Arc<dyn Inode>>,
    options: Options,
    flags: SbFlags,
    by: &Mounting<'_>,
) -> Result<Arc<dyn Inode>, Errno> {
    let layers = || upper.iter().chain(&lowers).map(|path| path.inode().sb().flags());
    let mut own = flags | SbFlags::CACHE_NEGATIVE;
    if layers().any(|flags| flags.contains(SbFlags::REVALIDATE)) {
        own = flags | SbFlags::REVALIDATE;
    }
    if upper.is_none() {
        own |= SbFlags::RDONLY;
    }
    let found = Found {
        upper: upper.as_ref().map(|path| path.inode().clone()),
        lowers: lowers.iter().enumerate().map(|(layer, path)| Lower { layer, inode: path.inode().clone() }).collect(),
    };
    let fs = Fs::new(upper, lowers, work, options, by.cred().clone())?;
    let sb = SuperBlock::owned("overlay", own, Box::new(Overlay(fs.clone())), by.user_ns.clone());
    fs.bind(&sb);
    let root = Node::new(&fs, found, None, Covers::Nothing)?;
    Ok(root)
}

/// `workdir/work`, made if need be. Both directories must be on one mount, neither inside the other.
fn work_dir(upper: &Path, work: &Path, cred: &Cred) -> Result<Arc<dyn Inode>, Errno> {
    let nested = work.dentry.is_below(&upper.dentry) || upper.dentry.is_below(&work.dentry);
    if !Arc::ptr_eq(&upper.mnt, &work.mnt) || nested || upper.inode().sb().is_readonly() {
        return Err(Errno::EINVAL);
    }
    let outer = work.inode();
    let _guard = outer.base().lock.lock();
    match outer.lookup(WORK_NAME) {
        // A directory with remains of an earlier mount stays: temporary names that exist are passed over.
        Ok(old) if old.is_dir() => Ok(old),
        Ok(_) => Err(Errno::EINVAL),
        Err(Errno::ENOENT) => outer.create(WORK_NAME, FileType::Directory.mode(), 0, cred),
        Err(e) => Err(e),
    }
}

//! The file-system type `overlay`: from paths of layers to the root inode.

use crate::fs::{Fs, Overlay};
use crate::node::{Covers, Found, Lower, Node};
use crate::options::{self, Options};
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use vfs::{Cred, FileType, FsType, Inode, MountRequest, Path, SbFlags, SuperBlock};

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
    fn mount(&self, request: &MountRequest<'_>) -> Result<Arc<dyn Inode>, Errno> {
        mount(request.data, request.flags, request.caller.cred, &|path| request.resolve(path))
    }
}

/// Makes the instance. `resolve` finds a path as the mounting process sees it.
pub fn mount(
    data: &[u8],
    flags: SbFlags,
    cred: &Arc<Cred>,
    resolve: &dyn Fn(&[u8]) -> Result<Path, Errno>,
) -> Result<Arc<dyn Inode>, Errno> {
    let options = options::parse(data)?;
    let dir = |path: &Vec<u8>| resolve(path).and_then(|p| if p.inode().is_dir() { Ok(p) } else { Err(Errno::ENOTDIR) });
    let upper = options.upper.as_ref().map(dir).transpose()?;
    let work = match (&upper, &options.work) {
        (Some(upper), Some(work)) => Some(work_dir(upper, &dir(work)?, cred)?),
        _ => None,
    };
    let lowers = options.lowers.iter().map(dir).collect::<Result<Vec<Path>, Errno>>()?;
    instance(upper, lowers, work, options, flags, cred)
}

fn instance(
    upper: Option<Path>,
    lowers: Vec<Path>,
    work: Option<Arc<dyn Inode>>,
    options: Options,
    flags: SbFlags,
    cred: &Arc<Cred>,
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
    let fs = Fs::new(upper, lowers, work, options, cred.clone())?;
    let sb = SuperBlock::owned("overlay", own, Box::new(Overlay(fs.clone())), cred.user_ns.clone());
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

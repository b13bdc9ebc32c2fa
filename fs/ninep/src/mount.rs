//! The file-system type `9p`.

use crate::client::Client;
use crate::options;
use crate::session::{Session, Share};
use crate::transport::Bus;
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use vfs::{FsType, Inode, MountRequest, SbFlags, SuperBlock};

/// `9p` over the devices of a bus.
pub struct NineP {
    bus: &'static dyn Bus,
}

impl NineP {
    /// The type for mounts of the devices that `bus` finds by mount tag.
    pub const fn new(bus: &'static dyn Bus) -> NineP {
        NineP { bus }
    }
}

impl FsType for NineP {
    fn name(&self) -> &'static str {
        "9p"
    }
    fn mount(&self, request: &MountRequest<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let tag = request.source.filter(|tag| !tag.is_empty()).ok_or(Errno::EINVAL)?;
        mount(self.bus, tag, request.flags, options::parse(request.data)?)
    }
}

/// Connects, attaches and makes the instance; returns its root.
pub fn mount(bus: &dyn Bus, tag: &[u8], flags: SbFlags, options: options::Options) -> Result<Arc<dyn Inode>, Errno> {
    let client = Client::connect(bus, tag, options.msize)?;
    let mut options = options;
    options.msize = client.msize();
    let (fid, _) = client.attach(&options.uname, &options.aname, options.attach_uid())?;
    let (root_fid, _) = fid.walk(&[])?;
    let session = Session::new(client, options);
    let caching = if session.trusting() { SbFlags::CACHE_NEGATIVE } else { SbFlags::REVALIDATE };
    let sb = SuperBlock::new("9p", flags | caching, Box::new(Share(session.clone())));
    session.bind(&sb, Arc::new(root_fid));
    let root = session.node(fid)?;
    if !root.base().kind().eq(&vfs::FileType::Directory) {
        return Err(Errno::ENOTDIR);
    }
    Ok(root)
}

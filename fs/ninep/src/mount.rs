//! The file-system type `9p`.

use crate::client::Client;
use crate::options::{Options, TABLE};
use crate::session::{Session, Share};
use crate::transport::Bus;
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use vfs::{Configure, FsType, Inode, Mounting, Param, SbFlags, SuperBlock, Value};

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
    fn configure(&self) -> Result<Box<dyn Configure>, Errno> {
        Ok(Box::new(Asked { bus: self.bus, options: Options::default() }))
    }
}

/// A share about to be mounted.
struct Asked {
    bus: &'static dyn Bus,
    options: Options,
}

impl Configure for Asked {
    fn params(&self) -> &'static [Param] {
        TABLE
    }
    fn set(&mut self, name: &'static str, value: Value<'_>, _: &mut Mounting<'_>) -> Result<(), Errno> {
        self.options.set(name, value)
    }
    fn ignores_unknown(&self) -> bool {
        true
    }
    fn create(&mut self, tag: Option<&[u8]>, flags: SbFlags, _: &mut Mounting<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let tag = tag.filter(|tag| !tag.is_empty()).ok_or(Errno::EINVAL)?;
        mount(self.bus, tag, flags, self.options.clone())
    }
}

/// Connects, attaches and makes the instance; returns its root.
pub fn mount(bus: &dyn Bus, tag: &[u8], flags: SbFlags, options: Options) -> Result<Arc<dyn Inode>, Errno> {
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

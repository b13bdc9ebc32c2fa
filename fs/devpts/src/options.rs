//! Mount parameters: `uid`, `gid`, `mode`, `ptmxmode`, `max`, `newinstance`.

use crate::instance::Instance;
use crate::root::Root;
use abi::Errno;
use alloc::sync::Arc;
use vfs::{Configure, Inode, Kind, Mounting, Param, SbFlags, SuperBlock, Value};

/// Ptys of one instance unless `max` says less; all instances together have [`crate::limits`].
pub const MAX: u32 = 1 << 20;

/// The parameters of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Owner of new slaves; `None`: who opened the master.
    pub uid: Option<u32>,
    /// Their group.
    pub gid: Option<u32>,
    /// Their permission bits.
    pub mode: u32,
    /// Permission bits of the `ptmx` node.
    pub ptmxmode: u32,
    /// Most ptys.
    pub max: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { uid: None, gid: None, mode: 0o600, ptmxmode: 0, max: MAX }
    }
}

/// What a mount or remount asks for.
#[derive(Default)]
pub struct Asked {
    options: Options,
    /// The instance to be changed.
    changes: Option<Arc<Instance>>,
}

impl Asked {
    /// For a change of `instance`: what is not named goes back to the default.
    pub fn change(instance: Arc<Instance>) -> Asked {
        Asked { options: Options::default(), changes: Some(instance) }
    }
}

impl Configure for Asked {
    fn params(&self) -> &'static [Param] {
        &[
            ("gid", Kind::Gid),
            ("max", Kind::Signed),
            ("mode", Kind::Number(8)),
            ("newinstance", Kind::Flag),
            ("ptmxmode", Kind::Number(8)),
            ("uid", Kind::Uid),
        ]
    }
    fn set(&mut self, name: &'static str, value: Value<'_>, by: &mut Mounting<'_>) -> Result<(), Errno> {
        let o = &mut self.options;
        match (name, value) {
            ("uid", Value::Id(id)) => o.uid = Some(id),
            ("gid", Value::Id(id)) => o.gid = Some(id),
            ("mode", Value::Number(mode)) => o.mode = mode & 0o7777,
            ("ptmxmode", Value::Number(mode)) => o.ptmxmode = mode & 0o7777,
            ("max", Value::Signed(max)) => match u32::try_from(max) {
                Ok(max) if max <= MAX => o.max = max,
                _ => return Err(by.log.invalid(format_args!("max out of range"))),
            },
            // Every mount is a new instance anyway.
            ("newinstance", _) => {}
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
    fn create(&mut self, _: Option<&[u8]>, flags: SbFlags, by: &mut Mounting<'_>) -> Result<Arc<dyn Inode>, Errno> {
        Ok(Instance::create(self.options, flags, by))
    }
    fn reconfigure(&mut self, sb: &Arc<SuperBlock>, _: &mut Mounting<'_>) -> Result<(), Errno> {
        let Some(instance) = &self.changes else { return Err(Errno::EINVAL) };
        instance.set_options(self.options);
        match sb.root().as_ref().and_then(|root| root.inode().as_any().downcast_ref::<Root>()) {
            Some(root) => root.set_ptmx_mode(self.options.ptmxmode),
            None => Ok(()),
        }
    }
}

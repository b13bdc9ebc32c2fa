//! Making and changing an instance.

use crate::node::{Node, What};
use crate::options::{Asked, Options, TABLE};
use crate::{Proc, current, options_of};
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use task::ns::PidNamespace;
use vfs::ns::Namespace;
use vfs::{Cap, Configure, FileType, Inode, Mounting, Param, SbFlags, SuperBlock, UserNamespace, Value};

/// What a mount or remount asks for.
pub struct Setup {
    ns: Arc<PidNamespace>,
    asked: Asked,
}

impl Setup {
    /// For the pid namespace of the caller.
    pub fn new() -> Setup {
        let ns = current().map_or_else(|| PidNamespace::first().clone(), |me| me.pid_ns().clone());
        Setup { ns, asked: Asked::default() }
    }
}

impl Configure for Setup {
    fn params(&self) -> &'static [Param] {
        TABLE
    }
    fn set(&mut self, name: &'static str, value: Value<'_>, by: &mut Mounting<'_>) -> Result<(), Errno> {
        if name != "pidns" {
            return self.asked.set(name, value, by.log);
        }
        if by.reconfigures {
            by.log.error_fs(format_args!("cannot reconfigure pidns for existing procfs"));
            return Err(Errno::EBUSY);
        }
        self.ns = named_ns(value, by)?;
        Ok(())
    }
    fn user_ns(&self) -> Option<Arc<UserNamespace>> {
        Some(self.ns.owner())
    }
    fn create(&mut self, _: Option<&[u8]>, flags: SbFlags, by: &mut Mounting<'_>) -> Result<Arc<dyn Inode>, Errno> {
        // Programs and devices are never to appear here.
        let mut flags = flags | SbFlags::REVALIDATE | SbFlags::NOEXEC | SbFlags::NODEV | SbFlags::NOSUID;
        flags.set(SbFlags::RESTRICTED, self.asked.only_processes());
        let ops = Proc { ns: self.ns.clone(), options: Options::new(&self.asked) };
        let sb = SuperBlock::owned("proc", flags, Box::new(ops), by.user_ns.clone());
        Ok(Node::new(&sb, FileType::Directory.mode() | 0o555, What::Root))
    }
    fn reconfigure(&mut self, sb: &Arc<SuperBlock>, by: &mut Mounting<'_>) -> Result<(), Errno> {
        options_of(sb).map_or(Ok(()), |options| options.change(&self.asked, by.log))
    }
}

/// The pid namespace whose file a value names: the caller's or one below it, which the caller could join.
fn named_ns(value: Value<'_>, by: &mut Mounting<'_>) -> Result<Arc<PidNamespace>, Errno> {
    let inode = match value {
        Value::File(file) => Ok(file.inode().clone()),
        Value::Text(path) => by.resolve(path).map(|place| place.inode().clone()),
        _ => Err(Errno::EINVAL),
    };
    let inode = inode.inspect_err(|_| by.log.error_fs(format_args!("could not get file from pidns argument")))?;
    let Some(named) = inode.namespace().cloned() else {
        return Err(by.log.invalid_fs(format_args!("pidns argument is not an nsfs file")));
    };
    let any: Arc<dyn Any + Send + Sync> = named;
    let Ok(ns) = any.downcast::<PidNamespace>() else {
        return Err(by.log.invalid_fs(format_args!("pidns argument is not a pidns file")));
    };
    if !by.cred().capable_in(&ns.owner(), Cap::SysAdmin) {
        by.log.error_fs(format_args!("insufficient permissions to set pidns"));
        return Err(Errno::EPERM);
    }
    match current() {
        Some(me) if !ns.is_in(me.pid_ns()) => {
            Err(by.log.invalid_fs(format_args!("cannot set pidns to non-descendant pidns")))
        }
        _ => Ok(ns),
    }
}

//! /proc/kmsg: the kernel log as syslog(2) reads it, for daemons (proc_kmsg(5)). All readers share one place in the log.

use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::sync::Arc;
use core::any::Any;
use klog::syslog;
use mm::io::Dst;
use vfs::{Caller, Cap, File, FileOps, PollEvents, PollTable};

struct Kmsg;

/// Opens it: for those who may use syslog(2).
pub fn open(caller: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
    if caller.cred.capable(Cap::Syslog) { Ok(Arc::new(Kmsg)) } else { Err(Errno::EPERM) }
}

impl FileOps for Kmsg {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn seekable(&self) -> bool {
        false
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        if f.flags().contains(OpenFlags::NONBLOCK) && syslog::unread()? == 0 {
            return Err(Errno::EAGAIN);
        }
        let room = dst.remaining();
        if room == 0 {
            return Ok(0);
        }
        syslog::read(room, |part| dst.put(part).map(drop))
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        table.listen(&klog::ARRIVED);
        match syslog::unread() {
            Ok(0) => PollEvents::empty(),
            _ => PollEvents::READABLE,
        }
    }
    fn pollable(&self) -> bool {
        true
    }
}

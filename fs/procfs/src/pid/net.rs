//! `net`: what the network namespace of a process holds (proc_pid_net(5)). There are no devices and no protocols besides
//! Unix-domain sockets, so there are no files about others.

use super::{Guard, PidEntry, Subject, opened};
use crate::text::Text;
use ::net::NetNamespace;
use abi::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use mm::io::Dst;
use unix::list;
use unix::name::Name;
use vfs::{File, FileOps};

type Show = fn(&NetNamespace, &mut Text);

/// The files.
pub static ENTRIES: [PidEntry; 3] = [
    opened("dev", 0o444, Guard::None, |subject, _| NetFile::open(subject, dev)),
    opened("sockstat", 0o444, Guard::None, |subject, _| NetFile::open(subject, sockstat)),
    opened("unix", 0o444, Guard::None, |subject, _| NetFile::open(subject, sockets)),
];

/// The network namespace; ENOENT once the process has ended.
pub fn of(subject: &Subject) -> Result<Arc<NetNamespace>, Errno> {
    subject.task()?.handles().map(|handles| handles.ns.net.clone()).ok_or(Errno::ENOENT)
}

/// An open file: it stays with the namespace in which it was opened.
struct NetFile {
    ns: Arc<NetNamespace>,
    show: Show,
    text: sched::Mutex<Option<Vec<u8>>>,
}

impl NetFile {
    fn open(subject: &Subject, show: Show) -> Result<Arc<dyn FileOps>, Errno> {
        Ok(Arc::new(NetFile { ns: of(subject)?, show, text: sched::Mutex::new(None) }))
    }
}

impl FileOps for NetFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn read_at(&self, _: &File, dst: &mut Dst<'_>, off: u64) -> Result<usize, Errno> {
        let mut text = self.text.lock();
        if off == 0 || text.is_none() {
            let mut new = Text::new();
            (self.show)(&self.ns, &mut new);
            *text = Some(new.finish()?);
        }
        match usize::try_from(off).ok().and_then(|off| text.as_ref()?.get(off..)) {
            Some(rest) if !rest.is_empty() => dst.put(rest),
            _ => Ok(0),
        }
    }
}

fn dev(_: &NetNamespace, out: &mut Text) {
    out.str("Inter-|   Receive                                                |  Transmit\n");
    out.str(" face |bytes    packets errs drop fifo frame compressed multicast");
    out.str("|bytes    packets errs drop fifo colls carrier compressed\n");
}

fn sockstat(ns: &NetNamespace, out: &mut Text) {
    let mut used = 0;
    list::each(ns, |socket| used += u64::from(socket.open));
    out.str("sockets: used ").dec(used).ch('\n');
}

/// Flag of a socket that waits for connections (`__SO_ACCEPTCON`).
const ACCEPTS: u64 = 0x1_0000;

/// `SS_*` (linux/net.h).
mod state {
    pub const UNCONNECTED: u64 = 1;
    pub const CONNECTING: u64 = 2;
    pub const CONNECTED: u64 = 3;
    pub const DISCONNECTING: u64 = 4;
}

/// `unix`. Addresses in the kernel are not shown: the first column is 0.
fn sockets(ns: &NetNamespace, out: &mut Text) {
    out.str("Num       RefCount Protocol Flags    Type St Inode Path\n");
    list::each(ns, |socket| {
        let state = match (socket.open, socket.connected) {
            (true, true) => state::CONNECTED,
            (true, false) => state::UNCONNECTED,
            (false, true) => state::CONNECTING,
            (false, false) => state::DISCONNECTING,
        };
        out.hex(0, 16).str(": ");
        let flags = if socket.listening { ACCEPTS } else { 0 };
        for (value, width) in [(socket.refs.into(), 8), (0, 8), (flags, 8), (socket.kind.into(), 4), (state, 2)] {
            out.upper_hex(value, width).ch(' ');
        }
        out.dec_width(socket.ino, 5);
        match socket.name.as_deref() {
            Some(Name::File(path, _)) => {
                out.ch(' ').bytes(path);
            }
            Some(Name::Abstract(name)) => {
                out.str(" @");
                for byte in name {
                    out.bytes(&[if *byte == 0 { b'@' } else { *byte }]);
                }
            }
            None => {}
        }
        out.ch('\n');
    });
}

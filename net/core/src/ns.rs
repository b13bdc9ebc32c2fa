//! Network namespaces (network_namespaces(7)). There are no devices and no addresses yet: what is separate is the abstract names of
//! Unix-domain sockets.

use alloc::sync::Arc;
use machine::sync::Once;
use vfs::ns::{self, Namespace, NsHead, NsKind};
use vfs::user_ns::UserNamespace;

/// A network namespace.
pub struct NetNamespace {
    head: NsHead,
}

static FIRST: Once<Arc<NetNamespace>> = Once::new();
static CURRENT: Once<fn() -> Arc<NetNamespace>> = Once::new();

/// Installs how the running thread's namespace is found.
pub fn set_current(f: fn() -> Arc<NetNamespace>) {
    let _ = CURRENT.set(f);
}

/// The running thread's namespace.
pub fn current() -> Arc<NetNamespace> {
    CURRENT.get().map_or_else(|| NetNamespace::first().clone(), |f| f())
}

impl NetNamespace {
    fn build(head: NsHead) -> Arc<NetNamespace> {
        ns::enlist(Arc::new(NetNamespace { head }))
    }
    /// The one of the first process.
    pub fn first() -> &'static Arc<NetNamespace> {
        FIRST.get_or_init(|| NetNamespace::build(NsHead::first(NsKind::Net)))
    }
    /// A new one, empty.
    pub fn new(owner: &Arc<UserNamespace>) -> Arc<NetNamespace> {
        NetNamespace::build(NsHead::next(NsKind::Net, owner))
    }
}

impl Namespace for NetNamespace {
    fn head(&self) -> &NsHead {
        &self.head
    }
}

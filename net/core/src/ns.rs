//! Network namespaces (network_namespaces(7)). There are no devices and no addresses yet: what is separate is the abstract names of
//! Unix-domain sockets.

use alloc::sync::Arc;
use core::any::Any;
use machine::sync::Once;
use vfs::ns::{self, Namespace, NsId, NsKind};
use vfs::user_ns::UserNamespace;

/// A network namespace.
pub struct NetNamespace {
    ns_id: NsId,
    owner: Arc<UserNamespace>,
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
    fn build(ns_id: NsId, owner: &Arc<UserNamespace>) -> Arc<NetNamespace> {
        ns::enlist(Arc::new(NetNamespace { ns_id, owner: owner.clone() }))
    }
    /// The one of the first process.
    pub fn first() -> &'static Arc<NetNamespace> {
        FIRST.get_or_init(|| NetNamespace::build(NsKind::Net.first(), UserNamespace::first()))
    }
    /// A new one, empty.
    pub fn new(owner: &Arc<UserNamespace>) -> Arc<NetNamespace> {
        NetNamespace::build(NsId::next(), owner)
    }
}

impl Drop for NetNamespace {
    fn drop(&mut self) {
        ns::delist(self.ns_id.id);
    }
}

impl Namespace for NetNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Net
    }
    fn ns_id(&self) -> NsId {
        self.ns_id
    }
    fn owner(&self) -> Arc<UserNamespace> {
        self.owner.clone()
    }
    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

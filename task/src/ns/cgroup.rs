//! Cgroup namespaces (cgroup_namespaces(7)): the group whose members see it as the root of the hierarchy.

use crate::cgroup::{self, Cgroup};
use alloc::sync::Arc;
use core::any::Any;
use machine::sync::Once;
use vfs::ns::{self, Namespace, NsId, NsKind};
use vfs::user_ns::UserNamespace;

/// A cgroup namespace.
pub struct CgroupNamespace {
    ns_id: NsId,
    owner: Arc<UserNamespace>,
    root: Arc<Cgroup>,
}

static FIRST: Once<Arc<CgroupNamespace>> = Once::new();

impl CgroupNamespace {
    fn build(ns_id: NsId, owner: &Arc<UserNamespace>, root: Arc<Cgroup>) -> Arc<CgroupNamespace> {
        ns::enlist(Arc::new(CgroupNamespace { ns_id, owner: owner.clone(), root }))
    }
    /// The one of the first process, which sees the whole hierarchy.
    pub fn first() -> &'static Arc<CgroupNamespace> {
        FIRST.get_or_init(|| {
            CgroupNamespace::build(NsKind::Cgroup.first(), UserNamespace::first(), cgroup::root().clone())
        })
    }
    /// A new one with `root` at the top.
    pub fn new(owner: &Arc<UserNamespace>, root: Arc<Cgroup>) -> Arc<CgroupNamespace> {
        CgroupNamespace::build(NsId::next(), owner, root)
    }
    /// What its members see as the root.
    pub fn root(&self) -> &Arc<Cgroup> {
        &self.root
    }
}

impl Drop for CgroupNamespace {
    fn drop(&mut self) {
        ns::delist(self.ns_id.id);
    }
}

impl Namespace for CgroupNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Cgroup
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

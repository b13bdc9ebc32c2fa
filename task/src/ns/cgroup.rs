//! Cgroup namespaces (cgroup_namespaces(7)): the group whose members see it as the root of the hierarchy.

use crate::cgroup::{self, Cgroup};
use alloc::sync::Arc;
use machine::sync::Once;
use vfs::ns::{self, Namespace, NsHead, NsKind};
use vfs::user_ns::UserNamespace;

/// A cgroup namespace.
pub struct CgroupNamespace {
    head: NsHead,
    root: Arc<Cgroup>,
}

static FIRST: Once<Arc<CgroupNamespace>> = Once::new();

impl CgroupNamespace {
    fn build(head: NsHead, root: Arc<Cgroup>) -> Arc<CgroupNamespace> {
        ns::enlist(Arc::new(CgroupNamespace { head, root }))
    }
    /// The one of the first process, which sees the whole hierarchy.
    pub fn first() -> &'static Arc<CgroupNamespace> {
        FIRST.get_or_init(|| CgroupNamespace::build(NsHead::first(NsKind::Cgroup), cgroup::root().clone()))
    }
    /// A new one with `root` at the top.
    pub fn new(owner: &Arc<UserNamespace>, root: Arc<Cgroup>) -> Arc<CgroupNamespace> {
        CgroupNamespace::build(NsHead::next(NsKind::Cgroup, owner), root)
    }
    /// What its members see as the root.
    pub fn root(&self) -> &Arc<Cgroup> {
        &self.root
    }
}

impl Namespace for CgroupNamespace {
    fn head(&self) -> &NsHead {
        &self.head
    }
}

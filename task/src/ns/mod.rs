//! Namespaces of processes (namespaces(7)): the set a thread uses, and how it changes.
//!
//! A thread holds one [`NsProxy`] among its handles and replaces it as a whole. The mount namespace lies in [`vfs::FsContext`] with the
//! directories that must agree with it, the user namespace in the credentials. [`change`] makes and joins namespaces (clone, unshare, setns),
//! [`nsfs`] shows them as files.

pub mod cgroup;
pub mod change;
pub mod nsfs;
pub mod pid;
pub mod time;
pub mod uts;

use crate::Cx;
use crate::task::Task;
use alloc::sync::Arc;
pub use cgroup::CgroupNamespace;
use ipc::IpcNamespace;
use machine::sync::Once;
use net::NetNamespace;
pub use pid::PidNamespace;
pub use time::TimeNamespace;
pub use uts::UtsNamespace;
use vfs::MountNamespace;
use vfs::ns::{Namespace, NsKind};
use vfs::user_ns::UserNamespace;

/// Makes the first namespaces known.
pub(crate) fn init() {
    UserNamespace::first();
    NsProxy::first();
    net::ns::set_current(|| current().map_or_else(|| NetNamespace::first().clone(), |ns| ns.net.clone()));
}

/// The running thread's namespaces, if it belongs to a process that has not ended.
pub fn current() -> Option<Arc<NsProxy>> {
    Some(crate::current()?.handles()?.ns)
}

/// The namespaces of a thread that need no other place.
#[derive(Clone)]
pub struct NsProxy {
    /// Names of the system.
    pub uts: Arc<UtsNamespace>,
    /// IPC objects.
    pub ipc: Arc<IpcNamespace>,
    /// The top of the visible control groups.
    pub cgroup: Arc<CgroupNamespace>,
    /// The network.
    pub net: Arc<NetNamespace>,
    /// The pid namespace that children will live in; a process's own is that of its number.
    pub pid_for_children: Arc<PidNamespace>,
    /// Offsets of clocks.
    pub time: Arc<TimeNamespace>,
    /// The time namespace that children will live in.
    pub time_for_children: Arc<TimeNamespace>,
}

impl NsProxy {
    /// Those of the first process.
    pub fn first() -> &'static Arc<NsProxy> {
        static FIRST: Once<Arc<NsProxy>> = Once::new();
        let make = || {
            Arc::new(NsProxy {
                uts: UtsNamespace::first().clone(),
                ipc: ipc::first().clone(),
                cgroup: CgroupNamespace::first().clone(),
                net: NetNamespace::first().clone(),
                pid_for_children: PidNamespace::first().clone(),
                time: TimeNamespace::first().clone(),
                time_for_children: TimeNamespace::first().clone(),
            })
        };
        FIRST.get_or_init(make)
    }
}

impl Cx {
    /// The calling thread's namespaces.
    #[inline]
    pub fn ns(&self) -> &Arc<NsProxy> {
        &self.handles().ns
    }
    /// The calling thread's mount namespace.
    pub fn mnt_ns(&self) -> Arc<MountNamespace> {
        self.fs().dirs().ns.clone()
    }
}

/// A link of `/proc/PID/ns`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The namespace of this kind that the thread is in.
    Own(NsKind),
    /// The pid namespace of its children.
    PidForChildren,
    /// The time namespace of its children.
    TimeForChildren,
}

/// The links of `/proc/PID/ns`, by name.
pub const LINKS: [(&str, Which); 10] = [
    ("cgroup", Which::Own(NsKind::Cgroup)),
    ("ipc", Which::Own(NsKind::Ipc)),
    ("mnt", Which::Own(NsKind::Mnt)),
    ("net", Which::Own(NsKind::Net)),
    ("pid", Which::Own(NsKind::Pid)),
    ("pid_for_children", Which::PidForChildren),
    ("time", Which::Own(NsKind::Time)),
    ("time_for_children", Which::TimeForChildren),
    ("user", Which::Own(NsKind::User)),
    ("uts", Which::Own(NsKind::Uts)),
];

/// The namespace that `task` has under a link; `None` once it has exited, or where there is none of the kind.
pub fn of_task(task: &Task, which: Which) -> Option<Arc<dyn Namespace>> {
    let handles = task.handles()?;
    let ns = &handles.ns;
    Some(match which {
        Which::Own(NsKind::Mnt) => handles.fs.dirs().ns.clone(),
        Which::Own(NsKind::Pid) => task.pid_ns().clone(),
        Which::PidForChildren => ns.pid_for_children.clone(),
        Which::Own(NsKind::Time) => ns.time.clone(),
        Which::TimeForChildren => ns.time_for_children.clone(),
        Which::Own(NsKind::User) => task.cred().user_ns.clone(),
        Which::Own(NsKind::Uts) => ns.uts.clone(),
        Which::Own(NsKind::Ipc) => ns.ipc.clone(),
        Which::Own(NsKind::Cgroup) => ns.cgroup.clone(),
        Which::Own(NsKind::Net) => ns.net.clone(),
    })
}

//! Who may open a setting below /proc/sys. Not what one may do with any file decides, but whose the setting is: that of the machine's
//! root, or of who rules the namespace the setting belongs to. That is the caller's namespace at each write, so who opened the file is
//! judged again then: a descriptor that has come from another namespace opens nothing here.
//!
//! Sources: ipc_namespaces(7), pid_namespaces(7), namespaces(7) on /proc/sys/user.

use alloc::sync::Arc;
use ipc::IpcNamespace;
use vfs::ns::Namespace;
use vfs::user_ns::UserNamespace;
use vfs::{Cap, Cred};

/// The permission bits (`rwx`) that a setting of the caller's, with these mode bits, gives to somebody.
pub type Judge = fn(&Cred, u32) -> u32;

/// A setting of the machine: its root's, whatever capabilities others have.
pub fn machine(cred: &Cred, mode: u32) -> u32 {
    root_has(cred, mode, (0, 0))
}

/// A limit of the caller's IPC namespace.
pub fn ipc(cred: &Cred, mode: u32) -> u32 {
    root_has(cred, mode, root_of(ipc_namespace().user_ns()))
}

/// The number of the next IPC object: for those who restore programs.
pub fn restore(cred: &Cred, mode: u32) -> u32 {
    let ns = ipc_namespace();
    let restores =
        cred.capable_in(ns.user_ns(), Cap::CheckpointRestore) || cred.capable_in(ns.user_ns(), Cap::SysAdmin);
    if restores { 6 } else { ipc(cred, mode) }
}

/// A limit of the caller's pid namespace.
pub fn pid(cred: &Cred, mode: u32) -> u32 {
    let owner = crate::sysctl::pid_ns().owner();
    if cred.capable_in(&owner, Cap::SysAdmin) { mode >> 6 & 7 } else { root_has(cred, mode, root_of(&owner)) }
}

/// A limit of the caller's user namespace.
pub fn user(cred: &Cred, mode: u32) -> u32 {
    let may = crate::current().is_some_and(|me| cred.capable_in(&me.cred().user_ns, Cap::SysResource));
    if may { mode >> 6 & 7 } else { mode & 4 }
}

fn root_has(cred: &Cred, mode: u32, (uid, gid): (u32, u32)) -> u32 {
    let shift = if cred.euid == uid {
        6
    } else if cred.in_egroup(gid) {
        3
    } else {
        0
    };
    mode >> shift & 7
}

/// The root of a namespace, or the machine's if it has none.
fn root_of(ns: &UserNamespace) -> (u32, u32) {
    (ns.kuid(0).unwrap_or(0), ns.kgid(0).unwrap_or(0))
}

/// The caller's IPC namespace.
pub fn ipc_namespace() -> Arc<IpcNamespace> {
    task::ns::current().map_or_else(|| ipc::first().clone(), |ns| ns.ipc.clone())
}

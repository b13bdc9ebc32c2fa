//! `cgroup.kill`: SIGKILL to everything in a subtree. A fork either is seen here or sees its parent killed, because it appears
//! under the tree lock.

use super::tree::Cgroup;
use crate::signal::send_process;
use crate::tree;
use abi::Errno;
use abi::signal::{SigInfo, Signal, si};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Kills all processes in the group and below it.
pub fn kill(group: &Arc<Cgroup>) -> Result<(), Errno> {
    if group.is_threaded() {
        return Err(Errno::EOPNOTSUPP);
    }
    if group.is_dead() {
        return Err(Errno::ENOENT);
    }
    let tree = tree::lock();
    let mut victims = Vec::new();
    for process in tree.processes(0) {
        if process.sig().threads.iter().any(|t| t.cgroup().is_within(group)) {
            victims.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            victims.push(process.clone());
        }
    }
    for process in &victims {
        // The kill of one that is dying already tells it nothing new.
        let _ = send_process(process, Signal::KILL, &SigInfo::user(Signal::KILL, si::USER, 0, 0));
    }
    drop(tree);
    Ok(())
}

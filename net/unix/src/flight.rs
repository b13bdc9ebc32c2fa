//! Files each user has in flight, against RLIMIT_NOFILE (unix(7), ETOOMANYREFS).

use abi::Errno;
use alloc::collections::BTreeMap;
use machine::sync::SpinLock;
use vfs::{Cap, Cred};

static COUNTS: SpinLock<BTreeMap<u32, u64>> = SpinLock::new(BTreeMap::new());

/// Files of one message; counted until this is dropped.
pub struct Flight {
    uid: u32,
    files: u64,
}

impl Flight {
    /// Counts `files` more of the user. ETOOMANYREFS when there were more than `limit` before, unless the user is privileged.
    pub fn take(cred: &Cred, files: usize, limit: u64) -> Result<Flight, Errno> {
        let files = files as u64;
        let mut counts = COUNTS.lock();
        let mine = counts.get(&cred.uid).copied().unwrap_or(0);
        if mine > limit && !cred.capable(Cap::SysResource) && !cred.capable(Cap::SysAdmin) {
            return Err(Errno::ETOOMANYREFS);
        }
        counts.insert(cred.uid, mine.saturating_add(files));
        Ok(Flight { uid: cred.uid, files })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut counts = COUNTS.lock();
        let left = counts.get(&self.uid).map_or(0, |n| n.saturating_sub(self.files));
        if left == 0 {
            counts.remove(&self.uid);
        } else {
            counts.insert(self.uid, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_go_past_the_limit_once() {
        let user = Cred::user(4242, 1);
        let first = Flight::take(&user, 3, 2).unwrap();
        assert_eq!(Flight::take(&user, 1, 2).err(), Some(Errno::ETOOMANYREFS));
        assert!(Flight::take(&user, 1, 3).is_ok());
        drop(first);
        assert!(Flight::take(&user, 1, 2).is_ok());
    }
}

//! Cached names of processes: they go when the process goes, so that a directory somebody once looked at does not keep the memory
//! of a dead process.

use crate::dir::decimal;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use machine::sync::SpinLock;
use task::Process;
use task::process::Attachment;
use vfs::SuperBlock;

/// Where a process was looked up: instance of the file system and number there.
struct Shown(SpinLock<Vec<(Weak<SuperBlock>, i32)>>);

impl Attachment for Shown {
    fn on_exit(&self) {
        let places = core::mem::take(&mut *self.0.lock());
        for (sb, number) in places {
            if let Some(sb) = sb.upgrade() {
                let mut buf = [0; 20];
                sb.forget_name(decimal(number as u64, &mut buf));
            }
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Notes that `process` is about to be entered in the root directory of `sb` under `number`.
pub fn note(process: &Process, sb: &Arc<SuperBlock>, number: i32) {
    let shown = process.attachment(|| Arc::new(Shown(SpinLock::new(Vec::new()))));
    let Some(shown) = shown.as_any().downcast_ref::<Shown>() else { return };
    let mut places = shown.0.lock();
    // Without memory for the note the name stays cached until the cache is trimmed.
    if !places.iter().any(|(at, n)| *n == number && at.as_ptr() == Arc::as_ptr(sb)) && places.try_reserve(1).is_ok() {
        places.push((Arc::downgrade(sb), number));
    }
}

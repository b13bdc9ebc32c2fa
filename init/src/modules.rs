//! Kernel modules: the host resolves dependencies and unpacks them; here they are only loaded.

use crate::params::Params;
use crate::{Failure, sys};
use alloc::format;
use sys::Errno;

/// Loads the modules in the order given.
pub fn load(params: &Params) -> Result<(), Failure> {
    for path in &params.modules {
        let loaded = sys::open(path, sys::O_RDONLY, 0).and_then(|file| sys::load_module(&file, c""));
        match loaded {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(Failure::new(&format!("loading module {path:?}"), e)),
        }
    }
    Ok(())
}

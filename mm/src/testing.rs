//! Set-up shared by the unit tests.

extern crate std;

/// Installs the frame source once, so that frames are reused.
pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(crate::frames::init);
}

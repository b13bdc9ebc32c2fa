//! No vDSO on the host.

pub fn image() -> &'static [u8] {
    &[]
}

//! No command line, no RAM disk.

pub fn cmdline() -> &'static str {
    ""
}

pub enum RawInitrd {}

impl RawInitrd {
    pub fn take() -> Option<RawInitrd> {
        None
    }
    pub fn bytes(&self) -> &[u8] {
        match *self {}
    }
}

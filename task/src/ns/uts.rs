//! Names of the system and the namespaces that separate them: uname(2), sethostname(2), setdomainname(2), uts_namespaces(7).

use abi::Errno;
use alloc::sync::Arc;
use machine::sync::{Once, SpinLock};
use vfs::ns::{self, Namespace, NsHead, NsKind};
use vfs::user_ns::UserNamespace;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct new_utsname`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UtsName {
    /// Operating system, node, release, version, machine, domain; NUL-padded.
    pub fields: [[u8; 65]; 6],
}

/// Kernel release.
pub const RELEASE: &str = "7.2.0-ochre";
/// Kernel version: build number, features, date.
pub const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC";
/// Longest name.
pub const MAX_NAME: usize = 64;

const NODE: usize = 1;
const DOMAIN: usize = 5;

const fn padded(s: &str) -> [u8; 65] {
    let bytes = s.as_bytes();
    let mut out = [0; 65];
    let mut i = 0;
    while i < bytes.len() && i < MAX_NAME {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// A uts namespace.
pub struct UtsNamespace {
    head: NsHead,
    names: SpinLock<UtsName>,
}

static FIRST: Once<Arc<UtsNamespace>> = Once::new();

impl UtsNamespace {
    fn new(head: NsHead, names: UtsName) -> Arc<UtsNamespace> {
        ns::enlist(Arc::new(UtsNamespace { head, names: SpinLock::new(names) }))
    }
    /// The one of the first process.
    pub fn first() -> &'static Arc<UtsNamespace> {
        FIRST.get_or_init(|| {
            let fields = ["Linux", "(none)", RELEASE, VERSION, "x86_64", "(none)"].map(padded);
            UtsNamespace::new(NsHead::first(NsKind::Uts), UtsName { fields })
        })
    }
    /// A new one with the same names.
    pub fn copy(&self, owner: &Arc<UserNamespace>) -> Arc<UtsNamespace> {
        UtsNamespace::new(NsHead::next(NsKind::Uts, owner), self.names())
    }
    /// All names.
    pub fn names(&self) -> UtsName {
        *self.names.lock()
    }
    fn set(&self, which: usize, name: &[u8]) -> Result<(), Errno> {
        let mut new = [0; 65];
        new.get_mut(..name.len()).filter(|_| name.len() <= MAX_NAME).ok_or(Errno::EINVAL)?.copy_from_slice(name);
        *self.names.lock().fields.get_mut(which).ok_or(Errno::EINVAL)? = new;
        Ok(())
    }
    /// Sets the node name.
    pub fn set_hostname(&self, name: &[u8]) -> Result<(), Errno> {
        self.set(NODE, name)
    }
    /// Sets the domain name.
    pub fn set_domainname(&self, name: &[u8]) -> Result<(), Errno> {
        self.set(DOMAIN, name)
    }
}

impl Namespace for UtsNamespace {
    fn head(&self) -> &NsHead {
        &self.head
    }
}

/// A name without its padding, for /proc/sys/kernel.
pub fn text(field: &[u8; 65]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

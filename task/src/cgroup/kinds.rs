//! Domains and threaded groups, and which controllers a group may give to its children (cgroups(7), "Thread mode").
//!
//! A *domain* is what resources are counted for; a *threaded* group belongs to the domain of the nearest group above it that is
//! none, and only there the threads of one process may be in different groups.

use super::tree::{Cgroup, Controllers, lock};
use abi::Errno;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

/// What `cgroup.type` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An ordinary domain.
    Domain,
    /// A domain with threaded groups below it.
    DomainThreaded,
    /// A domain below a threaded one: unusable until it is made threaded too.
    DomainInvalid,
    /// Threaded.
    Threaded,
}

impl Cgroup {
    /// It shares the domain of a group above it.
    pub fn is_threaded(&self) -> bool {
        self.threaded.load(Relaxed)
    }
    /// The domain it belongs to.
    pub fn domain(self: &Arc<Cgroup>) -> &Arc<Cgroup> {
        self.ancestry().find(|g| !g.is_threaded()).unwrap_or(self)
    }
    /// The root is under no control of resources: it may hold domains and threaded groups at once.
    fn is_mixable(&self) -> bool {
        self.is_root()
    }
    fn has_tasks(&self) -> bool {
        self.tasks.load(Relaxed) != 0
    }
    fn has_domain_controllers(&self) -> bool {
        !(self.control() - Controllers::THREADED).is_empty()
    }
    fn can_be_thread_root(&self) -> bool {
        if self.is_mixable() {
            return true;
        }
        !self.is_threaded()
            && !self.any_child(|c| !c.is_threaded() && c.is_populated())
            && !self.has_domain_controllers()
    }
    fn is_thread_root(&self) -> bool {
        if self.is_threaded() {
            return false;
        }
        self.threaded_children.load(Relaxed) != 0
            || self.has_tasks() && self.control().intersects(Controllers::THREADED)
    }
    fn is_valid_domain(self: &Arc<Cgroup>) -> bool {
        !self.is_threaded()
            && self.ancestry().skip(1).all(|up| (up.is_mixable() || !up.is_thread_root()) && !up.is_threaded())
    }
    /// What `cgroup.type` says.
    pub fn kind(self: &Arc<Cgroup>) -> Kind {
        if self.is_threaded() {
            Kind::Threaded
        } else if !self.is_valid_domain() {
            Kind::DomainInvalid
        } else if self.is_thread_root() {
            Kind::DomainThreaded
        } else {
            Kind::Domain
        }
    }

    /// Makes the group threaded, and the domains below it invalid.
    pub fn make_threaded(self: &Arc<Cgroup>) -> Result<(), Errno> {
        let _held = lock();
        let Some(parent) = self.parent() else { return Err(Errno::EOPNOTSUPP) };
        if self.is_dead() {
            return Err(Errno::ENOENT);
        }
        if self.is_threaded() {
            return Ok(());
        }
        if self.is_populated() || self.has_domain_controllers() {
            return Err(Errno::EOPNOTSUPP);
        }
        let domain = parent.domain();
        if !domain.is_valid_domain() || !domain.can_be_thread_root() {
            return Err(Errno::EOPNOTSUPP);
        }
        self.threaded.store(true, Relaxed);
        parent.threaded_children.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Whether tasks may be put into the group: its domain must be usable, and no domain has tasks beside children that
    /// compete with them for its resources.
    pub(super) fn vet_as_destination(self: &Arc<Cgroup>) -> Result<(), Errno> {
        if !self.domain().is_valid_domain() {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.can_be_thread_root() || self.is_threaded() || self.control().is_empty() {
            return Ok(());
        }
        Err(Errno::EBUSY)
    }

    /// Changes the controllers of the children; gives those that are really new and those that are really gone.
    pub fn change_control(
        self: &Arc<Cgroup>,
        enable: Controllers,
        disable: Controllers,
    ) -> Result<(Controllers, Controllers), Errno> {
        let held = lock();
        if self.is_dead() {
            return Err(Errno::ENODEV);
        }
        let enable = enable - self.control();
        let disable = disable & self.control();
        if !self.available().contains(enable) {
            return Err(Errno::ENOENT);
        }
        if self.any_child(|c| c.control().intersects(disable)) {
            return Err(Errno::EBUSY);
        }
        self.vet_enable(enable)?;
        self.set_control(&held, (self.control() | enable) - disable);
        for child in self.children() {
            if enable.contains(Controllers::CPU) || disable.contains(Controllers::CPU) {
                child.cpu.enable(enable.contains(Controllers::CPU));
            }
            if disable.contains(Controllers::PIDS) {
                child.pids.reset();
            }
        }
        Ok((enable, disable))
    }

    fn vet_enable(self: &Arc<Cgroup>, enable: Controllers) -> Result<(), Errno> {
        if enable.is_empty() {
            return Ok(());
        }
        if !self.domain().is_valid_domain() {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.is_mixable() {
            return Ok(());
        }
        if !(enable - Controllers::THREADED).is_empty() {
            if self.is_thread_root() || self.is_threaded() {
                return Err(Errno::EOPNOTSUPP);
            }
        } else if self.can_be_thread_root() || self.is_threaded() {
            return Ok(());
        }
        if self.has_tasks() { Err(Errno::EBUSY) } else { Ok(()) }
    }
}

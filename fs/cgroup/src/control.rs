//! The table of control files.

use crate::file::Opened;
use crate::{core_files as base, cpu_files as cpu, pids_files as pids};
use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use task::cgroup::{Cgroup, Controllers, Notice};

/// Writes a file's text.
pub type Show = fn(&Arc<Cgroup>, &mut String) -> Result<(), Errno>;
/// Takes what was written.
pub type Store = fn(&Opened, &[u8]) -> Result<(), Errno>;

/// One kind of control file.
pub struct Control {
    /// Its name.
    pub name: &'static str,
    /// The controller it belongs to, none for those every group has.
    pub controller: Controllers,
    /// The root has it too.
    pub on_root: bool,
    /// Written by whom a subtree is delegated to, even in the root of his namespace.
    pub delegatable: bool,
    /// Makes the text.
    pub show: Option<Show>,
    /// Takes what is written.
    pub store: Option<Store>,
    /// The notice that is about this file.
    pub notice: Option<Notice>,
}

impl Control {
    const fn new(name: &'static str, show: Show) -> Control {
        let controller = Controllers::empty();
        Control { name, controller, on_root: false, delegatable: false, show: Some(show), store: None, notice: None }
    }
    const fn everywhere(self) -> Control {
        Control { on_root: true, ..self }
    }
    const fn delegatable(self) -> Control {
        Control { delegatable: true, ..self }
    }
    const fn write(self, store: Store) -> Control {
        Control { store: Some(store), ..self }
    }
    const fn of(self, controller: Controllers) -> Control {
        Control { controller, ..self }
    }
    const fn tells(self, notice: Notice) -> Control {
        Control { notice: Some(notice), ..self }
    }
    /// Permission bits.
    pub fn mode(&self) -> u32 {
        (if self.show.is_some() { 0o444 } else { 0 }) | (if self.store.is_some() { 0o200 } else { 0 })
    }
    /// Whether the directory of `group` has it.
    pub fn is_in(&self, group: &Arc<Cgroup>) -> bool {
        (self.on_root || !group.is_root()) && group.available().contains(self.controller)
    }
}

const CPU: Controllers = Controllers::CPU;
const PIDS: Controllers = Controllers::PIDS;

/// All control files.
pub static CONTROLS: &[Control] = &[
    Control::new("cgroup.type", base::kind).write(base::set_kind),
    Control::new("cgroup.procs", base::procs).write(base::move_process).everywhere().delegatable(),
    Control::new("cgroup.threads", base::threads).write(base::move_thread).everywhere().delegatable(),
    Control::new("cgroup.controllers", base::controllers).everywhere(),
    Control::new("cgroup.subtree_control", base::subtree_control)
        .write(base::set_subtree_control)
        .everywhere()
        .delegatable(),
    Control::new("cgroup.events", base::events).tells(Notice::Events),
    Control::new("cgroup.max.descendants", base::max_descendants).write(base::set_max_descendants).everywhere(),
    Control::new("cgroup.max.depth", base::max_depth).write(base::set_max_depth).everywhere(),
    Control::new("cgroup.stat", base::stat).everywhere(),
    Control::new("cgroup.stat.local", base::stat_local),
    Control::new("cgroup.freeze", base::freeze).write(base::set_freeze),
    Control { show: None, ..Control::new("cgroup.kill", base::freeze).write(base::kill) },
    Control::new("cpu.stat", cpu::stat).everywhere(),
    Control::new("cpu.stat.local", cpu::stat_local).everywhere(),
    Control::new("cpu.weight", cpu::weight).write(cpu::set_weight).of(CPU),
    Control::new("cpu.weight.nice", cpu::weight_nice).write(cpu::set_weight_nice).of(CPU),
    Control::new("cpu.idle", cpu::idle).write(cpu::set_idle).of(CPU),
    Control::new("cpu.max", cpu::max).write(cpu::set_max).of(CPU),
    Control::new("cpu.max.burst", cpu::burst).write(cpu::set_burst).of(CPU),
    Control::new("pids.max", pids::max).write(pids::set_max).of(PIDS),
    Control::new("pids.current", pids::current).of(PIDS),
    Control::new("pids.peak", pids::peak).of(PIDS),
    Control::new("pids.events", pids::events).of(PIDS).tells(Notice::PidsEvents),
    Control::new("pids.events.local", pids::events_local).of(PIDS).tells(Notice::PidsEventsLocal),
];

/// Names of the files that may be given to whom a subtree is delegated (`/sys/kernel/cgroup/delegate`).
pub fn delegatable() -> impl Iterator<Item = &'static str> {
    CONTROLS.iter().filter(|c| c.delegatable).map(|c| c.name)
}

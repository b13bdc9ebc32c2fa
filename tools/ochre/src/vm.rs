//! QEMU's command line for one guest.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The emulated machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Machine {
    /// No PCI, no ACPI: virtio-mmio devices named on the kernel command line.
    Microvm,
    /// A PC with PCI and ACPI: virtio-pci devices.
    Q35,
}

/// How the guest's instructions are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// Translated by QEMU: works everywhere.
    Tcg,
    /// By the processor, where /dev/kvm allows it.
    Kvm,
}

/// A directory of the host that the guest can mount by 9p.
#[derive(Clone, Debug)]
pub struct Export {
    /// Its mount tag.
    pub tag: String,
    /// The directory.
    pub path: PathBuf,
    /// Whether the guest may write to it.
    pub writable: bool,
    /// Owners, modes and kinds come from side files written by this tool, not from the files.
    pub mapped: bool,
}

/// One guest.
pub struct Vm {
    /// The emulator.
    pub qemu: PathBuf,
    /// The machine it emulates.
    pub machine: Machine,
    /// How it runs.
    pub accel: Accel,
    /// Number of processors.
    pub smp: u32,
    /// Memory, as QEMU writes sizes.
    pub mem: String,
    /// Guest time is the number of executed instructions.
    pub icount: bool,
    /// Wait for a debugger at this TCP port.
    pub gdb: Option<u16>,
    /// The kernel.
    pub kernel: PathBuf,
    /// The boot archive, a path QEMU can open.
    pub initrd: PathBuf,
    /// Kernel command line.
    pub append: String,
    /// Directories for 9p.
    pub exports: Vec<Export>,
    /// virtio-console ports: name and our inherited socket's number.
    pub ports: Vec<(&'static str, i32)>,
    /// The serial line's inherited socket.
    pub serial: i32,
    /// Ochre reports a panic through the debug-exit device.
    pub debug_exit: bool,
}

impl Vm {
    /// The command to start.
    pub fn command(&self) -> Command {
        // QEMU shall not outlive this process, however that ends.
        let mut command = match crate::qemu::in_path("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]).arg(&self.qemu);
                command
            }
            None => Command::new(&self.qemu),
        };
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        let (machine, bus) = match self.machine {
            Machine::Microvm => {
                let quiet = "microvm,x-option-roms=off,acpi=off,pit=on,pic=off,rtc=on";
                (format!("{quiet},isa-serial=on,auto-kernel-cmdline=on"), "device")
            }
            Machine::Q35 => ("q35,usb=off,smbus=off".to_owned(), "pci"),
        };
        command.args(["-M", &machine]);
        if self.machine == Machine::Microvm {
            command.args(["-global", "virtio-mmio.force-legacy=false"]);
        }
        match self.accel {
            Accel::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
            Accel::Tcg if self.smp > 1 => command.args(["-accel", "tcg,thread=multi", "-cpu", "max"]),
            Accel::Tcg => command.args(["-accel", "tcg", "-cpu", "max"]),
        };
        command.args(["-smp", &self.smp.to_string(), "-m", &self.mem]);
        if self.icount {
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        if let Some(port) = self.gdb {
            command.args(["-gdb", &format!("tcp:127.0.0.1:{port}"), "-S"]);
        }
        if self.debug_exit {
            command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        }
        command.args(["-chardev", &format!("socket,id=serial,fd={}", self.serial)]);
        command.args(["-serial", "chardev:serial"]);
        for export in &self.exports {
            command.arg("-fsdev").arg(fsdev(export));
            let device = format!("virtio-9p-{bus},fsdev={0},mount_tag={0}", export.tag);
            command.args(["-device", &device]);
        }
        if !self.ports.is_empty() {
            command.args(["-device", &format!("virtio-serial-{bus},max_ports=8")]);
        }
        for (number, (name, fd)) in self.ports.iter().enumerate() {
            command.args(["-chardev", &format!("socket,id=port{number},fd={fd}")]);
            command.args(["-device", &format!("virtserialport,chardev=port{number},name={name}")]);
        }
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initrd);
        command.args(["-append", &self.append]);
        command
    }
}

/// `-fsdev` options; a comma in the path is written twice.
fn fsdev(export: &Export) -> OsString {
    let model = if export.mapped { "mapped-file" } else { "none" };
    let rights = if export.writable { "" } else { ",readonly=on" };
    let mut text =
        OsString::from(format!("local,id={},security_model={model},multidevs=remap{rights},path=", export.tag));
    text.push(double_commas(&export.path));
    text
}

fn double_commas(path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

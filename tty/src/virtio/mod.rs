//! The virtio console with ports: byte streams to the host, each a device file `/dev/vportNpM` and, once the host named it,
//! `/dev/virtio-ports/NAME` (virtio 1.2, section 5.3).
//!
//! Queues: 0 and 1 carry port 0, 2 and 3 control messages, 2P+2 and 2P+3 port P. The interrupt handler moves finished requests
//! of the ports and wakes a thread for the control messages ([`control`]), which makes ports and their nodes. Ports stay
//! when the host removes them, so that open files keep something to refer to.

mod control;
mod port;

use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use control::{Change, Ports, Reply};
use core::any::Any;
use machine::mem::Frame;
use machine::virtio::{Seg, VirtQueue, VirtioDevice, id};
use machine::{PAGE_SIZE, kinfo, kwarn};
use mm::{Dst, Src};
use port::Port;
use sched::WaitQueue;
use vfs::{Caller, CharDevice, File, FileOps, Path, PollEvents, PollTable, makedev};

/// Major number of the ports.
const MAJOR: u32 = 247;
/// Minor numbers of one device.
const MINORS: u32 = 256;
/// Feature bit: several ports.
const MULTIPORT: u64 = 1 << 1;
/// Offset of `max_nr_ports` in the configuration.
const CONFIG_MAX_PORTS: usize = 4;
/// More ports than this are not used.
const MAX_PORTS: u32 = 32;
/// Entries of each port's queues.
const QUEUE: u16 = 16;
/// Buffers for control messages, and their size.
const CONTROL_BUFFERS: usize = 8;
const CONTROL_SIZE: usize = PAGE_SIZE / CONTROL_BUFFERS;

/// One device and its ports, in the order of their numbers.
struct Console {
    number: u32,
    ports: Vec<Arc<Port>>,
    control_rx: VirtQueue,
    control_tx: VirtQueue,
    control_frame: Frame,
    /// Wakes the control thread.
    arrived: WaitQueue,
}

/// Finds the virtio consoles and starts them. Called once at boot.
pub fn init() {
    let mut number = 0;
    while let Some(device) = machine::virtio::take(id::CONSOLE) {
        if let Err(e) = start(device, number) {
            kwarn!("virtio console {}: not usable: {}", number, e);
        }
        number += 1;
    }
}

fn start(mut device: VirtioDevice, number: u32) -> Result<(), Errno> {
    let features = device.negotiate(MULTIPORT).map_err(|_| Errno::ENODEV)?;
    if features & MULTIPORT == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut max = [0; 4];
    device.read_config(CONFIG_MAX_PORTS, &mut max);
    let max = u32::from_le_bytes(max).clamp(1, MAX_PORTS);
    let queue = |index: u32| device.queue(index as u16, QUEUE).map_err(|_| Errno::ENOMEM);
    let mut ports = Vec::new();
    for id in 0..max {
        let rx = if id == 0 { 0 } else { 2 * id + 2 };
        ports.push(Port::new(id, queue(rx)?, queue(rx + 1)?));
    }
    let console = Arc::new(Console {
        number,
        ports,
        control_rx: queue(2)?,
        control_tx: queue(3)?,
        control_frame: Frame::alloc_zeroed().map_err(|_| Errno::ENOMEM)?,
        arrived: WaitQueue::new(),
    });
    let handler = console.clone();
    device.set_handler(Box::new(move || handler.on_interrupt())).map_err(|_| Errno::ENODEV)?;
    device.start();
    let first = number * MINORS;
    let opener = Arc::new(Opener { console: console.clone(), first });
    vfs::register_char(MAJOR, first..=first + max - 1, "virtio-portsdev", opener);
    for slot in 0..CONTROL_BUFFERS {
        console.offer_control(slot);
    }
    console.control_rx.notify();
    let worker = console.clone();
    let thread = sched::spawn("virtio-console", None, Box::new(move || worker.serve())).map_err(|_| Errno::ENOMEM)?;
    thread.start();
    console.send(control::device_ready());
    kinfo!("virtio console {}: up to {} ports", number, max);
    Ok(())
}

impl Console {
    fn on_interrupt(&self) {
        self.arrived.wake_all();
        for port in &self.ports {
            port.on_interrupt();
        }
    }

    fn offer_control(&self, slot: usize) {
        let piece = Seg { frame: &self.control_frame, off: slot * CONTROL_SIZE, len: CONTROL_SIZE };
        // As many buffers as the queue takes.
        let _ = self.control_rx.submit(&[], &[piece], slot as u64);
    }

    /// Sends a control message; waits while the device has not taken the earlier ones.
    fn send(&self, reply: Reply) {
        let Ok(frame) = Frame::alloc() else { return };
        frame.write(0, &reply);
        let piece = Seg { frame: &frame, off: 0, len: reply.len() };
        while self.control_tx.submit(&[piece], &[], 0).is_err() {
            if self.control_tx.pop().is_none() {
                sched::yield_now();
            }
        }
        self.control_tx.notify();
        while self.control_tx.pop().is_some() {}
    }

    /// The control thread.
    fn serve(&self) {
        let mut known = Ports::new(self.ports.len());
        loop {
            let (slot, len) = self.arrived.wait(|| self.control_rx.pop());
            let mut bytes = [0; CONTROL_SIZE];
            let slot = slot as usize % CONTROL_BUFFERS;
            let len = self.control_frame.read(slot * CONTROL_SIZE, &mut bytes).min(len as usize);
            self.offer_control(slot);
            self.control_rx.notify();
            self.apply(known.handle(bytes.get(..len).unwrap_or_default()));
        }
    }

    fn apply(&self, change: Change) {
        let port = |id: u32| self.ports.get(id as usize);
        match change {
            Change::None => {}
            Change::Added(id, reply) => {
                if let Some(port) = port(id) {
                    port.set_removed(false);
                }
                let name = alloc::format!("vport{}p{}", self.number, id);
                devtmpfs::add_node(&name, 0o600, self.dev(id));
                self.send(reply);
            }
            Change::Removed(id) => {
                if let Some(port) = port(id) {
                    port.set_removed(true);
                }
            }
            Change::Console(_, reply) => self.send(reply),
            Change::HostOpen(id, open) => {
                if let Some(port) = port(id) {
                    port.set_host_open(open);
                }
            }
            Change::Named(id, name) => {
                devtmpfs::add_node(&alloc::format!("virtio-ports/{name}"), 0o600, self.dev(id));
            }
            // No terminal hangs at a port: who relays one sets the size itself.
            Change::Resized(..) => {}
        }
    }

    fn dev(&self, port: u32) -> u32 {
        makedev(MAJOR, self.number * MINORS + port)
    }
}

/// Opens ports by their minor number.
struct Opener {
    console: Arc<Console>,
    first: u32,
}

impl CharDevice for Opener {
    fn open(&self, minor: u32, _: &Path, _: OpenFlags, _: &Caller<'_>) -> Result<Arc<dyn FileOps>, Errno> {
        let index = minor.checked_sub(self.first).ok_or(Errno::ENXIO)?;
        let port = self.console.ports.get(index as usize).ok_or(Errno::ENXIO)?;
        port.acquire()?;
        self.console.send(control::port_open(port.id, true));
        Ok(Arc::new(PortFile { console: self.console.clone(), port: port.clone() }))
    }
}

/// An open port; one program at a time has one.
struct PortFile {
    console: Arc<Console>,
    port: Arc<Port>,
}

impl Drop for PortFile {
    fn drop(&mut self) {
        self.console.send(control::port_open(self.port.id, false));
        self.port.release();
    }
}

impl FileOps for PortFile {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn seekable(&self) -> bool {
        false
    }
    fn read_at(&self, f: &File, dst: &mut Dst<'_>, _off: u64) -> Result<usize, Errno> {
        self.port.read(dst, f.is_nonblocking())
    }
    fn write_at(&self, f: &File, src: &mut Src<'_>, _off: u64) -> Result<usize, Errno> {
        self.port.write(src, f.is_nonblocking())
    }
    fn poll(&self, _f: &File, table: &mut PollTable) -> PollEvents {
        self.port.poll(table)
    }
    fn pollable(&self) -> bool {
        true
    }
}

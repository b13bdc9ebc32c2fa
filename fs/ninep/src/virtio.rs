//! The virtio transport: devices of type 9, told apart by their mount tags.
//!
//! Each device has one queue. A share uses its device from mount to unmount and gives it back then, so that it can be mounted
//! again. virtio 1.2 only reserves the type; the layout (tag length and tag in the configuration space, feature bit 0) is that
//! of Linux's `virtio_9p.h`.

use crate::transport::{Bus, Completion, Refused, Segment, Transport};
use abi::Errno;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use machine::sync::{IrqLock, Once};
use machine::virtio::{self, Seg, SubmitError, VirtQueue, VirtioDevice};
use smallvec::SmallVec;

/// The configuration space holds a mount tag.
const MOUNT_TAG: u64 = 1;
/// Longest tag looked at.
const MAX_TAG: usize = 256;
/// Descriptors asked for.
const QUEUE_SIZE: u16 = 128;

/// A device and who uses it.
struct Slot {
    tag: Vec<u8>,
    /// Here while no share uses it.
    device: IrqLock<Option<VirtioDevice>>,
    /// Where its interrupts go.
    link: Arc<IrqLock<Weak<Link>>>,
    connected: Once<()>,
}

/// All 9P devices of the machine.
pub struct VirtioBus {
    slots: Once<Vec<Slot>>,
}

impl VirtioBus {
    /// The bus; devices are looked for at the first mount.
    pub const fn new() -> VirtioBus {
        VirtioBus { slots: Once::new() }
    }
    fn slots(&'static self) -> &'static Vec<Slot> {
        self.slots.get_or_init(|| {
            core::iter::from_fn(|| virtio::take(virtio::id::P9))
                .map(|device| Slot {
                    tag: tag_of(&device),
                    device: IrqLock::new(Some(device)),
                    link: Arc::new(IrqLock::new(Weak::new())),
                    connected: Once::new(),
                })
                .collect()
        })
    }
}

impl Default for VirtioBus {
    fn default() -> VirtioBus {
        VirtioBus::new()
    }
}

fn tag_of(device: &VirtioDevice) -> Vec<u8> {
    let mut len = [0; 2];
    device.read_config(0, &mut len);
    let mut tag = alloc::vec![0; usize::from(u16::from_le_bytes(len)).min(MAX_TAG)];
    device.read_config(2, &mut tag);
    while tag.last() == Some(&0) {
        tag.pop();
    }
    tag
}

impl Bus for &'static VirtioBus {
    fn connect(&self, tag: &[u8], completion: Arc<dyn Completion>) -> Result<Arc<dyn Transport>, Errno> {
        let mut matching = self.slots().iter().filter(|slot| slot.tag == tag).peekable();
        if matching.peek().is_none() {
            return Err(Errno::ENOENT);
        }
        let (slot, device) = matching.find_map(|slot| Some((slot, slot.device.lock().take()?))).ok_or(Errno::EBUSY)?;
        let mut home = Home { slot, device: Some(device) };
        let device = home.device.as_mut().ok_or(Errno::EIO)?;
        let queue = start(slot, device)?;
        let link = Arc::new(Link { queue, completion, home });
        *slot.link.lock() = Arc::downgrade(&link);
        if let Some(device) = &link.home.device {
            device.start();
        }
        Ok(link)
    }
}

/// Makes the device ready and its queue.
fn start(slot: &'static Slot, device: &mut VirtioDevice) -> Result<VirtQueue, Errno> {
    let failed = |_| Errno::EIO;
    device.negotiate(MOUNT_TAG).map_err(failed)?;
    let queue = device.queue(0, QUEUE_SIZE).map_err(failed)?;
    if slot.connected.get().is_none() {
        let link = slot.link.clone();
        let handler = move || {
            let link = link.lock().upgrade();
            if let Some(link) = link {
                link.interrupt();
            }
        };
        device.set_handler(Box::new(handler)).map_err(failed)?;
        let _ = slot.connected.set(());
    }
    Ok(queue)
}

/// A device in use. The fields are dropped in order: the queue resets the device before it goes home.
struct Link {
    queue: VirtQueue,
    completion: Arc<dyn Completion>,
    home: Home,
}

/// Gives the device back to its slot.
struct Home {
    slot: &'static Slot,
    device: Option<VirtioDevice>,
}

impl Drop for Home {
    fn drop(&mut self) {
        *self.slot.device.lock() = self.device.take();
    }
}

impl Link {
    fn interrupt(&self) {
        let mut any = false;
        while let Some((token, written)) = self.queue.pop() {
            self.completion.complete(token as u16, written as usize);
            any = true;
        }
        if any {
            self.completion.room();
        }
    }
}

/// The segments as the queue takes them.
fn list(segments: &[Segment]) -> SmallVec<[Seg<'_>; 4]> {
    segments.iter().map(|s| Seg { frame: &s.frame, off: s.off, len: s.len }).collect()
}

impl Transport for Link {
    fn max_segments(&self) -> usize {
        self.queue.max_segments()
    }
    fn submit(&self, token: u16, out: &[Segment], into: &[Segment]) -> Result<(), Refused> {
        match self.queue.submit(&list(out), &list(into), u64::from(token)) {
            Ok(()) => {
                self.queue.notify();
                Ok(())
            }
            Err(SubmitError::Full) => Err(Refused::Full),
            Err(SubmitError::Invalid | SubmitError::Memory) => Err(Refused::Failed),
        }
    }
}

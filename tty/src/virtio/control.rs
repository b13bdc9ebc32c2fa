//! The control messages of a multiport virtio console (virtio 1.2, section 5.3.6.2), as plain state: bytes from the host in,
//! replies and events out. The host is not trusted: ids out of range, names that cannot be file names, messages too short
//! or out of order change nothing.

use alloc::string::String;
use alloc::vec::Vec;

/// Longest port name taken.
const NAME_MAX: usize = 128;

/// Numbers of the events.
mod event {
    pub const DEVICE_READY: u16 = 0;
    pub const PORT_ADD: u16 = 1;
    pub const PORT_REMOVE: u16 = 2;
    pub const PORT_READY: u16 = 3;
    pub const CONSOLE_PORT: u16 = 4;
    pub const RESIZE: u16 = 5;
    pub const PORT_OPEN: u16 = 6;
    pub const PORT_NAME: u16 = 7;
}

/// A message to the host.
pub type Reply = [u8; 8];

fn message(id: u32, event: u16, value: u16) -> Reply {
    let ([a, b, c, d], [e, f], [g, h]) = (id.to_le_bytes(), event.to_le_bytes(), value.to_le_bytes());
    [a, b, c, d, e, f, g, h]
}

/// The driver is set up.
pub fn device_ready() -> Reply {
    message(u32::MAX, event::DEVICE_READY, 1)
}

/// A program opened or closed the port.
pub fn port_open(id: u32, open: bool) -> Reply {
    message(id, event::PORT_OPEN, u16::from(open))
}

/// What a message means for the driver.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The port exists now: prepare it and send the reply.
    Added(u32, Reply),
    /// The port is gone.
    Removed(u32),
    /// The port is a terminal: send the reply.
    Console(u32, Reply),
    /// The host end was opened or closed.
    HostOpen(u32, bool),
    /// The port has a name now.
    Named(u32, String),
    /// The terminal behind a console port has this many columns and rows.
    Resized(u32, u16, u16),
}

#[derive(Clone, Copy, Default)]
struct Known {
    added: bool,
    named: bool,
}

/// Which ports the host told of.
pub struct Ports {
    known: Vec<Known>,
}

impl Ports {
    /// None yet, of at most `max`.
    pub fn new(max: usize) -> Ports {
        Ports { known: alloc::vec![Known::default(); max] }
    }

    /// Takes one message of the host.
    pub fn handle(&mut self, bytes: &[u8]) -> Change {
        self.understand(bytes).unwrap_or(Change::None)
    }

    fn understand(&mut self, bytes: &[u8]) -> Option<Change> {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let [a, b, c, d, e, f, g, h] = *head;
        let id = u32::from_le_bytes([a, b, c, d]);
        let (kind, value) = (u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
        let port = self.known.get_mut(usize::try_from(id).ok()?)?;
        if kind == event::PORT_ADD {
            let again = core::mem::replace(&mut port.added, true);
            return (!again).then(|| Change::Added(id, message(id, event::PORT_READY, 1)));
        }
        if !port.added {
            return None;
        }
        match kind {
            event::PORT_REMOVE => {
                *port = Known::default();
                Some(Change::Removed(id))
            }
            event::CONSOLE_PORT => (value != 0).then(|| Change::Console(id, port_open(id, true))),
            event::PORT_OPEN => Some(Change::HostOpen(id, value != 0)),
            event::PORT_NAME if !port.named => {
                let name = valid_name(rest)?;
                port.named = true;
                Some(Change::Named(id, name))
            }
            event::RESIZE => {
                let [c0, c1, r0, r1] = *rest.first_chunk::<4>()?;
                Some(Change::Resized(id, u16::from_le_bytes([c0, c1]), u16::from_le_bytes([r0, r1])))
            }
            _ => None,
        }
    }
}

/// A name that can be a file name: printable, no slash, not `.` or `..`. A final NUL is cut.
fn valid_name(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.split(|&b| b == 0).next()?;
    let fine = |b: &u8| (0x21..0x7f).contains(b) && *b != b'/';
    if bytes.is_empty() || bytes.len() > NAME_MAX || !bytes.iter().all(fine) || bytes == b"." || bytes == b".." {
        return None;
    }
    core::str::from_utf8(bytes).ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn msg(id: u32, event: u16, value: u16, rest: &[u8]) -> Vec<u8> {
        [&message(id, event, value)[..], rest].concat()
    }

    #[test]
    fn a_port_is_added_named_and_opened() {
        let mut p = Ports::new(4);
        assert_eq!(p.handle(&msg(2, event::PORT_ADD, 0, b"")), Change::Added(2, [2, 0, 0, 0, 3, 0, 1, 0]));
        assert_eq!(p.handle(&msg(2, event::PORT_NAME, 0, b"ochre.tty\0")), Change::Named(2, "ochre.tty".into()));
        assert_eq!(p.handle(&msg(2, event::PORT_OPEN, 1, b"")), Change::HostOpen(2, true));
        assert_eq!(p.handle(&msg(2, event::PORT_OPEN, 0, b"")), Change::HostOpen(2, false));
        assert_eq!(p.handle(&msg(2, event::CONSOLE_PORT, 1, b"")), Change::Console(2, [2, 0, 0, 0, 6, 0, 1, 0]));
        assert_eq!(p.handle(&msg(2, event::RESIZE, 0, &[80, 0, 24, 0])), Change::Resized(2, 80, 24));
        assert_eq!(p.handle(&msg(2, event::PORT_REMOVE, 0, b"")), Change::Removed(2));
        assert_eq!(p.handle(&msg(2, event::PORT_OPEN, 1, b"")), Change::None);
    }

    #[test]
    fn a_hostile_host_changes_nothing() {
        let mut p = Ports::new(2);
        p.handle(&msg(1, event::PORT_ADD, 0, b""));
        let long = [b'x'; NAME_MAX + 1];
        let bad: &[Vec<u8>] = &[
            Vec::new(),
            vec![1, 0, 0, 0, 6, 0, 1],
            msg(1, event::PORT_ADD, 0, b""),
            msg(2, event::PORT_ADD, 0, b""),
            msg(u32::MAX, event::PORT_ADD, 0, b""),
            msg(0, event::PORT_OPEN, 1, b""),
            msg(0, event::PORT_NAME, 1, b"early"),
            msg(1, event::PORT_NAME, 1, b""),
            msg(1, event::PORT_NAME, 1, b"\0"),
            msg(1, event::PORT_NAME, 1, b"../../etc/passwd"),
            msg(1, event::PORT_NAME, 1, b".."),
            msg(1, event::PORT_NAME, 1, b"a b"),
            msg(1, event::PORT_NAME, 1, b"\xff\xfe"),
            msg(1, event::PORT_NAME, 1, &long),
            msg(1, event::RESIZE, 0, &[80, 0, 24]),
            msg(1, event::CONSOLE_PORT, 0, b""),
            msg(1, 999, 1, b""),
        ];
        for bytes in bad {
            assert_eq!(p.handle(bytes), Change::None, "{bytes:?}");
        }
        assert_eq!(p.handle(&msg(1, event::PORT_NAME, 1, b"good")), Change::Named(1, "good".into()));
        assert_eq!(p.handle(&msg(1, event::PORT_NAME, 1, b"other")), Change::None, "a name stays");
    }
    proptest! {
        #[test]
        fn any_messages_keep_ports_in_order(
            messages in proptest::collection::vec(
                prop_oneof![
                    (0u32..3, 0u16..9, 0u16..2, "[a./ ]{0,4}").prop_map(|(id, kind, value, rest)| msg(id, kind, value, rest.as_bytes())),
                    proptest::collection::vec(any::<u8>(), 0..20),
                ],
                0..40,
            ),
        ) {
            let mut ports = Ports::new(2);
            let (mut added, mut named) = ([false; 2], [false; 2]);
            for bytes in messages {
                match ports.handle(&bytes) {
                    Change::None => {}
                    Change::Added(id, _) => prop_assert!(!core::mem::replace(&mut added[id as usize], true)),
                    Change::Removed(id) => {
                        prop_assert!(core::mem::replace(&mut added[id as usize], false));
                        named[id as usize] = false;
                    }
                    Change::Named(id, name) => {
                        prop_assert!(added[id as usize] && !core::mem::replace(&mut named[id as usize], true));
                        prop_assert!(!name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..");
                    }
                    Change::Console(id, _) | Change::HostOpen(id, _) | Change::Resized(id, ..) => {
                        prop_assert!(added[id as usize]);
                    }
                }
            }
        }
    }
}

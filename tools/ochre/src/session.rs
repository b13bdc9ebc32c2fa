//! One guest from QEMU's start to its end, seen from the host: bytes, messages, signals.
//!
//! Each stream has a thread that blocks in one place; what they notice goes to the main thread as
//! an [`Event`]. The messages on the control port are described in `init/src/pump.rs`.

use crate::fail::{Context, Failure, Result, TOOL_FAILED, fail};
use crate::serial::{Serial, SerialLog};
use crate::terminal::{self, Raw, Stream};
use crate::vm::Vm;
use rustix::io::{FdFlags, fcntl_setfd};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Exit status after `--timeout`, as timeout(1) has it.
const TIMED_OUT: u8 = 124;
/// Two signals within this time are one.
const TWICE: Duration = Duration::from_millis(500);

/// How the session treats the caller's streams.
pub struct Style {
    /// What they are.
    pub streams: [Stream; 3],
    /// The terminal belongs to the guest: raw mode.
    pub raw: bool,
    /// End the guest after this time.
    pub timeout: Option<Duration>,
}

/// What the threads report.
enum Event {
    /// A line on the control port.
    Message(String),
    /// The control port is closed: QEMU has ended.
    Closed,
    /// The tool itself got a signal.
    Signal(i32),
    /// The user asked to leave (three times Ctrl-]).
    Leave,
}

/// How many bytes of one output stream have been dealt with.
#[derive(Clone, Default)]
struct Delivered(Arc<(Mutex<(u64, bool)>, Condvar)>);

impl Delivered {
    fn update(&self, change: impl FnOnce(&mut (u64, bool))) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// Waits until `count` bytes are, or no more can come.
    fn wait(&self, count: u64) {
        let guard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_while(guard, |(n, ended)| *n < count && !*ended));
    }
}

/// The control port, written to by several threads.
#[derive(Clone)]
struct Control(Arc<Mutex<UnixStream>>);

impl Control {
    fn send(&self, line: &str) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = stream.write_all(format!("{line}\n").as_bytes());
    }
}

/// A socket pair: ours, and the one QEMU inherits.
pub fn pair() -> Result<(UnixStream, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let flags = SocketFlags::empty();
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).context("socketpair")?;
    fcntl_setfd(&ours, FdFlags::CLOEXEC).context("fcntl")?;
    Ok((UnixStream::from(ours), theirs))
}

/// The ports a run needs, by name.
pub fn port_names(streams: &[Stream; 3]) -> Vec<&'static str> {
    let mut names = vec!["ochre.control"];
    for (stream, name) in streams.iter().zip(["ochre.stdin", "ochre.stdout", "ochre.stderr"]) {
        if *stream == Stream::Pipe {
            names.push(name);
        }
    }
    if streams.contains(&Stream::Tty) {
        names.push("ochre.tty");
    }
    names
}

/// Starts QEMU with its streams and process group apart from ours, so that the terminal's
/// signals reach only this process.
pub fn spawn(vm: &Vm) -> Result<Child> {
    let mut command = vm.command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    command.spawn().context("starting QEMU")
}

/// Runs a guest that brings its own first process: its serial line is our standard output, and
/// it ends when it powers itself off.
pub fn console(mut vm: Vm, style: &Style, log: SerialLog) -> Result<u8> {
    let (mut serial, theirs) = pair()?;
    vm.serial = theirs.as_raw_fd();
    let mut child = spawn(&vm)?;
    drop(theirs);
    let (events, inbox) = channel();
    watch_signals(events.clone())?;
    let mut file = std::fs::File::create(&log.path).context(log.path.display())?;
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = serial.read(&mut buffer) {
            let _ = file.write_all(&buffer[..count]);
            write_stream(1, &buffer[..count]);
        }
        let _ = events.send(Event::Closed);
    });
    let wait = style.timeout.unwrap_or(Duration::MAX);
    let result = match inbox.recv_timeout(wait) {
        Ok(Event::Closed) => match child.wait().context("QEMU")?.code() {
            Some(0) => Ok(0),
            status => fail(format!("QEMU ended with status {status:?}; kernel messages: {}", log.path.display())),
        },
        Err(RecvTimeoutError::Timeout) => Err(timed_out()),
        _ => fail("ended by a signal"),
    };
    let _ = child.kill();
    let _ = child.wait();
    result
}

fn timed_out() -> Failure {
    Failure { message: "timed out; the guest was ended".to_owned(), code: TIMED_OUT }
}

/// Runs the guest to its end and returns the command's exit status.
pub fn run(mut vm: Vm, style: &Style, log: SerialLog) -> Result<u8> {
    let mut theirs = Vec::new();
    let mut open = |name: &'static str, vm: &mut Vm| -> Result<UnixStream> {
        let (stream, other) = pair()?;
        vm.ports.push((name, other.as_raw_fd()));
        theirs.push(other);
        Ok(stream)
    };
    let control = open("ochre.control", &mut vm)?;
    let mut bytes: [Option<UnixStream>; 4] = [None, None, None, None];
    let names = ["ochre.stdin", "ochre.stdout", "ochre.stderr", "ochre.tty"];
    for (slot, name) in bytes.iter_mut().zip(names) {
        if port_names(&style.streams).contains(&name) {
            *slot = Some(open(name, &mut vm)?);
        }
    }
    let (serial, serial_theirs) = pair()?;
    vm.serial = serial_theirs.as_raw_fd();
    let child = spawn(&vm)?;
    drop((theirs, serial_theirs));

    let (events, inbox) = channel();
    watch_signals(events.clone())?;
    listen(control.try_clone().context("control port")?, events.clone());
    let control = Control(Arc::new(Mutex::new(control)));
    let serial = Serial::start(serial, log, style.raw);
    let [stdin, stdout, stderr, tty] = bytes;
    if let Some(port) = stdin {
        feed_stdin(port, control.clone());
    }
    let [out, err, screen] = [Delivered::default(), Delivered::default(), Delivered::default()];
    if let Some(port) = stdout {
        deliver(port, 1, Some((control.clone(), "C 1")), out.clone());
    }
    if let Some(port) = stderr {
        deliver(port, 2, Some((control.clone(), "C 2")), err.clone());
    }
    let mut keys = None;
    if let Some(port) = tty {
        let screen_fd = [1, 2, 0].into_iter().find(|n| style.streams[*n] == Stream::Tty);
        keys = (style.streams[0] == Stream::Tty).then(|| port.try_clone()).transpose().context("tty")?;
        deliver(port, screen_fd.unwrap_or(2), None, screen.clone());
    }
    let mut session = Session {
        child,
        inbox,
        events,
        control,
        delivered: [out, err, screen],
        serial,
        keys,
        terminal: None,
        ready: false,
        interrupted: None,
        deadline: style.timeout.map(|t| Instant::now() + t),
        raw: style.raw,
    };
    let result = session.until_end();
    drop(session.terminal.take());
    if result.is_err() {
        let _ = session.child.kill();
    }
    let _ = session.child.wait();
    session.serial.finish(result.is_err());
    result
}

struct Session {
    child: Child,
    inbox: Receiver<Event>,
    events: Sender<Event>,
    control: Control,
    delivered: [Delivered; 3],
    serial: Serial,
    /// Where typed bytes go, until the thread that carries them starts.
    keys: Option<UnixStream>,
    terminal: Option<Raw>,
    ready: bool,
    /// When the first signal was passed on to the command; another one ends the guest.
    interrupted: Option<Instant>,
    deadline: Option<Instant>,
    raw: bool,
}

impl Session {
    fn until_end(&mut self) -> Result<u8> {
        loop {
            match self.next_event()? {
                Event::Message(line) => {
                    if let Some(code) = self.obey(&line)? {
                        return Ok(code);
                    }
                }
                Event::Closed => return self.explain_end(),
                Event::Signal(SIGWINCH) => {
                    let (rows, columns) = terminal::size();
                    self.control.send(&format!("W {rows} {columns}"));
                }
                Event::Signal(signal) if self.ready && self.interrupted.is_none() => {
                    self.interrupted = Some(Instant::now());
                    self.control.send(&format!("S {signal}"));
                }
                // Senders like timeout(1) signal the process and its group: one signal, twice.
                Event::Signal(_) if self.interrupted.is_some_and(|at| at.elapsed() < TWICE) => {}
                Event::Signal(signal) => {
                    return Err(Failure {
                        message: "ended by a signal".to_owned(),
                        code: u8::try_from(128 + signal).unwrap_or(TOOL_FAILED),
                    });
                }
                Event::Leave => return fail("left the guest (three times Ctrl-])"),
            }
        }
    }

    fn next_event(&mut self) -> Result<Event> {
        let Some(deadline) = self.deadline else {
            return self.inbox.recv().context("session");
        };
        match self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) => Ok(event),
            Err(RecvTimeoutError::Timeout) => Err(timed_out()),
            Err(RecvTimeoutError::Disconnected) => fail("session: no more events"),
        }
    }

    /// A message of the guest; the exit status with the last one.
    fn obey(&mut self, line: &str) -> Result<Option<u8>> {
        let mut words = line.split(' ');
        match words.next() {
            Some("R") => {
                self.ready = true;
                if self.raw {
                    self.terminal = Raw::enter();
                }
                if let Some(port) = self.keys.take() {
                    type_keys(port, self.events.clone(), self.raw);
                }
                Ok(None)
            }
            Some("X") => {
                let mut number = || words.next().and_then(|w| w.parse::<u64>().ok()).unwrap_or(0);
                let code = number();
                for delivered in &self.delivered {
                    delivered.wait(number());
                }
                self.control.send("Q");
                self.let_it_end();
                Ok(Some(u8::try_from(code).unwrap_or(TOOL_FAILED)))
            }
            Some("F") => {
                self.control.send("Q");
                self.let_it_end();
                fail(format!("the guest could not be set up: {}", line.get(2..).unwrap_or_default()))
            }
            _ => Ok(None),
        }
    }

    /// The guest powers itself off; it gets five seconds for it.
    fn let_it_end(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
    }

    /// QEMU ended before the command did.
    fn explain_end(&mut self) -> Result<u8> {
        self.let_it_end();
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        if let Some(line) = said.lines().rev().find(|l| !l.trim().is_empty()) {
            return fail(format!("QEMU: {line}"));
        }
        self.serial.wait_for_end();
        let log = self.serial.path().display();
        match self.serial.last_words() {
            Some(line) => fail(format!("the kernel died: {line} (kernel messages: {log})")),
            None => fail(format!("the guest ended without a word (kernel messages: {log})")),
        }
    }
}

fn watch_signals(events: Sender<Event>) -> Result<()> {
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH]).context("signals")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn listen(control: UnixStream, events: Sender<Event>) {
    std::thread::spawn(move || {
        for line in BufReader::new(control).lines() {
            let Ok(line) = line else { break };
            if events.send(Event::Message(line)).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Closed);
    });
}

/// Reads a standard stream, waiting where it was left non-blocking.
fn read_stream(number: usize, buffer: &mut [u8]) -> usize {
    loop {
        match rustix::io::read(terminal::stream(number), &mut *buffer) {
            Ok(count) => return count,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return 0,
        }
    }
}

/// Writes to a standard stream; false if nobody takes it.
fn write_stream(number: usize, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(terminal::stream(number), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return false,
        }
    }
    true
}

fn feed_stdin(mut port: UnixStream, control: Control) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0u64;
        loop {
            let count = read_stream(0, &mut buffer);
            if count == 0 || port.write_all(&buffer[..count]).is_err() {
                break;
            }
            total += count as u64;
        }
        control.send(&format!("E {total}"));
        // The port stays open: its end is counted, not signalled by closing.
        loop {
            std::thread::park();
        }
    });
}

/// Carries one of the guest's outputs to a stream of ours.
fn deliver(mut port: UnixStream, to: usize, refused: Option<(Control, &'static str)>, delivered: Delivered) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        let mut wanted = true;
        while let Ok(count @ 1..) = port.read(&mut buffer) {
            if wanted && !write_stream(to, &buffer[..count]) {
                wanted = false;
                if let Some((control, message)) = &refused {
                    control.send(message);
                }
            }
            delivered.update(|(n, _)| *n += count as u64);
        }
        delivered.update(|(_, ended)| *ended = true);
    });
}

/// Carries what is typed to the guest's terminal.
fn type_keys(mut port: UnixStream, events: Sender<Event>, raw: bool) {
    const LEAVE: u8 = 0x1d; // Ctrl-]
    const END_OF_FILE: u8 = 0x04;
    std::thread::spawn(move || {
        let mut buffer = vec![0; 4096];
        let mut leaving = 0;
        loop {
            let count = read_stream(0, &mut buffer);
            for byte in &buffer[..count] {
                leaving = if raw && *byte == LEAVE { leaving + 1 } else { 0 };
                if leaving == 3 {
                    let _ = events.send(Event::Leave);
                }
            }
            let bytes = if count == 0 { &[END_OF_FILE][..] } else { &buffer[..count] };
            if port.write_all(bytes).is_err() || (count == 0 && raw) {
                return;
            }
            if count == 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
}

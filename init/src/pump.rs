//! The pump: carries bytes between the command and the host's ports until the command has ended
//! and everything it wrote is delivered.
//!
//! Control messages are lines. From the guest: `R` (the command runs), `X CODE OUT ERR TTY` (it
//! ended with this status after so many bytes on each port), `F REASON` (it could not be set up).
//! From the host: `E COUNT` (standard input ends after COUNT bytes), `C 1` or `C 2` (nobody reads
//! standard output or error any more), `W ROWS COLUMNS`, `S SIGNAL` (send it to the command's
//! process group), `Q` (everything has arrived; power off).
//!
//! Ends of streams are counted instead of closing ports, because a port has no end of file of its
//! own on every kernel, and bytes and messages travel on different ports in no common order.

use crate::command::Streams;
use crate::params;
use crate::sys::{self, Errno, Fd, POLLIN, POLLOUT, PollFd};
use alloc::format;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

/// The ports of this run.
pub struct HostPorts {
    /// Control messages.
    pub control: Fd,
    /// To standard input.
    pub stdin: Option<Fd>,
    /// From standard output.
    pub stdout: Option<Fd>,
    /// From standard error.
    pub stderr: Option<Fd>,
    /// Terminal, both directions.
    pub tty: Option<Fd>,
}

/// Bytes on their way in one direction.
struct Flow {
    source: Option<Rc<Fd>>,
    /// `None`: nobody wants them any more, they are read and dropped.
    sink: Option<Rc<Fd>>,
    buffer: Vec<u8>,
    /// The part of `buffer` that waits for the sink.
    pending: core::ops::Range<usize>,
    /// Bytes taken from the source so far.
    taken: u64,
    /// The source ends after so many bytes.
    limit: Option<u64>,
}

/// How a flow's source answered.
#[derive(PartialEq, Eq)]
enum Filled {
    Some,
    NothingNow,
    End,
}

impl Flow {
    fn new(source: Option<Rc<Fd>>, sink: Option<Rc<Fd>>) -> Flow {
        const CAPACITY: usize = 64 * 1024;
        let capacity = if source.is_some() { CAPACITY } else { 0 };
        Flow { source, sink, buffer: vec![0; capacity], pending: 0..0, taken: 0, limit: None }
    }

    /// What to wait for: room in the sink, or else bytes from the source.
    fn interest(&self) -> PollFd {
        match (&self.source, &self.sink) {
            (_, Some(sink)) if !self.pending.is_empty() => PollFd::new(sink, POLLOUT),
            (Some(source), _) => PollFd::new(source, POLLIN),
            _ => PollFd::NONE,
        }
    }

    /// Moves what can be moved without waiting.
    fn advance(&mut self) -> Filled {
        self.empty();
        if !self.pending.is_empty() {
            return Filled::Some;
        }
        let filled = self.fill();
        self.empty();
        filled
    }

    fn fill(&mut self) -> Filled {
        let Some(source) = &self.source else { return Filled::End };
        match sys::read(source, &mut self.buffer) {
            Ok(0) => {}
            Ok(count) => {
                self.pending = 0..count;
                self.taken += count as u64;
                return Filled::Some;
            }
            Err(Errno::EAGAIN | Errno::EINTR) => return Filled::NothingNow,
            Err(_) => {}
        }
        self.source = None;
        Filled::End
    }

    fn empty(&mut self) {
        while let Some(bytes) = self.buffer.get(self.pending.clone()).filter(|b| !b.is_empty()) {
            let Some(sink) = &self.sink else {
                self.pending = 0..0;
                return;
            };
            match sys::write(sink, bytes) {
                Ok(count) => self.pending.start += count,
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(_) => self.sink = None,
            }
        }
    }

    /// Closes the sink once the announced end is reached.
    fn end_at_limit(&mut self) {
        let reached = self.source.is_none() || self.limit.is_some_and(|limit| self.taken >= limit);
        if reached && self.pending.is_empty() {
            self.source = None;
            self.sink = None;
        }
    }

    /// Delivers what the source still holds. `grace_ms`: how long silence must last to count as
    /// the end (a terminal hands over its bytes a little after the write).
    fn drain(&mut self, grace_ms: i32) {
        // A process left behind could write for ever: no more than this after the command's end.
        const MOST: u64 = 1 << 20;
        let stop = self.taken + MOST;
        while self.taken < stop {
            match self.advance() {
                Filled::End => break,
                Filled::NothingNow => {
                    let Some(source) = &self.source else { break };
                    if sys::poll(&mut [PollFd::new(source, POLLIN)], grace_ms) != Ok(1) {
                        break;
                    }
                }
                Filled::Some => self.wait_for_sink(),
            }
        }
        while !self.pending.is_empty() {
            self.wait_for_sink();
            self.empty();
        }
    }

    fn wait_for_sink(&self) {
        if let (Some(sink), false) = (&self.sink, self.pending.is_empty()) {
            let _ = sys::poll(&mut [PollFd::new(sink, POLLOUT)], -1);
        }
    }
}

/// All that the pump looks after.
struct Pump {
    control: Fd,
    /// Unfinished line of the host.
    line: Vec<u8>,
    stdin: Flow,
    stdout: Flow,
    stderr: Flow,
    keys: Flow,
    screen: Flow,
    master: Option<Rc<Fd>>,
    command: i32,
    dismissed: bool,
}

/// Runs until the host has everything. `status` delivers the command's exit code, four bytes.
pub fn run(host: HostPorts, guest: Streams, status: Fd, command: i32) {
    sys::ignore_sigpipe();
    let port = host.tty.map(Rc::new);
    let master = guest.master.map(Rc::new);
    let mut pump = Pump {
        control: host.control,
        line: Vec::new(),
        stdin: Flow::new(host.stdin.map(Rc::new), guest.stdin.map(Rc::new)),
        stdout: Flow::new(guest.stdout.map(Rc::new), host.stdout.map(Rc::new)),
        stderr: Flow::new(guest.stderr.map(Rc::new), host.stderr.map(Rc::new)),
        keys: Flow::new(port.clone(), master.clone()),
        screen: Flow::new(master.clone(), port),
        master,
        command,
        dismissed: false,
    };
    pump.send("R\n");
    let code = pump.until_exit(&status);
    if pump.dismissed {
        return;
    }
    pump.stdout.drain(0);
    pump.stderr.drain(0);
    pump.screen.drain(50);
    let (out, err, tty) = (pump.stdout.taken, pump.stderr.taken, pump.screen.taken);
    pump.send(&format!("X {code} {out} {err} {tty}\n"));
    while !pump.dismissed {
        let _ = sys::poll(&mut [PollFd::new(&pump.control, POLLIN)], -1);
        pump.listen();
    }
}

impl Pump {
    fn flows(&mut self) -> [&mut Flow; 5] {
        [&mut self.stdin, &mut self.stdout, &mut self.stderr, &mut self.keys, &mut self.screen]
    }

    /// Pumps until the command's exit code arrives (or the host is gone: see `dismissed`).
    fn until_exit(&mut self, status: &Fd) -> i32 {
        loop {
            let [a, b, c, d, e] = self.flows().map(|flow| flow.interest());
            let status_wait = PollFd::new(status, POLLIN);
            let control_wait = PollFd::new(&self.control, POLLIN);
            let mut waits = [status_wait, control_wait, a, b, c, d, e];
            let _ = sys::poll(&mut waits, -1);
            let [status_wait, control_wait, answers @ ..] = waits;
            if status_wait.happened() {
                let mut code = [0u8; 4];
                return match sys::read(status, &mut code) {
                    Ok(4) => i32::from_le_bytes(code),
                    _ => 125,
                };
            }
            if control_wait.happened() {
                self.listen();
                if self.dismissed {
                    return 0;
                }
            }
            for (flow, answer) in self.flows().into_iter().zip(answers) {
                if answer.happened() {
                    flow.advance();
                }
            }
            self.stdin.end_at_limit();
        }
    }

    /// Reads and obeys the host's messages.
    fn listen(&mut self) {
        let mut bytes = [0u8; 256];
        let count = match sys::read(&self.control, &mut bytes) {
            Ok(0) => {
                // The host is gone: nobody is left to report to.
                self.dismissed = true;
                return;
            }
            Ok(count) => count,
            Err(_) => return,
        };
        for byte in bytes.iter().take(count) {
            if *byte == b'\n' {
                let mut line = core::mem::take(&mut self.line);
                self.obey(&line);
                line.clear();
                self.line = line;
            } else {
                self.line.push(*byte);
            }
        }
    }

    fn obey(&mut self, line: &[u8]) {
        let (verb, rest) = match line {
            [verb, b' ', rest @ ..] => (*verb, rest),
            [verb] => (*verb, &[][..]),
            _ => return,
        };
        match verb {
            b'E' => self.stdin.limit = params::number(rest),
            // Without our end of the pipe the command's next write fails as it would at home.
            b'C' if rest == b"1" => self.stdout.source = None,
            b'C' if rest == b"2" => self.stderr.source = None,
            b'W' => {
                if let (Some(master), Some(size)) = (&self.master, params::winsize(rest)) {
                    let _ = sys::set_winsize(master, size);
                }
            }
            b'S' => {
                if let Some(signal) = params::number(rest) {
                    let _ = sys::kill_group(self.command, signal);
                }
            }
            b'Q' => self.dismissed = true,
            _ => {}
        }
    }

    fn send(&self, line: &str) {
        let _ = sys::write_all(&self.control, line.as_bytes());
    }
}

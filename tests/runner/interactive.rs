//! A person at a terminal, played by this test on a pseudo-terminal of the host: line editing,
//! Ctrl-C, job control, window size, an editor.

use crate::direct::Test;
use crate::tool;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The tests.
pub const TESTS: &[Test] = &[
    ("a_line_can_be_edited", editing),
    ("ctrl_c_ends_the_foreground_job_only", ctrl_c),
    ("ctrl_z_stops_and_fg_and_bg_continue", job_control),
    ("the_window_size_follows_the_hosts", window_size),
    ("vi_opens_and_saves_a_file", editor),
];

/// Answers of a guest without load come in well under a second; machines are slow at times.
const PATIENCE: Duration = Duration::from_secs(60);

/// bash in a guest, seen through a terminal.
struct Person {
    master: OwnedFd,
    child: Child,
    seen: String,
    _slot: tool::Slot,
}

impl Person {
    fn sit_down() -> Result<Person, String> {
        let slot = tool::slot();
        let text = |e: rustix::io::Errno| e.to_string();
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(text)?;
        grantpt(&master).map_err(text)?;
        unlockpt(&master).map_err(text)?;
        let name = ptsname(&master, Vec::new()).map_err(text)?;
        resize(&master, 30, 100)?;
        let name = name.to_str().map_err(|e| e.to_string())?;
        let slave = || OpenOptions::new().read(true).write(true).open(name).map(Stdio::from);
        let text = |e: std::io::Error| e.to_string();
        let run = tool::run_command(&["--timeout", "300", "--env", "PS1=ready> ", "--env", "TERM=xterm"]);
        // setsid(1) makes the pseudo-terminal the tool's own, as a terminal window would.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(run.get_program()).args(run.get_args());
        for (key, value) in run.get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        command.args(["bash", "--norc", "--noprofile", "-i"]);
        command.stdin(slave().map_err(text)?).stdout(slave().map_err(text)?).stderr(slave().map_err(text)?);
        let child = command.spawn().map_err(text)?;
        let mut person = Person { master, child, seen: String::new(), _slot: slot };
        person.read_until("ready> ")?;
        // Otherwise each answer is wrapped in escape sequences.
        person.line("bind 'set enable-bracketed-paste off'")?;
        Ok(person)
    }

    /// Types, without a line end.
    fn press(&mut self, keys: &str) -> Result<(), String> {
        let mut bytes = keys.as_bytes();
        while !bytes.is_empty() {
            let count = rustix::io::write(&self.master, bytes).map_err(|e| e.to_string())?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Types a line and waits for the next prompt; what appeared in between.
    fn line(&mut self, text: &str) -> Result<String, String> {
        self.press(text)?;
        self.press("\r")?;
        self.read_until("ready> ")
    }

    /// Reads until `end` appears; everything since the last call.
    fn read_until(&mut self, end: &str) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(end) {
                let rest = self.seen.split_off(at + end.len());
                return Ok(std::mem::replace(&mut self.seen, rest));
            }
            if Instant::now() > deadline {
                return Err(format!("no {end:?} in {:?}", self.seen));
            }
            self.read_some(200)?;
        }
    }

    fn read_some(&mut self, wait_ms: i64) -> Result<(), String> {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        let wait = Timespec { tv_sec: 0, tv_nsec: wait_ms * 1_000_000 };
        if poll(&mut fds, Some(&wait)).map_err(|e| e.to_string())? == 0 {
            return Ok(());
        }
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(count @ 1..) => {
                self.seen.push_str(&String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()));
                Ok(())
            }
            _ => Err(format!("the guest left: {:?}", self.seen)),
        }
    }

    /// Waits a moment for the guest to take in what was typed.
    fn pause(&mut self) -> Result<(), String> {
        let end = Instant::now() + Duration::from_millis(700);
        while Instant::now() < end {
            self.read_some(100)?;
        }
        Ok(())
    }

    /// Leaves by `exit STATUS` and checks that it is the tool's status.
    fn leave(mut self, status: i32) -> Result<(), String> {
        self.press(&format!("exit {status}\r"))?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let _ = self.read_some(50);
            if let Ok(Some(left)) = self.child.try_wait() {
                let right = left.code() == Some(status);
                return if right { Ok(()) } else { Err(format!("left with {left}")) };
            }
        }
        Err(format!("does not end: {:?}", self.seen))
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(master: &OwnedFd, rows: u16, columns: u16) -> Result<(), String> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).map_err(|e| e.to_string())
}

fn contains(shown: &str, part: &str) -> Result<(), String> {
    if shown.contains(part) { Ok(()) } else { Err(format!("no {part:?} in {shown:?}")) }
}

fn editing() -> Result<(), String> {
    let mut person = Person::sit_down()?;
    // "echo wrong", one word deleted by Ctrl-W, the start of the line by Ctrl-A.
    let shown = person.line("cho right wrong\x17\x01e\x05 end")?;
    contains(&shown, "\nright end\r\n")?;
    // The line before, by cursor up.
    let shown = person.line("\x1b[A")?;
    contains(&shown, "\nright end\r\n")?;
    let shown = person.line("[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && tty")?;
    contains(&shown, "/dev/pts/")?;
    person.leave(5)
}

fn ctrl_c() -> Result<(), String> {
    let mut person = Person::sit_down()?;
    person.press("sleep 1000\r")?;
    person.pause()?;
    person.press("\x03")?;
    person.read_until("ready> ")?;
    let shown = person.line("echo status $?")?;
    contains(&shown, "status 130")?;
    person.leave(0)
}

fn job_control() -> Result<(), String> {
    let mut person = Person::sit_down()?;
    person.press("sleep 1000\r")?;
    person.pause()?;
    person.press("\x1a")?;
    let shown = person.read_until("ready> ")?;
    contains(&shown, "Stopped")?;
    person.line("bg")?;
    contains(&person.line("jobs")?, "Running")?;
    person.press("fg\r")?;
    person.pause()?;
    person.press("\x03")?;
    person.read_until("ready> ")?;
    let shown = person.line("jobs; echo left $?")?;
    contains(&shown, "left 0")?;
    if shown.contains("sleep 1000") {
        return Err(format!("the job is still there: {shown:?}"));
    }
    person.leave(0)
}

fn window_size() -> Result<(), String> {
    let mut person = Person::sit_down()?;
    contains(&person.line("stty size")?, "30 100")?;
    resize(&person.master, 41, 123)?;
    person.pause()?;
    // The shell has drawn its prompt anew.
    person.seen.clear();
    contains(&person.line("stty size")?, "41 123")?;
    person.press("sh -c 'trap \"echo re\"sized WINCH; while :; do sleep 0.1; done'\r")?;
    person.pause()?;
    resize(&person.master, 42, 124)?;
    person.read_until("resized")?;
    person.press("\x03")?;
    person.read_until("ready> ")?;
    person.leave(0)
}

fn editor() -> Result<(), String> {
    let mut person = Person::sit_down()?;
    if !person.line("type vi || echo no editor")?.contains("vi is") {
        return person.leave(0);
    }
    person.press("vi /tmp/written-by-vi\r")?;
    person.pause()?;
    person.press("iwritten in vi\x1b")?;
    person.pause()?;
    person.press(":wq\r")?;
    person.read_until("ready> ")?;
    contains(&person.line("cat /tmp/written-by-vi")?, "\nwritten in vi\r\n")?;
    person.leave(0)
}

//! Starting the command: pipes and pseudo-terminal, then the child that becomes it.

use crate::Failure;
use crate::params::{Params, Stream};
use crate::sys::{self, Errno, Fd};
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Our ends of the command's standard streams.
#[derive(Default)]
pub struct Streams {
    /// Write end of its standard input.
    pub stdin: Option<Fd>,
    /// Read end of its standard output.
    pub stdout: Option<Fd>,
    /// Read end of its standard error.
    pub stderr: Option<Fd>,
    /// Master side of its terminal.
    pub master: Option<Fd>,
}

/// Exit status of a command that could not be started because of its surroundings.
const CANNOT_START: i32 = 125;

/// Starts the command; returns its process id and our ends of its streams.
pub fn start(params: &Params) -> Result<(i32, Streams), Failure> {
    let mut ours = Streams::default();
    let mut slave = None;
    if params.wants_tty() {
        let (master, other) = pty(params).map_err(|e| Failure::new("opening a terminal", e))?;
        ours.master = Some(master);
        slave = Some(other);
    }
    let null =
        sys::open(c"/dev/null", sys::O_RDWR | sys::O_CLOEXEC, 0).map_err(|e| Failure::new("opening /dev/null", e))?;
    let mut theirs: [Option<Fd>; 3] = [None, None, None];
    for (index, (stream, end)) in params.streams.iter().zip(theirs.iter_mut()).enumerate() {
        if *stream != Stream::Pipe {
            continue;
        }
        let (read, write) = sys::pipe().map_err(|e| Failure::new("pipe", e))?;
        let (mine, other) = if index == 0 { (write, read) } else { (read, write) };
        sys::set_nonblocking(&mine).map_err(|e| Failure::new("fcntl", e))?;
        match index {
            0 => ours.stdin = Some(mine),
            1 => ours.stdout = Some(mine),
            _ => ours.stderr = Some(mine),
        }
        *end = Some(other);
    }
    let pid = sys::fork().map_err(|e| Failure::new("fork", e))?;
    if pid == 0 {
        let [stdin, stdout, stderr] = &theirs;
        let pick = |index: usize, pipe: &Option<Fd>| match params.streams.get(index) {
            Some(Stream::Pipe) => pipe.as_ref().map(Fd::raw),
            Some(Stream::Tty) => slave.as_ref().map(Fd::raw),
            Some(Stream::Stdout) => stdout.as_ref().map(Fd::raw),
            _ => None,
        };
        let null = null.raw();
        let fds = [pick(0, stdin).unwrap_or(null), pick(1, stdout).unwrap_or(null), pick(2, stderr).unwrap_or(null)];
        sys::exit(become_command(params, fds, slave.as_ref()))
    }
    Ok((pid, ours))
}

fn pty(params: &Params) -> Result<(Fd, Fd), Errno> {
    let master = sys::open(c"/dev/ptmx", sys::O_RDWR | sys::O_NOCTTY | sys::O_CLOEXEC, 0)?;
    let number = sys::pty_unlock(&master)?;
    let name = CString::new(format!("/dev/pts/{number}")).map_err(|_| Errno::EINVAL)?;
    let slave = sys::open(&name, sys::O_RDWR | sys::O_NOCTTY | sys::O_CLOEXEC, 0)?;
    // The caller's, so that a command with other ids than root may open its own terminal.
    let _ = sys::chown(&name, params.uid, params.gid);
    sys::set_winsize(&master, params.winsize)?;
    if params.tty_cooked {
        sys::pty_plain(&slave)?;
    }
    sys::set_nonblocking(&master)?;
    Ok((master, slave))
}

/// In the child: takes on the command's identity and executes it. Returns an exit status only on
/// failure, after one line on the command's own standard error.
fn become_command(params: &Params, fds: [i32; 3], tty: Option<&Fd>) -> i32 {
    if let Err((what, e)) = prepare(params, fds, tty) {
        complain(&format!("{what}: {}", describe(e)));
        return CANNOT_START;
    }
    let Some(program) = params.argv.first() else { return CANNOT_START };
    let shown = String::from_utf8_lossy(program.to_bytes());
    match execute(program, params) {
        Errno::ENOENT if !program.to_bytes().contains(&b'/') => {
            complain(&format!("{shown}: command not found"));
            127
        }
        e @ (Errno::ENOENT | Errno::ENOTDIR) => {
            complain(&format!("{shown}: {}", describe(e)));
            127
        }
        e => {
            complain(&format!("{shown}: cannot execute: {}", describe(e)));
            126
        }
    }
}

fn prepare(params: &Params, fds: [i32; 3], tty: Option<&Fd>) -> Result<(), (&'static str, Errno)> {
    sys::setsid().map_err(|e| ("setsid", e))?;
    if let Some(tty) = tty {
        sys::set_controlling_tty(tty).map_err(|e| ("controlling terminal", e))?;
    }
    // The pipes and the terminal were opened above 2, because 0 to 2 are taken below first.
    for (target, source) in fds.into_iter().enumerate() {
        let target = i32::try_from(target).unwrap_or_default();
        sys::dup_to(source, target).map_err(|e| ("standard streams", e))?;
    }
    sys::umask(params.umask);
    sys::set_ids(params.uid, params.gid, &params.groups).map_err(|e| ("taking on your ids", e))?;
    sys::chdir(&params.cwd).map_err(|e| ("entering the working directory", e))
}

/// execvp(3): only returns if nothing could be executed.
fn execute(program: &CString, params: &Params) -> Errno {
    let name = program.to_bytes();
    if name.is_empty() {
        return Errno::ENOENT;
    }
    if name.contains(&b'/') {
        return execute_file(program, params);
    }
    let default: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let search = params.env.iter().find_map(|e| e.to_bytes().strip_prefix(b"PATH=")).unwrap_or(default);
    let mut failure = Errno::ENOENT;
    for dir in search.split(|b| *b == b':') {
        let dir: &[u8] = if dir.is_empty() { b"." } else { dir };
        let Ok(path) = CString::new([dir, b"/", name].concat()) else { continue };
        match execute_file(&path, params) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => failure = Errno::EACCES,
            e => return e,
        }
    }
    failure
}

/// Executes one file; a text without `#!` goes to the shell, as execvp(3) has it.
fn execute_file(path: &CString, params: &Params) -> Errno {
    match sys::execve(path, &params.argv, &params.env) {
        Errno::ENOEXEC => {
            let mut argv: Vec<CString> = Vec::from([c"/bin/sh".into(), path.clone()]);
            argv.extend(params.argv.iter().skip(1).cloned());
            sys::execve(c"/bin/sh", &argv, &params.env)
        }
        e => e,
    }
}

fn complain(what: &str) {
    let _ = sys::write_all_raw(2, format!("ochre: {what}\n").as_bytes());
}

fn describe(e: Errno) -> String {
    String::from(match e {
        Errno::ENOENT => "No such file or directory",
        Errno::ENOTDIR => "Not a directory",
        Errno::EACCES => "Permission denied",
        Errno::ENOEXEC => "Exec format error",
        Errno::ENOMEM => "Cannot allocate memory",
        Errno(number) => return format!("error {number}"),
    })
}

//! `./x run`: from options to a guest.

use crate::fail::{Context, Result, fail};
use crate::initramfs::{self, Params};
use crate::linux::{self, Kernel};
use crate::serial::SerialLog;
use crate::session::{self, Style};
use crate::terminal::{self, Stream};
use crate::vm::{Accel, Export, Machine, Vm};
use crate::{environment, image, kmod, oracle, qemu, rootfs, unpack, workspace};
use clap::Args;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to run, on what.
#[derive(Debug, Args)]
pub struct Options {
    /// Root file system instead of this machine's own: a directory or a tar [.gz .xz .zst]
    #[arg(long, value_name = "DIR|TAR")]
    pub rootfs: Option<PathBuf>,
    /// Boot archive (cpio) as the root file system; without a command its own /init runs
    #[arg(long, value_name = "FILE", conflicts_with = "rootfs")]
    pub initramfs: Option<PathBuf>,
    /// Number of processors
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub smp: u32,
    /// Memory, in MiB or with a suffix K, M or G
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = memory_size)]
    pub mem: String,
    /// Share a directory with the guest, read-only unless `:rw` follows
    #[arg(long, value_name = "HOSTDIR:GUESTDIR[:rw]")]
    pub share: Vec<String>,
    /// Set a variable of the command's environment, or pass one of yours that is held back
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub env: Vec<OsString>,
    /// Working directory of the command
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// More words for the kernel command line
    #[arg(long, value_name = "WORDS")]
    pub append: Option<String>,
    /// Machine to emulate; microvm for Ochre and q35 for Linux unless given
    #[arg(long, value_enum)]
    pub machine: Option<Machine>,
    /// How to execute the guest's instructions
    #[arg(long, value_enum, default_value = "tcg")]
    pub accel: Accel,
    /// Guest time is the number of executed instructions: repeatable runs, one processor
    #[arg(long)]
    pub icount: bool,
    /// Wait for a debugger at this TCP port before the first instruction
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "1234")]
    pub gdb: Option<u16>,
    /// End the guest after so many seconds, with exit status 124
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Kernel to boot instead of Ochre: an image of Linux, or `oracle` (see `oracle fetch`)
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Print each system call with its arguments and result on standard error
    #[arg(long)]
    pub trace: bool,
    /// Kernel messages on standard error instead of only in the log file
    #[arg(short, long)]
    pub verbose: bool,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// A size as QEMU takes it.
fn memory_size(text: &str) -> std::result::Result<String, String> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'k', 'm', 'g']);
    match digits.parse::<u64>() {
        Ok(1..) if text.len() - digits.len() <= 1 => Ok(text.to_owned()),
        _ => Err("a number of MiB, or a number with K, M or G".to_owned()),
    }
}

/// Runs it; the command's exit status.
pub fn run(options: &Options) -> Result<u8> {
    if options.icount && options.smp != 1 {
        return fail("--icount counts one processor's instructions: leave --smp at 1");
    }
    let qemu = qemu::ensure()?;
    let kernel = options.kernel.as_deref().map(chosen_kernel).transpose()?;
    let images = image::ensure(kernel.is_none())?;
    let kernel = kernel.unwrap_or(Kernel { path: images.kernel, linux: None });
    if options.command.is_empty() && options.initramfs.is_none() {
        return fail("nothing to run: ./x run -- CMD ARGUMENT...");
    }
    let streams = terminal::detect();
    let raw = streams[0] == Stream::Tty && streams[1] == Stream::Tty;
    let (exports, params) = describe(options, streams, raw)?;
    let modules = match &kernel.linux {
        Some(linux::Linux { modules: Some(tree) }) => kmod::collect(tree)?,
        _ => Vec::new(),
    };
    let mut archive = match &options.initramfs {
        Some(file) => unpack::read(file)?,
        None => Vec::new(),
    };
    if !options.command.is_empty() {
        let init = std::fs::read(&images.init).context(images.init.display())?;
        archive.resize(archive.len().next_multiple_of(512), 0);
        archive.append(&mut initramfs::pack(&init, params, &modules));
    }
    let archive = in_memory(&archive)?;
    let log = SerialLog { path: log_file()?, verbose: options.verbose || options.trace, kernel: kernel.path.clone() };
    let is_linux = kernel.linux.is_some();
    let machine = match options.machine {
        Some(machine) => machine,
        None if is_linux => Machine::Q35,
        None => Machine::Microvm,
    };
    let vm = Vm {
        qemu,
        machine,
        accel: options.accel,
        smp: options.smp,
        mem: options.mem.clone(),
        icount: options.icount,
        gdb: options.gdb,
        kernel: kernel.path,
        initrd: PathBuf::from(format!("/proc/self/fd/{}", archive.as_raw_fd())),
        append: kernel_words(options, is_linux),
        exports,
        ports: Vec::new(),
        serial: -1,
        debug_exit: !is_linux,
    };
    if let Some(port) = options.gdb {
        eprintln!("ochre: waiting for gdb: `target remote :{port}`");
    }
    let timeout = options.timeout.map(Duration::try_from_secs_f64).transpose();
    let style = Style { streams, raw, timeout: timeout.context("--timeout")? };
    if options.command.is_empty() { session::console(vm, &style, log) } else { session::run(vm, &style, log) }
}

/// The kernel of `--kernel`: a file, or the word `oracle`.
fn chosen_kernel(name: &Path) -> Result<Kernel> {
    let kernel = match name.to_str() {
        Some("oracle") => linux::identify(&oracle::current()?)?,
        _ => linux::identify(name)?,
    };
    match &kernel.linux {
        Some(linux::Linux { modules: Some(tree) }) if !kmod::has_9p(tree) => fail(format!(
            "{}: this Linux is built without 9p, by which the guest gets its files; `./x oracle fetch` gets one with it",
            kernel.path.display()
        )),
        _ => Ok(kernel),
    }
}

/// The kernel command line.
fn kernel_words(options: &Options, is_linux: bool) -> String {
    let mut words = vec!["console=ttyS0", "panic=-1"];
    if !options.verbose && !options.trace {
        words.push("quiet");
    }
    if is_linux {
        words.push("mitigations=off");
    } else if options.trace {
        words.push("trace");
    }
    words.extend(options.append.as_deref());
    words.join(" ")
}

/// What the guest's first process is told, and the directories it will mount.
fn describe(options: &Options, streams: [Stream; 3], raw: bool) -> Result<(Vec<Export>, Params)> {
    let mut params = Params::default();
    for argument in &options.command {
        params.add("arg", argument);
    }
    for variable in environment::filtered(&options.env) {
        params.add("env", variable);
    }
    params.add("cwd", working_directory(options)?);
    params.add("uid", rustix::process::getuid().as_raw().to_string());
    params.add("gid", rustix::process::getgid().as_raw().to_string());
    for group in rustix::process::getgroups().context("getgroups")? {
        params.add("group", group.as_raw().to_string());
    }
    params.add("umask", current_umask().to_string());
    for (stream, key) in streams.iter().zip(["stdin", "stdout", "stderr"]) {
        params.add(key, stream.word());
    }
    if streams.contains(&Stream::Tty) {
        let (rows, columns) = terminal::size();
        params.add("winsize", format!("{rows} {columns}"));
        if !raw {
            params.add("tty-cooked", "");
        }
    }
    params.add("hostname", "ochre");
    let mut exports = Vec::new();
    if options.initramfs.is_none() {
        exports.push(match options.rootfs.as_deref() {
            None => export("root", Path::new("/"), false)?,
            Some(archive) if archive.is_file() => {
                Export { mapped: true, ..export("root", &rootfs::unpacked(archive)?, false)? }
            }
            Some(dir) => export("root", dir, false)?,
        });
        params.add("root", "root");
    }
    for (number, share) in options.share.iter().enumerate() {
        let (host, guest, writable) = parse_share(share)?;
        let tag = format!("share{number}");
        exports.push(export(&tag, &host, writable)?);
        let mode = if writable { "rw" } else { "ro" };
        params.add("share", format!("{tag}:{mode}:{guest}"));
    }
    Ok((exports, params))
}

fn export(tag: &str, path: &Path, writable: bool) -> Result<Export> {
    if !path.is_dir() {
        return fail(format!("{}: no such directory", path.display()));
    }
    let path = path.canonicalize().context(path.display())?;
    Ok(Export { tag: tag.to_owned(), path, writable, mapped: false })
}

/// `HOSTDIR:GUESTDIR[:rw]`
fn parse_share(text: &str) -> Result<(PathBuf, String, bool)> {
    let (rest, writable) = match text.strip_suffix(":rw") {
        Some(rest) => (rest, true),
        None => (text.strip_suffix(":ro").unwrap_or(text), false),
    };
    match rest.split_once(':') {
        Some((host, guest)) if guest.starts_with('/') => Ok((PathBuf::from(host), guest.to_owned(), writable)),
        _ => fail(format!("--share {text}: write HOSTDIR:GUESTDIR[:rw], GUESTDIR from the root")),
    }
}

/// The caller's directory, unless the root is not the caller's.
fn working_directory(options: &Options) -> Result<PathBuf> {
    match &options.cwd {
        Some(dir) => Ok(dir.clone()),
        None if options.rootfs.is_some() || options.initramfs.is_some() => Ok(PathBuf::from("/")),
        None => std::env::current_dir().context("working directory"),
    }
}

fn current_umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

/// A file without a name that QEMU inherits.
fn in_memory(bytes: &[u8]) -> Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("initramfs", rustix::fs::MemfdFlags::empty()).context("memfd")?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes).context("initramfs")?;
    Ok(OwnedFd::from(file))
}

fn log_file() -> Result<PathBuf> {
    let dir = workspace::target().join("log");
    std::fs::create_dir_all(&dir).context(dir.display())?;
    Ok(dir.join(format!("run-{}.log", std::process::id())))
}

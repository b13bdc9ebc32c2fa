//! The order of boot: memory, scheduler, file systems and devices, the other CPUs, then process 1.
//!
//! Each step is one line of [`main`]; a step that cannot fail in any other way than by lack of memory ends the boot with a message.

use crate::rootfs::Booter;
use crate::{lkdtm, table, trace, vdso};
use abi::Errno;
use abi::fcntl::OpenFlags;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use sysfs::KernelFile;
use task::Cx;
use vfs::{File, Start};

/// What the boot loader may ask for on the command line.
struct Options {
    /// `rdinit=`: the first program.
    init: &'static str,
    /// `trace`: print every system call.
    trace: bool,
}

impl Options {
    fn parse(cmdline: &'static str) -> Options {
        let mut options = Options { init: "/init", trace: false };
        for word in cmdline.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("rdinit", path)) => options.init = path,
                None if word == "trace" => options.trace = true,
                _ => {}
            }
        }
        options
    }
}

/// Entered by the machine layer on the boot CPU, with interrupts off and the other CPUs not started.
pub fn main() -> ! {
    let options = Options::parse(machine::boot::cmdline());
    mm::init();
    sched::init_boot_cpu();
    random::init(|seed| {
        machine::entropy::fill(seed);
    });
    vfs::init(random::next_u64());
    if let Err(e) = start(&options) {
        panic!("boot: {e}");
    }
    sched::exit_thread()
}

fn start(options: &Options) -> Result<(), Errno> {
    sched::load::start();
    task::init();
    klog::init(|| task::current().map_or(0, |t| t.tid() as u32))?;
    task::jobs::set_terminal_ends(tty::jobs::leader_exits);
    task::exit::set_init_gone(init_gone);
    register_file_systems();
    let booter = Booter::new()?;
    start_devices()?;
    if let Some(image) = machine::boot::initrd() {
        booter.unpack(&image);
    }
    task::exec::set_vdso(vdso::pages().map_err(|_| Errno::ENOMEM)?);
    task::exec::set_random(random::fill);
    task::set_dispatch(if options.trace { |cx| trace::traced(cx, table::dispatch) } else { table::dispatch });
    machine::cpu::start_others(sched::run_cpu);
    let argv = vec![options.init.as_bytes().to_vec()];
    let envp: Vec<Vec<u8>> = vec![b"HOME=/".to_vec(), b"TERM=linux".to_vec()];
    let kthreadd = task::kthread::make(booter.fs())?;
    task::init::spawn_init(options.init.as_bytes().to_vec(), argv, envp, booter.fs().clone(), open_console, no_init)?;
    kthreadd.start();
    Ok(())
}

fn register_file_systems() {
    tmpfs::init();
    ninep::init();
    overlay::init();
    let call_name = |nr| table::row(nr).map(|row| row.name);
    procfs::init(procfs::Hooks { describe_tty: tty::jobs::describe, fill_random: random::fill, call_name });
    cgroupfs::init();
    sysfs::add_kernel_files(sysfs_files());
    sysfs::debug::add_files([lkdtm::DIRECT]);
    sysfs::init();
    pipe::init();
    devtmpfs::init();
    devpts::init();
    unix::init();
    ipc::mqueue::init(calls::ipc::mqueue_hooks());
}

/// What other floors show in `/sys/kernel`.
fn sysfs_files() -> [KernelFile; 4] {
    let dir = Some("cgroup");
    [
        KernelFile {
            dir,
            name: "delegate",
            show: || cgroupfs::delegatable().map(|name| format!("{name}\n")).collect(),
        },
        KernelFile { dir, name: "features", show: || cgroupfs::FEATURES.into() },
        KernelFile { dir: None, name: "oops_count", show: || format!("{}\n", machine::oops::oops_count()) },
        KernelFile { dir: None, name: "warn_count", show: || format!("{}\n", machine::oops::warn_count()) },
    ]
}

fn start_devices() -> Result<(), Errno> {
    tty::init()?;
    tty::pty::set_install_fd(install_fd);
    Ok(())
}

/// Puts a file that a driver opened into the calling process's table.
fn install_fd(file: Arc<File>, cloexec: bool) -> Result<i32, Errno> {
    let task = task::current().ok_or(Errno::ENOTTY)?;
    let limit = task.process().limits.nofile();
    task.files().ok_or(Errno::EMFILE)?.install(file, cloexec, limit)
}

/// Standard input, output and error of process 1 (console(4)).
fn open_console(cx: &mut Cx) {
    let dirs = cx.fs().dirs();
    let start = Start::new(&dirs.root, &dirs.cwd, cx.cred());
    let opened = vfs::open::How::from_open((OpenFlags::RDWR | OpenFlags::NOCTTY).bits(), 0, 0)
        .and_then(|how| vfs::open::open(&start, b"/dev/console", &how, &cx.caller()));
    match opened {
        Ok(file) => {
            for _ in 0..3 {
                // A fresh descriptor table has room for three.
                let _ = cx.files().install(file.clone(), false, 1024);
            }
        }
        Err(e) => machine::kwarn!("unable to open an initial console: {e}"),
    }
}

/// Without process 1 nothing reaps and nothing powers off: the machine ends, with a failing code as after any panic.
fn init_gone(status: i32) {
    panic!("process 1 ended with wait status {status:#06x}");
}

fn no_init(path: &[u8], e: Errno) {
    panic!("cannot run {}: {e}", path.escape_ascii());
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn known_words_of_the_command_line_are_taken_and_others_left() {
        let o = Options::parse("quiet console=ttyS0 rdinit=/bin/sh trace kbench=x");
        assert_eq!((o.init, o.trace), ("/bin/sh", true));
        assert_eq!(Options::parse("").init, "/init");
    }
}

//! The system layer: Linux x86-64 system calls as safe functions, the program's entry point,
//! its allocator and its panic handler. The only `unsafe` code of the program.
//!
//! Sources: the manual pages of section 2; `asm-generic` and x86-64 UAPI constants.

use alloc::ffi::CString;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::CStr;

/// An error number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

impl Errno {
    pub const ENOENT: Errno = Errno(2);
    pub const EINTR: Errno = Errno(4);
    pub const ENOEXEC: Errno = Errno(8);
    pub const EAGAIN: Errno = Errno(11);
    pub const ENOMEM: Errno = Errno(12);
    pub const EACCES: Errno = Errno(13);
    pub const EEXIST: Errno = Errno(17);
    pub const ENOTDIR: Errno = Errno(20);
    pub const EINVAL: Errno = Errno(22);
}

type Result<T> = core::result::Result<T, Errno>;

pub const O_RDONLY: usize = 0;
pub const O_RDWR: usize = 2;
pub const O_NOCTTY: usize = 0o400;
pub const O_NONBLOCK: usize = 0o4000;
pub const O_CLOEXEC: usize = 0o2000000;
const O_DIRECTORY: usize = 0o200000;

pub const MS_RDONLY: u64 = 1;
pub const MS_NOSUID: u64 = 2;
pub const MS_NODEV: u64 = 4;
pub const MS_NOEXEC: u64 = 8;
pub const MS_MOVE: u64 = 8192;

pub const POLLIN: i16 = 1;
pub const POLLOUT: i16 = 4;

/// Numbers of the calls used.
mod nr {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const OPEN: usize = 2;
    pub const CLOSE: usize = 3;
    pub const POLL: usize = 7;
    pub const MMAP: usize = 9;
    pub const RT_SIGACTION: usize = 13;
    pub const IOCTL: usize = 16;
    pub const DUP2: usize = 33;
    pub const NANOSLEEP: usize = 35;
    pub const SOCKET: usize = 41;
    pub const FORK: usize = 57;
    pub const EXECVE: usize = 59;
    pub const EXIT: usize = 60;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const FCNTL: usize = 72;
    pub const CHDIR: usize = 80;
    pub const MKDIR: usize = 83;
    pub const SYMLINK: usize = 88;
    pub const CHMOD: usize = 90;
    pub const CHOWN: usize = 92;
    pub const UMASK: usize = 95;
    pub const SETSID: usize = 112;
    pub const SETGROUPS: usize = 116;
    pub const SETRESUID: usize = 117;
    pub const SETRESGID: usize = 119;
    pub const CHROOT: usize = 161;
    pub const SYNC: usize = 162;
    pub const MOUNT: usize = 165;
    pub const REBOOT: usize = 169;
    pub const SETHOSTNAME: usize = 170;
    pub const GETDENTS64: usize = 217;
    pub const PIPE2: usize = 293;
    pub const FINIT_MODULE: usize = 313;
}

/// One system call.
///
/// # Safety
/// The arguments must be what call `number` expects: every address valid for what the kernel
/// reads and writes through it.
#[cfg(target_arch = "x86_64")]
unsafe fn syscall(number: usize, args: [usize; 6]) -> Result<usize> {
    let mut result = number;
    // SAFETY: the caller vouches for the arguments; the kernel changes rax, rcx, r11 and memory
    // it was given, nothing else.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            out("rcx") _, out("r11") _,
            options(nostack),
        );
    }
    let signed = result as isize;
    if (-4095..0).contains(&signed) { Err(Errno(-signed as i32)) } else { Ok(result) }
}

/// A call whose arguments hold no address.
fn plain(number: usize, args: [usize; 6]) -> Result<usize> {
    // SAFETY: only used below, with numbers for arguments.
    unsafe { syscall(number, args) }
}

/// A call whose first argument is a path and whose others are numbers.
fn with_path(number: usize, path: &CStr, a: usize, b: usize) -> Result<usize> {
    // SAFETY: the string is valid and ends with NUL; the call only reads it.
    unsafe { syscall(number, [path.as_ptr() as usize, a, b, 0, 0, 0]) }
}

/// An open file, closed when dropped.
#[derive(Debug)]
pub struct Fd(i32);

impl Fd {
    /// Its number.
    pub fn raw(&self) -> i32 {
        self.0
    }

    fn arg(&self) -> usize {
        self.0 as usize
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        let _ = plain(nr::CLOSE, [self.arg(), 0, 0, 0, 0, 0]);
    }
}

pub fn open(path: &CStr, flags: usize, mode: usize) -> Result<Fd> {
    with_path(nr::OPEN, path, flags, mode).map(|fd| Fd(fd as i32))
}

pub fn read(fd: &Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is ours and as long as said.
    unsafe { syscall(nr::READ, [fd.arg(), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

pub fn write(fd: &Fd, bytes: &[u8]) -> Result<usize> {
    write_raw(fd.0, bytes)
}

fn write_raw(fd: i32, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the slice is valid for its length; the call only reads it.
    unsafe { syscall(nr::WRITE, [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) }
}

/// Writes everything, waiting where the file has no room.
pub fn write_all(fd: &Fd, bytes: &[u8]) -> Result<()> {
    write_all_raw(fd.0, bytes)
}

/// The same for one of the standard streams.
pub fn write_all_raw(fd: i32, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match write_raw(fd, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EAGAIN) => {
                poll(&mut [PollFd { fd, events: POLLOUT, revents: 0 }], -1)?;
            }
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The whole contents of a file.
pub fn read_file(path: &CStr) -> Result<Vec<u8>> {
    let file = open(path, O_RDONLY | O_CLOEXEC, 0)?;
    let mut contents = Vec::new();
    let mut chunk = vec![0u8; 16 * 1024];
    loop {
        match read(&file, &mut chunk)? {
            0 => return Ok(contents),
            count => contents.extend_from_slice(chunk.get(..count).unwrap_or_default()),
        }
    }
}

/// The names in a directory, without those that begin with a dot.
pub fn list_dir(path: &CStr) -> Result<Vec<Vec<u8>>> {
    let dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)?;
    let mut names = Vec::new();
    let mut buffer = vec![0u8; 4096];
    loop {
        // SAFETY: the buffer is ours and as long as said.
        let count =
            unsafe { syscall(nr::GETDENTS64, [dir.arg(), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0])? };
        if count == 0 {
            return Ok(names);
        }
        let mut rest = buffer.get(..count).unwrap_or_default();
        // struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name.
        while let Some(&[low, high]) = rest.get(16..18) {
            let length = usize::from(u16::from_le_bytes([low, high]));
            let Some(entry) = rest.get(19..length) else { break };
            let name = entry.split(|b| *b == 0).next().unwrap_or_default();
            if !name.starts_with(b".") {
                names.push(name.to_vec());
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

pub fn pipe() -> Result<(Fd, Fd)> {
    let mut fds = [0i32; 2];
    // SAFETY: the array has room for the two numbers the call writes.
    unsafe { syscall(nr::PIPE2, [fds.as_mut_ptr() as usize, O_CLOEXEC, 0, 0, 0, 0])? };
    Ok((Fd(fds[0]), Fd(fds[1])))
}

pub fn dup_to(source: i32, target: i32) -> Result<()> {
    plain(nr::DUP2, [source as usize, target as usize, 0, 0, 0, 0]).map(drop)
}

pub fn set_nonblocking(fd: &Fd) -> Result<()> {
    const F_GETFL: usize = 3;
    const F_SETFL: usize = 4;
    let flags = plain(nr::FCNTL, [fd.arg(), F_GETFL, 0, 0, 0, 0])?;
    plain(nr::FCNTL, [fd.arg(), F_SETFL, flags | O_NONBLOCK, 0, 0, 0]).map(drop)
}

/// One file to wait for: `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

impl PollFd {
    /// An entry the call passes over.
    pub const NONE: PollFd = PollFd { fd: -1, events: 0, revents: 0 };

    pub fn new(fd: &Fd, events: i16) -> PollFd {
        PollFd { fd: fd.0, events, revents: 0 }
    }

    /// Whether the wait ended because of this entry.
    pub fn happened(&self) -> bool {
        self.revents != 0
    }
}

/// Number of entries on which something happened.
pub fn poll(fds: &mut [PollFd], timeout_ms: i32) -> Result<usize> {
    // SAFETY: the slice is ours, laid out as the kernel expects, and as long as said.
    unsafe { syscall(nr::POLL, [fds.as_mut_ptr() as usize, fds.len(), timeout_ms as usize, 0, 0, 0]) }
}

pub fn sleep_ms(ms: u64) {
    let time = [ms / 1000, (ms % 1000) * 1_000_000];
    // SAFETY: `time` is a struct timespec; no remainder is asked for.
    let _ = unsafe { syscall(nr::NANOSLEEP, [time.as_ptr() as usize, 0, 0, 0, 0, 0]) };
}

pub fn mkdir(path: &CStr, mode: usize) -> Result<()> {
    with_path(nr::MKDIR, path, mode, 0).map(drop)
}

pub fn chmod(path: &CStr, mode: usize) -> Result<()> {
    with_path(nr::CHMOD, path, mode, 0).map(drop)
}

pub fn chown(path: &CStr, uid: u32, gid: u32) -> Result<()> {
    with_path(nr::CHOWN, path, uid as usize, gid as usize).map(drop)
}

pub fn chdir(path: &CStr) -> Result<()> {
    with_path(nr::CHDIR, path, 0, 0).map(drop)
}

pub fn chroot(path: &CStr) -> Result<()> {
    with_path(nr::CHROOT, path, 0, 0).map(drop)
}

pub fn symlink(target: &CStr, link: &CStr) -> Result<()> {
    // SAFETY: two valid strings, only read.
    unsafe { syscall(nr::SYMLINK, [target.as_ptr() as usize, link.as_ptr() as usize, 0, 0, 0, 0]) }.map(drop)
}

pub fn mount(source: &CStr, target: &CStr, fstype: &CStr, flags: u64, options: &CStr) -> Result<()> {
    let strings = [source, target, fstype, options].map(|s| s.as_ptr() as usize);
    let [source, target, fstype, options] = strings;
    // SAFETY: four valid strings, only read (the kernel copies up to a page of the options, and
    // stops where the mapping ends).
    unsafe { syscall(nr::MOUNT, [source, target, fstype, flags as usize, options, 0]) }.map(drop)
}

pub fn set_hostname(name: &[u8]) -> Result<()> {
    // SAFETY: the slice is valid for its length; the call only reads it.
    unsafe { syscall(nr::SETHOSTNAME, [name.as_ptr() as usize, name.len(), 0, 0, 0, 0]) }.map(drop)
}

pub fn load_module(file: &Fd, options: &CStr) -> Result<()> {
    // SAFETY: the string is valid and only read.
    unsafe { syscall(nr::FINIT_MODULE, [file.arg(), options.as_ptr() as usize, 0, 0, 0, 0]) }.map(drop)
}

/// Brings the loopback interface up; a kernel without a network has none.
pub fn loopback_up() {
    const AF_INET: usize = 2;
    const SOCK_DGRAM: usize = 2;
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u8 = 1;
    let Ok(socket) = plain(nr::SOCKET, [AF_INET, SOCK_DGRAM | O_CLOEXEC, 0, 0, 0, 0]) else { return };
    let socket = Fd(socket as i32);
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = IFF_UP;
    let _ = ioctl(&socket, SIOCSIFFLAGS, &mut request);
}

/// Child's id, or 0 in the child. The program has one thread, so the child owns a full copy.
pub fn fork() -> Result<i32> {
    plain(nr::FORK, [0; 6]).map(|pid| pid as i32)
}

/// Waits for any child: its id and its exit status in the shell's notation.
pub fn wait() -> Result<(i32, i32)> {
    let mut status = 0i32;
    let any = -1isize as usize;
    // SAFETY: the call writes one int; no resource usage is asked for.
    let pid = unsafe { syscall(nr::WAIT4, [any, &raw mut status as usize, 0, 0, 0, 0])? };
    let signal = status & 0x7f;
    let code = if signal == 0 { (status >> 8) & 0xff } else { 128 + signal };
    Ok((pid as i32, code))
}

pub fn kill_group(leader: i32, signal: u32) -> Result<()> {
    plain(nr::KILL, [-(leader as isize) as usize, signal as usize, 0, 0, 0, 0]).map(drop)
}

/// Only returns on failure.
pub fn execve(path: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    let pointers =
        |strings: &[CString]| -> Vec<usize> { strings.iter().map(|s| s.as_ptr() as usize).chain([0]).collect() };
    let (argv, env) = (pointers(argv), pointers(env));
    let args = [path.as_ptr() as usize, argv.as_ptr() as usize, env.as_ptr() as usize, 0, 0, 0];
    // SAFETY: a valid string and two NULL-ended arrays of valid strings, all only read.
    match unsafe { syscall(nr::EXECVE, args) } {
        Ok(_) => Errno::EINVAL,
        Err(e) => e,
    }
}

pub fn setsid() -> Result<()> {
    plain(nr::SETSID, [0; 6]).map(drop)
}

pub fn umask(mask: u32) {
    let _ = plain(nr::UMASK, [mask as usize, 0, 0, 0, 0, 0]);
}

/// Takes on the ids, groups first because that needs the privilege the user id may not have.
pub fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    let (uid, gid) = (uid as usize, gid as usize);
    // SAFETY: the slice is valid for its length; the call only reads it.
    unsafe { syscall(nr::SETGROUPS, [groups.len(), groups.as_ptr() as usize, 0, 0, 0, 0])? };
    plain(nr::SETRESGID, [gid, gid, gid, 0, 0, 0])?;
    plain(nr::SETRESUID, [uid, uid, uid, 0, 0, 0]).map(drop)
}

/// An ioctl whose argument is the buffer.
fn ioctl<T: Copy>(fd: &Fd, request: usize, argument: &mut T) -> Result<usize> {
    // SAFETY: callers pair each request with a plain-data type at least as large as its argument.
    unsafe { syscall(nr::IOCTL, [fd.arg(), request, argument as *mut T as usize, 0, 0, 0]) }
}

/// Unlocks the other side of a pseudo-terminal and says its number.
pub fn pty_unlock(master: &Fd) -> Result<i32> {
    const TIOCSPTLCK: usize = 0x4004_5431;
    const TIOCGPTN: usize = 0x8004_5430;
    ioctl(master, TIOCSPTLCK, &mut 0i32)?;
    let mut number = 0i32;
    ioctl(master, TIOCGPTN, &mut number)?;
    Ok(number)
}

pub fn set_winsize(tty: &Fd, (rows, columns): (u16, u16)) -> Result<()> {
    const TIOCSWINSZ: usize = 0x5414;
    ioctl(tty, TIOCSWINSZ, &mut [rows, columns, 0, 0, 0]).map(drop)
}

pub fn set_controlling_tty(tty: &Fd) -> Result<()> {
    const TIOCSCTTY: usize = 0x540e;
    plain(nr::IOCTL, [tty.arg(), TIOCSCTTY, 0, 0, 0, 0]).map(drop)
}

/// Switches output processing and echo off, for a terminal behind another that does both.
pub fn pty_plain(tty: &Fd) -> Result<()> {
    const TCGETS: usize = 0x5401;
    const TCSETS: usize = 0x5402;
    const OPOST: u32 = 1;
    const ECHO: u32 = 0o10;
    // struct termios of the kernel: four words of flags, then 20 bytes.
    let mut termios = [0u32; 9];
    ioctl(tty, TCGETS, &mut termios)?;
    termios[1] &= !OPOST;
    termios[3] &= !ECHO;
    ioctl(tty, TCSETS, &mut termios).map(drop)
}

/// A write to a pipe nobody reads shall fail, not kill.
pub fn ignore_sigpipe() {
    const SIGPIPE: usize = 13;
    const SIG_IGN: usize = 1;
    let action = [SIG_IGN, 0, 0, 0];
    // SAFETY: a struct sigaction that names no handler; the old one is not asked for; the mask
    // is 8 bytes.
    let _ = unsafe { syscall(nr::RT_SIGACTION, [SIGPIPE, action.as_ptr() as usize, 0, 8, 0, 0]) };
}

pub fn exit(code: i32) -> ! {
    loop {
        let _ = plain(nr::EXIT, [code as usize, 0, 0, 0, 0, 0]);
    }
}

/// Writes everything out and switches the machine off.
pub fn power_off() -> ! {
    const MAGIC: [usize; 2] = [0xfee1_dead, 672_274_793];
    const POWER_OFF: usize = 0x4321_fedc;
    const RESTART: usize = 0x0123_4567;
    let _ = plain(nr::SYNC, [0; 6]);
    let _ = plain(nr::REBOOT, [MAGIC[0], MAGIC[1], POWER_OFF, 0, 0, 0]);
    // A machine that cannot switch itself off: the host ends it instead of restarting it.
    let _ = plain(nr::REBOOT, [MAGIC[0], MAGIC[1], RESTART, 0, 0, 0]);
    exit(0)
}

/// What the C library would bring: entry point, memory, and an end for panics.
#[cfg(target_os = "none")]
mod runtime {
    use super::{nr, syscall};
    use core::alloc::{GlobalAlloc, Layout};
    use core::sync::atomic::{AtomicUsize, Ordering};

    core::arch::global_asm!(
        ".globl _start",
        "_start:",
        "xor ebp, ebp",
        "and rsp, -16",
        "call {main}",
        "ud2",
        main = sym main,
    );

    extern "C" fn main() -> ! {
        crate::init()
    }

    /// Hands memory out and never takes it back: the program allocates at start only.
    struct Bump {
        next: AtomicUsize,
        end: AtomicUsize,
    }

    #[global_allocator]
    static ALLOCATOR: Bump = Bump { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

    // SAFETY: the program has one thread; every block lies in a fresh part of a private mapping,
    // aligned as asked and never handed out again.
    unsafe impl GlobalAlloc for Bump {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            const CHUNK: usize = 512 * 1024;
            let start = self.next.load(Ordering::Relaxed).next_multiple_of(layout.align());
            if let Some(stop) = start.checked_add(layout.size())
                && start != 0
                && stop <= self.end.load(Ordering::Relaxed)
            {
                self.next.store(stop, Ordering::Relaxed);
                return start as *mut u8;
            }
            let Some(size) = layout.size().checked_next_multiple_of(CHUNK) else {
                return core::ptr::null_mut();
            };
            const READ_WRITE: usize = 3;
            const PRIVATE_ANONYMOUS: usize = 0x22;
            let none = -1isize as usize;
            // SAFETY: a new private mapping touches no existing memory.
            match unsafe { syscall(nr::MMAP, [0, size, READ_WRITE, PRIVATE_ANONYMOUS, none, 0]) } {
                Ok(base) => {
                    self.next.store(base + layout.size(), Ordering::Relaxed);
                    self.end.store(base + size, Ordering::Relaxed);
                    base as *mut u8
                }
                Err(_) => core::ptr::null_mut(),
            }
        }

        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        super::exit(125)
    }
}

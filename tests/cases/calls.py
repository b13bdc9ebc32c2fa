"""System calls by name, for the case tables.

`import calls as k; k.openat(-100, b"x", 0)` makes the call itself, past the C library, and gives its
result or the name of its error. Arguments are numbers, bytes or str (a path or data), ctypes objects
(their address) and None (a null pointer); `k.BAD` is an address where nothing can be mapped.
"""
import ctypes
import errno
import os
import struct

BAD = 8
AT_FDCWD = -100
NUMBERS = {}
for word in """read=0 write=1 open=2 close=3 lstat=6 poll=7 lseek=8 mmap=9 munmap=11 pread64=17 readv=19 writev=20 access=21
        pipe=22 select=23 mincore=27 madvise=28 pause=34 nanosleep=35 sendfile=40 accept=43 sendmsg=46 recvmsg=47 fork=57 vfork=58
        wait4=61 truncate=76 ftruncate=77 getdents=78 rename=82 mkdir=83 rmdir=84 creat=85 link=86 unlink=87 symlink=88 readlink=89
        chmod=90 chown=92 lchown=94 gettimeofday=96 getrlimit=97 getrusage=98 sysinfo=99 times=100 setuid=105 setgid=106 setpgid=109
        setsid=112 setreuid=113 setregid=114 setresuid=117 getresuid=118 setresgid=119 getresgid=120 getpgid=121 setfsuid=122
        setfsgid=123 getsid=124 rt_sigpending=127 rt_sigsuspend=130 utime=132 mknod=133 statfs=137 getpriority=140 setpriority=141
        sched_setparam=142 sched_getparam=143 sched_setscheduler=144 sched_getscheduler=145 sched_get_priority_max=146
        sched_get_priority_min=147 sched_rr_get_interval=148 mlock=149 munlock=150 mlockall=151 munlockall=152 pivot_root=155
        setrlimit=160 chroot=161 sync=162 mount=165 umount2=166 sethostname=170 setdomainname=171 readahead=187 setxattr=188
        lsetxattr=189 fsetxattr=190 getxattr=191 lgetxattr=192 fgetxattr=193 listxattr=194 llistxattr=195 flistxattr=196
        removexattr=197 lremovexattr=198 fremovexattr=199 time=201 sched_setaffinity=203 sched_getaffinity=204 getdents64=217
        restart_syscall=219 utimes=235 waitid=247 inotify_init=253 inotify_add_watch=254 inotify_rm_watch=255 openat=257
        mkdirat=258 mknodat=259 fchownat=260 futimesat=261 unlinkat=263 renameat=264 linkat=265 symlinkat=266 readlinkat=267
        fchmodat=268 faccessat=269 pselect6=270 ppoll=271 get_robust_list=274 splice=275 tee=276 sync_file_range=277 vmsplice=278
        utimensat=280 signalfd=282 eventfd=284 fallocate=285 accept4=288 signalfd4=289 eventfd2=290 pipe2=293 inotify_init1=294
        preadv=295 pwritev=296 recvmmsg=299 syncfs=306 sendmmsg=307 getcpu=309 process_vm_readv=310 process_vm_writev=311
        renameat2=316 getrandom=318 memfd_create=319 mlock2=325 copy_file_range=326 preadv2=327 pwritev2=328
        pidfd_send_signal=424 pidfd_open=434 close_range=436 openat2=437 pidfd_getfd=438 faccessat2=439 epoll_pwait2=441
        futex_waitv=449 fchmodat2=452 rseq_slice_yield=471 epoll_create1=291 epoll_ctl=233 fcntl=72 fsync=74 fdatasync=75
        getgroups=115""".split():
    NUMBERS[word.split("=")[0]] = int(word.split("=")[1])

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def _argument(value):
    if value is None:
        return ctypes.c_void_p(0)
    if isinstance(value, int):
        return ctypes.c_long(value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return ctypes.c_char_p(value)
    return ctypes.c_void_p(ctypes.addressof(value))


def name_of(number):
    """The name of an error."""
    return errno.errorcode.get(number, f"error {number}")


def call(number, *arguments):
    """The call of this number."""
    result = libc.syscall(ctypes.c_long(number), *map(_argument, arguments))
    return name_of(ctypes.get_errno()) if result == -1 else result


def __getattr__(name):
    if name not in NUMBERS:
        raise AttributeError(name)
    return lambda *arguments: call(NUMBERS[name], *arguments)


def buffer(size, fill=b""):
    """Writable memory."""
    return ctypes.create_string_buffer(fill, size)


def words(memory, form="q"):
    """What memory holds, as a list of numbers."""
    size = struct.calcsize(form)
    return [n for (n,) in struct.iter_unpack(form, memory.raw[: len(memory.raw) // size * size])]


def vector(*parts):
    """An array of `struct iovec`; parts are buffers, bytes or (address, length)."""
    keep = []
    flat = []
    for part in parts:
        if isinstance(part, tuple):
            flat += part
            continue
        if isinstance(part, bytes):
            part = ctypes.create_string_buffer(part, len(part))
        keep.append(part)
        flat += [ctypes.addressof(part), len(part)]
    array = (ctypes.c_ulong * len(flat))(*flat)
    array.keep = keep
    return array


def child(function):
    """Runs a function in a child; how the child ended."""
    import sys

    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            status = function() or 0
        except BaseException as e:
            print("child:", repr(e))
        sys.stdout.flush()
        os._exit(status)
    status = os.waitpid(pid, 0)[1]
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def kind(fd):
    """What a descriptor is open on, without numbers that differ from run to run."""
    if not isinstance(fd, int):
        return fd
    name = os.readlink(f"/proc/self/fd/{fd}")
    return "".join(c for c in name if not c.isdigit()) if name.startswith(("pipe:", "socket:")) else name

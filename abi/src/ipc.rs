//! System V IPC (`linux/ipc.h`, `linux/shm.h`, `linux/sem.h`, `linux/msg.h`, `asm-generic/ipcbuf.h`, `asm/shmbuf.h`,
//! `asm/sembuf.h`, `asm/msgbuf.h`; sysvipc(7)) and POSIX message queues (`linux/mqueue.h`; mq_overview(7)).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The key of an object that only its id leads to.
pub const IPC_PRIVATE: i32 = 0;
/// Create what is not there.
pub const IPC_CREAT: u32 = 0o1000;
/// Fail when it is there.
pub const IPC_EXCL: u32 = 0o2000;
/// Do not wait.
pub const IPC_NOWAIT: u32 = 0o4000;

/// Commands of shmctl, semctl and msgctl.
#[allow(missing_docs)]
pub mod cmd {
    pub const IPC_RMID: i32 = 0;
    pub const IPC_SET: i32 = 1;
    pub const IPC_STAT: i32 = 2;
    pub const IPC_INFO: i32 = 3;

    pub const SHM_LOCK: i32 = 11;
    pub const SHM_UNLOCK: i32 = 12;
    pub const SHM_STAT: i32 = 13;
    pub const SHM_INFO: i32 = 14;
    pub const SHM_STAT_ANY: i32 = 15;

    pub const GETPID: i32 = 11;
    pub const GETVAL: i32 = 12;
    pub const GETALL: i32 = 13;
    pub const GETNCNT: i32 = 14;
    pub const GETZCNT: i32 = 15;
    pub const SETVAL: i32 = 16;
    pub const SETALL: i32 = 17;
    pub const SEM_STAT: i32 = 18;
    pub const SEM_INFO: i32 = 19;
    pub const SEM_STAT_ANY: i32 = 20;

    pub const MSG_STAT: i32 = 11;
    pub const MSG_INFO: i32 = 12;
    pub const MSG_STAT_ANY: i32 = 13;
}

/// `struct ipc64_perm`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct IpcPerm {
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
    pub seq: u16,
    pub pad: [u16; 3],
    pub unused: [u64; 2],
}

/// shmget: huge pages.
pub const SHM_HUGETLB: u32 = 0o4000;
/// shmget: do not count the memory as promised.
pub const SHM_NORESERVE: u32 = 0o10000;
/// shmat: read only.
pub const SHM_RDONLY: u32 = 0o10000;
/// shmat: round the address down.
pub const SHM_RND: u32 = 0o20000;
/// shmat: take the place of what is mapped there.
pub const SHM_REMAP: u32 = 0o40000;
/// shmat: may be executed.
pub const SHM_EXEC: u32 = 0o100000;
/// In the mode: goes when the last attachment goes.
pub const SHM_DEST: u32 = 0o1000;
/// In the mode: locked in memory.
pub const SHM_LOCKED: u32 = 0o2000;

/// `struct shmid64_ds`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ShmidDs {
    pub perm: IpcPerm,
    pub segsz: u64,
    pub atime: i64,
    pub dtime: i64,
    pub ctime: i64,
    pub cpid: i32,
    pub lpid: i32,
    pub nattch: u64,
    pub unused: [u64; 2],
}

/// `struct shminfo64`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ShmInfo64 {
    pub shmmax: u64,
    pub shmmin: u64,
    pub shmmni: u64,
    pub shmseg: u64,
    pub shmall: u64,
    pub unused: [u64; 4],
}

/// `struct shm_info`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ShmInfo {
    pub used_ids: i32,
    pub pad: u32,
    pub shm_tot: u64,
    pub shm_rss: u64,
    pub shm_swp: u64,
    pub swap_attempts: u64,
    pub swap_successes: u64,
}

/// semop: take the operation back when the process ends.
pub const SEM_UNDO: u16 = 0x1000;
/// Highest value of a semaphore.
pub const SEMVMX: i32 = 32767;

/// `struct sembuf`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Sembuf {
    pub num: u16,
    pub op: i16,
    pub flags: u16,
}

/// `struct semid64_ds`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SemidDs {
    pub perm: IpcPerm,
    pub otime: i64,
    pub unused1: u64,
    pub ctime: i64,
    pub unused2: u64,
    pub nsems: u64,
    pub unused3: [u64; 2],
}

/// `struct seminfo`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Seminfo {
    pub semmap: i32,
    pub semmni: i32,
    pub semmns: i32,
    pub semmnu: i32,
    pub semmsl: i32,
    pub semopm: i32,
    pub semume: i32,
    pub semusz: i32,
    pub semvmx: i32,
    pub semaem: i32,
}

/// msgrcv: cut a message that is too long.
pub const MSG_NOERROR: u32 = 0o10000;
/// msgrcv: any type but the one given.
pub const MSG_EXCEPT: u32 = 0o20000;
/// msgrcv: copy the message at an index, leave it in the queue.
pub const MSG_COPY: u32 = 0o40000;

/// `struct msqid64_ds`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct MsqidDs {
    pub perm: IpcPerm,
    pub stime: i64,
    pub rtime: i64,
    pub ctime: i64,
    pub cbytes: u64,
    pub qnum: u64,
    pub qbytes: u64,
    pub lspid: i32,
    pub lrpid: i32,
    pub unused: [u64; 2],
}

/// `struct msginfo`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Msginfo {
    pub msgpool: i32,
    pub msgmap: i32,
    pub msgmax: i32,
    pub msgmnb: i32,
    pub msgmni: i32,
    pub msgssz: i32,
    pub msgtql: i32,
    pub msgseg: u16,
    pub pad: u16,
}

/// Priorities of a POSIX message are less than this.
pub const MQ_PRIO_MAX: u32 = 32768;

/// `struct mq_attr`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct MqAttr {
    pub flags: i64,
    pub maxmsg: i64,
    pub msgsize: i64,
    pub curmsgs: i64,
    pub reserved: [i64; 4],
}

const _: () = assert!(size_of::<IpcPerm>() == 48 && size_of::<ShmidDs>() == 112 && size_of::<SemidDs>() == 104);
const _: () = assert!(size_of::<MsqidDs>() == 120 && size_of::<Msginfo>() == 32 && size_of::<MqAttr>() == 64);

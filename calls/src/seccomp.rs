//! seccomp(2), also by its old way in through prctl(2).

use abi::Errno;
use abi::seccomp::{
    FilterFlags, SeccompData, SeccompNotif, SeccompNotifResp, SeccompNotifSizes, SockFilter, SockFprog,
};
use abi::seccomp::{mode, op};
use alloc::vec::Vec;
use machine::VirtAddr;
use mm::UserPtr;
use task::Cx;
use task::seccomp::{attach, log};
use vfs::Cap;
use zerocopy::{FromZeros, IntoBytes};

/// seccomp(2)
pub fn seccomp(cx: &mut Cx, operation: u32, flags: u32, args: VirtAddr) -> Result<i32, Errno> {
    match operation {
        op::SET_MODE_STRICT if flags != 0 || args.0 != 0 => Err(Errno::EINVAL),
        op::SET_MODE_STRICT => attach::strict(cx).map(|()| 0),
        op::SET_MODE_FILTER => set_filter(cx, flags, UserPtr::new(args)),
        op::GET_ACTION_AVAIL | op::GET_NOTIF_SIZES if flags != 0 => Err(Errno::EINVAL),
        op::GET_ACTION_AVAIL => {
            let action: u32 = UserPtr::new(args).read(cx.mm())?;
            if log::NAMES.iter().any(|(_, a)| *a == action) { Ok(0) } else { Err(Errno::EOPNOTSUPP) }
        }
        op::GET_NOTIF_SIZES => {
            let sizes = SeccompNotifSizes {
                notif: size_of::<SeccompNotif>() as u16,
                resp: size_of::<SeccompNotifResp>() as u16,
                data: size_of::<SeccompData>() as u16,
            };
            UserPtr::new(args).write(cx.mm(), &sizes).map(|()| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `PR_SET_SECCOMP`.
pub(crate) fn prctl_set(cx: &mut Cx, wanted: u64, filter: u64) -> Result<i64, Errno> {
    let (operation, args) = match u8::try_from(wanted) {
        // What filter was given with strict mode has never mattered here.
        Ok(mode::STRICT) => (op::SET_MODE_STRICT, 0),
        Ok(mode::FILTER) => (op::SET_MODE_FILTER, filter),
        _ => return Err(Errno::EINVAL),
    };
    seccomp(cx, operation, 0, VirtAddr(args)).map(i64::from)
}

fn set_filter(cx: &mut Cx, flags: u32, program: UserPtr<SockFprog>) -> Result<i32, Errno> {
    use FilterFlags as F;
    let flags = F::from_bits(flags).ok_or(Errno::EINVAL)?;
    // A thread number as the result would look like a listener's descriptor.
    let unclear = flags.contains(F::TSYNC | F::NEW_LISTENER) && !flags.contains(F::TSYNC_ESRCH);
    if unclear || (flags.contains(F::WAIT_KILLABLE_RECV) && !flags.contains(F::NEW_LISTENER)) {
        return Err(Errno::EINVAL);
    }
    let program = program.read(cx.mm())?;
    let len = usize::from(program.len);
    if len == 0 || len > cbpf::MAX_INSNS {
        return Err(Errno::EINVAL);
    }
    let cred = cx.cred();
    if !cred.no_new_privs && !cred.capable_in(&cred.user_ns, Cap::SysAdmin) {
        return Err(Errno::EACCES);
    }
    attach::filter(cx, read_program(cx, VirtAddr(program.filter), len)?, flags)
}

fn read_program(cx: &Cx, at: VirtAddr, len: usize) -> Result<Vec<cbpf::Insn>, Errno> {
    let mut source = Vec::new();
    source.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    let mut chunk = [SockFilter::new_zeroed(); 64];
    while source.len() < len {
        let part = chunk.get_mut(..(len - source.len()).min(64)).unwrap_or_default();
        let from = at.0.wrapping_add((source.len() * size_of::<SockFilter>()) as u64);
        cx.mm().read_bytes(VirtAddr(from), part.as_mut_bytes())?;
        source.extend(part.iter().map(|f| cbpf::Insn { code: f.code, jt: f.jt, jf: f.jf, k: f.k }));
    }
    Ok(source)
}

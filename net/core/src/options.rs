//! The `SOL_SOCKET` options of socket(7).

use crate::common::{Common, Flag};
use crate::socket::{NetCx, SocketOps};
use abi::Errno;
use abi::socket::{Linger, SOL_SOCKET, so};
use smallvec::SmallVec;
use vfs::Cap;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The value of an option on its way out.
pub type OptValue = SmallVec<[u8; 16]>;

/// Bytes of a value.
pub fn value<T: IntoBytes + Immutable>(v: &T) -> OptValue {
    OptValue::from_slice(v.as_bytes())
}

/// The first `T` of what the user passed; EINVAL when it is shorter.
pub fn read<T: FromBytes>(bytes: &[u8]) -> Result<T, Errno> {
    T::read_from_prefix(bytes).map(|(v, _)| v).map_err(|_| Errno::EINVAL)
}

const SECOND: u64 = 1_000_000_000;

fn flag_of(name: i32) -> Option<Flag> {
    Some(match name {
        so::REUSEADDR => Flag::ReuseAddr,
        so::KEEPALIVE => Flag::KeepAlive,
        so::BROADCAST => Flag::Broadcast,
        so::OOBINLINE => Flag::OobInline,
        so::DONTROUTE => Flag::DontRoute,
        so::DEBUG => Flag::Debug,
        so::REUSEPORT => Flag::ReusePort,
        so::PASSCRED => Flag::PassCred,
        so::PASSPIDFD => Flag::PassPidfd,
        so::TIMESTAMP => Flag::Timestamp,
        _ => return None,
    })
}

/// getsockopt(2).
pub fn get(socket: &dyn SocketOps, level: i32, name: i32) -> Result<OptValue, Errno> {
    if level != SOL_SOCKET {
        return socket.get_option(level, name);
    }
    let common = socket.common();
    if let Some(flag) = flag_of(name) {
        return Ok(value(&i32::from(common.is(flag))));
    }
    Ok(match name {
        so::TYPE => value(&(socket.kind() as i32)),
        so::DOMAIN => value(&i32::from(socket.family())),
        so::PROTOCOL => value(&socket.protocol()),
        so::ERROR => value(&common.take_error().map_or(0, |e| e as i32)),
        so::SNDBUF => value(&(common.sndbuf() as i32)),
        so::RCVBUF => value(&(common.rcvbuf() as i32)),
        so::RCVLOWAT => value(&(common.rcvlowat() as i32)),
        so::SNDLOWAT => value(&1i32),
        so::PRIORITY => value(&(common.priority() as i32)),
        so::LINGER => value(&common.linger()),
        so::RCVTIMEO => timeval(common.rcvtimeo()),
        so::SNDTIMEO => timeval(common.sndtimeo()),
        _ => return socket.get_option(level, name),
    })
}

/// setsockopt(2).
pub fn set(socket: &dyn SocketOps, level: i32, name: i32, bytes: &[u8], cx: &NetCx<'_>) -> Result<(), Errno> {
    if level != SOL_SOCKET {
        return socket.set_option(level, name, bytes, cx);
    }
    let number: i32 = read(bytes)?;
    let common = socket.common();
    if let Some(flag) = flag_of(name) {
        return set_flag(common, flag, number != 0, cx);
    }
    match name {
        so::TYPE | so::PROTOCOL | so::DOMAIN | so::ERROR | so::SNDLOWAT => return Err(Errno::ENOPROTOOPT),
        so::SNDBUF => common.set_sndbuf(number, false),
        so::RCVBUF => common.set_rcvbuf(number, false),
        so::SNDBUFFORCE | so::RCVBUFFORCE if !cx.caller.cred.capable(Cap::NetAdmin) => return Err(Errno::EPERM),
        so::SNDBUFFORCE => common.set_sndbuf(number, true),
        so::RCVBUFFORCE => common.set_rcvbuf(number, true),
        so::RCVLOWAT => common.set_rcvlowat(number),
        so::PRIORITY if (0..=6).contains(&number) || cx.caller.cred.capable(Cap::NetAdmin) => {
            common.set_priority(number as u32);
        }
        so::PRIORITY => return Err(Errno::EPERM),
        so::LINGER => common.set_linger(read::<Linger>(bytes)?),
        so::RCVTIMEO | so::SNDTIMEO => common.set_timeo(name == so::RCVTIMEO, timeout_ns(bytes)?),
        _ => return socket.set_option(level, name, bytes, cx),
    }
    Ok(())
}

fn set_flag(common: &Common, flag: Flag, on: bool, cx: &NetCx<'_>) -> Result<(), Errno> {
    if flag == Flag::Debug && on && !cx.caller.cred.capable(Cap::NetAdmin) {
        return Err(Errno::EACCES);
    }
    common.set(flag, on);
    Ok(())
}

fn timeval(ns: u64) -> OptValue {
    value(&[ns / SECOND, ns % SECOND / 1000])
}

/// A `struct timeval` as a time limit; zero (no limit) for negative seconds, EDOM for microseconds out of range.
fn timeout_ns(bytes: &[u8]) -> Result<u64, Errno> {
    let [sec, usec]: [i64; 2] = read(bytes)?;
    if !(0..1_000_000).contains(&usec) {
        return Err(Errno::EDOM);
    }
    let Ok(sec) = u64::try_from(sec) else { return Ok(0) };
    Ok(sec.saturating_mul(SECOND).saturating_add(usec as u64 * 1000))
}

//! membarrier(2): barriers in the code of all threads, paid for by the one that asks.

use abi::Errno;
use core::sync::atomic::Ordering;
use task::Cx;

const QUERY: i32 = 0;
const GLOBAL: i32 = 1 << 0;
const GLOBAL_EXPEDITED: i32 = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: i32 = 1 << 2;
const PRIVATE_EXPEDITED: i32 = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
const PRIVATE_EXPEDITED_SYNC_CORE: i32 = 1 << 5;
const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: i32 = 1 << 6;
const GET_REGISTRATIONS: i32 = 1 << 9;

/// membarrier(2). Every barrier interrupts every CPU, and the return from an interrupt serialises the instruction stream.
pub fn membarrier(cx: &mut Cx, cmd: i32, flags: u32, _cpu: i32) -> Result<i32, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let registered = cx.mm().barriers();
    let needs = |registration: i32| {
        if registered.load(Ordering::Acquire) & registration as u32 == 0 {
            return Err(Errno::EPERM);
        }
        machine::cpu::barrier_everywhere();
        Ok(0)
    };
    match cmd {
        QUERY => Ok(GLOBAL
            | GLOBAL_EXPEDITED
            | REGISTER_GLOBAL_EXPEDITED
            | PRIVATE_EXPEDITED
            | REGISTER_PRIVATE_EXPEDITED
            | PRIVATE_EXPEDITED_SYNC_CORE
            | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
            | GET_REGISTRATIONS),
        GLOBAL | GLOBAL_EXPEDITED => {
            machine::cpu::barrier_everywhere();
            Ok(0)
        }
        PRIVATE_EXPEDITED => needs(REGISTER_PRIVATE_EXPEDITED),
        PRIVATE_EXPEDITED_SYNC_CORE => needs(REGISTER_PRIVATE_EXPEDITED_SYNC_CORE),
        REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE => {
            registered.fetch_or(cmd as u32, Ordering::AcqRel);
            Ok(0)
        }
        GET_REGISTRATIONS => Ok(registered.load(Ordering::Acquire) as i32),
        _ => Err(Errno::EINVAL),
    }
}

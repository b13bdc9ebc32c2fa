//! membarrier(2): barriers in the code of all threads, paid for by the one that asks.

use abi::Errno;
use core::sync::atomic::Ordering;
use machine::cpu::CpuId;
use task::Cx;

const QUERY: i32 = 0;
const GLOBAL: i32 = 1 << 0;
const GLOBAL_EXPEDITED: i32 = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: i32 = 1 << 2;
const PRIVATE_EXPEDITED: i32 = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
const PRIVATE_EXPEDITED_SYNC_CORE: i32 = 1 << 5;
const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: i32 = 1 << 6;
const PRIVATE_EXPEDITED_RSEQ: i32 = 1 << 7;
const REGISTER_PRIVATE_EXPEDITED_RSEQ: i32 = 1 << 8;
const GET_REGISTRATIONS: i32 = 1 << 9;

/// Only the threads on one CPU are meant.
const FLAG_CPU: u32 = 1;

/// membarrier(2). Every barrier interrupts every CPU, and the return from an interrupt serialises the instruction stream.
pub fn membarrier(cx: &mut Cx, cmd: i32, flags: u32, cpu: i32) -> Result<i32, Errno> {
    if flags & !FLAG_CPU != 0 || flags != 0 && cmd != PRIVATE_EXPEDITED_RSEQ {
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
            | PRIVATE_EXPEDITED_RSEQ
            | REGISTER_PRIVATE_EXPEDITED_RSEQ
            | GET_REGISTRATIONS),
        GLOBAL | GLOBAL_EXPEDITED => {
            machine::cpu::barrier_everywhere();
            Ok(0)
        }
        PRIVATE_EXPEDITED => needs(REGISTER_PRIVATE_EXPEDITED),
        PRIVATE_EXPEDITED_SYNC_CORE => needs(REGISTER_PRIVATE_EXPEDITED_SYNC_CORE),
        PRIVATE_EXPEDITED_RSEQ => {
            if registered.load(Ordering::Acquire) & REGISTER_PRIVATE_EXPEDITED_RSEQ as u32 == 0 {
                return Err(Errno::EPERM);
            }
            // A CPU that does not exist runs no thread; a negative number means all.
            let only = (flags == FLAG_CPU).then(|| u32::try_from(cpu).ok().map(CpuId)).flatten();
            task::rseq::interrupt_all(cx, only);
            Ok(0)
        }
        REGISTER_GLOBAL_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
        | REGISTER_PRIVATE_EXPEDITED_RSEQ => {
            registered.fetch_or(cmd as u32, Ordering::AcqRel);
            Ok(0)
        }
        GET_REGISTRATIONS => Ok(registered.load(Ordering::Acquire) as i32),
        _ => Err(Errno::EINVAL),
    }
}

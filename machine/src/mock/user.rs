//! User mode on the host: there is none; `run` reports an interrupt.

use crate::mem::OutOfFrames;
use crate::user::{BadXstate, Exit, UserCtx};

#[derive(Default)]
pub struct FpuState;

impl FpuState {
    pub fn new() -> Result<FpuState, OutOfFrames> {
        Ok(FpuState)
    }
    pub fn fork(&mut self, _fs: &mut u64, _gs: &mut u64) -> Result<FpuState, OutOfFrames> {
        Ok(FpuState)
    }
    pub fn reset(&mut self) {}
    pub fn save_image(&mut self, _fs: &mut u64, _gs: &mut u64, out: &mut [u8]) {
        out.fill(0);
    }
    pub fn load_image(&mut self, _fs: &mut u64, _gs: &mut u64, _image: Option<&[u8]>) -> Result<(), BadXstate> {
        Ok(())
    }
    pub fn switch_out(&mut self, _fs: &mut u64, _gs: &mut u64) {}
}

pub fn run(_ctx: &mut UserCtx) -> Exit {
    Exit::Interrupt
}

pub fn xstate_size() -> usize {
    512 + 64 + 4
}

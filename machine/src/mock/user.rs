//! User mode on the host: there is none; `run` reports an interrupt.

use crate::mem::OutOfFrames;
use crate::user::{BadXstate, Exit, UserCtx};

pub const ODD_SEGMENTS: u8 = 1;
pub const NO_TSC: u8 = 2;

#[derive(Default)]
pub struct FpuState {
    pub needs: u8,
}

impl FpuState {
    pub fn new() -> Result<FpuState, OutOfFrames> {
        Ok(FpuState::default())
    }
    pub fn fork(&mut self, _fs: &mut u64, _gs: &mut u64) -> Result<FpuState, OutOfFrames> {
        Ok(FpuState::default())
    }
    pub fn reset(&mut self) {}
    pub fn save_image(&mut self, _fs: &mut u64, _gs: &mut u64, out: &mut [u8]) {
        out.fill(0);
    }
    pub fn load_image(&mut self, _fs: &mut u64, _gs: &mut u64, _image: Option<&[u8]>) -> Result<(), BadXstate> {
        Ok(())
    }
    pub fn selectors(&mut self, _fs: &mut u64, _gs: &mut u64) -> u64 {
        0
    }
    pub fn set_selectors(&mut self, _fs: &mut u64, _gs: &mut u64, _s: u64) {}
    pub fn set_need(&mut self, need: u8, on: bool) {
        self.needs = if on { self.needs | need } else { self.needs & !need };
    }
    pub fn switch_out(&mut self, _fs: &mut u64, _gs: &mut u64) {}
}

pub fn is_stack(selector: u16) -> bool {
    selector == crate::segment::USER_SS
}

pub fn run(_ctx: &mut UserCtx) -> Exit {
    Exit::Interrupt
}

pub fn xstate_size() -> usize {
    512 + 64 + 4
}

pub fn xstate_mask() -> u64 {
    3
}

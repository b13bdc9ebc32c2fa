//! Ends the test process.

pub fn off() -> ! {
    exit(0)
}
pub fn reboot() -> ! {
    exit(1)
}
pub fn exit(code: u8) -> ! {
    std::process::exit(i32::from(code))
}

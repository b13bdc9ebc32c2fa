//! Execution domains. Source: `linux/personality.h`, personality(2).

/// No address-space randomization.
pub const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
/// Readable means executable.
pub const READ_IMPLIES_EXEC: u32 = 0x0040_0000;
/// What set-id programs do not inherit.
pub const CLEAR_ON_SETID: u32 = READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE | 0x0010_0000 | 0x0020_0000;

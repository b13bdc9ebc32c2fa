//! Any bytes as a program and the data it looks at: refused, or run to its end within as many steps as it has instructions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ochre_cbpf::{Data, Insn, Program, Rules, Size};

struct Bytes<'a>(&'a [u8]);

impl Data for Bytes<'_> {
    fn load(&self, size: Size, offset: u32) -> Option<u32> {
        let bytes = self.0.get(offset as usize..)?;
        Some(match size {
            Size::Byte => (*bytes.first()?).into(),
            Size::Half => u16::from_be_bytes(*bytes.first_chunk()?).into(),
            Size::Word => u32::from_be_bytes(*bytes.first_chunk()?),
        })
    }
    fn len(&self) -> u32 {
        self.0.len() as u32
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else { return };
    let (program, data) = rest.split_at(rest.len().min(usize::from(count) * 8));
    let insns: Vec<Insn> = program
        .chunks_exact(8)
        .map(|b| Insn {
            code: u16::from_le_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect();
    let socket = Rules::Socket { known_from: 0xffff_f000, known: &[0xffff_f000] };
    for rules in [socket, Rules::Seccomp { size: 64 }] {
        if let Ok(program) = Program::check(&insns, rules) {
            assert_eq!(program.try_run(&Bytes(data)).unwrap_or(0), program.run(&Bytes(data)));
        }
    }
});

extern crate std;
use super::code::*;
use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;
use std::vec;

/// A packet: big-endian loads, nothing beyond its end.
struct Packet(Vec<u8>);

impl Data for Packet {
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

/// Call data of which only the first words are known.
struct Known(Vec<u32>);

impl Data for Known {
    fn load(&self, _: Size, offset: u32) -> Option<u32> {
        self.0.get(offset as usize / 4).copied()
    }
    fn len(&self) -> u32 {
        64
    }
}

const SOCKET: Rules = Rules::Socket { known_from: 0xffff_f000, known: &[0xffff_f000, 0xffff_f004] };
const SECCOMP: Rules = Rules::Seccomp { size: 64 };

fn ok(insns: &[Insn], rules: Rules) -> bool {
    Program::check(insns, rules).is_ok()
}

fn run(insns: &[Insn], packet: &[u8]) -> u32 {
    Program::check(insns, SOCKET).unwrap().run(&Packet(packet.to_vec()))
}

#[test]
fn programs_end_with_a_return_and_have_a_length() {
    assert!(!ok(&[], SOCKET));
    assert!(ok(&[Insn::new(RET | K, 1)], SOCKET));
    assert!(!ok(&[Insn::new(LD | IMM, 1)], SOCKET));
    assert!(ok(&vec![Insn::new(RET | A, 0); MAX_INSNS], SOCKET));
    assert!(!ok(&vec![Insn::new(RET | A, 0); MAX_INSNS + 1], SOCKET));
}

#[test]
fn jumps_stay_inside() {
    let ret = Insn::new(RET | K, 1);
    for (insn, good) in [
        (Insn::new(JMP | JA, 0), true),
        (Insn::new(JMP | JA, 1), true),
        (Insn::new(JMP | JA, 2), false),
        (Insn::new(JMP | JA, u32::MAX), false),
        (Insn::jump(JMP | JEQ | K, 0, 1, 1), true),
        (Insn::jump(JMP | JEQ | K, 0, 2, 0), false),
        (Insn::jump(JMP | JSET | X, 0, 0, 2), false),
    ] {
        assert_eq!(ok(&[insn, ret, ret], SOCKET), good, "{insn:?}");
    }
}

#[test]
fn constant_operands_are_checked_and_variable_ones_are_not() {
    let ret = Insn::new(RET | A, 0);
    for (code, k, good) in [
        (ALU | DIV | K, 0, false),
        (ALU | MOD | K, 0, false),
        (ALU | DIV | K, 1, true),
        (ALU | LSH | K, 31, true),
        (ALU | LSH | K, 32, false),
        (ALU | RSH | K, 32, false),
        (ALU | DIV | X, 0, true),
        (ST, 15, true),
        (ST, 16, false),
        (STX, 16, false),
        (LD | ABS | W, 0xffff_f004, true),
        (LD | ABS | W, 0xffff_f008, false),
        (LD | ABS | H, 0xffff_efff, true),
        (0xff, 0, false),
        (LDX | ABS | W, 0, false),
        (LD | MSH | B, 0, false),
        (RET | X, 0, false),
        (ALU | NEG | X, 0, false),
        (0x100 | ALU | ADD, 0, false),
    ] {
        assert_eq!(ok(&[Insn::new(code, k), ret], SOCKET), good, "{code:#x} {k:#x}");
    }
}

#[test]
fn scratch_words_are_written_before_they_are_read_on_every_path() {
    let ret = Insn::new(RET | A, 0);
    assert!(!ok(&[Insn::new(LD | MEM, 3), ret], SOCKET));
    assert!(ok(&[Insn::new(ST, 3), Insn::new(LD | MEM, 3), ret], SOCKET));
    assert!(!ok(&[Insn::new(ST, 3), Insn::new(LDX | MEM, 4), ret], SOCKET));
    let one_path = |jt, jf| [Insn::jump(JMP | JEQ | K, 0, jt, jf), Insn::new(ST, 0), Insn::new(LD | MEM, 0), ret];
    assert!(ok(&one_path(0, 0), SOCKET));
    assert!(!ok(&one_path(0, 1), SOCKET));
    // Code that nothing reaches does not count.
    assert!(ok(&[Insn::new(JMP | JA, 1), Insn::new(LD | MEM, 0), ret], SOCKET));
}

#[test]
fn seccomp_allows_only_aligned_words_of_the_call_data() {
    let ret = Insn::new(RET | A, 0);
    for (code, k, good) in [
        (LD | W | ABS, 0, true),
        (LD | W | ABS, 60, true),
        (LD | W | ABS, 64, false),
        (LD | W | ABS, 2, false),
        (LD | H | ABS, 0, false),
        (LD | B | ABS, 0, false),
        (LD | W | IND, 0, false),
        (LDX | B | MSH, 0, false),
        (LD | W | LEN, 0, true),
        (LDX | W | LEN, 0, true),
        (ALU | MOD | K, 3, false),
        (ALU | MOD | X, 0, false),
        (ALU | DIV | X, 0, true),
        (ALU | XOR | X, 0, true),
        (MISC | TAX, 0, true),
    ] {
        assert_eq!(ok(&[Insn::new(code, k), ret], SECCOMP), good, "{code:#x} {k:#x}");
    }
}

#[test]
fn arithmetic_wraps_and_a_division_by_zero_gives_nothing() {
    let with = |op: u16, a: u32, x: u32| {
        let program =
            [Insn::new(LD | IMM, a), Insn::new(LDX | IMM, x), Insn::new(ALU | op | X, 0), Insn::new(RET | A, 0)];
        run(&program, &[])
    };
    assert_eq!(with(ADD, u32::MAX, 2), 1);
    assert_eq!(with(SUB, 1, 2), u32::MAX);
    assert_eq!(with(MUL, 1 << 31, 3), 1 << 31);
    assert_eq!((with(DIV, 7, 2), with(DIV, 7, 0)), (3, 0));
    assert_eq!((with(MOD, 7, 4), with(MOD, 7, 0)), (3, 0));
    assert_eq!((with(LSH, 1, 33), with(RSH, 8, 34)), (2, 2));
    assert_eq!((with(AND, 6, 3), with(OR, 6, 3), with(XOR, 6, 3)), (2, 7, 5));
    assert_eq!(run(&[Insn::new(LD | IMM, 1), Insn::new(ALU | NEG, 0), Insn::new(RET | A, 0)], &[]), u32::MAX);
}

#[test]
fn a_packet_filter_finds_the_port_behind_ip_options() {
    // "tcp port 80" on a packet that starts with its IP header.
    let program = [
        Insn::new(LD | B | ABS, 9),
        Insn::jump(JMP | JEQ | K, 6, 0, 4),
        Insn::new(LDX | B | MSH, 0),
        Insn::new(LD | H | IND, 2),
        Insn::jump(JMP | JEQ | K, 80, 0, 1),
        Insn::new(RET | K, 0xffff),
        Insn::new(RET | K, 0),
    ];
    let mut packet = vec![0u8; 40];
    (packet[0], packet[9]) = (0x46, 6);
    packet[24 + 3] = 80;
    assert_eq!(run(&program, &packet), 0xffff);
    packet[0] = 0x45;
    assert_eq!(run(&program, &packet), 0);
    assert_eq!(run(&program, &packet[..9]), 0);
}

#[test]
fn results_that_depend_on_the_number_alone_are_known_beforehand() {
    let allow = 0x7fff_0000;
    let program = [
        Insn::new(LD | W | ABS, 4),
        Insn::jump(JMP | JEQ | K, 0xc000_003e, 1, 0),
        Insn::new(RET | K, 0),
        Insn::new(LD | W | ABS, 0),
        Insn::jump(JMP | JEQ | K, 1, 0, 2),
        Insn::new(LD | W | ABS, 16),
        Insn::jump(JMP | JEQ | K, 2, 0, 1),
        Insn::new(RET | K, allow),
        Insn::new(RET | K, 0x50001),
    ];
    let program = Program::check(&program, SECCOMP).unwrap();
    let known = |nr| program.try_run(&Known(vec![nr, 0xc000_003e]));
    assert_eq!(known(1), None);
    assert_eq!(known(2), Some(allow));
    assert_eq!(program.run(&Known(vec![1, 0xc000_003e, 0, 0, 2])), allow);
}

/// The machine again, written the slow way from the manual on encoded instructions: the model for random programs.
fn model(insns: &[Insn], data: &Packet) -> Option<u32> {
    let (mut a, mut x, mut mem, mut pc) = (0u32, 0u32, [0u32; 16], 0usize);
    loop {
        let i = insns[pc];
        pc += 1;
        let b = if i.code & X != 0 { x } else { i.k };
        let size = [Size::Word, Size::Half, Size::Byte][usize::from(i.code >> 3 & 3).min(2)];
        match i.code & 7 {
            RET => return Some(if i.code & A != 0 { a } else { i.k }),
            LD | LDX => {
                let v = match i.code & 0xe0 {
                    ABS => data.load(size, i.k)?,
                    IND => data.load(size, x.wrapping_add(i.k))?,
                    MEM => mem[i.k as usize],
                    LEN => data.len(),
                    MSH => (data.load(Size::Byte, i.k)? & 15) * 4,
                    _ => i.k,
                };
                *(if i.code & 7 == LD { &mut a } else { &mut x }) = v;
            }
            ST => mem[i.k as usize] = a,
            STX => mem[i.k as usize] = x,
            MISC => *(if i.code & 0xf0 == TAX { &mut x } else { &mut a }) = if i.code & 0xf0 == TAX { a } else { x },
            JMP => {
                let holds = match i.code & 0xf0 {
                    JEQ => a == b,
                    JGT => a > b,
                    JGE => a >= b,
                    JSET => a & b != 0,
                    _ => {
                        pc += i.k as usize;
                        continue;
                    }
                };
                pc += usize::from(if holds { i.jt } else { i.jf });
            }
            _ => {
                a = match i.code & 0xf0 {
                    ADD => a.wrapping_add(b),
                    SUB => a.wrapping_sub(b),
                    MUL => a.wrapping_mul(b),
                    DIV if b == 0 => return Some(0),
                    MOD if b == 0 => return Some(0),
                    DIV => a / b,
                    MOD => a % b,
                    OR => a | b,
                    AND => a & b,
                    LSH => a << (b & 31),
                    RSH => a >> (b & 31),
                    NEG => a.wrapping_neg(),
                    _ => a ^ b,
                }
            }
        }
    }
}

fn some_insn() -> impl Strategy<Value = Insn> {
    let codes: Vec<u16> = (0..0x100u16).filter(|c| Op::decode(Insn::new(*c, 1)).is_some()).collect();
    let k = prop_oneof![4 => 0u32..20, 1 => any::<u32>()];
    (proptest::sample::select(codes), 0u8..6, 0u8..6, k).prop_map(|(code, jt, jf, k)| Insn { code, jt, jf, k })
}

proptest! {
    #[test]
    fn accepted_programs_do_what_the_model_does(
        mut insns in proptest::collection::vec(some_insn(), 0..24),
        packet in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        insns.push(Insn::new(RET | A, 0));
        if let Ok(program) = Program::check(&insns, SOCKET) {
            let packet = Packet(packet);
            prop_assert_eq!(program.try_run(&packet), model(&insns, &packet));
        }
    }

    #[test]
    fn any_instructions_are_refused_or_run(
        raw in proptest::collection::vec((any::<u16>(), any::<u8>(), any::<u8>(), any::<u32>()), 1..8),
    ) {
        let insns: Vec<Insn> = raw.iter().map(|&(code, jt, jf, k)| Insn { code, jt, jf, k }).collect();
        for rules in [SOCKET, SECCOMP] {
            if let Ok(program) = Program::check(&insns, rules) {
                let _ = program.run(&Packet(vec![0; 16]));
            }
        }
    }
}

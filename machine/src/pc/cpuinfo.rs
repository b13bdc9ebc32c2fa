//! What CPUID says, in /proc/cpuinfo's words.

use super::{time, x86};
use crate::cpu::CpuInfo;
use alloc::string::String;

/// Leaf, register (0 EAX .. 3 EDX), and the names of bits from 0 up ("" : not shown).
struct Word {
    leaf: u32,
    sub: u32,
    reg: usize,
    names: &'static str,
}

/// Feature words in the order Linux prints them; `-` stands for a bit without a name.
const WORDS: &[Word] = &[
    Word {
        leaf: 1,
        sub: 0,
        reg: 3,
        names: "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe",
    },
    Word {
        leaf: 0x8000_0001,
        sub: 0,
        reg: 3,
        names: "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow",
    },
    Word {
        leaf: 1,
        sub: 0,
        reg: 2,
        names: "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor",
    },
    Word {
        leaf: 0x8000_0001,
        sub: 0,
        reg: 2,
        names: "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx",
    },
    Word {
        leaf: 7,
        sub: 0,
        reg: 1,
        names: "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl",
    },
    Word { leaf: 0xd, sub: 1, reg: 0, names: "xsaveopt xsavec xgetbv1 xsaves" },
    Word {
        leaf: 7,
        sub: 0,
        reg: 2,
        names: "- avx512vbmi umip - - waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid - - cldemote - movdiri movdir64b enqcmd",
    },
    Word { leaf: 7, sub: 0, reg: 3, names: "- - avx512_4vnniw avx512_4fmaps fsrm" },
];

fn register(leaf: u32, sub: u32, reg: usize) -> u32 {
    let r = x86::cpuid(leaf, sub);
    [r.eax, r.ebx, r.ecx, r.edx][reg & 3]
}

fn text(words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|w| w.to_le_bytes());
    let s: String = bytes.take_while(|b| *b != 0).map(char::from).collect();
    String::from(s.trim())
}

/// Reads everything.
pub fn read() -> CpuInfo {
    let id = x86::cpuid(0, 0);
    let sig = x86::cpuid(1, 0);
    let base_family = sig.eax >> 8 & 15;
    let family = if base_family == 15 { base_family + (sig.eax >> 20 & 0xff) } else { base_family };
    let mut model = sig.eax >> 4 & 15;
    if base_family == 6 || base_family == 15 {
        model |= sig.eax >> 12 & 0xf0;
    }
    let mut flags = String::new();
    for w in WORDS {
        let bits = register(w.leaf, w.sub, w.reg);
        for (i, name) in w.names.split(' ').enumerate() {
            if name != "-" && bits >> i & 1 != 0 {
                if !flags.is_empty() {
                    flags.push(' ');
                }
                flags.push_str(name);
            }
        }
    }
    let mut brand = [0; 12];
    for (i, w) in brand.chunks_mut(4).enumerate() {
        let r = x86::cpuid(0x8000_0002 + i as u32, 0);
        w.copy_from_slice(&[r.eax, r.ebx, r.ecx, r.edx]);
    }
    // AT_HWCAP2: bit 1 says that WRFSBASE and its kin may be used.
    let fsgsbase = u64::from(super::features::has_fsgsbase());
    CpuInfo {
        vendor: text(&[id.ebx, id.edx, id.ecx]),
        model_name: text(&brand),
        family_model_stepping: (family, model, sig.eax & 15),
        flags,
        tsc_khz: time::tsc_hz() / 1000,
        hwcap: (u64::from(sig.edx), fsgsbase << 1),
    }
}

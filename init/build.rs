//! Link arguments of the guest's first process: a plain static ELF at a fixed address, so that it
//! needs neither an interpreter nor relocations of its own.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        for arg in ["--no-pie", "--image-base=0x400000", "-z", "noexecstack", "--build-id=none", "--strip-all"] {
            println!("cargo:rustc-link-arg-bins={arg}");
        }
    }
}

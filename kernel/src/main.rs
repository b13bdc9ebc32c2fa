//! The kernel image: names the function that the machine layer enters once the hardware is set up.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
machine::entry!(ochre_kernel::main);

#[cfg(not(target_os = "none"))]
fn main() {
    // The image itself is built for x86_64-unknown-none: `./x build`.
    print!("{}", ochre_kernel::table::markdown());
}

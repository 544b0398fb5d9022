//! The attack programs in one executable: `attacks NAME MARK ...` runs the program with that name.
//!
//! The executable is static and uses neither libc nor the standard library, so that a sandbox needs
//! no other file. The build script compiles it, and the crate embeds it. Every program bounds
//! itself: if nothing stops it, it does its harm within seconds, reports it, and exits.

#![no_std]
#![no_main]

#[macro_use]
#[path = "../src/attack/names.rs"]
mod names;

mod arch;
mod children;
mod context;
mod files;
mod kernel;
mod memory;
mod network;
mod nr;
mod privileges;
mod processes;
mod report;
mod results;
mod reuse;
mod roles;
mod runtime;
mod sockets;
mod space;
mod spoofing;
mod sys;
mod terminal;
mod time;
mod writing;

use context::AttackContext;

macro_rules! find {
    ($($family:ident: $($name:ident),+;)+) => {
        /// Returns the program with this name.
        fn find(name: &[u8]) -> Option<fn(&AttackContext)> {
            $($(
                if name == stringify!($name).as_bytes() {
                    return Some($family::$name);
                }
            )+)+
            None
        }
    };
}

attacks!(find);

/// Runs the program or the role that the first argument names.
pub(crate) fn main(arguments: &[&'static core::ffi::CStr]) -> ! {
    match arguments.first().map(|name| name.to_bytes()) {
        Some(b"scratch") => roles::run_in_scratch_namespaces(arguments),
        Some(b"bystander") => roles::bystander(),
        Some(b"linger") => children::linger_and_exit(),
        Some(b"share") => roles::manage_shared_ipc(arguments, true),
        Some(b"forget") => roles::forget(arguments),
        Some(b"unshare") => roles::manage_shared_ipc(arguments, false),
        _ => {}
    }
    let Some(context) = AttackContext::from_arguments(arguments) else { sys::exit(2) };
    let Some(attack) = find(context.name.to_bytes()) else { sys::exit(2) };
    context.begin();
    attack(&context);
    context.end()
}

//! The programs that attack a sandbox, all in one: `attacks NAME MARK ...` runs the one with that name.
//!
//! A static program without libc and without the standard library, compiled by the build script of this crate and
//! embedded in it, so that nothing but itself need be in the sandbox. Every program bounds itself: where nothing stops
//! it, it has done its harm soon, says so, and ends.

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
        /// The program with this name.
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

/// Runs the program that the first argument names.
pub(crate) fn main(arguments: &[&'static core::ffi::CStr]) -> ! {
    match arguments.first().map(|name| name.to_bytes()) {
        Some(b"scratch") => roles::main(arguments),
        Some(b"bystander") => roles::bystander(),
        Some(b"linger") => children::linger_and_exit(),
        Some(b"share") => roles::shared(arguments, true),
        Some(b"forget") => roles::forget(arguments),
        Some(b"unshare") => roles::shared(arguments, false),
        _ => {}
    }
    let Some(context) = AttackContext::from_arguments(arguments) else { sys::exit(2) };
    let Some(attack) = find(context.name.to_bytes()) else { sys::exit(2) };
    context.begin();
    attack(&context);
    context.end()
}

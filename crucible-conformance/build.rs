//! Compiles the attack programs into one static executable, which the crate embeds.
//!
//! The build needs only the compiler of this crate, its `core`, and a linker. For a target that the
//! programs do not support, the crate embeds nothing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for path in ["attacks", "src/attack/names.rs", "build.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rustc-check-cfg=cfg(has_attacks)");
    if variable("CARGO_CFG_TARGET_OS") != "linux" || variable("CARGO_CFG_TARGET_ARCH") != "x86_64" {
        println!("cargo::warning=the attack programs are built for Linux on x86_64 only");
        return;
    }
    let output = PathBuf::from(variable("OUT_DIR")).join("attacks");
    compile(&variable("TARGET"), &output);
    println!("cargo::rustc-cfg=has_attacks");
    println!("cargo::rustc-env=CRUCIBLE_ATTACKS={}", output.display());
}

fn compile(target: &str, output: &Path) {
    let mut command = Command::new(variable("RUSTC"));
    command.args(["--edition", "2024", "--crate-type", "bin", "--crate-name", "crucible_attacks"]);
    command.args(["--target", target]);
    // A small, self-contained executable: no unwinding, relocations, interpreter, or symbols.
    command.args([
        "-C",
        "opt-level=s",
        "-C",
        "panic=abort",
        "-C",
        "lto=fat",
        "-C",
        "codegen-units=1",
    ]);
    command.args(["-C", "relocation-model=static", "-C", "strip=symbols"]);
    for argument in
        ["-nostartfiles", "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,-z,noexecstack"]
    {
        command.args(["-C", &format!("link-arg={argument}")]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.args(["-C", &format!("linker={linker}")]);
    }
    // A program that is missing from the list of names is dead code, and fails the build.
    command.args(["-D", "dead_code", "-D", "unused_must_use"]);
    command.arg("-o").arg(output).arg("attacks/main.rs");
    let status = match command.status() {
        Ok(status) => status,
        Err(error) => panic!("cannot run the compiler for the attack programs: {error}"),
    };
    assert!(status.success(), "cannot compile the attack programs: {status}");
}

fn variable(name: &str) -> String {
    match env::var(name) {
        Ok(value) => value,
        Err(error) => panic!("cannot read the variable `{name}`: {error}"),
    }
}

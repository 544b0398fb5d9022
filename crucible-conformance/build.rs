//! Compiles the attacks, one static program, with the compiler that compiles this crate, for embedding.
//!
//! It needs nothing but that compiler, its `core` and a linker. For a target that the program does not know, nothing is
//! embedded.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for path in ["attacks", "src/attack/names.rs", "build.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rustc-check-cfg=cfg(has_attacks)");
    if variable("CARGO_CFG_TARGET_OS") != "linux" || variable("CARGO_CFG_TARGET_ARCH") != "x86_64" {
        println!("cargo::warning=the attacks are programs for Linux on x86_64 only");
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
    // Small, and all in one: no unwinding, no relocation at start, no interpreter, no symbol.
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
    // A program that is in no list, and one that is listed and is not there, do not compile.
    command.args(["-D", "dead_code", "-D", "unused_must_use"]);
    command.arg("-o").arg(output).arg("attacks/main.rs");
    let status = match command.status() {
        Ok(status) => status,
        Err(error) => panic!("cannot run the compiler for the attacks: {error}"),
    };
    assert!(status.success(), "the attacks do not compile: {status}");
}

fn variable(name: &str) -> String {
    match env::var(name) {
        Ok(value) => value,
        Err(error) => panic!("`{name}`: {error}"),
    }
}

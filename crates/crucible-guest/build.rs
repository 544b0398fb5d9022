//! Compiles the guest program with the compiler that compiles this crate, for embedding.
//!
//! It requires only that compiler, its `core` and a linker. For a target that the guest does not
//! support, it embeds nothing, and `BINARY` is `None`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for directory in ["guest", "src/policy", "src/protocol"] {
        println!("cargo::rerun-if-changed={directory}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(has_guest)");
    let os = variable("CARGO_CFG_TARGET_OS");
    let arch = variable("CARGO_CFG_TARGET_ARCH");
    if os != "linux" || arch != "x86_64" {
        println!(
            "cargo::warning=the guest supports only Linux on x86_64; \
             engines that need it return `Unsupported`"
        );
        return;
    }
    let output = PathBuf::from(variable("OUT_DIR")).join("guest");
    compile(&variable("TARGET"), &output);
    println!("cargo::rustc-cfg=has_guest");
    println!("cargo::rustc-env=CRUCIBLE_GUEST={}", output.display());
}

fn compile(target: &str, output: &Path) {
    let mut command = Command::new(variable("RUSTC"));
    command.args([
        "--edition",
        "2024",
        "--crate-type",
        "bin",
        "--crate-name",
        "crucible_guest_program",
    ]);
    command.args(["--target", target]);
    // A small, static program: no unwinding, no relocation at start, no interpreter, no symbols.
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
    command.args([
        "-C",
        "relocation-model=static",
        "-C",
        "strip=symbols",
        "-C",
        "overflow-checks=off",
    ]);
    for argument in
        ["-nostartfiles", "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,-z,noexecstack"]
    {
        command.args(["-C", &format!("link-arg={argument}")]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.args(["-C", &format!("linker={linker}")]);
    }
    // The crate's own tests compile the same code with the lints of the workspace.
    command.args(["--cap-lints", "allow"]);
    command.arg("-o").arg(output).arg("guest/main.rs");
    let status = match command.status() {
        Ok(status) => status,
        Err(error) => panic!("cannot run the compiler for the guest: {error}"),
    };
    assert!(status.success(), "the guest does not compile: {status}");
}

fn variable(name: &str) -> String {
    match env::var(name) {
        Ok(value) => value,
        Err(error) => panic!("`{name}`: {error}"),
    }
}

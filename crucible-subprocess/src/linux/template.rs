//! The root template, as operations for the spawner.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crucible_core::EngineError;
use crucible_guest::protocol::{PACKET_MAX, TemplateOp};
use crucible_guest_client::errors::setup;

use crate::root_fs::{Base, RootFs};

/// How much of a file goes into one packet.
const PIECE: usize = PACKET_MAX - 4096;
/// The most bytes of a file that is copied into the template. The linker's cache has a few ten thousand.
const COPY_MAX: u64 = 4 * 1024 * 1024;

/// The system directories of a host, where they are: directories, or links into `/usr`.
const SYSTEM: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store"];
/// Directories that programs expect to be there, whatever is in them.
const EMPTY: [&str; 9] = ["home", "media", "mnt", "opt", "root", "run", "srv", "sys", "var"];
/// What a sandbox mounts itself.
const OWN: [&str; 5] = ["box", "dev", "proc", "sys", "tmp"];
/// Where the template may be mounted, in the spawner's own mount namespace: whatever is there and no source lies in.
const MOUNT_POINTS: [&str; 6] = ["/mnt", "/media", "/srv", "/opt", "/tmp", "/var/tmp"];

/// Devices by name, major and minor number (the kernel's `devices.txt`).
const DEVICES: [(&str, u32, u32); 5] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)];
/// Links that programs expect in `/dev`.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
];

/// Small files that every program may look for.
const FILES: [(&str, &str); 5] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nsandbox:x:1000:1000:sandbox:/box:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n"),
    ("etc/hostname", "sandbox\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

/// An operation, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Op {
    Directory(PathBuf, u32),
    Link { path: PathBuf, target: PathBuf },
    File { path: PathBuf, mode: u32, data: Vec<u8> },
    Bind { source: PathBuf, path: PathBuf },
    Device { name: &'static str, major: u32, minor: u32 },
    Proc,
}

/// The root template.
#[derive(Debug, Clone)]
pub(super) struct Template {
    ops: Vec<Op>,
    mount_point: PathBuf,
}

impl Template {
    /// Looks at the host and decides what the template is made of.
    pub(super) fn new(root: &RootFs) -> Result<Self, EngineError> {
        let mut ops = Vec::new();
        match &root.base {
            Base::Host => host(&mut ops)?,
            Base::Directory(directory) => {
                copy_of(directory, &mut ops)
                    .map_err(|error| setup(format!("read root {directory:?}"), error))?;
            }
        }
        for path in &root.read_only {
            extra(path, &mut ops)
                .map_err(|error| setup(format!("show {path:?} in the sandbox"), error))?;
        }
        own(&mut ops);
        let mount_point = mount_point(&ops)?;
        Ok(Self { ops, mount_point })
    }

    /// A directory of the host on which the template can be mounted.
    pub(super) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Hands every operation to `apply`, in order, with a text that says what it is about.
    pub(super) fn apply(
        &self,
        mut apply: impl FnMut(&TemplateOp<'_>, &Path) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        for op in &self.ops {
            match op {
                Op::Directory(path, mode) => {
                    apply(&TemplateOp::Directory { path: &text(path), mode: *mode }, path)?;
                }
                Op::Link { path, target } => {
                    apply(&TemplateOp::Link { path: &text(path), target: &text(target) }, path)?;
                }
                Op::File { path, mode, data } => {
                    let name = text(path);
                    apply(&TemplateOp::File { path: &name, mode: *mode, data: &[] }, path)?;
                    for data in data.chunks(PIECE) {
                        apply(&TemplateOp::File { path: &name, mode: *mode, data }, path)?;
                    }
                }
                Op::Bind { source, path } => {
                    apply(&TemplateOp::Bind { source: &text(source), path: &text(path) }, source)?;
                }
                Op::Device { name, major, minor } => {
                    let (path, source) =
                        (Path::new("dev").join(name), Path::new("/dev").join(name));
                    let (major, minor) = (*major, *minor);
                    let op = TemplateOp::Device {
                        source: &text(&source),
                        path: &text(&path),
                        major,
                        minor,
                    };
                    apply(&op, &path)?;
                }
                Op::Proc => apply(&TemplateOp::Proc { path: b"proc\0" }, Path::new("/proc"))?,
            }
        }
        Ok(())
    }
}

/// A path with its NUL. Paths of the host have none within.
fn text(path: &Path) -> Vec<u8> {
    let mut bytes = path.as_os_str().as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// The host's system directories, and what programs need of `/etc`.
fn host(ops: &mut Vec<Op>) -> Result<(), EngineError> {
    let mut shown = false;
    for name in SYSTEM {
        let source = Path::new("/").join(name);
        let found = entry(&source, Path::new(name), ops);
        shown |= found.map_err(|error| setup(format!("look at {source:?}"), error))?;
    }
    if !shown {
        return Err(setup(
            "find the host's system directories",
            io::Error::from(io::ErrorKind::NotFound),
        ));
    }
    ops.extend(EMPTY.map(|name| Op::Directory(name.into(), 0o755)));
    ops.push(Op::Link { path: "var/tmp".into(), target: "../tmp".into() });
    ops.push(Op::Directory("etc".into(), 0o755));
    for (path, content) in FILES {
        ops.push(Op::File { path: path.into(), mode: 0o644, data: content.as_bytes().to_vec() });
    }
    for name in ["etc/ld.so.cache", "etc/ld.so.conf", "etc/protocols", "etc/services"] {
        let source = Path::new("/").join(name);
        match copy(&source, Path::new(name), ops) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(setup(format!("copy {source:?}"), error));
            }
            // Not every system has them.
            _ => {}
        }
    }
    for name in ["etc/alternatives", "etc/ld.so.conf.d"] {
        let source = Path::new("/").join(name);
        if source.is_dir() {
            ops.push(Op::Directory(name.into(), 0o755));
            ops.push(Op::Bind { source, path: name.into() });
        }
    }
    Ok(())
}

/// Every entry of a directory but those that a sandbox mounts itself.
fn copy_of(directory: &Path, ops: &mut Vec<Op>) -> io::Result<()> {
    // The spawner is elsewhere, and a link could lead to where the template is mounted.
    let directory = fs::canonicalize(directory)?;
    let mut names: Vec<_> =
        fs::read_dir(&directory)?.map(|e| e.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    for name in names {
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        let source = directory.join(&name);
        if source.symlink_metadata()?.is_file() {
            copy(&source, Path::new(&name), ops)?;
        } else {
            entry(&source, Path::new(&name), ops)?;
        }
    }
    Ok(())
}

/// A directory is shown, a link repeated; `false` if there is neither.
fn entry(source: &Path, path: &Path, ops: &mut Vec<Op>) -> io::Result<bool> {
    let metadata = match source.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if metadata.is_symlink() {
        ops.push(Op::Link { path: path.to_owned(), target: fs::read_link(source)? });
        return Ok(true);
    }
    if metadata.is_dir() {
        parents(path, ops);
        ops.push(Op::Directory(path.to_owned(), 0o755));
        ops.push(Op::Bind { source: source.to_owned(), path: path.to_owned() });
        return Ok(true);
    }
    Ok(false)
}

fn copy(source: &Path, path: &Path, ops: &mut Vec<Op>) -> io::Result<()> {
    let metadata = fs::metadata(source)?;
    if metadata.len() > COPY_MAX {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    parents(path, ops);
    let mode = metadata.mode() & 0o755 | 0o444;
    ops.push(Op::File { path: path.to_owned(), mode, data: fs::read(source)? });
    Ok(())
}

/// Something of the host at its own path.
fn extra(source: &Path, ops: &mut Vec<Op>) -> io::Result<()> {
    let path =
        source.strip_prefix("/").map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    if path.as_os_str().is_empty()
        || path.components().any(|part| matches!(part, std::path::Component::ParentDir))
    {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let metadata = fs::metadata(source)?;
    parents(path, ops);
    if metadata.is_dir() {
        make_directory(path, ops);
    } else {
        ops.push(Op::File { path: path.to_owned(), mode: 0o644, data: Vec::new() });
    }
    ops.push(Op::Bind { source: fs::canonicalize(source)?, path: path.to_owned() });
    Ok(())
}

fn parents(path: &Path, ops: &mut Vec<Op>) {
    let mut above: Vec<_> =
        path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect();
    above.reverse();
    for parent in above {
        make_directory(parent, ops);
    }
}

/// Makes a directory unless it is made already, or lies in something that is shown.
fn make_directory(path: &Path, ops: &mut Vec<Op>) {
    let there = ops.iter().any(|op| match op {
        Op::Directory(made, _) => made == path,
        Op::Bind { path: shown, .. } => path.starts_with(shown),
        _ => false,
    });
    if !there {
        ops.push(Op::Directory(path.to_owned(), 0o755));
    }
}

/// What a sandbox mounts itself, and devices.
fn own(ops: &mut Vec<Op>) {
    for name in ["box", "proc", "tmp", "sys"] {
        make_directory(Path::new(name), ops);
    }
    ops.extend(DEVICES.map(|(name, major, minor)| Op::Device { name, major, minor }));
    ops.extend(
        DEVICE_LINKS.map(|(path, target)| Op::Link { path: path.into(), target: target.into() }),
    );
    // As writable as `/tmp`, and bounded with it.
    ops.push(Op::Link { path: "dev/shm".into(), target: "../tmp".into() });
    ops.push(Op::Proc);
}

fn mount_point(ops: &[Op]) -> Result<PathBuf, EngineError> {
    let hides_a_source = |candidate: &Path| {
        ops.iter().any(|op| matches!(op, Op::Bind { source, .. } if source.starts_with(candidate)))
    };
    MOUNT_POINTS
        .iter()
        .map(Path::new)
        .find(|candidate| candidate.is_dir() && !hides_a_source(candidate))
        .map(Path::to_owned)
        .ok_or_else(|| {
            setup(
                "find a directory to mount the root template on",
                io::Error::from(io::ErrorKind::NotFound),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binds(template: &Template) -> Vec<&Path> {
        template
            .ops
            .iter()
            .filter_map(|op| match op {
                Op::Bind { path, .. } => Some(path.as_path()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn the_hosts_template_shows_system_directories_only() {
        let template = Template::new(&RootFs::host()).unwrap();
        assert!(binds(&template).contains(&Path::new("usr")));
        for path in binds(&template) {
            let system = SYSTEM.iter().any(|name| path == Path::new(name));
            assert!(
                system
                    || path.starts_with("etc/alternatives")
                    || path.starts_with("etc/ld.so.conf.d"),
                "{path:?}"
            );
        }
    }

    #[test]
    fn a_mount_point_hides_no_source() {
        let ops = [Op::Bind { source: "/mnt/tools".into(), path: "mnt/tools".into() }];
        assert_ne!(mount_point(&ops).unwrap(), Path::new("/mnt"));
    }

    #[test]
    fn what_is_added_must_be_absolute_and_there() {
        for path in ["relative", "/", "/usr/../etc", "/does/not/exist"] {
            assert!(Template::new(&RootFs::host().with_read_only(path)).is_err(), "{path}");
        }
        let template = Template::new(&RootFs::host().with_read_only("/etc/alternatives")).unwrap();
        assert!(binds(&template).contains(&Path::new("etc/alternatives")));
    }

    #[test]
    fn every_operation_fits_into_a_packet() {
        let ops = vec![Op::File { path: "big".into(), mode: 0o644, data: vec![7; 3 * PIECE + 5] }];
        let template = Template { ops, mount_point: "/mnt".into() };
        let mut total = 0;
        let applied = template.apply(|op, _| {
            let mut packet = vec![0; PACKET_MAX];
            let mut writer = crucible_guest::protocol::WireWriter::new(&mut packet);
            op.encode(&mut writer).unwrap();
            let TemplateOp::File { data, .. } = op else { panic!() };
            total += data.len();
            Ok(())
        });
        applied.unwrap();
        assert_eq!(total, 3 * PIECE + 5);
    }
}

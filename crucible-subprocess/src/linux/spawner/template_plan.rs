//! The plan of the root file system: the operations that the spawner executes.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crucible_core::EngineError;
use crucible_guest::protocol::{PACKET_MAX, TemplateOp};
use crucible_guest_client::errors::setup;

use crate::root_fs::{Base, RootFs};

/// Bytes of file content in one packet.
const CHUNK: usize = PACKET_MAX - 4096;
/// The largest file that is copied into the template. The linker's cache has a few ten thousand
/// bytes.
const COPY_MAX: u64 = 4 * 1024 * 1024;

/// The host's system directories: real directories, or links into `/usr`.
const SYSTEM: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store"];
/// Empty directories that programs expect.
const EMPTY: [&str; 9] = ["home", "media", "mnt", "opt", "root", "run", "srv", "sys", "var"];
/// Directories that each sandbox mounts itself.
const OWN: [&str; 5] = ["box", "dev", "proc", "sys", "tmp"];
/// Candidates for the template's mount point in the spawner's own mount namespace: the first one
/// that exists and contains no bind source.
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

/// Small files that programs expect.
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

/// An operation with owned data.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OwnedOp {
    Directory(PathBuf, u32),
    Link { path: PathBuf, target: PathBuf },
    File { path: PathBuf, mode: u32, data: Vec<u8> },
    Bind { source: PathBuf, path: PathBuf },
    Device { name: &'static str, major: u32, minor: u32 },
    Proc,
}

/// The plan of the root file system that sandboxes inherit.
#[derive(Debug, Clone)]
pub(crate) struct TemplatePlan {
    ops: Vec<OwnedOp>,
    mount_point: PathBuf,
}

impl TemplatePlan {
    /// Reads the host's directories and plans the template.
    pub(crate) fn new(root: &RootFs) -> Result<Self, EngineError> {
        let mut builder = TemplateBuilder::default();
        match &root.base {
            Base::Host => builder.add_host()?,
            Base::Directory(directory) => {
                builder
                    .add_directory(directory)
                    .map_err(|error| setup(format!("read root {directory:?}"), error))?;
            }
        }
        for path in &root.read_only {
            builder
                .add_read_only(path)
                .map_err(|error| setup(format!("show {path:?} in the sandbox"), error))?;
        }
        builder.add_own();
        let mount_point = mount_point(&builder.ops)?;
        Ok(Self { ops: builder.ops, mount_point })
    }

    /// Returns the directory of the host on which the template is mounted.
    pub(super) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Passes each operation to `apply`, in order, with the path that error messages name.
    pub(super) fn apply(
        &self,
        mut apply: impl FnMut(&TemplateOp<'_>, &Path) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        for op in &self.ops {
            match op {
                OwnedOp::Directory(path, mode) => {
                    apply(&TemplateOp::Directory { path: &c_path(path), mode: *mode }, path)?;
                }
                OwnedOp::Link { path, target } => {
                    let op = TemplateOp::Link { path: &c_path(path), target: &c_path(target) };
                    apply(&op, path)?;
                }
                OwnedOp::File { path, mode, data } => {
                    let name = c_path(path);
                    apply(&TemplateOp::File { path: &name, mode: *mode, data: &[] }, path)?;
                    for data in data.chunks(CHUNK) {
                        apply(&TemplateOp::File { path: &name, mode: *mode, data }, path)?;
                    }
                }
                OwnedOp::Bind { source, path } => {
                    let op = TemplateOp::Bind { source: &c_path(source), path: &c_path(path) };
                    apply(&op, source)?;
                }
                OwnedOp::Device { name, major, minor } => {
                    let (path, source) =
                        (Path::new("dev").join(name), Path::new("/dev").join(name));
                    let (major, minor) = (*major, *minor);
                    let op = TemplateOp::Device {
                        source: &c_path(&source),
                        path: &c_path(&path),
                        major,
                        minor,
                    };
                    apply(&op, &path)?;
                }
                OwnedOp::Proc => {
                    apply(&TemplateOp::Proc { path: b"proc\0" }, Path::new("/proc"))?;
                }
            }
        }
        Ok(())
    }
}

/// The operations of a template under construction.
#[derive(Debug, Default)]
struct TemplateBuilder {
    ops: Vec<OwnedOp>,
}

impl TemplateBuilder {
    /// Adds the host's system directories, and the files in `/etc` that programs need.
    fn add_host(&mut self) -> Result<(), EngineError> {
        let mut has_any = false;
        for name in SYSTEM {
            let source = Path::new("/").join(name);
            let added = self.add_entry(&source, Path::new(name));
            has_any |= added.map_err(|error| setup(format!("inspect {source:?}"), error))?;
        }
        if !has_any {
            return Err(setup(
                "find the host's system directories",
                io::Error::from(io::ErrorKind::NotFound),
            ));
        }
        self.ops.extend(EMPTY.map(|name| OwnedOp::Directory(name.into(), 0o755)));
        self.ops.push(OwnedOp::Link { path: "var/tmp".into(), target: "../tmp".into() });
        self.ops.push(OwnedOp::Directory("etc".into(), 0o755));
        for (path, content) in FILES {
            let data = content.as_bytes().to_vec();
            self.ops.push(OwnedOp::File { path: path.into(), mode: 0o644, data });
        }
        for name in ["etc/ld.so.cache", "etc/ld.so.conf", "etc/protocols", "etc/services"] {
            let source = Path::new("/").join(name);
            match self.add_copy(&source, Path::new(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(setup(format!("copy {source:?}"), error));
                }
                // Some systems do not have these files.
                _ => {}
            }
        }
        for name in ["etc/alternatives", "etc/ld.so.conf.d"] {
            let source = Path::new("/").join(name);
            if source.is_dir() {
                self.ops.push(OwnedOp::Directory(name.into(), 0o755));
                self.ops.push(OwnedOp::Bind { source, path: name.into() });
            }
        }
        Ok(())
    }

    /// Adds every entry of a directory except the mount points of a sandbox.
    fn add_directory(&mut self, directory: &Path) -> io::Result<()> {
        // The spawner has another working directory, and a link could lead to the mount point.
        let directory = fs::canonicalize(directory)?;
        let mut names: Vec<_> = fs::read_dir(&directory)?
            .map(|e| e.map(|e| e.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        for name in names {
            if OWN.iter().any(|own| name == *own) {
                continue;
            }
            let source = directory.join(&name);
            if source.symlink_metadata()?.is_file() {
                self.add_copy(&source, Path::new(&name))?;
            } else {
                self.add_entry(&source, Path::new(&name))?;
            }
        }
        Ok(())
    }

    /// Binds a directory or repeats a link. Returns `false` if the source is neither.
    fn add_entry(&mut self, source: &Path, path: &Path) -> io::Result<bool> {
        let metadata = match source.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if metadata.is_symlink() {
            let target = fs::read_link(source)?;
            self.ops.push(OwnedOp::Link { path: path.to_owned(), target });
            return Ok(true);
        }
        if metadata.is_dir() {
            self.add_parents(path);
            self.ops.push(OwnedOp::Directory(path.to_owned(), 0o755));
            self.ops.push(OwnedOp::Bind { source: source.to_owned(), path: path.to_owned() });
            return Ok(true);
        }
        Ok(false)
    }

    fn add_copy(&mut self, source: &Path, path: &Path) -> io::Result<()> {
        let metadata = fs::metadata(source)?;
        if metadata.len() > COPY_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.add_parents(path);
        let mode = metadata.mode() & 0o755 | 0o444;
        self.ops.push(OwnedOp::File { path: path.to_owned(), mode, data: fs::read(source)? });
        Ok(())
    }

    /// Binds a file or directory of the host at its own path.
    fn add_read_only(&mut self, source: &Path) -> io::Result<()> {
        let path =
            source.strip_prefix("/").map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        if path.as_os_str().is_empty()
            || path.components().any(|part| matches!(part, Component::ParentDir))
        {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let metadata = fs::metadata(source)?;
        self.add_parents(path);
        if metadata.is_dir() {
            self.add_missing_directory(path);
        } else {
            let path = path.to_owned();
            self.ops.push(OwnedOp::File { path, mode: 0o644, data: Vec::new() });
        }
        let source = fs::canonicalize(source)?;
        self.ops.push(OwnedOp::Bind { source, path: path.to_owned() });
        Ok(())
    }

    fn add_parents(&mut self, path: &Path) {
        let mut above: Vec<_> =
            path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect();
        above.reverse();
        for parent in above {
            self.add_missing_directory(parent);
        }
    }

    /// Adds a directory unless it is planned already or lies beneath a bind.
    fn add_missing_directory(&mut self, path: &Path) {
        let exists = self.ops.iter().any(|op| match op {
            OwnedOp::Directory(planned, _) => planned == path,
            OwnedOp::Bind { path: bound, .. } => path.starts_with(bound),
            _ => false,
        });
        if !exists {
            self.ops.push(OwnedOp::Directory(path.to_owned(), 0o755));
        }
    }

    /// Adds the mount points of a sandbox, and devices.
    fn add_own(&mut self) {
        for name in ["box", "proc", "tmp", "sys"] {
            self.add_missing_directory(Path::new(name));
        }
        self.ops.extend(DEVICES.map(|(name, major, minor)| OwnedOp::Device { name, major, minor }));
        self.ops.extend(
            DEVICE_LINKS
                .map(|(path, target)| OwnedOp::Link { path: path.into(), target: target.into() }),
        );
        // Writable like `/tmp`, and within its bound.
        self.ops.push(OwnedOp::Link { path: "dev/shm".into(), target: "../tmp".into() });
        self.ops.push(OwnedOp::Proc);
    }
}

/// Converts a path to a C string. Paths of the host contain no NUL.
fn c_path(path: &Path) -> Vec<u8> {
    let mut bytes = path.as_os_str().as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn mount_point(ops: &[OwnedOp]) -> Result<PathBuf, EngineError> {
    let hides_source = |candidate: &Path| {
        ops.iter()
            .any(|op| matches!(op, OwnedOp::Bind { source, .. } if source.starts_with(candidate)))
    };
    MOUNT_POINTS
        .iter()
        .map(Path::new)
        .find(|candidate| candidate.is_dir() && !hides_source(candidate))
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

    fn binds(template: &TemplatePlan) -> Vec<&Path> {
        template
            .ops
            .iter()
            .filter_map(|op| match op {
                OwnedOp::Bind { path, .. } => Some(path.as_path()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn host_template_binds_system_directories_only() {
        let template = TemplatePlan::new(&RootFs::host()).unwrap();
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
    fn mount_point_hides_no_bind_source() {
        let ops = [OwnedOp::Bind { source: "/mnt/tools".into(), path: "mnt/tools".into() }];
        assert_ne!(mount_point(&ops).unwrap(), Path::new("/mnt"));
    }

    #[test]
    fn read_only_path_must_be_absolute_and_exist() {
        for path in ["relative", "/", "/usr/../etc", "/does/not/exist"] {
            assert!(TemplatePlan::new(&RootFs::host().with_read_only(path)).is_err(), "{path}");
        }
        let root = RootFs::host().with_read_only("/etc/alternatives");
        let template = TemplatePlan::new(&root).unwrap();
        assert!(binds(&template).contains(&Path::new("etc/alternatives")));
    }

    #[test]
    fn large_file_is_split_into_packets() {
        let data = vec![7; 3 * CHUNK + 5];
        let ops = vec![OwnedOp::File { path: "big".into(), mode: 0o644, data }];
        let template = TemplatePlan { ops, mount_point: "/mnt".into() };
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
        assert_eq!(total, 3 * CHUNK + 5);
    }
}

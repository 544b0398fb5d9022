//! Cases on isolation: a program sees nothing of the host.

use std::time::Duration;

use crucible_core::{
    Command, Deviation, Ending, Evaluation, Evidence, ExecOptions, Layer, Verdict,
};

use super::support::{
    Subject, enforces, exec_stdout, limits, open, python, run, sh, shell, stdout_of,
};

/// The program can reach no address, and has no interface except the loopback and no route.
pub async fn network_is_unreachable(engine: Subject) {
    if !enforces(&engine, &[Layer::NetworkNamespace]).await {
        return;
    }
    let source = "
import socket
for family in (socket.AF_INET, socket.AF_INET6):
    for address in ('127.0.0.1', '10.0.0.1', '169.254.169.254', '8.8.8.8', '::1'):
        for port in (22, 53, 80):
            try:
                with socket.socket(family, socket.SOCK_STREAM) as s:
                    s.settimeout(2)
                    s.connect((address, port))
            except OSError:
                continue
            print('reached', address, port)
with open('/proc/net/dev') as file:
    names = [line.split(':')[0].strip() for line in file if ':' in line]
    print(sorted(set(names) - {'lo'}))
with open('/proc/net/route') as file:
    print(len(file.readlines()[1:]))
";
    assert_eq!(python(&engine, source).await, "[]\n0\n");
}

/// Host processes are invisible by name and by number.
pub async fn host_processes_are_invisible(engine: Subject) {
    if !enforces(&engine, &[Layer::PidNamespace]).await {
        return;
    }
    let source = format!(
        "
import os
own = {{os.getpid()}}
seen = {{int(name) for name in os.listdir('/proc') if name.isdigit()}}
print(sorted(seen - own - {{1}}))
try:
    os.kill({host}, 0)
    print('can signal {host}')
except OSError:
    pass
",
        host = std::process::id()
    );
    assert_eq!(python(&engine, &source).await, "[]\n");
}

/// Host files do not exist in the sandbox, whatever their permissions on the host.
pub async fn host_files_are_invisible(engine: Subject) {
    if !enforces(&engine, &[Layer::MountNamespace]).await {
        return;
    }
    let canary = std::env::temp_dir().join(format!("crucible-canary-{}", std::process::id()));
    std::fs::write(&canary, "a canary of the host").unwrap();
    let mut paths = vec![
        canary.display().to_string(),
        std::env::current_exe().unwrap().display().to_string(),
        format!("/proc/{}/root", std::process::id()),
        "/var/run/docker.sock".to_owned(),
        "/run/dbus/system_bus_socket".to_owned(),
    ];
    if !engine.info().images {
        // An image has its own copies of these paths.
        paths.extend(
            ["/etc/shadow", "/root/.profile", "/var/log", "/sys/kernel"].map(str::to_owned),
        );
    }
    let script =
        format!("for path in {}; do ls -d \"$path\" 2>/dev/null; done; true", paths.join(" "));
    let seen = shell(&engine, &script).await;
    std::fs::remove_file(&canary).unwrap();
    assert_eq!(seen, "");
}

/// The program has standard input, output and error, and no further descriptor.
pub async fn host_descriptors_are_not_inherited(engine: Subject) {
    // The last descriptor is the directory that the program lists.
    let source = "
import os
fds = sorted(int(name) for name in os.listdir('/proc/self/fd'))
print(fds[:3], [fd for fd in fds[3:] if os.path.exists(f'/proc/self/fd/{fd}')])
print([os.readlink(f'/proc/self/fd/{fd}').split(':')[0] for fd in fds[:3]])
";
    let text = python(&engine, source).await;
    assert!(text.starts_with("[0, 1, 2] []\n"), "{text}");
}

/// Only `/tmp`, `/box` and `/dev/shm` are writable, also for a program that runs as root inside.
pub async fn only_scratch_directories_are_writable(engine: Subject) {
    let source = "
import os
writable = []
for top, directories, files in os.walk('/', onerror=lambda error: None):
    if top.startswith('/proc'):
        directories.clear()
        continue
    if top.count('/') > 3 and not top.startswith('/dev'):
        directories.clear()
    name = os.path.join(top, 'crucible-canary')
    try:
        with open(name, 'x'):
            pass
        os.remove(name)
        writable.append(top)
        directories.clear()
    except OSError:
        pass
print(sorted(set(writable) - {'/dev/shm'}))
for path in ('/etc/passwd', '/usr/bin/env', '/proc/sys/kernel/hostname', '/proc/sysrq-trigger'):
    try:
        open(path, 'a').close()
        print('can write to', path)
    except OSError:
        pass
";
    assert_eq!(python(&engine, source).await, "['/box', '/tmp']\n");
}

/// The program has no privilege and no way to gain one.
pub async fn program_has_no_privileges(engine: Subject) {
    let source = "
import os
status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
print(os.getuid() != 0, os.geteuid() == os.getuid(), status.get('NoNewPrivs', 'unknown').strip())
print(sorted({int(status.get(name, '0'), 16) for name in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb')}))
print(int(status['CapBnd'], 16))
";
    let text = python(&engine, source).await;
    if engine.info().differs(Deviation::LessInProc) {
        // This `/proc` does not show the flag. The attacks show its effect.
        assert!(text.starts_with("True True unknown\n[0]\n"), "{text}");
    } else {
        assert_eq!(text, "True True 1\n[0]\n0\n");
    }
}

/// The host name in the sandbox differs from the host's.
pub async fn host_name_differs_from_host(engine: Subject) {
    if enforces(&engine, &[Layer::UtsNamespace]).await {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_ne!(python(&engine, "import os; print(os.uname().nodename)").await, host);
    }
}

/// In the next sandbox, every writable directory and the shared memory are empty.
pub async fn next_sandbox_starts_empty(engine: Subject) {
    let leave = "
import os
for directory in ('/tmp', '/box', '/dev/shm', '/var/tmp'):
    try:
        with open(directory + '/left', 'w') as file:
            file.write('left')
    except OSError:
        # A directory that is not writable cannot keep a file.
        assert directory == '/var/tmp', directory
";
    python(&engine, leave).await;
    let look = "ls -A /tmp /dev/shm /var/tmp /box | grep left; \
                cat /proc/sysvipc/shm 2>/dev/null | wc -l; true";
    // One line of headings, if the kernel has the file.
    let headings = if engine.info().differs(Deviation::LessInProc) { "0" } else { "1" };
    assert_eq!(shell(&engine, look).await.trim(), headings);
}

/// Two concurrent sandboxes share no file, no abstract socket, and no shared memory.
pub async fn concurrent_sandboxes_share_nothing(engine: Subject) {
    if !enforces(&engine, &[Layer::NetworkNamespace, Layer::IpcNamespace]).await {
        return;
    }
    let meet = "
import os, socket, time
meeting = '\\0crucible-meeting'
listener = socket.socket(socket.AF_UNIX)
try:
    listener.bind(meeting)
    listener.listen()
    print('alone')
except OSError as error:
    print('another listener', error)
open('/tmp/meeting', 'x').close()
open('/dev/shm/meeting of others', 'x').close()
time.sleep(1)
";
    let evaluation = Evaluation::python(meet).with_limits(limits());
    let (one, other) = tokio::join!(run(&engine, &evaluation), run(&engine, &evaluation));
    assert_eq!((stdout_of(&one), stdout_of(&other)), ("alone\n".to_owned(), "alone\n".to_owned()));
}

/// A signal to all processes does not leave the sandbox.
pub async fn signals_stay_inside_sandbox(engine: Subject) {
    let neighbour = Evaluation::shell("sleep 1.5; echo alive").with_limits(limits());
    let attack = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let source = "import os, signal\nos.kill(-1, signal.SIGKILL)\n";
        run(&engine, &Evaluation::python(source).with_limits(limits())).await
    };
    let (neighbour, _) = tokio::join!(run(&engine, &neighbour), attack);
    assert_eq!(stdout_of(&neighbour), "alive\n");
}

/// The first process of the sandbox belongs to the engine and may have the program's user. A
/// program cannot harm it, and the next command gets its true verdict.
pub async fn guest_process_survives_program_attacks(engine: Subject) {
    let attack = "
import os, resource, signal
for number in range(1, 65):
    try:
        os.kill(1, number)
    except OSError:
        pass
for limit in range(16):
    try:
        resource.prlimit(1, limit, (0, 0))
        print('limited', limit)
    except (OSError, ValueError):
        pass
for name, content in (('mem', b'\\0'), ('oom_score_adj', b'1000'), ('comm', b'x')):
    try:
        with open('/proc/1/' + name, 'wb', buffering=0) as file:
            file.write(content)
        print('wrote', name)
    except OSError:
        pass
for directory in ('fd', 'map_files', 'ns'):
    try:
        names = os.listdir('/proc/1/' + directory)
        print(directory, [os.readlink(f'/proc/1/{directory}/{name}') for name in names])
    except OSError:
        pass
";
    let sandbox = open(&engine).await;
    let command = Command::new(["python3", "-c", attack]);
    let text = exec_stdout(&sandbox.exec(&command, ExecOptions::new()).await.unwrap());
    if engine.info().differs(Deviation::GuestIsSeen) {
        assert!(text.lines().all(|line| line.starts_with("fd ")), "{text}");
        let open = "
import os
for name in os.listdir('/proc/1/fd'):
    for flags in (os.O_RDONLY, os.O_WRONLY):
        try:
            os.open('/proc/1/fd/' + name, flags | os.O_NONBLOCK)
        except OSError:
            continue
        target = os.readlink('/proc/1/fd/' + name)
        if target not in ('/dev/null', '/box', '/tmp', '/dev/shm'):
            print('opened', target)
";
        let command = Command::new(["python3", "-c", open]);
        assert_eq!(exec_stdout(&sandbox.exec(&command, ExecOptions::new()).await.unwrap()), "");
    } else {
        assert_eq!(text, "");
    }
    let exit = sh(&*sandbox, "kill -9 1; kill -STOP 1; exit 3").await;
    assert_eq!(exit.verdict(), Verdict::Exited { code: 3 });
    sandbox.close().await.unwrap();
}

/// A program cannot create namespaces, in which it would be root.
pub async fn nested_namespaces_are_refused(engine: Subject) {
    if !enforces(&engine, &[Layer::Seccomp]).await {
        return;
    }
    let source = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
    if libc.unshare(flag) == 0:
        print('unshared', hex(flag))
print(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), libc.chroot(b'/tmp'))
";
    let outcome = run(&engine, &Evaluation::python(source).with_limits(limits())).await;
    assert_eq!(outcome.stdout.to_text(), "-1 -1\n", "{}", outcome.stderr.to_text());
    assert_eq!(
        outcome.ending(),
        Some(Ending::Exited { code: 0 }),
        "the calls were refused, and the program continued"
    );
    // An engine that observes refusals reports them. Another engine must not invent any.
    match outcome.verdict() {
        Verdict::PolicyViolation { .. } => {
            let is_violation =
                |fact: &Evidence| matches!(fact, Evidence::Violation { what } if !what.is_empty());
            assert!(outcome.evidence().iter().any(is_violation));
        }
        verdict => assert_eq!(*verdict, Verdict::Exited { code: 0 }),
    }
}

/// The layers in the engine's report match the state in the kernel's files.
pub async fn reported_layers_match_kernel_state(engine: Subject) {
    let info = engine.info();
    let source = "
import os
status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
print(status.get('Seccomp', '').strip(), status.get('NoNewPrivs', '').strip())
for kind in ('user', 'pid', 'mnt', 'net', 'ipc', 'uts', 'cgroup'):
    try:
        print(os.readlink('/proc/self/ns/' + kind))
    except FileNotFoundError:
        print(kind + ':unknown')
";
    let text = python(&engine, source).await;
    let mut lines = text.lines();
    let status = lines.next().unwrap();
    let less = info.differs(Deviation::LessInProc);
    if info.enforcement.enforces(Layer::Seccomp) && !less {
        assert!(status.starts_with("2 "), "{status}");
    }
    let layers = [
        Layer::UserNamespace,
        Layer::PidNamespace,
        Layer::MountNamespace,
        Layer::NetworkNamespace,
        Layer::IpcNamespace,
        Layer::UtsNamespace,
        Layer::CgroupNamespace,
    ];
    for (layer, inside) in layers.into_iter().zip(lines) {
        let kind = inside.split(':').next().unwrap();
        let outside = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        if info.enforcement.enforces(layer) {
            assert_ne!(inside, outside.to_string_lossy(), "{layer}");
        }
    }
}

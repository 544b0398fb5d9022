//! Tests that compilers and runtimes work under the filter, without violations.
//!
//! The programs in `REQUIRED` must be installed. Tests of other languages are skipped if they are
//! not installed, unless `CRUCIBLE_REQUIRE_LANGUAGES` is set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::runs::{run, with_root};
use super::support::engine;
use crucible_core::{Evaluation, Evidence, Limits};
use crucible_subprocess::{RootFs, SubprocessEngine};

/// Programs that must be installed. Node, Go, Rust and Java are optional.
const REQUIRED: [&str; 4] = ["/usr/bin/python3", "/usr/bin/gcc", "/usr/bin/bash", "/usr/bin/perl"];

fn limits() -> Limits {
    Limits::new()
        .with_wall(Duration::from_secs(50))
        .with_cpu(Duration::from_secs(50))
        .with_memory_bytes(2 << 30)
        .with_disk_bytes(512 << 20)
        .with_inodes(10_000)
        .with_processes(256)
}

/// Runs a script beside a source file in `/box`. The script must succeed without a violation, and
/// print `works` as its last line.
#[track_caller]
fn works(engine: &SubprocessEngine, name: &str, source: &str, script: &str) {
    let evaluation = Evaluation::shell(script)
        .with_file(name, source.to_owned())
        .with_env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .with_limits(limits());
    let outcome = run(engine, &evaluation);
    let (stdout, stderr) = (outcome.stdout.to_text(), outcome.stderr.to_text());
    let violated = outcome.evidence().iter().any(|fact| matches!(fact, Evidence::Violation { .. }));
    assert!(!violated, "{}: {stdout}\n{stderr}", outcome.verdict());
    assert!(outcome.is_success(), "{}: {stdout}\n{stderr}", outcome.verdict());
    assert_eq!(stdout.lines().last(), Some("works"), "{stdout}\n{stderr}");
}

#[test]
fn required_programs_are_installed() {
    for program in REQUIRED {
        assert!(Path::new(program).exists(), "install {program}");
    }
}

#[test]
fn python_works_without_violation() {
    let source = "
import asyncio, concurrent.futures, mmap, multiprocessing, os, signal, socket, sqlite3, subprocess, tempfile, threading

def square(number):
    return number * number

async def main():
    process = await asyncio.create_subprocess_exec('echo', 'child', stdout=subprocess.PIPE)
    assert (await process.communicate())[0] == b'child\\n'
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
    server = await asyncio.start_unix_server(serve, '/tmp/socket')
    reader, writer = await asyncio.open_unix_connection('/tmp/socket')
    writer.write(b'echo\\n')
    assert await reader.readline() == b'echo\\n'
    server.close()

if __name__ == '__main__':
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(square, range(100))) == 328350
    with multiprocessing.Pool(3) as pool:
        assert sum(pool.map(square, range(100))) == 328350
    assert subprocess.run(['sh', '-c', 'cat'], input=b'in', stdout=subprocess.PIPE).stdout == b'in'
    asyncio.run(main())
    left, right = socket.socketpair()
    left.send(b'x')
    assert right.recv(1) == b'x'
    with tempfile.TemporaryFile() as file:
        file.truncate(1 << 16)
        with mmap.mmap(file.fileno(), 0) as view:
            view[100] = 7
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    while not seen:
        signal.pause()
    base = sqlite3.connect('/tmp/base')
    base.execute('create table t(x)')
    base.execute('insert into t values (6 * 7)')
    assert base.execute('select x from t').fetchone() == (42,)
    lock, event = threading.Lock(), threading.Event()
    thread = threading.Thread(target=event.set)
    thread.start()
    assert event.wait(20)
    os.sched_getaffinity(0)
    print('works')
";
    works(&engine(), "work.py", source, "python3 work.py");
}

const C: &str = r#"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile sig_atomic_t seen;
static void note(int number) { seen = number; }
static void *add(void *sum) { for (int i = 0; i < 1000; i++) __sync_fetch_and_add((long *)sum, i); return NULL; }
int main(void) {
    long *sum = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) if (pthread_create(&threads[i], NULL, add, sum)) return 1;
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return 2;
    pid_t child = fork();
    if (child == 0) { char c = 'c'; _exit(write(pair[1], &c, 1) == 1 ? 7 : 8); }
    char c = 0;
    int status;
    if (read(pair[0], &c, 1) != 1 || waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7) return 3;
    signal(SIGUSR1, note);
    raise(SIGUSR1);
    FILE *stream = popen("echo through", "r");
    char line[32] = "";
    if (!fgets(line, sizeof line, stream) || pclose(stream)) return 4;
    if (*sum != 8 * 499500 || c != 'c' || seen != SIGUSR1 || strcmp(line, "through\n")) return 5;
    puts("works");
    return 0;
}
"#;

#[test]
fn gcc_works_without_violation() {
    let engine = engine();
    works(&engine, "work.c", C, "gcc -O2 -Wall -pthread -o work work.c && ./work");
    // With several processes and a multi-threaded linker.
    works(&engine, "work.c", C, "gcc -O2 -flto=2 -pipe -pthread -g -o work work.c && ./work");
}

#[test]
fn bash_works_without_violation() {
    let script = "
set -eu
exec 3< <(seq 1 100)
total=0
while read -r -u 3 number; do total=$((total + number)); done
trap 'caught=yes' USR1
kill -USR1 $$
[ \"$total $caught\" = '5050 yes' ]
mkfifo /tmp/fifo
echo through > /tmp/fifo &
read -r line < /tmp/fifo
[ \"$line\" = through ]
wait
for number in 1 2 3 4 5; do (sleep 0.01; echo $number) & done | sort | tr -d '\\n' | grep -qx 12345
ulimit -c 0
seq 1 10000 | sort -n -r | tail -1 | grep -qx 1
tar cf - work.sh | gzip | gunzip | tar tf - | grep -qx work.sh
echo works
";
    works(&engine(), "work.sh", script, "bash work.sh");
}

#[test]
fn perl_works_without_violation() {
    let source = r#"
use strict; use warnings;
use IO::Socket::UNIX; use IPC::Open3; use POSIX ":sys_wait_h"; use File::Temp; use Socket;
my $server = IO::Socket::UNIX->new(Local => "/tmp/perl", Listen => 1) or die $!;
my $pid = fork // die;
if (!$pid) { my $c = IO::Socket::UNIX->new(Peer => "/tmp/perl") or die $!; print $c "hello\n"; exit 5 }
my $line = $server->accept->getline;
waitpid($pid, 0);
die unless $line eq "hello\n" && $? >> 8 == 5;
my $seen = 0;
$SIG{ALRM} = sub { $seen = 1 };
alarm 1; select undef, undef, undef, 5 until $seen;
die unless `echo child` eq "child\n";
my $file = File::Temp->new; print $file "x" x 100000; close $file;
print "works\n";
"#;
    works(&engine(), "work.pl", source, "perl work.pl");
}

/// Returns the path of a program, if it is installed.
fn find(name: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/usr/local/bin", "/usr/local/go/bin"]
        .map(|place| Path::new(place).join(name));
    found.into_iter().find(|path| path.exists())
}

/// Skips a test of a program that is not installed. Fails if `CRUCIBLE_REQUIRE_LANGUAGES` is set.
fn skip(name: &str) {
    assert!(std::env::var_os("CRUCIBLE_REQUIRE_LANGUAGES").is_none(), "{name} is not installed");
    println!("SKIPPED: {name} is not installed");
}

#[test]
fn node_works_without_violation() {
    if find("node").is_none() {
        return skip("node");
    }
    let source = r"
const { Worker, isMainThread, parentPort } = require('worker_threads');
if (!isMainThread) { parentPort.postMessage(6 * 7); return; }
const assert = require('assert'), net = require('net'), fs = require('fs'), zlib = require('zlib');
const { execFile } = require('child_process'), { promisify } = require('util'), crypto = require('crypto');
(async () => {
    assert.equal((await promisify(execFile)('echo', ['child'])).stdout, 'child\n');
    const worker = new Worker(__filename);
    assert.equal(await new Promise((done) => worker.on('message', done)), 42);
    const server = net.createServer((socket) => socket.pipe(socket)).listen('/tmp/node');
    const client = net.connect('/tmp/node');
    client.write('echo');
    assert.equal(String(await new Promise((done) => client.once('data', done))), 'echo');
    client.destroy();
    server.close();
    await fs.promises.writeFile('/tmp/file', zlib.gzipSync('x'.repeat(100000)));
    assert.equal(zlib.gunzipSync(await fs.promises.readFile('/tmp/file')).length, 100000);
    await promisify(crypto.pbkdf2)('p', 's', 1000, 32, 'sha256');
    const signal = new Promise((done) => process.once('SIGUSR2', done));
    // Waiting for a signal does not keep Node alive.
    const alive = setInterval(() => {}, 1000);
    process.kill(process.pid, 'SIGUSR2');
    await signal;
    clearInterval(alive);
    console.log('works');
})();
";
    works(&engine(), "work.js", source, "node work.js");
}

#[test]
fn java_works_without_violation() {
    if find("javac").is_none() {
        return skip("a Java compiler");
    }
    let source = r#"
import java.nio.file.*;
import java.util.concurrent.*;
import java.util.stream.*;
public class Work {
    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        long sum = 0;
        for (Future<Integer> f : pool.invokeAll(IntStream.range(0, 100)
                .mapToObj(i -> (Callable<Integer>) () -> i).collect(Collectors.toList()))) sum += f.get();
        pool.shutdown();
        Process child = new ProcessBuilder("echo", "child").start();
        String line = new String(child.getInputStream().readAllBytes());
        Path file = Files.createTempFile("work", "");
        Files.write(file, new byte[100000]);
        int[] numbers = IntStream.range(0, 1000000).parallel().map(i -> i ^ 21).sorted().toArray();
        System.gc();
        if (sum != 4950 || !line.equals("child\n") || child.waitFor() != 0 || Files.size(file) != 100000
                || numbers.length != 1000000) System.exit(1);
        System.out.println("works");
    }
}
"#;
    // Java follows links into `/etc`, so that their targets must be visible.
    let settings = Path::new("/etc").read_dir().unwrap().flatten().map(|entry| entry.path());
    let settings = settings.filter(|path| path.to_string_lossy().starts_with("/etc/java"));
    let root = settings.fold(RootFs::host(), RootFs::with_read_only);
    let engine =
        with_root(root).unwrap_or_else(|error| panic!("{}", crucible_core::error_chain(&error)));
    works(&engine, "Work.java", source, "javac Work.java && java -Xmx256m Work");
}

#[test]
fn go_works_without_violation() {
    let Some(go) = find("go") else { return skip("go") };
    let source = r#"
package main
import ("fmt"; "net"; "os"; "os/exec"; "os/signal"; "sync"; "syscall")
func main() {
	var group sync.WaitGroup
	var lock sync.Mutex
	sum := 0
	for i := 0; i < 100; i++ { group.Add(1); go func(i int) { defer group.Done(); lock.Lock(); sum += i; lock.Unlock() }(i) }
	group.Wait()
	out, err := exec.Command("echo", "child").Output()
	if err != nil || string(out) != "child\n" || sum != 4950 { os.Exit(1) }
	listener, err := net.Listen("unix", "/tmp/go")
	if err != nil { os.Exit(2) }
	go func() { c, _ := net.Dial("unix", "/tmp/go"); c.Write([]byte("x")) }()
	c, err := listener.Accept()
	if err != nil { os.Exit(3) }
	c.Read(make([]byte, 1))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	<-signals
	fmt.Println("works")
}
"#;
    let build = "export HOME=/tmp GOCACHE=/tmp/cache GO111MODULE=off CGO_ENABLED=0";
    works(&engine(), "work.go", source, &format!("{build}; {} run work.go", go.display()));
}

const RUST: &str = r#"
use std::{os::unix::net::UnixStream, io::{Read, Write}, process::Command, sync::mpsc, thread};
fn main() {
    let (sender, receiver) = mpsc::channel();
    for number in 0..8u32 { let sender = sender.clone(); thread::spawn(move || sender.send(number).unwrap()); }
    drop(sender);
    assert_eq!(receiver.iter().sum::<u32>(), 28);
    assert_eq!(Command::new("echo").arg("child").output().unwrap().stdout, b"child\n");
    let (mut left, mut right) = UnixStream::pair().unwrap();
    left.write_all(b"x").unwrap();
    right.read_exact(&mut [0]).unwrap();
    println!("works");
}
"#;

/// Uses the toolchain of this test. Other users must be able to read it.
#[test]
fn rust_works_without_violation() {
    let output = std::process::Command::new("rustc").args(["--print", "sysroot"]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        return skip("rustc");
    };
    let tools = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let root = RootFs::host().with_read_only(&tools);
    let engine =
        with_root(root).unwrap_or_else(|error| panic!("{}", crucible_core::error_chain(&error)));
    let compile = format!("{}/bin/rustc --edition 2021 -O work.rs", tools.display());
    works(&engine, "work.rs", RUST, &format!("{compile} && ./work"));
}

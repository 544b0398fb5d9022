//! Interpreters that are started, and have imported what programs mostly import, before there is a program for them. Each runs one, in a
//! sandbox of its own, so that programs share no memory, no hash seed, and no layout of addresses.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use crucible_core::{
    Command, EngineError, Evaluation, InvalidInput, Language, Languages, Limits, Network, EvaluationPlan,
    Problem, SandboxPath,
};
use crucible_guest::protocol::{self, FrameKind, STDIO_PASSED, WriteRequest};
use crucible_guest_client::errors::{lost, setup};
use crucible_guest_client::{
    Channel as _, ChannelExt as _, Disconnected, PendingRequest, files, request,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;

use super::engine::Inner;
use super::exec::{Asked, rlimits};
use super::frames::send_blocking;
use super::janitor::Remains;
use super::link::Link;
use super::preopen::Preopened;
use super::pump::readable;
use super::resources::{Resources, Size};

/// What an interpreter runs before its program.
const BOOTSTRAP: &str = include_str!("warm.py");
/// The directory of that, which is gone when the interpreter is ready.
const DIRECTORY: &str = ".crucible";
const FILE: &[u8] = b".crucible/sitecustomize.py\0";
const SEARCHED: &str = "PYTHONPATH";
/// The id of the requests that start an interpreter: the first that a desk gives out.
const REQUEST: u32 = 1;
/// How often an interpreter is asked whether it is ready that was taken before it was.
const LOOK_AGAIN: Duration = Duration::from_micros(500);
/// What an interpreter reads in its environment when it starts, or whatever it is linked with.
const READ_AT_START: [&str; 10] =
    ["PYTHON", "PATH", "HOME", "LD_", "LC_", "LANG", "GLIBC_", "MALLOC_", "OPENSSL_", "TZ"];
/// Where an interpreter looks for modules of its user's when it starts, and where ours are.
const LOOKED_FOR_AT_START: [&str; 2] = [".local", DIRECTORY];

/// A language whose interpreters are started ahead of time.
#[derive(Debug, Clone)]
pub(crate) struct Warm {
    language: Language,
    modules: Vec<String>,
}

/// What tells one waiting interpreter from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    /// Which of the engine's languages it is for.
    pub(super) language: usize,
    pub(super) size: Size,
    pub(super) rlimits: Vec<u8>,
}

/// An interpreter that was started, in its sandbox.
#[derive(Debug)]
pub(super) struct Interpreter {
    pub(super) sandbox: Preopened,
    pub(super) streams: Streams,
}

/// Our ends of its streams.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) stdin: OwnedFd,
    pub(super) outputs: [OwnedFd; 2],
}

/// An interpreter that waits for the word to go, in a sandbox that has an owner.
#[derive(Debug)]
pub(super) struct Waiting {
    id: u32,
    language: usize,
    streams: Streams,
}

impl Waiting {
    /// One that was started over a link on which nobody has asked anything yet.
    pub(super) fn over(link: &Link, language: usize, streams: Streams) -> Self {
        Self { id: link.router().reserve_request(), language, streams }
    }

    /// Waits until it has imported what it is to; `false` if it has ended instead.
    pub(super) async fn is_ready(&self) -> Result<bool, EngineError> {
        let ask = |error| setup("ask after an interpreter", error);
        loop {
            let mut reader =
                [PollFd::from_borrowed_fd(self.streams.stdin.as_fd(), PollFlags::empty())];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if rustix::event::poll(&mut reader, Some(&now)).map_err(ask)? > 0 {
                // Nobody will read it any more.
                return Ok(false);
            }
            // It reads what it finds there when all is done.
            if rustix::io::ioctl_fionread(&self.streams.stdin).map_err(ask)? == 0 {
                return Ok(true);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Gives it the word to go, and goes on with it as with a command that was just asked for. Nobody says of a program that it ran whose
    /// interpreter did not get the word: that is an error, which [`was_given`] finds.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of the word on the way: the sandbox is of no use then.
    pub(super) async fn take_up<'a>(
        self,
        inner: &Inner,
        link: &'a Link,
        command: &Command,
        has_input: bool,
    ) -> Result<Asked<'a>, EngineError> {
        let Self { id, language, streams: Streams { stdin, outputs: [stdout, stderr] } } = self;
        let Some(warm) = inner.resources().warm.get(language) else {
            return Err(EngineError::Closed { what: "the language".to_owned() });
        };
        let pipes = |error| setup("make the command's pipes", error);
        let outputs = [readable(stdout).map_err(pipes)?, readable(stderr).map_err(pipes)?];
        // By way of the guest, which has put the program in its place by then: nobody need wait for that.
        let fed = link.router().open_request();
        let word = warm.word_to_go(command);
        let sent = link.send_with(FrameKind::WriteFd, fed.id(), &word, &[], &[stdin.as_fd()]).await;
        // One that is gone may have said why: that is read later.
        if let Err(Disconnected::Error(error)) = sent {
            return Err(error);
        }
        let mut fed = Some(fed);
        if has_input && let Some(fed) = fed.take() {
            // What comes next on the same way must not come before.
            match link.response(&fed).await {
                Ok(frame) if frame.kind == FrameKind::Done => {}
                _ => return Err(not_given(link)),
            }
        }
        Ok(Asked { question: link.router().resume_request(id), stdin, outputs, status: true, fed })
    }
}

/// Whether an interpreter that has ended had got the word to go; an error if it had not, and has run nothing.
pub(super) fn was_given(link: &Link, fed: &PendingRequest<'_>) -> Result<(), EngineError> {
    if link.router().has_response(fed.id(), &[FrameKind::Done]) {
        Ok(())
    } else {
        Err(not_given(link))
    }
}

/// Why an interpreter did not get the word to go.
fn not_given(link: &Link) -> EngineError {
    let failed = files::check_inputs(link);
    failed.err().unwrap_or_else(|| lost("giving an interpreter its program", false))
}

impl Warm {
    pub(crate) fn new(language: Language, modules: Vec<String>) -> Self {
        Self { language, modules }
    }

    /// What is wrong with it.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let [interpreter, file] = &*self.language.run.argv else {
            let message = "runs more than an interpreter with a file, or less; it cannot be started ahead of time";
            return vec![Problem::new("ready_interpreters", message)];
        };
        let name = interpreter.rsplit('/').next().unwrap_or_default();
        if !name.starts_with("python3")
            || *file != self.language.file.as_str()
            || self.language.compile.is_some()
        {
            let message =
                format!("`{interpreter}` cannot be started ahead of its program; Python 3 can");
            problems.push(Problem::new("ready_interpreters", message));
        }
        let is_read =
            |variable: &&String| READ_AT_START.iter().any(|read| variable.starts_with(read));
        if let Some(variable) = self.language.run.env.keys().find(is_read) {
            problems.push(Problem::new(
                "ready_interpreters",
                format!("sets `{variable}`, which decides how it starts"),
            ));
        }
        let is_name = |name: &str| {
            let mut characters = name.chars();
            characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
                && characters.all(|other| other.is_alphanumeric() || other == '_')
        };
        for module in self.modules.iter().filter(|module| !module.split('.').all(is_name)) {
            problems.push(Problem::new(
                "ready_interpreters",
                format!("`{module}` is not the name of a module"),
            ));
        }
        problems
    }

    /// Whether an evaluation can run in a waiting interpreter: what it runs is what that one has begun to run.
    fn takes(&self, evaluation: &Evaluation, plan: &EvaluationPlan) -> bool {
        let (run, command) = (&self.language.run, &plan.command);
        let is_read =
            |variable: &String| READ_AT_START.iter().any(|read| variable.starts_with(read));
        let is_looked_for = |path: &SandboxPath| {
            LOOKED_FOR_AT_START.iter().any(|looked| path.as_str().starts_with(looked))
        };
        command.argv.starts_with(&run.argv)
            && command.directory == run.directory
            && plan.compile.is_none()
            && !plan.files.iter().any(|file| is_looked_for(&file.path))
            && !plan
                .files
                .iter()
                .any(|file| file.path == self.language.file && may_be_an_archive(&file.content))
            && evaluation.network == Network::None
            && evaluation.collect.is_empty()
            && run.env.iter().all(|(name, value)| command.env.get(name) == Some(value))
            && !command.env.keys().any(is_read)
            && command.lost_secrets().next().is_none()
    }

    /// What the bootstrap reads before the program's own input: its arguments and its environment.
    pub(super) fn word_to_go(&self, command: &Command) -> Vec<u8> {
        let terminated = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        };
        let (mut arguments, mut variables) = (Vec::new(), Vec::new());
        for argument in command.argv.iter().skip(self.language.run.argv.len()) {
            terminated(&mut arguments, argument);
        }
        for (name, value) in
            command.env.iter().filter(|(name, _)| !self.language.run.env.contains_key(*name))
        {
            terminated(&mut variables, &format!("{name}={}", value.reveal().unwrap_or_default()));
        }
        let mut word = format!("{:08x}{:08x}", arguments.len(), variables.len()).into_bytes();
        word.append(&mut arguments);
        word.append(&mut variables);
        word
    }

    /// The interpreter's own code, with what it is to import.
    fn bootstrap(&self) -> String {
        format!("{BOOTSTRAP}wait({:?})\n", self.modules)
    }
}

/// Whether an interpreter would take a program for an archive of modules: where it finds the end of one (`zipimport`).
fn may_be_an_archive(program: &[u8]) -> bool {
    program.windows(4).any(|bytes| bytes == b"PK\x05\x06")
}

/// The first of the languages that an evaluation can wait for less with.
pub(super) fn language_of(
    warm: &[Warm],
    evaluation: &Evaluation,
    languages: &Languages,
) -> Result<Option<usize>, InvalidInput> {
    if warm.is_empty() {
        return Ok(None);
    }
    let plan = EvaluationPlan::new(evaluation, languages)?;
    Ok(warm.iter().position(|warm| warm.takes(evaluation, &plan)))
}

impl Kind {
    pub(super) fn new(
        language: usize,
        limits: &Limits,
        resources: &Resources,
    ) -> Result<Self, EngineError> {
        Ok(Self { language, size: Size::from(limits), rlimits: rlimits(resources, limits)? })
    }
}

impl Interpreter {
    /// Opens a sandbox and starts an interpreter in it. What one leaves that was not to be had is put with what is `left`.
    pub(super) fn start(
        resources: &Resources,
        kind: &Kind,
        left: &mut Vec<Remains>,
    ) -> Result<Self, EngineError> {
        let Some(warm) = resources.warm.get(kind.language) else {
            return Err(EngineError::Closed { what: "the language".to_owned() });
        };
        let sandbox = Preopened::open(resources, kind.size, left)?;
        match begin(warm, kind, sandbox.channel.as_fd()) {
            Ok(streams) => Ok(Self { sandbox, streams }),
            Err(error) => {
                left.push(sandbox.into_remains());
                Err(error)
            }
        }
    }
}

/// Sends the bootstrap, and has the interpreter started.
fn begin(warm: &Warm, kind: &Kind, channel: BorrowedFd<'_>) -> Result<Streams, EngineError> {
    let pipe = || {
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map_err(|error| setup("make the command's pipes", error))
    };
    let ((stdin_theirs, stdin), (stdout, stdout_theirs), (stderr, stderr_theirs)) =
        (pipe()?, pipe()?, pipe()?);
    rustix::io::write(&stdin, b"r").map_err(|error| setup("start an interpreter", error))?;
    let bootstrap = warm.bootstrap();
    let write =
        WriteRequest { first: true, last: true, quiet: true, mode: 0o600, path: FILE, data: &[] };
    let mut payload = request::encode(64 + FILE.len(), |writer| write.encode_head(writer))?;
    payload.extend_from_slice(bootstrap.as_bytes());
    send_blocking(channel, FrameKind::Write, REQUEST, &payload, &[])?;
    let command = warm.language.run.clone().with_env(SEARCHED, format!("/box/{DIRECTORY}"));
    let terms = request::ExecParameters {
        stdio: STDIO_PASSED,
        variables: &[],
        on_exit: protocol::OnExit::Seal,
        // It may wait for long. The host's clock decides, as it always does.
        deadline_us: 0,
        status: true,
        quiet_us: 0,
        lend_mounts: false,
        rlimits: &kind.rlimits,
    };
    let payload = request::exec(&command, terms)?;
    let fds = [stdin_theirs.as_fd(), stdout_theirs.as_fd(), stderr_theirs.as_fd()];
    send_blocking(channel, FrameKind::Exec, REQUEST, &payload, &fds)?;
    Ok(Streams { stdin, outputs: [stdout, stderr] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(language: Language, modules: &[&str]) -> usize {
        Warm::new(language, modules.iter().map(|&name| name.to_owned()).collect()).problems().len()
    }

    #[test]
    fn what_cannot_wait_is_refused() {
        assert_eq!(fields(Language::python(), &["json", "os.path", "_a1"]), 0);
        assert_eq!(fields(Language::python(), &["", "a b", "1a", "a.", "x\"]; evil("]), 5);
        let languages = Languages::builtin();
        for name in ["sh", "node", "c"] {
            assert_eq!(fields(languages.get(name).unwrap().clone(), &[]), 1, "{name}");
        }
        let main = || "main.py".try_into().unwrap();
        let isolated = Command::new(["python3", "-I", "main.py"]);
        assert_eq!(fields(Language::new("python", main(), isolated), &[]), 1);
        let variable = Command::new(["python3", "main.py"]).with_env("PYTHONHASHSEED", "1");
        assert_eq!(fields(Language::new("python", main(), variable), &[]), 1);
    }

    #[test]
    fn only_what_has_begun_to_run_can_go_on() {
        let warm = Warm::new(Language::python(), Vec::new());
        let takes = |evaluation: &Evaluation| {
            warm.takes(evaluation, &EvaluationPlan::new(evaluation, &Languages::builtin()).unwrap())
        };
        assert!(takes(&Evaluation::python("pass")));
        assert!(takes(&Evaluation::python("pass").with_arg("-x").with_env("TOKEN", "t")));
        for variable in ["PYTHONHASHSEED", "PATH", "HOME", "LC_ALL", "LD_PRELOAD"] {
            assert!(!takes(&Evaluation::python("pass").with_env(variable, "x")), "{variable}");
        }
        for path in [".local/lib/python3.11/site-packages/x.pth", ".crucible/sitecustomize.py"] {
            assert!(!takes(&Evaluation::python("pass").with_file(path, "x")), "{path}");
        }
        assert!(!takes(&Evaluation::python("x = 'PK\x05\x06'")));
        assert!(!takes(&Evaluation::shell("true")));
        assert!(!takes(
            &Evaluation::python("pass").with_collect(crucible_core::Collect::matching(["out"]))
        ));
    }

    #[test]
    fn what_starts_an_interpreter_is_the_first_that_a_desk_expects() {
        assert_eq!(crucible_guest_client::ResponseRouter::new().reserve_request(), REQUEST);
    }

    #[tokio::test]
    async fn whose_interpreter_did_not_get_the_word_did_not_run() {
        let (ours, _theirs) = super::super::sandbox::channel().unwrap();
        let link = Link::new(super::super::socket::Socket::new(ours).unwrap());
        let fed = link.router().open_request();
        let error = was_given(&link, &fed).unwrap_err();
        assert_eq!(error.kind(), crucible_core::EngineErrorKind::Lost);
        assert!(!error.target_started());
        let done = crucible_guest_client::Frame {
            kind: FrameKind::Done,
            id: fed.id(),
            payload: bytes::Bytes::new(),
        };
        link.router().deliver(done);
        assert!(was_given(&link, &fed).is_ok());
    }

    #[test]
    fn the_word_to_go_has_arguments_and_variables() {
        let warm = Warm::new(Language::python(), Vec::new());
        let command = Command::new(["python3", "main.py", "a", ""]).with_env("N", "v=1");
        assert_eq!(warm.word_to_go(&command), b"0000000300000006a\0\0N=v=1\0");
    }
}

//! Attacks on the collection of results: links out of the sandbox, and files that are not regular.

use core::ffi::CStr;

use super::context::{self, AttackContext};
use super::nr;
use super::report::TextBuffer;
use super::sys::{self, O_CREAT, O_WRONLY};

/// The result directory in the working directory.
const OUT: &CStr = c"out";

fn prepare(context: &AttackContext) {
    if let Err(error) = sys::mkdir(OUT) {
        context.abort_setup(b"mkdir", error);
    }
}

fn report_created(context: &AttackContext, what: &[u8], result: &sys::Result<usize>) {
    if let Err(error) = result {
        // The kernel may refuse to create such an object.
        context.report_attempt::<()>(what, &Err(*error));
    } else {
        context.report_finding(what);
    }
}

pub(crate) fn absolute_link(context: &AttackContext) {
    prepare(context);
    report_created(context, b"a link", &sys::symlink(context.file, c"out/result"));
}

pub(crate) fn relative_link(context: &AttackContext) {
    prepare(context);
    let mut target = TextBuffer::new();
    for _ in 0..20 {
        target.push(b"../");
    }
    report_created(
        context,
        b"a link",
        &sys::symlink(target.push(context.file.to_bytes()).path(), c"out/result"),
    );
}

pub(crate) fn chain_of_links(context: &AttackContext) {
    prepare(context);
    report_created(context, b"the last link", &sys::symlink(context.file, c"out/3"));
    report_created(context, b"the second link", &sys::symlink(c"3", c"out/2"));
    report_created(context, b"the first link", &sys::symlink(c"2", c"out/result"));
}

/// Links to the directory that contains the file.
pub(crate) fn linked_directory(context: &AttackContext) {
    prepare(context);
    let path = context.file.to_bytes();
    let parent = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .and_then(|at| path.get(..at))
        .unwrap_or_default();
    report_created(
        context,
        b"a link",
        &sys::symlink(TextBuffer::new().push(parent).path(), c"out/results"),
    );
}

pub(crate) fn hard_link(context: &AttackContext) {
    prepare(context);
    let linked = sys::call(nr::LINK, [sys::cstr_ptr(context.file), sys::cstr_ptr(c"out/result")]);
    context.report_attempt(b"link", &linked);
}

pub(crate) fn fifo(context: &AttackContext) {
    const FIFO: usize = 0o010_600;
    prepare(context);
    report_created(
        context,
        b"a fifo",
        &sys::call(nr::MKNOD, [sys::cstr_ptr(c"out/result"), FIFO, 0]),
    );
}

pub(crate) fn socket(context: &AttackContext) {
    const SOCKET: usize = 0o140_600;
    prepare(context);
    report_created(
        context,
        b"a socket",
        &sys::call(nr::MKNOD, [sys::cstr_ptr(c"out/result"), SOCKET, 0]),
    );
}

/// Creates links with targets that depend on the process that follows them.
pub(crate) fn magic_link(context: &AttackContext) {
    prepare(context);
    report_created(context, b"environ", &sys::symlink(c"/proc/self/environ", c"out/result"));
    let mut target = TextBuffer::new();
    target.push(b"/proc/self/root").push(context.file.to_bytes());
    report_created(context, b"root", &sys::symlink(target.path(), c"out/root"));
}

pub(crate) fn sparse_file(context: &AttackContext) {
    prepare(context);
    let made = sys::open(c"out/result", O_CREAT | O_WRONLY)
        .and_then(|file| sys::call(nr::FTRUNCATE, [file, 1 << 40]));
    report_created(context, b"a sparse file of 1 TiB", &made);
}

/// Creates more files than a collection takes, and fewer than the inode limit.
pub(crate) fn many_results(context: &AttackContext) {
    prepare(context);
    for number in 0..context::parse_number(context.parameter) {
        let mut path = TextBuffer::new();
        let made = sys::open(path.push(b"out/").number(number).path(), O_CREAT | O_WRONLY);
        match made {
            Ok(file) => sys::close(file),
            Err(error) => context.abort_setup(b"open", error),
        }
    }
    context.report_finding(b"many files");
}

/// Creates names with a line feed, invalid UTF-8 and a terminal's escape sequence. Other names look
/// like an option or a parent directory.
pub(crate) fn strange_names(context: &AttackContext) {
    prepare(context);
    for name in [
        c"out/a\nb",
        c"out/\xff\xfe",
        c"out/\x1b]0;owned\x07",
        c"out/-rf",
        c"out/..\\..\\x",
        c"out/...",
        c"out/ ",
    ] {
        report_created(context, b"a name", &sys::open(name, O_CREAT | O_WRONLY));
    }
}

pub(crate) fn deep_results(context: &AttackContext) {
    prepare(context);
    if let Err(error) = sys::chdir(OUT) {
        context.abort_setup(b"chdir", error);
    }
    for _ in 0..context::parse_number(context.parameter) {
        if let Err(error) = sys::mkdir(c"d").and_then(|_| sys::chdir(c"d")) {
            context.abort_setup(b"mkdir", error);
        }
    }
    report_created(context, b"a deep file", &sys::open(c"result", O_CREAT | O_WRONLY));
}

//! The lines of the input file.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use tokio::sync::mpsc;

use crate::failure::Failure;

/// The longest line: more than the input of an evaluation can be.
const MAX_LINE_BYTES: usize = 128 * 1024 * 1024;

/// The number of lines that are read ahead.
const READ_AHEAD: usize = 16;

/// A line with its number, or the reason why it cannot be read.
pub(super) type NumberedLine = (usize, Result<String, String>);

/// Reads lines on a thread of its own, because standard input cannot be awaited.
///
/// # Errors
/// Returns a failure if the file cannot be opened.
pub(super) fn read_lines(path: &Path) -> Result<mpsc::Receiver<NumberedLine>, Failure> {
    let input: Box<dyn Read + Send> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| Failure::file("read", path, &error))?)
    };
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        let mut input = BufReader::new(input);
        for number in 1.. {
            let read = next_line(&mut input);
            let (line, ends) = match read {
                LineRead::Line(line) => (Ok(line), false),
                LineRead::NotUtf8 => (Err("is not UTF-8".to_owned()), false),
                LineRead::Failed(reason) => (Err(format!("{reason}; reading stops here")), true),
                LineRead::End => return,
            };
            if sender.blocking_send((number, line)).is_err() || ends {
                return;
            }
        }
    });
    Ok(receiver)
}

/// The result of reading a line.
enum LineRead {
    Line(String),
    NotUtf8,
    Failed(String),
    End,
}

/// Reads the next line.
fn next_line(input: &mut BufReader<Box<dyn Read + Send>>) -> LineRead {
    let mut line = Vec::new();
    match input.take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line) {
        Ok(0) => LineRead::End,
        Ok(_) if line.len() > MAX_LINE_BYTES => {
            LineRead::Failed(format!("is longer than {MAX_LINE_BYTES} bytes"))
        }
        Ok(_) => String::from_utf8(line).map_or(LineRead::NotUtf8, LineRead::Line),
        Err(error) => LineRead::Failed(error.to_string()),
    }
}

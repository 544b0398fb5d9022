//! SQLite with group commit: one thread owns the connection and commits all waiting records
//! together.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::{mpsc, oneshot};

use crate::{Step, Subject, payload};

/// The largest number of records per transaction.
const GROUP: usize = 256;

enum Work {
    Submit(String),
    Claim,
    Finish(i64, String),
}

type Waiting = (Work, oneshot::Sender<Option<i64>>);

pub(crate) struct Sqlite {
    sender: mpsc::Sender<Waiting>,
    next: AtomicU64,
}

impl Sqlite {
    pub(crate) fn open(path: &Path) -> Self {
        let connection = Connection::open(path).expect("a database");
        connection
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
                 CREATE TABLE records (id INTEGER PRIMARY KEY, state INTEGER, body TEXT);
                 CREATE INDEX by_state ON records (state, id);
                 CREATE TABLE tickets (id INTEGER PRIMARY KEY, lease INTEGER);
                 CREATE INDEX free ON tickets (id) WHERE lease IS NULL;",
            )
            .expect("tables");
        let (sender, receiver) = mpsc::channel(1024);
        std::thread::spawn(move || run(&connection, receiver));
        Self { sender, next: AtomicU64::new(1) }
    }
}

async fn ask(sender: &mpsc::Sender<Waiting>, work: Work) -> Option<i64> {
    let (answer, answered) = oneshot::channel();
    sender.send((work, answer)).await.expect("a writer");
    answered.await.expect("an answer")
}

fn run(connection: &Connection, mut receiver: mpsc::Receiver<Waiting>) {
    let mut answers = Vec::new();
    while let Some(first) = receiver.blocking_recv() {
        connection.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
        let mut next = Some(first);
        while let Some((work, answer)) = next {
            answers.push((answer, one(connection, work).expect("a statement")));
            next = if answers.len() < GROUP { receiver.try_recv().ok() } else { None };
        }
        connection.execute_batch("COMMIT").expect("a commit");
        answers.drain(..).for_each(|(answer, result): (oneshot::Sender<_>, _)| {
            answer.send(result).expect("the caller waits");
        });
    }
}

fn one(connection: &Connection, work: Work) -> rusqlite::Result<Option<i64>> {
    match work {
        Work::Submit(body) => {
            let mut insert =
                connection.prepare_cached("INSERT INTO records (state, body) VALUES (0, ?1)")?;
            let id = insert.insert(params![body])?;
            connection
                .prepare_cached("INSERT INTO tickets (id) VALUES (?1)")?
                .execute(params![id])?;
            Ok(Some(id))
        }
        Work::Claim => {
            let claim = "UPDATE tickets SET lease = 1 WHERE id =
                (SELECT id FROM tickets WHERE lease IS NULL ORDER BY id LIMIT 1) RETURNING id";
            let id: Option<i64> =
                connection.prepare_cached(claim)?.query_row([], |row| row.get(0)).optional()?;
            if let Some(id) = id {
                connection
                    .prepare_cached("UPDATE records SET state = 1 WHERE id = ?1")?
                    .execute(params![id])?;
            }
            Ok(id)
        }
        Work::Finish(id, body) => {
            let end = "UPDATE records SET state = 2, body = body || ?2 WHERE id = ?1";
            connection.prepare_cached(end)?.execute(params![id, body])?;
            connection.prepare_cached("DELETE FROM tickets WHERE id = ?1")?.execute(params![id])?;
            Ok(Some(id))
        }
    }
}

impl Subject for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite, WAL, FULL, grouped"
    }

    fn submit(&self, _: usize) -> Step {
        let sender = self.sender.clone();
        let body = payload(self.next.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move { ask(&sender, Work::Submit(body)).await.is_some() })
    }

    fn cycle(&self, _: usize) -> Step {
        let sender = self.sender.clone();
        Box::pin(async move {
            let Some(id) = ask(&sender, Work::Claim).await else { return false };
            ask(&sender, Work::Finish(id, "ended".to_owned())).await.is_some()
        })
    }
}

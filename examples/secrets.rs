//! Gives a program a secret in its environment. The secret is in no log, record or journal.
//!
//! Run it with `cargo run --example secrets`. It prints:
//!
//! ```text
//! program: 12 characters
//! debug: Secret(***)
//! environment of the program: ["TOKEN"]
//! secret in the record: false
//! ```

use crucible::Evaluation;
use crucible::blocking::Crucible;
use crucible::model::Secret;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crucible = Crucible::new()?;
    let secret = Secret::new("hunter2-key!");
    let evaluation = Evaluation::python("import os; print(len(os.environ['TOKEN']), 'characters')")
        .with_env("TOKEN", secret.clone());
    let handle = crucible.submit(evaluation)?;
    let outcome = handle.wait()?;
    println!("program: {}", outcome.stdout.to_text().trim_end().escape_debug());
    println!("debug: {secret:?}");
    // The storage has only the name of the variable and the fact that its value is secret.
    let record = handle.status()?;
    let json = serde_json::to_value(&record)?;
    let names: Vec<_> = record.evaluation.env.keys().collect();
    println!("environment of the program: {names:?}");
    println!("secret in the record: {}", json.to_string().contains("hunter2"));
    Ok(())
}

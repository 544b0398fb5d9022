//! Checks what `history export` wrote, with hashes and a public key alone: nothing of this project's libraries.
//!
//! ```text
//! cargo run --release --example verify_export -- PUBLIC_KEY < export.jsonl
//! ```
//!
//! Without a key it checks each journal's own chain, which cannot show that its end is missing.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::process::ExitCode;

use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

type Hash = [u8; 32];

fn hash(parts: &[&[u8]]) -> Hash {
    parts.iter().fold(Sha256::new(), |state, part| state.chain_update(part)).finalize().into()
}

fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    let text: String =
        value.as_str().ok_or("a text is missing")?.chars().filter(|c| *c != '-').collect();
    let pairs = text
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    pairs.collect::<Option<_>>().ok_or_else(|| format!("{text} is not hexadecimal"))
}

fn hash_in(value: &Value) -> Result<Hash, String> {
    bytes(value)?.try_into().map_err(|_| "a hash has 32 bytes".to_owned())
}

fn number(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| "a number is missing".to_owned())
}

/// A leaf of the tree: over id, sequence and hash of a journal's last entry.
fn leaf(head: &Value) -> Result<Hash, String> {
    let sequence = number(&head["sequence"])?.to_be_bytes();
    Ok(hash(&[&[0], &bytes(&head["evaluation"])?, &sequence, &hash_in(&head["hash"])?]))
}

/// RFC 6962, section 2.1.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => hash(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            hash(&[&[1], &root(left), &root(right)])
        }
    }
}

/// RFC 9162, section 2.1.3.2.
fn root_by(proof: &Value, leaf: Hash) -> Result<Option<Hash>, String> {
    let (mut index, count) = (number(&proof["index"])?, number(&proof["count"])?);
    let (mut last, mut at) = (count.saturating_sub(1), leaf);
    for beside in proof["path"].as_array().ok_or("a proof has no path")? {
        let beside = hash_in(beside)?;
        if index % 2 == 1 || index == last {
            at = hash(&[&[1], &beside, &at]);
            while index % 2 == 0 && index != 0 {
                (index, last) = (index >> 1, last >> 1);
            }
        } else {
            at = hash(&[&[1], &at, &beside]);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    Ok((last == 0).then_some(at))
}

/// Everything but one member, as JSON without white space and with sorted members.
fn canonical_without(value: &Value, member: &str) -> String {
    let mut object = value.as_object().cloned().unwrap_or_default();
    object.remove(member);
    Value::Object(object).to_string()
}

fn check(
    lines: impl Iterator<Item = Result<Value, String>>,
    key: Option<&VerifyingKey>,
) -> Result<String, String> {
    let (mut statement, mut heads, mut leaves, mut proven) = (None, BTreeMap::new(), Vec::new(), 0);
    // The last entry of each journal, and the hashes of all of them.
    let mut journals: BTreeMap<String, Vec<Hash>> = BTreeMap::new();
    for line in lines {
        let line = line?;
        if let Some(checkpoint) = line.get("checkpoint") {
            let key =
                key.ok_or("there is a checkpoint: say whose public key it is to be checked with")?;
            let signed =
                format!("crucible checkpoint\n{}", canonical_without(checkpoint, "signature"));
            let signature = Signature::from_slice(&bytes(&checkpoint["signature"])?)
                .map_err(|e| e.to_string())?;
            key.verify_strict(signed.as_bytes(), &signature)
                .map_err(|_| "the signature is wrong")?;
            statement = Some((number(&checkpoint["count"])?, hash_in(&checkpoint["root"])?));
        } else if let Some(head) = line.get("head") {
            let (leaf, name) = (leaf(head)?, head["evaluation"].to_string());
            match (line.get("proof"), &statement) {
                (Some(proof), Some((count, root))) => {
                    let right =
                        number(&proof["count"])? == *count && root_by(proof, leaf)? == Some(*root);
                    proven += usize::from(right);
                    right
                        .then_some(())
                        .ok_or_else(|| format!("{name} is not in the checkpoint"))?;
                }
                _ => leaves.push(leaf),
            }
            heads.insert(name, (number(&head["sequence"])?, hash_in(&head["hash"])?));
        } else if let Some(entry) = line.get("entry") {
            let (name, sequence) = (entry["evaluation"].to_string(), number(&entry["sequence"])?);
            let journal = journals.entry(name.clone()).or_default();
            let before = journal.last().copied().unwrap_or_default();
            let right = hash(&[canonical_without(entry, "hash").as_bytes()]);
            if sequence != journal.len() as u64 + 1
                || hash_in(&entry["previous"])? != before
                || hash_in(&entry["hash"])? != right
            {
                return Err(format!("entry {sequence} of {name} is not what was written"));
            }
            journal.push(right);
        }
    }
    for (name, (sequence, hash)) in &heads {
        let at = usize::try_from(*sequence).ok().and_then(|sequence| sequence.checked_sub(1));
        let journal =
            journals.get(name).ok_or_else(|| format!("the journal of {name} is missing"))?;
        if at.and_then(|at| journal.get(at)) != Some(hash) {
            return Err(format!("entry {sequence} of {name} is missing, or not what was stated"));
        }
    }
    match statement {
        Some((count, stated))
            if proven == 0 && (leaves.len() as u64 != count || root(&leaves) != stated) =>
        {
            Err(format!("{} journals are not the {count} of the checkpoint", leaves.len()))
        }
        Some((count, _)) if proven > 0 => {
            Ok(format!("{proven} of the checkpoint's {count} journals"))
        }
        Some((count, _)) => Ok(format!("all {count} journals of the checkpoint")),
        None if key.is_some() => Err("there is no checkpoint".to_owned()),
        None => Ok(format!("{} journals, each whole as far as it goes", journals.len())),
    }
}

fn main() -> ExitCode {
    let key = std::env::args().nth(1).map(|text| {
        let bytes = bytes(&Value::String(text)).ok().and_then(|bytes| Hash::try_from(bytes).ok());
        bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
    });
    let Some(key) = key.map_or(Some(None), |key| key.map(Some)) else {
        eprintln!("a public key is 64 hexadecimal digits, as `history key` prints it");
        return ExitCode::from(2);
    };
    let lines = std::io::stdin().lock().lines();
    let lines = lines.map(|line| line.map_err(|error| error.to_string()));
    let lines = lines.map(|line| serde_json::from_str(&line?).map_err(|error| error.to_string()));
    match check(lines, key.as_ref()) {
        Ok(what) => {
            println!("verified: {what}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("NOT verified: {}", why.escape_debug());
            ExitCode::FAILURE
        }
    }
}

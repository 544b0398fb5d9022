//! `crucible verify`: an export, checked with hashes and a public key alone.
//!
//! This is an independent implementation of the formats in `docs/durability.md`: it uses none of
//! the library's types for journals, trees and checkpoints.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::args::verify::VerifyArgs;
use crate::failure::{ExitStatus, Failure};
use crate::output::print_line;
use crate::progress;

/// A SHA-256 digest.
type Hash = [u8; 32];

/// Verifies an export and prints the result.
///
/// # Errors
/// Returns a failure if the file cannot be opened or the key is not a public key.
pub(crate) fn verify(args: &VerifyArgs) -> Result<ExitStatus, Failure> {
    let key = args.key.as_deref().map(parse_key).transpose()?;
    let lines = open(&args.file)?.lines().map(|line| {
        let line = line.map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| error.to_string())
    });
    let spinner = progress::spinner("verifying");
    let result =
        Export::read(lines, key.as_ref()).and_then(|export| export.conclude(key.is_some()));
    spinner.finish_and_clear();
    match result {
        Ok(summary) => {
            print_line(&format!("verified: {summary}"))?;
            Ok(ExitStatus::Success)
        }
        Err(reason) => {
            print_line(&format!("NOT verified: {}", reason.escape_debug()))?;
            Ok(ExitStatus::Negative)
        }
    }
}

/// Parses a public key.
fn parse_key(text: &str) -> Result<VerifyingKey, Failure> {
    let bytes = bytes(&Value::String(text.to_owned())).ok();
    bytes
        .and_then(|bytes| Hash::try_from(bytes).ok())
        .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
        .ok_or_else(|| {
            Failure::usage("cannot parse --key: not a public key")
                .with_fix("give the 64 hexadecimal digits that `crucible history key` printed")
        })
}

/// Opens the export, or standard input for `-`.
fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| Failure::file("open", path, &error))?;
    Ok(Box::new(BufReader::new(file)))
}

/// The content of an export whose single lines are valid.
#[derive(Debug, Default)]
struct Export {
    /// The number of journals in the checkpoint, and the root of its tree.
    statement: Option<(u64, Hash)>,
    /// The sequence and hash of each stated last entry.
    heads: BTreeMap<String, (u64, Hash)>,
    /// The leaves of the heads without a proof.
    leaves: Vec<Hash>,
    /// The number of heads with a valid proof.
    proven: usize,
    /// The hashes of the entries of each journal.
    journals: BTreeMap<String, Vec<Hash>>,
}

impl Export {
    /// Reads and checks each line.
    fn read(
        lines: impl Iterator<Item = Result<Value, String>>,
        key: Option<&VerifyingKey>,
    ) -> Result<Self, String> {
        let mut export = Self::default();
        for line in lines {
            let line = line?;
            if let Some(checkpoint) = line.get("checkpoint") {
                export.add_checkpoint(checkpoint, key)?;
            } else if let Some(head) = line.get("head") {
                export.add_head(head, line.get("proof"))?;
            } else if let Some(entry) = line.get("entry") {
                export.add_entry(entry)?;
            }
        }
        Ok(export)
    }

    /// Checks the signature of the checkpoint.
    fn add_checkpoint(
        &mut self,
        checkpoint: &Value,
        key: Option<&VerifyingKey>,
    ) -> Result<(), String> {
        let key = key.ok_or("the file has a checkpoint: give its public key with --key")?;
        let signed = format!("crucible checkpoint\n{}", canonical_without(checkpoint, "signature"));
        let signature = Signature::from_slice(&bytes(field(checkpoint, "signature"))?)
            .map_err(|error| error.to_string())?;
        key.verify_strict(signed.as_bytes(), &signature)
            .map_err(|_| "the signature of the checkpoint is invalid")?;
        let count = number(field(checkpoint, "count"))?;
        self.statement = Some((count, digest(field(checkpoint, "root"))?));
        Ok(())
    }

    /// Checks the proof of a journal's last entry, if the line has one.
    fn add_head(&mut self, head: &Value, proof: Option<&Value>) -> Result<(), String> {
        let (leaf, name) = (leaf(head)?, field(head, "evaluation").to_string());
        match (proof, &self.statement) {
            (Some(proof), Some((count, root))) => {
                let proven = number(field(proof, "count"))? == *count
                    && root_of_proof(proof, leaf)? == Some(*root);
                if !proven {
                    return Err(format!("{name} is not in the checkpoint"));
                }
                self.proven += 1;
            }
            _ => self.leaves.push(leaf),
        }
        let end = (number(field(head, "sequence"))?, digest(field(head, "hash"))?);
        self.heads.insert(name, end);
        Ok(())
    }

    /// Checks the sequence, the link and the hash of an entry.
    fn add_entry(&mut self, entry: &Value) -> Result<(), String> {
        let name = field(entry, "evaluation").to_string();
        let sequence = number(field(entry, "sequence"))?;
        let actual = hash(&[canonical_without(entry, "hash").as_bytes()]);
        let journal = self.journals.entry(name.clone()).or_default();
        let previous = journal.last().copied().unwrap_or_default();
        if sequence != journal.len() as u64 + 1
            || digest(field(entry, "previous"))? != previous
            || digest(field(entry, "hash"))? != actual
        {
            return Err(format!("entry {sequence} of {name} was changed"));
        }
        journal.push(actual);
        Ok(())
    }

    /// Compares the journals with the heads and the checkpoint, and returns a summary.
    fn conclude(&self, key_given: bool) -> Result<String, String> {
        for (name, (sequence, hash)) in &self.heads {
            let journal = self
                .journals
                .get(name)
                .ok_or_else(|| format!("the journal of {name} is missing"))?;
            let index = usize::try_from(*sequence).ok().and_then(|number| number.checked_sub(1));
            if index.and_then(|index| journal.get(index)) != Some(hash) {
                return Err(format!("entry {sequence} of {name} is missing or was changed"));
            }
        }
        match self.statement {
            Some((count, _)) if self.proven > 0 => {
                Ok(format!("{} of the checkpoint's {count} journals", self.proven))
            }
            Some((count, stated)) => {
                let leaves = &self.leaves;
                if leaves.len() as u64 != count || root(leaves) != stated {
                    return Err(format!(
                        "the {} journals are not the {count} journals of the checkpoint",
                        leaves.len()
                    ));
                }
                Ok(format!("all {count} journals of the checkpoint"))
            }
            None if key_given => Err("the file has no checkpoint".to_owned()),
            None => Ok(format!("{} journals, without a checkpoint", self.journals.len())),
        }
    }
}

/// Returns a member of an object, or null.
fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

/// Returns the SHA-256 digest of the concatenated parts.
fn hash(parts: &[&[u8]]) -> Hash {
    parts.iter().fold(Sha256::new(), |state, part| state.chain_update(part)).finalize().into()
}

/// Parses hexadecimal digits; hyphens are ignored.
fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    let text: String =
        value.as_str().ok_or("a text is missing")?.chars().filter(|c| *c != '-').collect();
    let pairs = text
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    pairs.collect::<Option<_>>().ok_or_else(|| format!("{text} is not hexadecimal"))
}

/// Parses a digest.
fn digest(value: &Value) -> Result<Hash, String> {
    bytes(value)?.try_into().map_err(|_| "a hash does not have 32 bytes".to_owned())
}

/// Parses a number.
fn number(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| "a number is missing".to_owned())
}

/// Returns the leaf of a journal: the hash over id, sequence and hash of its last entry.
fn leaf(head: &Value) -> Result<Hash, String> {
    let sequence = number(field(head, "sequence"))?.to_be_bytes();
    let evaluation = bytes(field(head, "evaluation"))?;
    Ok(hash(&[&[0], &evaluation, &sequence, &digest(field(head, "hash"))?]))
}

/// Returns the root of a Merkle tree: RFC 6962, section 2.1.
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

/// Returns the root that an inclusion proof leads to: RFC 9162, section 2.1.3.2.
fn root_of_proof(proof: &Value, leaf: Hash) -> Result<Option<Hash>, String> {
    let mut index = number(field(proof, "index"))?;
    let mut last = number(field(proof, "count"))?.saturating_sub(1);
    let mut node = leaf;
    for sibling in field(proof, "path").as_array().ok_or("a proof has no path")? {
        let sibling = digest(sibling)?;
        if index % 2 == 1 || index == last {
            node = hash(&[&[1], &sibling, &node]);
            while index % 2 == 0 && index != 0 {
                (index, last) = (index >> 1, last >> 1);
            }
        } else {
            node = hash(&[&[1], &node, &sibling]);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    Ok((last == 0).then_some(node))
}

/// Returns an object without one member as canonical JSON: no white space, sorted members.
fn canonical_without(value: &Value, member: &str) -> String {
    let mut object = value.as_object().cloned().unwrap_or_default();
    object.remove(member);
    Value::Object(object).to_string()
}

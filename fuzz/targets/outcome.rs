//! Outcomes from evidence in any order, and their wire format.
#![no_main]

use std::time::Duration;

use arbitrary::Unstructured;
use crucible_core::{Captured, Outcome, Usage, ending, judge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut data = Unstructured::new(data);
    let Ok(evidence) = crucible_fuzz::evidence(&mut data) else { return };
    let verdict = judge(&evidence);
    assert_eq!(verdict, judge(&evidence));
    let text = verdict.to_string();
    assert!(!text.is_empty() && !verdict.kind().is_empty());
    let mut usage = Usage::default();
    usage.cpu_user = Duration::from_micros(data.arbitrary().unwrap_or(u64::MAX));
    usage.cpu_system = Duration::from_micros(data.arbitrary().unwrap_or(u64::MAX));
    let _sum = usage.cpu();
    let output = Captured::complete(data.take_rest().to_vec().into());
    let outcome = Outcome::new("fuzz", evidence.clone())
        .with_usage(usage)
        .with_output(output.clone(), output);
    assert_eq!(
        (outcome.verdict(), outcome.ending(), outcome.blame()),
        (&verdict, ending(&evidence), verdict.blame())
    );
    let json = serde_json::to_string(&outcome).expect("an outcome has a wire format");
    let read: Outcome = serde_json::from_str(&json).expect("the wire format decodes");
    assert_eq!(read, outcome);
});

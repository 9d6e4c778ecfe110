//! Waiting until all nodes know each other.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::report::{Reporter, Speaker};
use crate::service::EchoServiceClient;

const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_WITH_MANY: Duration = Duration::from_secs(60);
/// More nodes than this are many.
const MANY: usize = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);
/// How many names a sentence holds.
const NAMES: usize = 5;

/// Ends when each node knows all others or, saying who is missing, when it has taken too long.
pub(super) async fn each_other(everyone: &[(Speaker, EchoServiceClient)], reporter: &Reporter) {
    let notes = wait(everyone, reporter).await;
    reporter.end_progress().await;
    for note in notes {
        reporter.note(note).await;
    }
}

/// Gives what there is to say of it in the end.
async fn wait(everyone: &[(Speaker, EchoServiceClient)], reporter: &Reporter) -> Vec<String> {
    let began = Instant::now();
    let patience = if everyone.len() > MANY { PATIENCE_WITH_MANY } else { PATIENCE };
    let pairs = everyone.len() * everyone.len().saturating_sub(1);
    let mut reported: Option<(Instant, usize)> = None;
    loop {
        let unknown = unknown(everyone);
        let known = pairs - unknown.iter().map(|(_, missing)| missing.len()).sum::<usize>();
        let took = began.elapsed();
        if known == pairs {
            let took = humantime::format_duration(Duration::from_millis(took.as_millis() as u64));
            return vec![format!("All {} nodes know each other after {took}.", everyone.len())];
        }
        if took >= patience {
            return unknown.iter().map(|(node, missing)| sentence(node, missing, patience)).collect();
        }
        let due = reported.is_none_or(|(when, what)| what != known && when.elapsed() >= BETWEEN_REPORTS);
        if due {
            reported = Some((Instant::now(), known));
            reporter.progress(format!("Finding each other: {known} of {pairs} after {} s", took.as_secs())).await;
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// The nodes that don't know all others, and whom they don't know.
fn unknown(everyone: &[(Speaker, EchoServiceClient)]) -> Vec<(&Speaker, Vec<&Speaker>)> {
    let missing_at = |(node, client): &(Speaker, EchoServiceClient)| {
        let known: BTreeSet<_> = client.members().into_iter().chain([node.id]).collect();
        everyone.iter().map(|(other, _)| other).filter(|other| !known.contains(&other.id)).collect::<Vec<_>>()
    };
    everyone.iter().map(|one| (&one.0, missing_at(one))).filter(|(_, missing)| !missing.is_empty()).collect()
}

fn sentence(node: &Speaker, missing: &[&Speaker], patience: Duration) -> String {
    let names: Vec<_> = missing.iter().take(NAMES).map(ToString::to_string).collect();
    let names = names.join(", ");
    let more = missing.len().saturating_sub(NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{node} does not know {names}{more} after {}; the rounds begin.", humantime::format_duration(patience))
}

#[cfg(test)]
mod tests {
    use p2prpc::PeerId;

    use super::*;

    #[test]
    fn who_is_missing_is_said_by_name_and_number() {
        let node = |number| Speaker { id: PeerId::random(), label: Some(format!("node-{number}").into()) };
        let others: Vec<_> = (2..=9).map(node).collect();
        let some: Vec<_> = others.iter().take(2).collect();
        let text = sentence(&node(1), &some, PATIENCE);
        assert_eq!(text, "node-1 does not know node-2, node-3 after 30s; the rounds begin.");
        let all: Vec<_> = others.iter().collect();
        let text = sentence(&node(1), &all, PATIENCE_WITH_MANY);
        assert!(text.contains("node-6 and 3 more after 1m;"), "{text}");
    }
}

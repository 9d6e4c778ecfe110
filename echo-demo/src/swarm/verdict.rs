//! Whether it worked.

use crate::exit::Failure;
use crate::report::Speaker;
use crate::tally::Tally;

/// How many pairs a sentence holds.
const PAIRS: usize = 5;

/// Fails if a node never got an echo of another.
pub(super) fn of_pairs(last_words: &[(Speaker, Tally)]) -> Result<(), Failure> {
    let mut silent = Vec::new();
    for (caller, tally) in last_words {
        let others = last_words.iter().map(|(other, _)| other).filter(|other| other.id != caller.id);
        silent.extend(others.filter(|other| !tally.has_echo_of(&other.id)).map(|other| (caller, other)));
    }
    if silent.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = silent.iter().take(PAIRS).map(|(caller, other)| format!("{caller} by {other}")).collect();
    let more = if silent.len() > PAIRS { ", .." } else { "" };
    let pairs = last_words.len() * last_words.len().saturating_sub(1);
    Err(Failure::other(format_args!("{} of {pairs} were never echoed: {}{more}", silent.len(), names.join(", "))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p2prpc::PeerId;

    use super::*;

    #[test]
    fn each_must_have_been_echoed_by_each_other() {
        let mut nodes: Vec<_> = (1..=3)
            .map(|number| Speaker { id: PeerId::random(), label: Some(format!("node-{number}").into()) })
            .map(|speaker| (speaker, Tally::new()))
            .collect();
        let sentence = of_pairs(&nodes).unwrap_err().sentence().to_owned();
        assert!(sentence.starts_with("6 of 6 were never echoed: node-1 by node-2, "), "{sentence}");
        let ids: Vec<_> = nodes.iter().map(|(speaker, _)| speaker.id).collect();
        for (speaker, tally) in &mut nodes {
            for id in ids.iter().filter(|id| **id != speaker.id) {
                tally.echoed(*id, Duration::from_millis(1));
            }
        }
        assert!(of_pairs(&nodes).is_ok());
        nodes[2].1 = Tally::new();
        let sentence = of_pairs(&nodes).unwrap_err().sentence().to_owned();
        assert_eq!(sentence, "2 of 6 were never echoed: node-3 by node-1, node-3 by node-2");
    }
}

//! What is sent in each round.

use p2prpc::PeerId;

/// What the Go program says.
pub(crate) const DEFAULT: &str = "Message ({round}): Hello from {id}";

/// A text in which `{round}` stands for the number of the round and `{id}` for the sender's peer id.
#[derive(Clone, Debug)]
pub(crate) struct Template(String);

impl Template {
    pub(crate) fn new(text: String) -> Self {
        Template(text)
    }

    pub(crate) fn fill(&self, round: u64, id: PeerId) -> String {
        self.0.replace("{round}", &round.to_string()).replace("{id}", &id.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_reads_as_the_go_program_s() {
        let id = PeerId::random();
        assert_eq!(Template::new(DEFAULT.into()).fill(7, id), format!("Message (7): Hello from {id}"));
    }

    #[test]
    fn a_text_without_places_is_sent_as_it_is() {
        assert_eq!(Template::new("{} {rounds} hi".into()).fill(7, PeerId::random()), "{} {rounds} hi");
    }
}

//! Fields that Go leaves out.

use std::cell::{Cell, RefCell};

use super::names::Misnamed;

/// The fields that are zero when they are left out: those of which serde has said that it needs them.
///
/// Go's `omitempty` leaves out what is empty, and a reader in Go takes what is left out for that. A field with a
/// `#[serde(default)]` gets this. Which those are only serde knows, and it tells of the others one by one, by refusing the whole value.
#[derive(Debug, Default)]
pub(super) struct Absent {
    fields: Vec<(&'static str, &'static str)>,
    /// The struct whose last field was read last.
    ended: Cell<Option<&'static str>>,
    /// The first struct of which some were zero, while others came that it doesn't have.
    misnamed: RefCell<Option<Misnamed>>,
}

impl Absent {
    pub(super) fn ended(&self, container: &'static str) {
        self.ended.set(Some(container));
    }

    /// The struct that ended last needs this field. False if that was known.
    pub(super) fn learn(&mut self, field: &'static str) -> bool {
        let Some(container) = self.ended.take() else { return false };
        if self.fields.contains(&(container, field)) {
            return false;
        }
        self.fields.push((container, field));
        true
    }

    /// This struct was read: those are zero, and these keys it doesn't have.
    pub(super) fn compare(&self, container: &'static str, zero: &[&'static str], unknown: &[&[u8]]) {
        if !zero.is_empty() && !unknown.is_empty() {
            self.misnamed.borrow_mut().get_or_insert_with(|| Misnamed::new(container, zero, unknown));
        }
    }

    pub(super) fn take_misnamed(&self) -> Option<Misnamed> {
        self.misnamed.take()
    }

    pub(super) fn fields_of(&self, container: &'static str) -> impl Iterator<Item = &'static str> {
        self.fields.iter().filter(move |(name, _)| *name == container).map(|(_, field)| *field)
    }
}

//! What was measured, for people: tables of medians, and of goals.

mod goals;
mod records;
mod table;

pub use goals::goals;
pub use records::{Record, Records};
pub use table::{Table, apart, calls};

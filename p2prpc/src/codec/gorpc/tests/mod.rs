//! Against bytes that were recorded from running Go: see `tests/fixtures/gorpc`.

mod accepts;
mod bounds;
mod golden;
mod names;
mod values;

use super::*;

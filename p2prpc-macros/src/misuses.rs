//! All that is wrong with one trait, collected so that it is reported at once.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{Error, Result};

#[derive(Default)]
pub(crate) struct Misuses(Option<Error>);

impl Misuses {
    /// Report at these tokens, from the first to the last.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.add(Error::new_spanned(tokens, message));
    }

    /// Report at this place.
    pub(crate) fn at_span(&mut self, span: Span, message: impl std::fmt::Display) {
        self.add(Error::new(span, message));
    }

    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.0 {
            None => self.0 = Some(error),
            Some(errors) => errors.combine(error),
        }
    }

    /// The value, or the error of the result noted here.
    pub(crate) fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// The value, if nothing is wrong at all.
    pub(crate) fn finish<T>(self, value: Result<T>) -> Result<T> {
        match value {
            Ok(value) => self.0.map_or(Ok(value), Err),
            Err(error) => Err(match self.0 {
                None => error,
                Some(mut errors) => {
                    errors.combine(error);
                    errors
                }
            }),
        }
    }
}

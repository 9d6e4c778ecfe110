//! Where a value ends, while its bytes come in.

use crate::codec::gorpc::{Header, NeverUsed};

/// Looks at each header once, keeps no stack, and believes no length before it is within the limit.
#[derive(Debug)]
pub(crate) struct Skim {
    /// Where the next header is.
    at: usize,
    /// Values that are still to come; each takes a byte at least.
    left: u64,
    limit: usize,
}

/// Why there is no end to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hopeless {
    /// The value has more bytes than it may, or will have.
    TooLarge,
    /// It isn't MessagePack.
    NotAValue,
}

impl Skim {
    /// For one value of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Skim { at: 0, left: 1, limit }
    }

    /// The length of the value that `bytes` begin with, once all of it is there. `bytes` are those of the last time and more.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Hopeless> {
        while self.left > 0 {
            let Some(rest) = bytes.get(self.at..) else { return Ok(None) };
            let Some((header, len)) = Header::read(rest).map_err(|NeverUsed| Hopeless::NotAValue)? else {
                return Ok(None);
            };
            self.at = self.at.saturating_add(len).saturating_add(header.payload());
            self.left = self.left.saturating_sub(1).saturating_add(header.parts());
            let least = usize::try_from(self.left).map_or(usize::MAX, |left| self.at.saturating_add(left));
            if least > self.limit {
                return Err(Hopeless::TooLarge);
            }
        }
        Ok((self.at <= bytes.len()).then_some(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(value: &[u8], limit: usize) -> Result<Option<usize>, Hopeless> {
        let mut skim = Skim::new(limit);
        for end in 0..value.len() {
            if let Some(len) = skim.end(&value[..end])? {
                return Ok(Some(len));
            }
        }
        skim.end(value)
    }

    #[test]
    fn the_end_is_found_however_the_bytes_come() {
        let value = [0x82, 0xa1, b'a', 0x93, 1, 0xc0, 0xc3, 0xa1, b'b', 0x81, 0xa1, b'c', 0xda, 0, 2, b'h', b'i'];
        for len in 0..value.len() {
            assert_eq!(feed(&value[..len], 100), Ok(None), "{len} bytes");
        }
        let more = [&value[..], &[0x80]].concat();
        assert_eq!(feed(&more, 100), Ok(Some(value.len())));
        assert_eq!(Skim::new(100).end(&more), Ok(Some(value.len())));
        assert_eq!(feed(&value, value.len()), Ok(Some(value.len())));
        assert_eq!(feed(&value, value.len() - 1), Err(Hopeless::TooLarge));
    }

    #[test]
    fn a_length_past_the_limit_is_refused_as_soon_as_it_is_announced() {
        assert_eq!(Skim::new(4 << 20).end(&[0xdb, 0xff, 0xff, 0xff, 0xff]), Err(Hopeless::TooLarge));
        assert_eq!(Skim::new(4 << 20).end(&[0xc6, 0xff, 0xff, 0xff, 0xff]), Err(Hopeless::TooLarge));
        assert_eq!(Skim::new(4 << 20).end(&[0xdd, 0xff, 0xff, 0xff, 0xff]), Err(Hopeless::TooLarge));
        assert_eq!(Skim::new(4 << 20).end(&[0xdf, 0xff, 0xff, 0xff, 0xff]), Err(Hopeless::TooLarge));
        assert_eq!(Skim::new(4 << 20).end(&[0xc9, 0xff, 0xff, 0xff, 0xff, 1]), Err(Hopeless::TooLarge));
    }

    #[test]
    fn deep_nesting_takes_no_stack() {
        let deep = [vec![0x91; 1_000_000], vec![0xc0]].concat();
        assert_eq!(Skim::new(4 << 20).end(&deep), Ok(Some(deep.len())));
    }

    #[test]
    fn the_byte_that_begins_nothing_is_refused() {
        assert_eq!(Skim::new(100).end(&[0x92, 1, 0xc1]), Err(Hopeless::NotAValue));
    }
}

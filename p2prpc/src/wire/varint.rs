//! Unsigned LEB128, in its shortest form, of at most 64 bits.

use unsigned_varint::{decode, encode};

use super::WireError;

/// The longest form: 64 bits, seven a byte.
const MAX_LEN: usize = 10;

/// The number at the start of `buf` and what comes after it, or `None` if it goes on past the end of `buf`.
#[inline]
pub(super) fn read(buf: &[u8]) -> Result<Option<(u64, &[u8])>, WireError> {
    match buf {
        [byte @ 0..0x80, rest @ ..] => Ok(Some((u64::from(*byte), rest))),
        _ => read_long(buf),
    }
}

fn read_long(buf: &[u8]) -> Result<Option<(u64, &[u8])>, WireError> {
    match decode::u64(buf) {
        // The tenth byte has room for one more bit, and the crate drops the others without a word.
        Ok((_, rest)) if buf.len().saturating_sub(rest.len()) == MAX_LEN && buf.get(MAX_LEN - 1) != Some(&1) => {
            Err(WireError::VarintOverflow)
        }
        Ok(number) => Ok(Some(number)),
        Err(decode::Error::Insufficient) => Ok(None),
        Err(decode::Error::NotMinimal) => Err(WireError::VarintNotMinimal),
        Err(_) => Err(WireError::VarintOverflow),
    }
}

/// The bytes that [`write`] takes for `number`.
#[inline]
pub(super) const fn len(number: u64) -> usize {
    let bits = u64::BITS.saturating_sub((number | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

#[inline]
pub(super) fn write(out: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        Ok(byte @ 0..0x80) => out.push(byte),
        _ => out.extend_from_slice(encode::u64(number, &mut encode::u64_buffer())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_comes_back() {
        for bit in 0..64 {
            for number in [1 << bit, (1 << bit) - 1, u64::MAX >> bit] {
                let mut out = Vec::new();
                write(&mut out, number);
                assert_eq!(out.len(), len(number), "{number}");
                assert_eq!(read(&out), Ok(Some((number, &[][..]))));
                for cut in 0..out.len() {
                    assert_eq!(read(&out[..cut]), Ok(None), "{number} cut to {cut}");
                }
            }
        }
    }

    #[test]
    fn a_longer_form_than_needed_is_refused() {
        assert_eq!(read(&[0x80, 0]), Err(WireError::VarintNotMinimal));
        assert_eq!(read(&[0xff, 0x80, 0]), Err(WireError::VarintNotMinimal));
        let ten = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0];
        assert_eq!(read(&ten), Err(WireError::VarintNotMinimal));
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        let mut bytes = [0xff; 10];
        for last in 2..0x80 {
            bytes[9] = last;
            assert_eq!(read(&bytes), Err(WireError::VarintOverflow), "last byte {last}");
        }
        assert_eq!(read(&[0xff; 10]), Err(WireError::VarintOverflow));
        assert_eq!(read(&[0xff; 11]), Err(WireError::VarintOverflow));
        bytes[9] = 1;
        assert_eq!(read(&bytes), Ok(Some((u64::MAX, &[][..]))));
    }
}

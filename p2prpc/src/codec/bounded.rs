use std::io;

use super::CodecError;

/// Appends to a buffer up to a limit. Dropped without [`finish`](Self::finish), by an error or a panic, it takes back what it wrote.
#[derive(Debug)]
pub(super) struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    limit: usize,
    full: bool,
    kept: bool,
}

/// The limit was reached. The format turns it into an error of its own, which [`Bounded::finish`] replaces.
#[derive(Debug)]
pub(super) struct Full;

impl<'a> Bounded<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, limit: usize) -> Self {
        let start = out.len();
        Self { out, start, limit, full: false, kept: false }
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.out.len().saturating_sub(self.start))
    }

    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if self.full || bytes.len() > self.room() {
            self.full = true;
            return Err(Full);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Keeps the bytes if all of them fitted and the format is content.
    pub(super) fn finish(mut self, result: Result<(), CodecError>) -> Result<(), CodecError> {
        if self.full {
            return Err(CodecError::TooLarge { limit: self.limit });
        }
        self.kept = result.is_ok();
        result
    }
}

impl Drop for Bounded<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.out.truncate(self.start);
        }
    }
}

impl io::Write for Bounded<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes).map_err(|Full| io::ErrorKind::WriteZero.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! The key of a private network.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use libp2p::pnet;

const KEY_LEN: usize = 32;
/// More than any key takes.
const MAX_FILE: u64 = 4 * 1024;
const KIND: &str = "/key/swarm/psk/1.0.0/";

/// The key of a private network: only nodes that have it get to speak with each other, and nobody else learns who they are.
///
/// Its file is the one of go-libp2p and IPFS, `swarm.key`:
///
/// ```text
/// /key/swarm/psk/1.0.0/
/// /base16/
/// 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
/// ```
///
/// `/base64/` and `/bin/` are read too. `Debug` shows a fingerprint of the key and not the key; it is the same in Go.
///
/// ```
/// use p2prpc::PreSharedKey;
///
/// let key: PreSharedKey = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "0f".repeat(32)).parse()?;
/// assert_eq!(key, PreSharedKey::new([0x0f; 32]));
/// # Ok::<(), p2prpc::PreSharedKeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PreSharedKey([u8; KEY_LEN]);

impl PreSharedKey {
    /// The key of these bytes, which should be random.
    pub const fn new(bytes: [u8; 32]) -> Self {
        PreSharedKey(bytes)
    }

    /// The key in this file.
    ///
    /// # Errors
    /// If the file can't be read, or isn't the file of a key. The error names the file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, PreSharedKeyError> {
        let path = path.as_ref();
        let in_file = |problem| PreSharedKeyError { path: Some(path.to_owned()), problem };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| in_file(Problem::Unreadable(error)))?;
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| in_file(Problem::Unreadable(error)))?;
        parse(&bytes).map(PreSharedKey).map_err(in_file)
    }

    /// What tells one key from another, and nobody the key: 32 hexadecimal digits, the same as in Go.
    pub fn fingerprint(&self) -> String {
        self.key().fingerprint().to_string()
    }

    pub(in crate::node) fn key(&self) -> pnet::PreSharedKey {
        pnet::PreSharedKey::new(self.0)
    }
}

impl str::FromStr for PreSharedKey {
    type Err = PreSharedKeyError;

    /// Reads what is in a key's file.
    fn from_str(text: &str) -> Result<Self, PreSharedKeyError> {
        parse(text.as_bytes()).map(PreSharedKey).map_err(|problem| PreSharedKeyError { path: None, problem })
    }
}

impl fmt::Debug for PreSharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreSharedKey").field("fingerprint", &self.fingerprint()).finish()
    }
}

fn parse(bytes: &[u8]) -> Result<[u8; KEY_LEN], Problem> {
    let (kind, rest) = line(bytes);
    if kind != KIND.as_bytes() {
        return Err(Problem::Kind);
    }
    let (encoding, rest) = line(rest);
    let text = rest.trim_ascii();
    let decoded = match encoding {
        b"/base16/" => HEXLOWER_PERMISSIVE.decode(text).map_err(|_| Problem::Digits("hexadecimal"))?,
        b"/base64/" => BASE64.decode(text).map_err(|_| Problem::Digits("base64"))?,
        b"/bin/" => rest.to_vec(),
        _ => return Err(Problem::Encoding),
    };
    decoded.try_into().map_err(|wrong: Vec<u8>| Problem::Length(wrong.len()))
}

/// The first line, and what comes after it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    (first.strip_suffix(b"\r").unwrap_or(first), lines.next().unwrap_or_default())
}

/// Why there is no key. `Display` is one sentence that names the file, if it is one, and never the key.
#[derive(Debug)]
pub struct PreSharedKeyError {
    path: Option<PathBuf>,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Unreadable(io::Error),
    Kind,
    Encoding,
    Digits(&'static str),
    Length(usize),
}

impl fmt::Display for PreSharedKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "pre-shared key {}: ", path.display())?,
            None => f.write_str("pre-shared key: ")?,
        }
        match &self.problem {
            Problem::Unreadable(error) => write!(f, "it can't be read ({error})"),
            Problem::Kind => write!(f, "its first line isn't `{KIND}`"),
            Problem::Encoding => f.write_str("its second line is none of `/base16/`, `/base64/` and `/bin/`"),
            Problem::Digits(kind) => write!(f, "its third line has a character that isn't {kind}, or too few of them"),
            Problem::Length(found) => write!(f, "it has {found} bytes, not {KEY_LEN}"),
        }
    }
}

impl std::error::Error for PreSharedKeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<PreSharedKey>().unwrap_err().to_string()
    }

    #[test]
    fn keys_are_read_as_go_reads_them() {
        let digits = "0123456789abcdef".repeat(4);
        let key: PreSharedKey = format!("{KIND}\n/base16/\n{digits}").parse().unwrap();
        assert_eq!(key.0[..8], [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        assert_eq!(key.fingerprint().len(), 32);
        let base64 = format!("{KIND}\r\n/base64/\r\n{}\r\n", BASE64.encode(&key.0));
        assert_eq!(base64.parse::<PreSharedKey>().unwrap(), key);
        let binary = [format!("{KIND}\n/bin/\n").as_bytes(), &key.0].concat();
        assert_eq!(parse(&binary).unwrap(), key.0);
        assert!(!format!("{key:?}").contains("0123"));
    }

    #[test]
    fn what_is_no_key_is_refused_in_a_sentence() {
        assert_eq!(error(""), "pre-shared key: its first line isn't `/key/swarm/psk/1.0.0/`");
        assert_eq!(
            error(&format!("{KIND}\n/hex/\n00")),
            "pre-shared key: its second line is none of `/base16/`, `/base64/` and `/bin/`"
        );
        assert_eq!(error(&format!("{KIND}\n/base16/\n00")), "pre-shared key: it has 1 bytes, not 32");
        let not_hex = "pre-shared key: its third line has a character that isn't hexadecimal, or too few of them";
        assert_eq!(error(&format!("{KIND}\n/base16/\n{}", "€".repeat(22))), not_hex);
        let missing = PreSharedKey::from_file("/nowhere/swarm.key").unwrap_err().to_string();
        assert!(missing.starts_with("pre-shared key /nowhere/swarm.key: it can't be read ("), "{missing}");
    }

    mod fuzz {
        use super::*;

        #[test]
        fn any_file_is_a_key_or_none() {
            fuzz!().for_each(|bytes: &[u8]| {
                let _ = parse(bytes);
                for encoding in ["base16", "base64", "bin"] {
                    let _ = parse(&[format!("{KIND}\n/{encoding}/\n").as_bytes(), bytes].concat());
                }
            });
        }
    }
}

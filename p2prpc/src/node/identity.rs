//! Who a node is: its key pair.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use libp2p::PeerId;
use libp2p::identity::Keypair;
use sha2::{Digest, Sha256};

/// More than any key takes: a larger file is no identity.
const MAX_FILE: u64 = 16 * 1024;

/// A node's key pair. Its public half is the node's [`PeerId`], and the handshake of every connection proves it.
///
/// ```
/// use p2prpc::Identity;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("identity");
/// let first = Identity::from_file(&path)?; // makes the file
/// let again = Identity::from_file(&path)?; // reads it
/// assert_eq!(first.peer_id(), again.peer_id());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Identity {
    keypair: Keypair,
}

impl Identity {
    /// A fresh Ed25519 key pair. It is gone with the program: use [`from_file`](Identity::from_file) for one that stays.
    pub fn generate() -> Self {
        Identity { keypair: Keypair::generate_ed25519() }
    }

    /// The Ed25519 key pair of this number, the same each time.
    ///
    /// **For tests and demonstrations only**: whoever guesses the number has the key.
    pub fn from_seed(seed: u64) -> Self {
        let mut secret = Sha256::new().chain_update("p2prpc identity seed").chain_update(seed.to_le_bytes()).finalize();
        match Keypair::ed25519_from_bytes(&mut secret[..]) {
            Ok(keypair) => Identity { keypair },
            Err(_) => unreachable!("any 32 bytes are an Ed25519 secret key"),
        }
    }

    /// The key pair in these bytes, in libp2p's protobuf encoding: what [`to_bytes`](Identity::to_bytes) gives, and `MarshalPrivateKey` of go-libp2p.
    ///
    /// ```
    /// use p2prpc::Identity;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let identity = Identity::generate();
    /// let again = Identity::from_bytes(identity.to_bytes()?)?;
    /// let once_more = Identity::from_base64(identity.to_base64()?)?;
    /// assert_eq!([again.peer_id(), once_more.peer_id()], [identity.peer_id(); 2]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If they are no key pair, or one of a kind that isn't compiled in: RSA, ECDSA and Secp256k1 need the feature `gorpc`.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Self, InvalidIdentity> {
        let keypair = Keypair::from_protobuf_encoding(bytes.as_ref()).map_err(|_| InvalidIdentity::NotAKeyPair)?;
        Ok(Identity { keypair })
    }

    /// The key pair, secret half and all, in libp2p's protobuf encoding.
    ///
    /// # Errors
    /// If it is an RSA key pair, which libp2p reads and doesn't write.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidIdentity> {
        self.keypair.to_protobuf_encoding().map_err(|_| InvalidIdentity::NotWritten)
    }

    /// The key pair in this text, base64 of its [bytes](Identity::from_bytes): what [`to_base64`](Identity::to_base64) gives, `ConfigEncodeKey`
    /// of go-libp2p, and `PrivKey` in a configuration of Kubo. Space around it is of no concern.
    ///
    /// # Errors
    /// As [`from_bytes`](Identity::from_bytes).
    pub fn from_base64(text: impl AsRef<str>) -> Result<Self, InvalidIdentity> {
        let bytes = BASE64_STANDARD.decode(text.as_ref().trim()).map_err(|_| InvalidIdentity::NotAKeyPair)?;
        Identity::from_bytes(bytes)
    }

    /// The key pair, secret half and all, as base64.
    ///
    /// # Errors
    /// As [`to_bytes`](Identity::to_bytes).
    pub fn to_base64(&self) -> Result<String, InvalidIdentity> {
        self.to_bytes().map(|bytes| BASE64_STANDARD.encode(bytes))
    }

    /// The key pair in this file, in libp2p's protobuf encoding, as it is or in base64: files of go-libp2p programs are either. A missing file is made, with a fresh Ed25519 key pair and
    /// readable by its owner only (mode 0600 on Unix); a missing directory isn't.
    ///
    /// # Errors
    /// If the file can't be read or made, or holds something else. The error names the file and says what to do.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        let keypair = match read(path) {
            Err(Problem::Missing) => create(path),
            result => result,
        };
        keypair.map(|keypair| Identity { keypair }).map_err(|problem| IdentityError { path: path.into(), problem })
    }

    /// The peer id of this key pair.
    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    pub(super) fn keypair(&self) -> &Keypair {
        &self.keypair
    }
}

/// Any key pair that libp2p knows how to use.
impl From<Keypair> for Identity {
    fn from(keypair: Keypair) -> Self {
        Identity { keypair }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&format_args!("{}", self.peer_id())).finish()
    }
}

/// Why there is no key pair of these bytes, or no bytes of this key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIdentity {
    /// The bytes or the text are no key pair.
    #[error("this is no key pair of libp2p: give its protobuf encoding, or base64 of that")]
    NotAKeyPair,
    /// It is an RSA key pair.
    #[error("libp2p reads RSA key pairs and doesn't write them: keep the bytes that it came from")]
    NotWritten,
}

/// Why [`Identity::from_file`] gave none. `Display` is one sentence that names the file and says what to do.
#[derive(Debug)]
pub struct IdentityError {
    path: PathBuf,
    problem: Problem,
}

impl IdentityError {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[derive(Debug)]
enum Problem {
    Missing,
    Directory,
    NoDirectory,
    NotAnIdentity,
    Read(io::Error),
    Write(io::Error),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "identity file {}: ", self.path.display())?;
        match &self.problem {
            Problem::Missing => f.write_str("it is not there and could not be made"),
            Problem::Directory => f.write_str("it is a directory; name a file in it"),
            Problem::NoDirectory => f.write_str("its directory does not exist; make it first"),
            Problem::NotAnIdentity => f.write_str(
                "it holds no key pair of libp2p; name another file, or remove this one to have a new identity made",
            ),
            Problem::Read(error) => write!(f, "it can't be read ({error}); make it readable or name another file"),
            Problem::Write(error) => {
                write!(f, "it can't be made ({error}); make its directory writable or name another file")
            }
        }
    }
}

impl std::error::Error for IdentityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Read(error) | Problem::Write(error) => Some(error),
            _ => None,
        }
    }
}

fn read(path: &Path) -> Result<Keypair, Problem> {
    let reading = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Problem::Missing,
        io::ErrorKind::IsADirectory => Problem::Directory,
        _ => Problem::Read(error),
    };
    if fs::metadata(path).map_err(reading)?.is_dir() {
        return Err(Problem::Directory);
    }
    let file = File::open(path).map_err(reading)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(reading)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Problem::NotAnIdentity);
    }
    let in_text = || Identity::from_base64(std::str::from_utf8(&bytes).ok()?).ok();
    let identity = Identity::from_bytes(&bytes).ok().or_else(in_text);
    identity.map(|identity| identity.keypair).ok_or(Problem::NotAnIdentity)
}

fn create(path: &Path) -> Result<Keypair, Problem> {
    let keypair = Keypair::generate_ed25519();
    let bytes = keypair.to_protobuf_encoding().map_err(|error| Problem::Write(io::Error::other(error)))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return read(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Problem::NoDirectory),
        Err(error) => return Err(Problem::Write(error)),
    };
    if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_all()) {
        drop(file);
        let _ = fs::remove_file(path);
        return Err(Problem::Write(error));
    }
    Ok(keypair)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(path: &Path) -> String {
        let error = Identity::from_file(path).unwrap_err();
        assert_eq!(error.path(), path);
        error.to_string()
    }

    #[test]
    fn a_seed_gives_the_same_peer_each_time() {
        assert_eq!(Identity::from_seed(7).peer_id(), Identity::from_seed(7).peer_id());
        assert_ne!(Identity::from_seed(7).peer_id(), Identity::from_seed(8).peer_id());
    }

    #[test]
    fn a_missing_file_is_made_for_its_owner_only_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        let made = Identity::from_file(&path).unwrap();
        assert_eq!(made.peer_id(), Identity::from_file(&path).unwrap().peer_id());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    /// The private key of libp2p's specification of peer ids, as go-libp2p writes it.
    const OF_GO: &str = "CAESQH4IMGF8Sn3oOSXfsmlFVrEpNsR3oOH+suFI7J2mD+59HtHo+uLEoUS4vo/UtHvz07NLhxw8rPYBDw5C1HT84n4=";

    #[test]
    fn a_key_of_go_is_read_as_bytes_as_text_and_from_a_file_of_either() {
        let identity = Identity::from_base64(OF_GO).unwrap();
        assert_eq!(identity.to_base64().unwrap(), OF_GO);
        let directory = tempfile::tempdir().unwrap();
        let contents = [identity.to_bytes().unwrap(), OF_GO.into(), format!("{OF_GO}\n").into()];
        for (n, content) in contents.iter().enumerate() {
            let path = directory.path().join(n.to_string());
            fs::write(&path, content).unwrap();
            assert_eq!(Identity::from_file(&path).unwrap().peer_id(), identity.peer_id());
            assert_eq!(&fs::read(&path).unwrap(), content);
        }
        assert_eq!(Identity::from_bytes(&contents[0]).unwrap().peer_id(), identity.peer_id());
    }

    #[test]
    fn what_is_no_key_is_refused_in_a_sentence() {
        for wrong in [Identity::from_bytes(b"rubbish"), Identity::from_base64("!"), Identity::from_base64("AAAA")] {
            assert!(wrong.unwrap_err().to_string().contains("no key pair"));
        }
    }

    #[test]
    fn a_directory_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let text = error_of(directory.path());
        assert!(text.contains("is a directory") && text.contains(directory.path().to_str().unwrap()), "{text}");
    }

    #[test]
    fn a_missing_directory_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("absent").join("identity");
        assert!(error_of(&path).contains("make it first"));
        assert!(!directory.path().join("absent").exists());
    }

    #[test]
    fn rubbish_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        for rubbish in [&b""[..], b"-----BEGIN PRIVATE KEY-----", &[0xff; 70_000]] {
            fs::write(&path, rubbish).unwrap();
            assert!(error_of(&path).contains("holds no key pair"));
            assert_eq!(fs::read(&path).unwrap(), rubbish);
        }
    }
}

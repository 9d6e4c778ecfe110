//! A file from several peers: whoever goes in the middle is followed by the next one, which goes on where it was.
//!
//! `cargo run --example file_transfer` makes three nodes and a file of 64 MiB; `.. -- path` takes a file of yours.

use std::collections::HashMap;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use p2prpc::bytes::Bytes;
use p2prpc::prelude::*;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};

const CHUNK: usize = 256 * 1024;

#[p2p_service]
trait Files {
    /// How long it is, if it is there.
    #[rpc(idempotent)]
    async fn len(&self, name: String) -> Option<u64>;

    /// Its bytes from this one on. They may end in an error of the disk's.
    async fn read(&self, name: String, from: u64) -> Result<impl Stream<Item = Result<Bytes, String>>, String>;
}

/// Names, and where these files are: nobody else's names lead anywhere.
struct Shared(HashMap<String, PathBuf>);

impl Shared {
    async fn open(&self, name: &str) -> Result<File, String> {
        let path = self.0.get(name).ok_or_else(|| format!("there is no {name}"))?;
        File::open(path).await.map_err(|error| error.to_string())
    }
}

impl Files for Shared {
    async fn len(&self, name: String) -> Option<u64> {
        let metadata = self.open(&name).await.ok()?.metadata().await.ok()?;
        Some(metadata.len())
    }

    async fn read(&self, name: String, from: u64) -> Result<impl Stream<Item = Result<Bytes, String>>, String> {
        let mut file = self.open(&name).await?;
        file.seek(SeekFrom::Start(from)).await.map_err(|error| error.to_string())?;
        Ok(futures::stream::try_unfold(file, |mut file| async move {
            let mut chunk = vec![0; CHUNK];
            let n = file.read(&mut chunk).await.map_err(|error| error.to_string())?;
            chunk.truncate(n);
            Ok((n > 0).then(|| (chunk.into(), file)))
        }))
    }
}

/// Fetches all of it, from one peer after the other, as often as it takes; fails when none of them gives any more.
async fn fetch(files: &FilesClient, name: &str, to: &mut File) -> Result<u64, Box<dyn std::error::Error>> {
    let (_, len) = files.any().len(name.into()).validate(|_, len| len.is_some()).await?;
    let len = len.unwrap_or_default();
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}")?;
    let progress = ProgressBar::new(len).with_style(style);
    let mut have = 0;
    while have < len {
        let before = have;
        for peer in files.members() {
            let mut chunks = files.peer(peer).read(name.into(), have);
            while let Some(chunk) = chunks.next().await {
                match chunk {
                    Ok(Ok(chunk)) => {
                        to.write_all(&chunk).await?;
                        have += chunk.len() as u64;
                        progress.set_position(have);
                    }
                    Ok(Err(error)) => progress.println(format!("{peer} can't read it: {error}")),
                    // Lost, refused, or not there: the next one is asked for what is missing.
                    Err(error) => progress.println(error.to_string()),
                }
            }
        }
        if have == before {
            return Err(format!("nobody gives the {} bytes that are missing", len - have).into());
        }
    }
    to.flush().await?;
    progress.finish();
    Ok(have)
}

async fn server(path: &std::path::Path, known: Vec<Multiaddr>) -> Result<Node, p2prpc::StartError> {
    let files = Shared(HashMap::from([("file".into(), path.to_owned())]));
    let node = Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("example/files").bootstrap(known);
    node.serve(FilesServer::new(files)).start().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("p2prpc-file-transfer-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let path = match std::env::args_os().nth(1) {
        Some(path) => path.into(),
        None => {
            let path = directory.join("original");
            std::fs::write(&path, (0..64_u32 << 20).map(|n| (n ^ n >> 11) as u8).collect::<Vec<_>>())?;
            path
        }
    };
    let first = server(&path, Vec::new()).await?;
    let second = server(&path, first.addresses()).await?;
    let caller =
        Node::builder().listen("/ip4/127.0.0.1/tcp/0").rendezvous("example/files").bootstrap(first.addresses());
    let caller = caller.start().await?;
    let files = FilesClient::new(&caller);
    files.wait_for(2).await?;

    // The one that is asked first goes in the middle of it.
    let copy = directory.join("copy");
    let (leaving, staying) =
        if files.members().first() == Some(&first.peer_id()) { (first, second) } else { (second, first) };
    let leaves = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        drop(leaving);
    });
    let bytes = fetch(&files, "file", &mut File::create(&copy).await?).await?;
    leaves.await?;
    drop(staying);

    let same = std::fs::read(&path)? == std::fs::read(&copy)?;
    std::fs::remove_dir_all(&directory)?;
    println!("{bytes} bytes, {}", if same { "all as they were" } else { "and not the same" });
    Ok(())
}

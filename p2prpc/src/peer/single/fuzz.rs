//! Substreams of Go peers, and of those who say that they are.

use std::sync::Arc;

use bolero::TypeGenerator;
use libp2p::PeerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::gorpc_client::{GoCall, call};
use super::gorpc_server::serve;
use crate::call::Handle;
use crate::codec::gorpc;
use crate::fuzzing::{pieces, with_paused_clock};
use crate::limits::Limits;
use crate::p2p_service;
use crate::server::Server;
use crate::wire::gorpc::header::{Response, ServiceId};
use crate::wire::gorpc::scan::Skim;

#[p2p_service(crate = "crate", gorpc = "FuzzAPI")]
trait Fuzz {
    async fn echo(&self, text: String) -> String;
    async fn add(&self, numbers: Vec<i64>, by: Option<i64>) -> Vec<i64>;
    async fn nothing(&self);
    async fn fail(&self, why: String) -> Result<(), String>;
    async fn wait(&self);
}

struct Here;

impl Fuzz for Here {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn add(&self, numbers: Vec<i64>, by: Option<i64>) -> Vec<i64> {
        numbers.into_iter().map(|number| number.wrapping_add(by.unwrap_or_default())).collect()
    }

    async fn nothing(&self) {}

    async fn fail(&self, why: String) -> Result<(), String> {
        Err(why)
    }

    async fn wait(&self) {
        std::future::pending().await
    }
}

#[test]
fn the_end_of_a_value_is_the_same_however_it_comes() {
    fuzz!().with_type::<(Vec<u8>, Vec<u16>, u16)>().for_each(|(bytes, cuts, limit)| {
        let limit = usize::from(*limit);
        let whole = Skim::new(limit).end(bytes);
        let (mut skim, mut come, mut found) = (Skim::new(limit), 0, Ok(None));
        for piece in pieces(bytes, cuts) {
            come += piece.len();
            found = skim.end(&bytes[..come]);
            if found != Ok(None) {
                break;
            }
        }
        assert_eq!(found, whole);
        if let Ok(Some(len)) = whole {
            assert!(len <= limit && len <= bytes.len() && len > 0);
            assert!(gorpc::decode::<serde::de::IgnoredAny>(&bytes[..len]).is_ok(), "it is a value");
        }
    });
}

#[test]
fn records_are_read_and_written() {
    fuzz!().for_each(|bytes: &[u8]| {
        if let Ok(id) = ServiceId::decode(bytes) {
            let mut out = Vec::new();
            if id.encode(&mut out).is_ok() {
                assert_eq!(ServiceId::decode(&out), Ok(id));
            }
        }
        if let Ok(response) = Response::decode(bytes) {
            let mut out = Vec::new();
            if response.encode(&mut out).is_ok() {
                assert_eq!(Response::decode(&out), Ok(response));
            }
        }
    });
}

/// How bytes come on a substream.
#[derive(Clone, Debug, TypeGenerator)]
struct Coming {
    /// What is called, if the bytes are to be those of a call.
    method: Option<Method>,
    bytes: Vec<u8>,
    cuts: Vec<u16>,
    pause_millis: u16,
    ends: bool,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Method {
    Echo,
    Add,
    Nothing,
    Fail,
    Wait,
    Unknown,
}

impl Coming {
    fn before(&self) -> Vec<u8> {
        let Some(method) = self.method else { return Vec::new() };
        let id = ServiceId { name: "FuzzAPI".into(), method: format!("{method:?}") };
        let mut out = Vec::new();
        id.encode(&mut out).unwrap();
        out
    }

    async fn write(&self, before: Vec<u8>, to: &mut tokio::io::DuplexStream) {
        let bytes = [before, self.bytes.clone()].concat();
        for piece in pieces(&bytes, &self.cuts) {
            if to.write_all(piece).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis((self.pause_millis % 20_000).into())).await;
        }
        if self.ends {
            let _ = to.shutdown().await;
        }
    }
}

fn limits() -> Limits {
    Limits { max_message: 1 << 20, ..Limits::default() }
}

#[test]
fn whatever_comes_is_answered_as_gorpc_answers_and_leaves_nothing() {
    fuzz!().with_type::<Coming>().with_max_len(1024).for_each(|coming| {
        with_paused_clock(|| async {
            let server = Arc::new(Server::new(PeerId::random(), limits(), Handle::unstarted()));
            server.serve(FuzzServer::new(Here).into()).unwrap();
            let account = server.accounts().open(PeerId::random(), None);
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            let served = tokio::spawn(serve(server, account.clone(), PeerId::random(), ours.compat()));
            coming.write(coming.before(), &mut theirs).await;
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(std::time::Duration::from_secs(4000), theirs.read_to_end(&mut answer)).await;
            if !answer.is_empty() {
                let header = Skim::new(usize::MAX).end(&answer).unwrap().expect("a whole header");
                Response::decode(&answer[..header]).expect("a header");
                let value = Skim::new(usize::MAX).end(&answer[header..]).unwrap().expect("a whole value");
                assert_eq!(header + value, answer.len(), "and nothing behind it");
            }
            drop(theirs);
            served.await.unwrap();
            assert_eq!(account.in_use(), (0, 0, 0));
        });
    });
}

#[test]
fn whatever_a_go_peer_answers_a_call_ends() {
    fuzz!().with_type::<(Coming, Option<String>, i64)>().with_max_len(1024).for_each(|(coming, error, err_type)| {
        with_paused_clock(|| async {
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            let args = vec![0xc0].into();
            let calling = call(ours.compat(), GoCall { service: "FuzzAPI", method: "Echo", args, max_reply: 1 << 20 });
            let calling = tokio::spawn(calling);
            let mut before = Vec::new();
            if let Some(error) = error {
                let response = Response { error: error.clone(), err_type: *err_type, ..Response::default() };
                response.encode(&mut before).unwrap();
            }
            coming.write(before, &mut theirs).await;
            drop(theirs);
            let _ = calling.await.unwrap();
        });
    });
}

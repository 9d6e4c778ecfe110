//! A node that is told by a file what it is to be.

#![cfg(feature = "serde")]

use std::time::Duration;

use p2prpc::{Limits, Node, NodeConfig, Reachability, StartError};
use serde_json::{Value, json};

fn config(value: Value) -> Result<NodeConfig, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(config(json!({})), Ok(NodeConfig::default()));
}

#[test]
fn what_is_written_is_read_again() {
    let mut limits = Limits::default();
    limits.max_message = 1 << 20;
    limits.max_deadline = Duration::from_secs(90);
    let said = NodeConfig {
        identity: Some("node.key".into()),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        rendezvous: vec!["config".into()],
        timeout: Some(Duration::from_millis(1500)),
        reachability: Some(Reachability::Public(vec!["/ip4/198.51.100.7/tcp/4001".parse().unwrap()])),
        max_connections: Some(10),
        limits: Some(limits),
        ..NodeConfig::default()
    };
    let written = serde_json::to_value(&said).unwrap();
    assert_eq!((&written["timeout"], &written["limits"]["max_deadline"]), (&json!("1s 500ms"), &json!("1m 30s")));
    assert_eq!(config(written), Ok(said));
}

#[test]
fn the_readme_has_one_that_is_read() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let json = readme.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let read: NodeConfig = serde_json::from_str(json).unwrap();
    assert_eq!(read.timeout, Some(Duration::from_secs(2)));
}

#[test]
fn times_are_texts_or_seconds() {
    for (written, meant) in [(json!("2m"), 120_000), (json!(3), 3_000), (json!(0.25), 250), (json!("1s 1ms"), 1_001)] {
        let read = config(json!({ "timeout": written, "limits": { "max_deadline": written } })).unwrap();
        assert_eq!(read.timeout, Some(Duration::from_millis(meant)));
        assert_eq!(read.limits.unwrap().max_deadline, Duration::from_millis(meant));
    }
    for wrong in [json!("soon"), json!(-1), json!(-0.5), json!(1e300), json!([1])] {
        let error = config(json!({ "timeout": wrong })).unwrap_err();
        assert!(error.contains("a number of seconds"), "{error}");
    }
}

#[test]
fn a_key_that_is_not_known_is_named() {
    for wrong in [json!({"rendevous": ["x"]}), json!({"limits": {"max_massage": 1}})] {
        assert!(config(wrong).unwrap_err().contains("unknown field"));
    }
}

#[tokio::test]
async fn a_node_starts_by_it() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("node.key");
    let said = json!({
        "identity": key, "listen": ["/ip4/127.0.0.1/tcp/0"], "rendezvous": ["config"], "reachability": "client",
    });
    let node = Node::builder().config(config(said.clone()).unwrap()).start().await.unwrap();
    let peer = node.peer_id();
    node.shutdown(Duration::from_millis(1)).await;
    let again = Node::builder().config(config(said).unwrap()).start().await.unwrap();
    assert_eq!((again.peer_id(), again.addresses().len()), (peer, 1));
}

#[tokio::test]
async fn what_is_wrong_in_it_is_told_by_start() {
    let wrong = |value| Node::builder().config(config(value).unwrap()).start();
    assert!(matches!(wrong(json!({"listen": ["127.0.0.1:1"]})).await, Err(StartError::InvalidAddress(_))));
    assert!(matches!(wrong(json!({"rendezvous": [""]})).await, Err(StartError::EmptyRendezvous)));
    assert!(matches!(wrong(json!({"identity": "/no/such/dir/key"})).await, Err(StartError::InvalidIdentity(_))));
}

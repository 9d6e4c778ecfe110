//! The service of these tests, as `tests/interop/go/lab.go` has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use p2prpc::gorpc::Time;
use p2prpc::prelude::*;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A field of each width and sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Integers {
    pub(crate) i8: i8,
    pub(crate) i16: i16,
    pub(crate) i32: i32,
    pub(crate) i64: i64,
    pub(crate) u8: u8,
    pub(crate) u16: u16,
    pub(crate) u32: u32,
    pub(crate) u64: u64,
}

/// Both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Floats {
    pub(crate) f32: f32,
    pub(crate) f64: f64,
}

/// What an [`Outer`] is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) tags: Vec<String>,
}

/// Values of values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Outer {
    pub(crate) first: Inner,
    pub(crate) all: Vec<Inner>,
    pub(crate) named: BTreeMap<String, Inner>,
    /// No map of maps: `github.com/ugorji/go/codec` v1.2.6, which gorpc v0.6.0 asks for, reads the keys of one wrongly.
    pub(crate) deep: Vec<Vec<BTreeMap<String, i64>>>,
    pub(crate) flag: bool,
}

/// Any of its fields may be nil, or not on the wire at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Sparse {
    pub(crate) text: Option<String>,
    pub(crate) number: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) omitted: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) list: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inner: Option<Inner>,
}

/// Go sends nil for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Empties {
    pub(crate) text: String,
    pub(crate) bytes: ByteBuf,
    pub(crate) list: Vec<String>,
    pub(crate) map: BTreeMap<String, String>,
    pub(crate) time: Option<Time>,
}

/// What became of the callers of `hold`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Seen {
    pub(crate) waiting: i64,
    pub(crate) cancelled: i64,
}

/// A method gives back what it got, unless it says otherwise.
#[p2p_service(gorpc = "Lab")]
pub(crate) trait Lab {
    /// Takes nothing.
    async fn ping(&self) -> String;
    /// Takes nothing and gives nothing.
    async fn nothing(&self);
    async fn integers(&self, values: Integers) -> Integers;
    async fn floats(&self, values: Floats) -> Floats;
    async fn text(&self, text: String) -> String;
    async fn raw(&self, bytes: ByteBuf) -> ByteBuf;
    async fn outer(&self, value: Outer) -> Outer;
    async fn numbers(&self, values: Vec<i64>) -> Vec<i64>;
    async fn table(&self, table: BTreeMap<String, i64>) -> BTreeMap<String, i64>;
    async fn sparse(&self, value: Sparse) -> Sparse;
    async fn empties(&self, value: Empties) -> Empties;
    async fn moment(&self, moment: Option<Time>) -> Option<Time>;
    /// Takes two.
    async fn add(&self, a: i64, b: i64) -> i64;
    /// Can fail.
    async fn divide(&self, a: i64, b: i64) -> Result<i64, String>;
    /// Who asks.
    async fn who(&self, cx: &Context) -> String;
    /// How.
    async fn dialect(&self, cx: &Context) -> String;
    /// Answers after so many milliseconds.
    async fn rest(&self, millis: u64) -> u64;
    /// Waits until its caller gives up.
    async fn hold(&self);
    /// What became of the callers of `hold`.
    async fn seen(&self) -> Seen;
    /// Of what was sent.
    async fn length(&self, bytes: ByteBuf) -> u64;
    /// Panics. No Go peer has it.
    async fn boom(&self) -> String;
}

/// A service that no peer serves.
#[p2p_service(gorpc = "Nobody")]
pub(crate) trait Nobody {
    async fn ping(&self) -> String;
}

/// What a caller with a newer [`Lab`] takes it for.
#[p2p_service(gorpc = "Lab")]
pub(crate) trait NewerLab {
    async fn nope(&self, bytes: ByteBuf) -> String;
}

/// Serves a [`Lab`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Bench {
    waiting: Arc<AtomicI64>,
    cancelled: Arc<AtomicI64>,
}

/// A caller of `hold`, until it gives up.
struct Holding<'a>(&'a Bench);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

impl Lab for Bench {
    async fn ping(&self) -> String {
        "pong".into()
    }

    async fn nothing(&self) {}

    async fn integers(&self, values: Integers) -> Integers {
        values
    }

    async fn floats(&self, values: Floats) -> Floats {
        values
    }

    async fn text(&self, text: String) -> String {
        text
    }

    async fn raw(&self, bytes: ByteBuf) -> ByteBuf {
        bytes
    }

    async fn outer(&self, value: Outer) -> Outer {
        value
    }

    async fn numbers(&self, values: Vec<i64>) -> Vec<i64> {
        values
    }

    async fn table(&self, table: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
        table
    }

    async fn sparse(&self, value: Sparse) -> Sparse {
        value
    }

    async fn empties(&self, value: Empties) -> Empties {
        value
    }

    async fn moment(&self, moment: Option<Time>) -> Option<Time> {
        moment
    }

    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn divide(&self, a: i64, b: i64) -> Result<i64, String> {
        a.checked_div(b).ok_or_else(|| "nothing can be divided by zero".into())
    }

    async fn who(&self, cx: &Context) -> String {
        cx.peer().to_string()
    }

    async fn dialect(&self, cx: &Context) -> String {
        format!("{:?}", cx.dialect())
    }

    async fn rest(&self, millis: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        millis
    }

    async fn hold(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _holding = Holding(self);
        std::future::pending().await
    }

    async fn seen(&self) -> Seen {
        Seen { waiting: self.waiting.load(Ordering::SeqCst), cancelled: self.cancelled.load(Ordering::SeqCst) }
    }

    async fn length(&self, bytes: ByteBuf) -> u64 {
        bytes.len() as u64
    }

    async fn boom(&self) -> String {
        panic!("it goes off")
    }
}

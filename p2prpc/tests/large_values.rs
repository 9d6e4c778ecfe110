//! Arguments and replies that are large themselves, and not behind a pointer, on the stack that threads have by default.

#![allow(missing_docs)]

use std::fmt;

use p2prpc::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a thread of tokio has.
const STACK: usize = 2 << 20;
/// What the main thread has.
const MAIN_STACK: usize = 8 << 20;

struct Page<const N: usize>([u8; N]);

impl<const N: usize> Serialize for Page<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Page<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes<const N: usize>;

        impl<const N: usize> de::Visitor<'_> for Bytes<N> {
            type Value = Page<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Page<N>, E> {
                bytes.try_into().map(Page).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

const SMALL: usize = 64 << 10;
const MIDDLE: usize = 256 << 10;
/// With what a stub adds, all that fits onto such a stack: a caller makes it and gives it away.
const MOST: usize = 960 << 10;
const LARGE: usize = 1 << 20;

#[p2p_service]
trait Pages {
    async fn write(&self, page: Page<SMALL>) -> u8;
    async fn write_more(&self, page: Page<MIDDLE>) -> u8;
    async fn write_most(&self, page: Page<MOST>) -> u8;
    async fn write_large(&self, page: Page<LARGE>) -> u8;
    async fn read(&self) -> Page<SMALL>;
    async fn both(&self, page: Page<SMALL>, fail: bool) -> Result<Page<SMALL>, String>;
}

struct Book;

impl Pages for Book {
    async fn write(&self, page: Page<SMALL>) -> u8 {
        tokio::task::yield_now().await;
        page.0[7]
    }

    async fn write_more(&self, page: Page<MIDDLE>) -> u8 {
        page.0[7]
    }

    async fn write_most(&self, page: Page<MOST>) -> u8 {
        page.0[7]
    }

    async fn write_large(&self, page: Page<LARGE>) -> u8 {
        tokio::task::yield_now().await;
        page.0[7]
    }

    async fn read(&self) -> Page<SMALL> {
        Page([7; SMALL])
    }

    async fn both(&self, page: Page<SMALL>, fail: bool) -> Result<Page<SMALL>, String> {
        if fail { Err("as asked".into()) } else { Ok(page) }
    }
}

fn on_a_thread(stack: usize, run: impl AsyncFnOnce(PagesPeer) + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(stack).spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let client = PagesClient::local(Book);
            run(client.peer(client.local_peer_id().unwrap())).await;
        });
    });
    thread.unwrap().join().unwrap();
}

/// A debug build makes what is written out on the stack, twice.
fn on_the_heap<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> Box<T> {
    let thread = std::thread::Builder::new().stack_size(MAIN_STACK).spawn(|| Box::new(make()));
    thread.unwrap().join().unwrap()
}

#[test]
fn an_argument_of_64_kib_travels() {
    on_a_thread(STACK, async |peer| assert_eq!(peer.write(Page([7; SMALL])).await.unwrap(), 7));
}

#[test]
fn an_argument_of_256_kib_travels() {
    on_a_thread(STACK, async |peer| assert_eq!(peer.write_more(Page([7; MIDDLE])).await.unwrap(), 7));
}

#[test]
fn an_argument_of_nearly_half_the_stack_travels() {
    let page = on_the_heap(|| Page([7; MOST]));
    on_a_thread(STACK, async move |peer| assert_eq!(peer.write_most(*page).await.unwrap(), 7));
}

#[test]
fn an_argument_of_a_mebibyte_travels() {
    // A debug build makes it on the caller's stack, array and page; it is served on a thread of tokio's.
    on_a_thread(MAIN_STACK, async |peer| assert_eq!(peer.write_large(Page([7; LARGE])).await.unwrap(), 7));
}

#[test]
fn a_reply_of_64_kib_travels() {
    on_a_thread(STACK, async |peer| {
        assert_eq!(peer.read().await.unwrap().0[7], 7);
        assert_eq!(peer.both(Page([7; SMALL]), false).await.unwrap().0[7], 7);
        assert!(peer.both(Page([7; SMALL]), true).await.is_err());
    });
}

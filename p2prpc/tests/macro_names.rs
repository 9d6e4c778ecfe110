//! What `#[p2p_service]` writes has names that nobody else does: whatever a user's own names are, they stay the user's.

#![allow(missing_docs, dead_code, non_upper_case_globals, non_camel_case_types, clippy::all, clippy::pedantic)]

use p2prpc::prelude::*;

/// Services whose names run together with their methods' in the same way.
mod run_together {
    use super::*;

    #[p2p_service]
    trait Foo {
        async fn bar_baz(&self) -> u8;
    }

    #[p2p_service]
    trait FooBar {
        async fn baz(&self, a: u8) -> u8;
    }

    #[p2p_service]
    trait Foo_ {
        async fn bar_baz(&self) -> u8;
    }
}

/// Names that are bindings of the generated code's, as statics, constants and structs: a pattern can't shadow them.
mod values_in_scope {
    use super::*;

    macro_rules! statics {
        ($($name:ident)*) => { $(static $name: u8 = 1;)* };
    }
    statics!(service rule rules server client peer peers handle incoming args cx f builder timeout codec key value rendezvous n call of);

    #[p2p_service]
    trait Statics {
        async fn method(&self, cx: &Context, a: u8) -> Result<u8, String>;
        async fn nothing(&self);
    }

    mod structs {
        use super::super::*;

        macro_rules! structs {
            ($($name:ident)*) => { $(struct $name;)* };
        }
        structs!(service rule server client peer peers handle incoming args cx f builder timeout codec key value rendezvous n call M T);

        #[p2p_service]
        trait Structs {
            async fn method(&self, cx: &Context, a: u8) -> u8;
        }
    }
}

/// A module that is called as a service in snake case.
mod own_module {
    use super::*;

    mod greeter {
        pub(super) fn hello() -> &'static str {
            "hello"
        }
    }
    mod other {
        pub(super) fn hello() -> &'static str {
            "other"
        }
    }
    use other as imported;

    #[p2p_service]
    trait Greeter {
        async fn greet(&self) -> String;
    }

    #[p2p_service]
    trait Imported {
        async fn greet(&self) -> String;
    }

    struct Polite;

    impl Greeter for Polite {
        async fn greet(&self) -> String {
            greeter::hello().into()
        }
    }

    #[test]
    fn it_stays_the_users() {
        assert_eq!(greeter::hello(), "hello");
        assert_eq!(imported::hello(), "other");
    }
}

/// Crates that are called as a service in snake case.
mod own_crate {
    use super::*;

    #[p2p_service]
    pub trait Tokio {
        async fn run(&self);
    }

    #[p2p_service]
    pub trait Std {
        async fn run(&self) -> String;
    }

    #[p2p_service]
    pub trait P2prpc {
        async fn run(&self);
    }

    #[p2p_service]
    pub trait SerdeJson {
        async fn run(&self);
    }

    struct Runs;

    impl Tokio for Runs {
        async fn run(&self) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn it_stays_a_crate() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = TokioClient::local(Runs);
            client.peer(client.local_peer_id().unwrap()).run().await.unwrap();
        });
        assert_eq!(std::mem::size_of::<serde_json::Value>(), std::mem::size_of::<serde_json::Value>());
    }
}

/// Words that an edition reserves.
mod reserved {
    use super::*;

    #[p2p_service]
    trait Gen {
        async fn f(&self) -> u8;
        async fn r#gen(&self, r#gen: u8) -> u8;
        async fn r#try(&self, r#async: u8) -> u8;
    }

    #[p2p_service]
    trait Async {
        async fn r#await(&self) -> u8;
    }

    #[p2p_service]
    trait Crate {
        async fn r#mod(&self) -> u8;
    }

    fn named(_: Call<r#gen::Gen>, _: Call<r#async::Await>, _: Call<crate_::Mod>) {}
}

/// A module with a name of the user's choice.
mod named {
    use super::*;

    mod greeter {}

    #[p2p_service(module = "greeter_methods")]
    pub trait Greeter {
        async fn greet(&self) -> String;
    }

    #[test]
    fn it_has_the_methods() {
        assert_eq!(<greeter_methods::Greet as Method>::NAME, "Greeter.Greet");
    }
}

/// Each visibility, and inside of a function.
mod visible {
    use super::*;

    #[p2p_service]
    pub(super) trait ForParent {
        async fn method(&self);
    }

    #[p2p_service]
    pub(in crate::visible) trait InHere {
        async fn method(&self);
    }

    #[p2p_service]
    pub(crate) trait ForCrate {
        async fn method(&self);
    }

    #[test]
    fn in_a_function() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Inner;

        #[p2p_service]
        trait Local {
            async fn method(&self, inner: Inner) -> Inner;
        }
        assert_eq!(<local::Method as Method>::NAME, "Local.Method");
    }
}

fn methods_are_as_visible_as_the_trait(_: Call<visible::for_parent::Method>, _: Call<visible::for_crate::Method>) {}

//! Attributes and visibilities are carried onto what is generated.

#![deny(warnings)]
#![allow(missing_docs)]
// Every way to say how visible a trait is has to work, the needless one too.
#![allow(clippy::needless_pub_self)]

use p2prpc::prelude::*;

fn methods(service: impl Into<Service>) -> Vec<&'static str> {
    service.into().methods().iter().map(|method| method.name).collect()
}

/// `cfg` takes away all of a method.
#[p2p_service]
trait Configured {
    async fn here(&self) -> u8;

    #[cfg(any())]
    async fn gone(&self, of: NoSuchType) -> NoSuchType;

    #[cfg_attr(all(), cfg(any()))]
    async fn gone_too(&self, of: NoSuchType) -> Result<NoSuchType, NoSuchType>;

    #[cfg_attr(all(), cfg(all()), doc = "Still here.")]
    async fn still(&self) -> u8;

    #[cfg(any())]
    async fn either(&self, of: NoSuchType);
    #[cfg(not(any()))]
    async fn either(&self, number: u8) -> u8;

    #[cfg(any())]
    #[rpc(name = "Same")]
    async fn one(&self);
    #[cfg(not(any()))]
    #[rpc(name = "Same")]
    async fn other(&self) -> u8;
}

struct All;

impl Configured for All {
    async fn here(&self) -> u8 {
        1
    }
    async fn still(&self) -> u8 {
        2
    }
    async fn either(&self, number: u8) -> u8 {
        number
    }
    async fn other(&self) -> u8 {
        4
    }
}

#[tokio::test]
async fn methods_follow_their_cfg() {
    assert_eq!(methods(ConfiguredServer::new(All)), ["Here", "Still", "Either", "Same"]);
    let client = ConfiguredClient::local(All);
    let peer = client.peer(client.local_peer_id().unwrap());
    assert_eq!(peer.either(3).await.unwrap(), 3);
    assert_eq!(peer.other().await.unwrap(), 4);
}

/// `cfg` below the attribute takes away all of a service.
#[p2p_service]
#[cfg(any())]
trait Absent {
    async fn of(&self, of: NoSuchType) -> NoSuchType;
}

#[p2p_service]
#[cfg_attr(all(), cfg(any()))]
trait AbsentToo {
    async fn of(&self, of: NoSuchType) -> NoSuchType;
}

/// A name that is free, if the services above are gone.
struct AbsentClient;
struct AbsentTooServer;

#[test]
fn a_service_follows_its_cfg() {
    let _ = (AbsentClient, AbsentTooServer);
}

/// One line.
///
#[doc = concat!("And ", "another.")]
/**
 A block
*/
#[doc(alias = "paper")]
#[p2p_service]
trait Documented {
    #[doc = "From"]
    #[doc = stringify!(a macro)]
    async fn computed(&self);
    #[doc(alias = "nothing")]
    async fn none(&self);
}

impl Documented for All {
    async fn computed(&self) {}
    async fn none(&self) {}
}

#[test]
fn documentation_reaches_the_descriptors() {
    let service = Service::from(DocumentedServer::new(All));
    let lines: Vec<_> = service.docs().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, ["One line.", "And another.", "A block"]);
    assert_eq!(service.methods()[0].docs, "From\na macro");
    assert_eq!(service.methods()[1].docs, "");
}

/// Lint levels and `deprecated` go where the names go.
#[p2p_service]
#[allow(deprecated)]
trait Linted {
    #[deprecated = "do not"]
    async fn old(&self);
    #[allow(non_snake_case)]
    async fn camelCase(&self, camelArgument: u8);
    async fn one_name(&self, #[allow(non_snake_case)] camelArgument: u8, #[expect(unused_variables)] unused: u8) -> u8 {
        camelArgument
    }
    async fn many(&self, #[allow(unused_variables)] unused: u8) {}
}

#[allow(deprecated, non_snake_case)]
impl Linted for All {
    async fn old(&self) {}
    async fn camelCase(&self, _: u8) {}
}

#[tokio::test]
async fn lints_are_carried() {
    assert_eq!(methods(LintedServer::new(All)), ["Old", "CamelCase", "OneName", "Many"]);
    let client = LintedClient::local(All);
    let peer = client.peer(client.local_peer_id().unwrap());
    assert_eq!(peer.one_name(3, 4).await.unwrap(), 3);
    #[expect(deprecated)]
    peer.old().await.unwrap();
    #[expect(deprecated)]
    let all = client.old_all();
    assert_eq!(all.await.len(), 1);
}

/// Each visibility, with types that are as visible.
mod outer {
    pub(in crate::outer) mod inner {
        use p2prpc::prelude::*;

        macro_rules! service {
            ($vis:vis $name:ident, $ty:ident) => {
                #[derive(Debug, serde::Serialize, serde::Deserialize)]
                $vis struct $ty(u8);

                #[p2p_service]
                $vis trait $name {
                    async fn take(&self, value: $ty) -> Result<$ty, String> {
                        Ok(value)
                    }
                }

                impl $name for super::super::All {}
            };
        }

        service!(pub Public, PublicValue);
        service!(pub(crate) InCrate, InCrateValue);
        service!(pub(super) InSuper, InSuperValue);
        service!(pub(in self) InSelf, InSelfValue);
        service!(pub(in super::super) InSuperSuper, InSuperSuperValue);
        service!(pub(in crate::outer) InOuter, InOuterValue);
        service!(Private, PrivateValue);

        pub(crate) fn names() -> Vec<&'static str> {
            use super::super::All;
            let services = [
                Service::from(PublicServer::new(All)),
                Service::from(InCrateServer::new(All)),
                Service::from(InSuperServer::new(All)),
                Service::from(InSelfServer::new(All)),
                Service::from(InSuperSuperServer::new(All)),
                Service::from(InOuterServer::new(All)),
                Service::from(PrivateServer::new(All)),
            ];
            services.iter().map(Service::name).collect()
        }
    }

    pub(crate) fn names() -> Vec<&'static str> {
        let _ = (inner::PublicClient::local(super::All), inner::InCrateClient::local(super::All));
        let _ = (inner::InSuperClient::local(super::All), inner::InOuterClient::local(super::All));
        let _ = <inner::in_super::Take as p2prpc::Method>::NAME;
        inner::names()
    }
}

#[test]
fn visibilities_are_kept() {
    let expected = ["Public", "InCrate", "InSuper", "InSelf", "InSuperSuper", "InOuter", "Private"];
    assert_eq!(outer::names(), expected);
}

/// What `macro_rules` passes on is grouped invisibly.
macro_rules! declare {
    ($name:ident, $method:ident($($argument:ident: $ty:ty),*) -> $output:ty, $context:ty) => {
        #[p2p_service]
        trait $name {
            async fn $method(&self, $($argument: $ty,)* cx: $context) -> $output;
        }
    };
}

declare!(Declared, add(a: u8, b: u8) -> Result<u8, String>, &Context);

impl Declared for All {
    async fn add(&self, a: u8, b: u8, cx: &Context) -> Result<u8, String> {
        a.checked_add(b).ok_or_else(|| cx.info().method().to_owned())
    }
}

#[tokio::test]
async fn a_macro_may_declare_a_service() {
    let client = DeclaredClient::local(All);
    let peer = client.peer(client.local_peer_id().unwrap());
    assert_eq!(peer.add(1, 2).await.unwrap(), 3);
    let error: CallError<String> = peer.add(255, 1).await.unwrap_err();
    assert_eq!(error.application().unwrap(), "Add");
}

/// Traits whose names are awkward.
mod awkward {
    use p2prpc::prelude::*;

    use super::methods;

    #[p2p_service]
    trait T {
        async fn t(&self);
    }

    #[p2p_service]
    trait Type {
        async fn r#move(&self);
    }

    #[p2p_service]
    trait Super {
        async fn crate_(&self);
    }

    #[p2p_service]
    #[allow(non_camel_case_types)]
    trait snake_case {
        async fn _leading(&self, _argument: u8);
    }

    #[p2p_service]
    trait HTTPService2 {
        async fn get_2fa(&self);
        #[rpc(name = "2")]
        async fn _2(&self);
    }

    #[p2p_service]
    trait Empty {}

    impl T for super::All {
        async fn t(&self) {}
    }
    impl Type for super::All {
        async fn r#move(&self) {}
    }
    impl Super for super::All {
        async fn crate_(&self) {}
    }
    impl snake_case for super::All {
        async fn _leading(&self, _: u8) {}
    }
    impl HTTPService2 for super::All {
        async fn get_2fa(&self) {}
        async fn _2(&self) {}
    }
    impl Empty for super::All {}

    #[test]
    fn awkward_names_work() {
        assert_eq!(methods(TServer::new(super::All)), ["T"]);
        assert_eq!(methods(TypeServer::new(super::All)), ["Move"]);
        assert_eq!(methods(SuperServer::new(super::All)), ["Crate"]);
        assert_eq!(methods(snake_caseServer::new(super::All)), ["Leading"]);
        assert_eq!(methods(HTTPService2Server::new(super::All)), ["Get2fa", "2"]);
        assert!(methods(EmptyServer::new(super::All)).is_empty());
        let _ = (r#type::Move::NAME, super_::Crate::NAME, snake_case_::Leading::NAME, http_service2::Get2fa::NAME);
    }
}

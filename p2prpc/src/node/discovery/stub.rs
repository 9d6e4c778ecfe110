//! The server and the client of the membership service.

use std::sync::Arc;

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use super::key::Topic;
use super::service::{Cursor, Description, Listing, Membership};
use crate::client::{Call, Client};
use crate::error::RpcError;
use crate::handle::Handle;
use crate::service::{Method, MethodDescriptor, Service, ServiceBuilder, infallible};

#[derive(Serialize, Deserialize)]
pub(super) struct DescribeArgs {
    topics: Vec<Topic>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ListArgs {
    topics: Vec<Topic>,
    since: Cursor,
}

#[derive(Serialize, Deserialize)]
pub(super) struct LeavingArgs {}

pub(super) struct Describe;
pub(super) struct List;
pub(super) struct Leaving;

impl Method for Describe {
    const NAME: &'static str = "p2prpc-membership.Describe";
    const IDEMPOTENT: bool = false;
    type Args = DescribeArgs;
    type Output = Description;
    type Error = RpcError;
}

impl Method for List {
    const NAME: &'static str = "p2prpc-membership.List";
    const IDEMPOTENT: bool = false;
    type Args = ListArgs;
    type Output = Listing;
    type Error = RpcError;
}

impl Method for Leaving {
    const NAME: &'static str = "p2prpc-membership.Leaving";
    const IDEMPOTENT: bool = false;
    type Args = LeavingArgs;
    type Output = ();
    type Error = RpcError;
}

pub(super) struct MembershipServer<T>(Arc<T>);

impl<T: Membership> MembershipServer<T> {
    pub(super) fn new(service: T) -> Self {
        MembershipServer(Arc::new(service))
    }
}

fn descriptor(name: &'static str, full_name: &'static str) -> MethodDescriptor {
    MethodDescriptor { name, full_name, docs: "", spawn: false }
}

impl<T: Membership> From<MembershipServer<T>> for Service {
    fn from(server: MembershipServer<T>) -> Service {
        ServiceBuilder::new("p2prpc-membership", "", server.0)
            .method(descriptor("Describe", Describe::NAME), |service, incoming| {
                let service = service.clone();
                infallible(
                    incoming,
                    move |cx, args: DescribeArgs| async move { service.describe(&cx, args.topics).await },
                )
            })
            .method(descriptor("List", List::NAME), |service, incoming| {
                let service = service.clone();
                infallible(incoming, move |cx, args: ListArgs| async move {
                    service.list(&cx, args.topics, args.since).await
                })
            })
            .method(descriptor("Leaving", Leaving::NAME), |service, incoming| {
                let service = service.clone();
                infallible(incoming, move |cx, _: LeavingArgs| async move { service.leaving(&cx).await })
            })
            .build()
    }
}

pub(super) struct MembershipClient(Client);
pub(super) struct MembershipPeer(Client, PeerId);

impl MembershipClient {
    pub(super) fn new(handle: impl Into<Handle>) -> Self {
        MembershipClient(Client::new("p2prpc-membership", handle))
    }

    pub(super) fn peer(&self, peer: PeerId) -> MembershipPeer {
        MembershipPeer(self.0.clone(), peer)
    }
}

impl MembershipPeer {
    pub(super) fn describe(&self, topics: Vec<Topic>) -> Call<Describe> {
        self.0.call(self.1, DescribeArgs { topics })
    }

    pub(super) fn list(&self, topics: Vec<Topic>, since: Cursor) -> Call<List> {
        self.0.call(self.1, ListArgs { topics, since })
    }

    pub(super) fn leaving(&self) -> Call<Leaving> {
        self.0.call(self.1, LeavingArgs {})
    }
}

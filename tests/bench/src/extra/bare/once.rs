//! A swarm that asks once on each connection it makes: one stream, one message, its echo.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::iter::{self, Once};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    SubstreamProtocol, SwarmEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm};
use tokio::task::JoinHandle;

use super::super::Error;
use super::super::nodes::Carrier;
use super::{listen, swarm};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/bench/once/1");

/// Sends back what comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serve;

/// Sends this and waits for as many bytes.
#[derive(Clone, Debug)]
pub(crate) struct Ask(Vec<u8>);

impl UpgradeInfo for Serve {
    type Info = StreamProtocol;
    type InfoIter = Once<StreamProtocol>;

    fn protocol_info(&self) -> Once<StreamProtocol> {
        iter::once(PROTOCOL)
    }
}

impl UpgradeInfo for Ask {
    type Info = StreamProtocol;
    type InfoIter = Once<StreamProtocol>;

    fn protocol_info(&self) -> Once<StreamProtocol> {
        iter::once(PROTOCOL)
    }
}

impl InboundUpgrade<Stream> for Serve {
    type Output = ();
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<()>>;

    fn upgrade_inbound(self, mut stream: Stream, _: StreamProtocol) -> Self::Future {
        Box::pin(async move {
            let mut len = [0];
            stream.read_exact(&mut len).await?;
            let mut message = vec![0; usize::from(len[0])];
            stream.read_exact(&mut message).await?;
            stream.write_all(&message).await?;
            stream.flush().await
        })
    }
}

impl OutboundUpgrade<Stream> for Ask {
    type Output = Vec<u8>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Vec<u8>>>;

    fn upgrade_outbound(self, mut stream: Stream, _: StreamProtocol) -> Self::Future {
        Box::pin(async move {
            let mut message = vec![u8::try_from(self.0.len()).map_err(io::Error::other)?];
            message.extend_from_slice(&self.0);
            stream.write_all(&message).await?;
            stream.flush().await?;
            let mut answer = self.0;
            stream.read_exact(&mut answer).await?;
            Ok(answer)
        })
    }
}

/// What a connection gave: the echo, or why there is none.
type Answer = Result<Vec<u8>, String>;

#[derive(Debug, Default)]
pub(crate) struct Handler {
    ask: Option<Vec<u8>>,
    answer: Option<Answer>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Answer;
    type InboundProtocol = Serve;
    type OutboundProtocol = Ask;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Serve> {
        SubstreamProtocol::new(Serve, ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Ask, (), Answer>> {
        if let Some(message) = self.ask.take() {
            let protocol = SubstreamProtocol::new(Ask(message), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        match self.answer.take() {
            Some(answer) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(answer)),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, never: Infallible) {
        match never {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Serve, Ask>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: answer, .. }) => {
                self.answer = Some(Ok(answer));
            }
            ConnectionEvent::DialUpgradeError(error) => self.answer = Some(Err(error.error.to_string())),
            _ => {}
        }
    }
}

#[derive(Debug, Default)]
struct Behaviour {
    ask: Option<Vec<u8>>,
    answers: VecDeque<Answer>,
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Answer;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler { ask: self.ask.take(), answer: None })
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, answer: Answer) {
        self.answers.push_back(answer);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Answer, Infallible>> {
        self.answers.pop_front().map_or(Poll::Pending, |answer| Poll::Ready(ToSwarm::GenerateEvent(answer)))
    }
}

/// Answers in a task of its own until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: Multiaddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(carrier: Carrier) -> Result<Self, Error> {
        let mut swarm = swarm(|_| Behaviour::default())?;
        let address = listen(&mut swarm, carrier).await?;
        let task = tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Ok(Server { address, task })
    }

    pub(crate) fn address(&self) -> &Multiaddr {
        &self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks once.
pub(crate) struct Client(Swarm<Behaviour>);

impl Client {
    pub(crate) async fn start(carrier: Carrier) -> Result<Self, Error> {
        let mut swarm = swarm(|_| Behaviour::default())?;
        listen(&mut swarm, carrier).await?;
        Ok(Client(swarm))
    }

    /// Dials, and gives what came back.
    pub(crate) fn ask(self, address: Multiaddr, message: Vec<u8>) -> impl Future<Output = Result<Vec<u8>, Error>> {
        let Client(mut swarm) = self;
        async move {
            swarm.behaviour_mut().ask = Some(message);
            swarm.dial(address)?;
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::Behaviour(answer) => return answer.map_err(Error::from),
                    SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
                    _ => {}
                }
            }
        }
    }
}

//! One node of the demonstration: it says what happens at it, and calls all peers when it is told to.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream, StreamExt};
use p2prpc::{Identity, Multiaddr, Node, NodeBuilder, NodeEvent, PeerId, RpcError, StartError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::message::Template;
use crate::report::{Event, Reporter, Speaker};
use crate::service::{Echo, EchoServiceClient, EchoServiceServer, Envelope};
use crate::tally::Tally;

/// Calls under way may take so long when the program is to end.
const GRACE: Duration = Duration::from_secs(2);

/// A running node.
pub(crate) struct Participant {
    node: Node,
    speaker: Speaker,
    reporter: Reporter,
    client: EchoServiceClient,
    message: Template,
    events: BoxStream<'static, NodeEvent>,
    /// Tasks of their own: how long a call takes has nothing to do with how long its report takes.
    rounds: JoinSet<()>,
    rounds_under_way: usize,
    answer: mpsc::UnboundedSender<Happening>,
    answers: mpsc::UnboundedReceiver<Happening>,
    tally: Tally,
    /// Bootstrap peers that were said to be out of reach.
    out_of_reach: HashSet<Multiaddr>,
}

/// What there is to report next.
pub(crate) enum Happening {
    Event(NodeEvent),
    Answer(Answer),
    /// All peers of a round have answered.
    RoundEnded,
}

/// What came of one call.
pub(crate) struct Answer {
    round: u64,
    peer: PeerId,
    took: Duration,
    reply: Result<Envelope, RpcError>,
}

impl Participant {
    /// Starts a node that echoes, and says where it is.
    pub(crate) async fn start(
        builder: NodeBuilder,
        identity: Identity,
        label: Option<String>,
        message: Template,
        reporter: Reporter,
    ) -> Result<Self, StartError> {
        let id = identity.peer_id();
        let service = EchoServiceServer::new(Echo::new(id));
        let node = builder.identity(identity).gorpc(true).serve(service).start().await?;
        let addresses = node.addresses();
        let known: HashSet<_> = addresses.iter().cloned().collect();
        let news = move |event: &NodeEvent| match event {
            NodeEvent::Listening { address } => !known.contains(address),
            _ => true,
        };
        // The first events repeat the addresses of now.
        let events =
            node.events().filter(move |event| std::future::ready(news(event))).chain(stream::pending()).boxed();
        let speaker = Speaker { id, label: label.map(Into::into) };
        reporter.event(&speaker, Event::Started { addresses }).await;
        let (answer, answers) = mpsc::unbounded_channel();
        Ok(Participant {
            client: EchoServiceClient::new(&node),
            node,
            speaker,
            reporter,
            message,
            events,
            rounds: JoinSet::new(),
            rounds_under_way: 0,
            answer,
            answers,
            tally: Tally::new(),
            out_of_reach: HashSet::new(),
        })
    }

    /// Who it is.
    pub(crate) fn speaker(&self) -> Speaker {
        self.speaker.clone()
    }

    /// Where others can join through this node.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        self.node.addresses()
    }

    /// Knows whom this node would call.
    pub(crate) fn client(&self) -> EchoServiceClient {
        self.client.clone()
    }

    /// Calls all peers. What they answer is among what happens next.
    pub(crate) fn begin_round(&mut self, round: u64) {
        let message = self.message.fill(round, self.speaker.id);
        let began = Instant::now();
        let mut replies = self.client.echo_all(Envelope { message }).replies();
        let answer = self.answer.clone();
        // Those that have ended are of no use any more.
        while self.rounds.try_join_next().is_some() {}
        self.rounds_under_way += 1;
        self.rounds.spawn(async move {
            // Sending can't fail: the participant outlives its rounds.
            while let Some((peer, reply)) = replies.next().await {
                let _ = answer.send(Happening::Answer(Answer { round, peer, took: began.elapsed(), reply }));
            }
            let _ = answer.send(Happening::RoundEnded);
        });
    }

    /// The rounds in which a peer hasn't answered yet.
    pub(crate) fn rounds_under_way(&self) -> usize {
        self.rounds_under_way
    }

    /// Waits for what happens next. Nothing is lost if it is not waited for to the end.
    pub(crate) async fn next(&mut self) -> Happening {
        tokio::select! {
            Some(event) = self.events.next() => Happening::Event(event),
            Some(happening) = self.answers.recv() => happening,
            // Neither events nor answers can have ended.
            else => std::future::pending().await,
        }
    }

    /// Says why, if it has found nobody yet.
    pub(crate) async fn explain_solitude(&self) {
        if self.node.members().is_empty() {
            let why = format!("Nobody has been found yet: {}", self.node.diagnose().await);
            for line in why.lines() {
                self.reporter.note_of(&self.speaker, line.to_owned()).await;
            }
        }
    }

    /// Says what happened.
    pub(crate) async fn report(&mut self, happening: Happening) {
        match happening {
            Happening::Event(event) => self.report_event(event).await,
            Happening::Answer(answer) => self.report_answer(answer).await,
            Happening::RoundEnded => self.rounds_under_way -= 1,
        }
    }

    async fn report_event(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Listening { address } => self.say(Event::Listening { address }).await,
            NodeEvent::PeerJoined { peer } => {
                self.tally.found(peer);
                self.say(Event::PeerJoined { peer }).await;
            }
            NodeEvent::PeerLeft { peer } => self.say(Event::PeerLeft { peer }).await,
            NodeEvent::BootstrapConnected { peer } => {
                self.out_of_reach.retain(|address| !address.to_string().ends_with(&peer.to_string()));
            }
            NodeEvent::BootstrapFailed { address, error } if self.out_of_reach.insert(address.clone()) => {
                let note = format!("No connection to {address} yet, it is tried again and again: {error}");
                self.reporter.note_of(&self.speaker, note).await;
            }
            NodeEvent::Lagged(missed) => tracing::warn!(missed, "events came faster than they could be reported"),
            _ => {}
        }
    }

    async fn report_answer(&mut self, Answer { round, peer, took, reply }: Answer) {
        match reply {
            Ok(Envelope { message }) => {
                self.tally.echoed(peer, took);
                self.say(Event::Echo { peer, round, message, took }).await;
            }
            Err(error) => {
                self.tally.failed();
                let kind = error.kind();
                self.say(Event::Error { peer, round, error: error.to_string(), kind, took }).await;
            }
        }
    }

    async fn say(&mut self, event: Event) {
        self.reporter.event(&self.speaker, event).await;
    }

    /// Leaves politely. Gives the node's last word.
    pub(crate) async fn leave(mut self) -> (Speaker, Tally) {
        self.rounds.abort_all();
        self.node.shutdown(GRACE).await;
        (self.speaker, self.tally)
    }
}

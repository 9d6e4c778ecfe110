//! Rounds of a swarm: all nodes call all others at the same time.

use std::num::NonZeroU64;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::participant::Participant;

/// The nodes at work, each in a task of its own.
pub(super) struct Crew {
    tasks: Vec<JoinHandle<Participant>>,
    orders: Vec<mpsc::Sender<Order>>,
}

/// Call all peers.
struct Order {
    round: u64,
    /// Told when all have answered.
    done: oneshot::Sender<()>,
}

impl Crew {
    /// Sets them to work: from now on they say what happens at them.
    pub(super) fn new(participants: Vec<Participant>, stop: &CancellationToken) -> Self {
        let (tasks, orders) = participants
            .into_iter()
            .map(|participant| {
                let (order, orders) = mpsc::channel(1);
                (tokio::spawn(work(participant, orders, stop.clone())), order)
            })
            .unzip();
        Crew { tasks, orders }
    }

    /// One round after the other, none sooner than `interval` after the one before. `done` counts those that ended.
    pub(super) async fn echo(&self, interval: Duration, rounds: Option<NonZeroU64>, done: &mut u64) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in 1..=rounds.map_or(u64::MAX, NonZeroU64::get) {
            ticks.tick().await;
            join_all(self.orders.iter().map(|orders| order(orders, round))).await;
            *done = round;
        }
    }

    /// Gives the nodes back.
    pub(super) async fn dismiss(self) -> Vec<Participant> {
        drop(self.orders);
        join_all(self.tasks).await.into_iter().filter_map(Result::ok).collect()
    }
}

/// A node that is gone has nothing more to do.
async fn order(orders: &mpsc::Sender<Order>, round: u64) {
    let (done, ended) = oneshot::channel();
    if orders.send(Order { round, done }).await.is_ok() {
        let _ = ended.await;
    }
}

async fn work(mut participant: Participant, orders: mpsc::Receiver<Order>, stop: CancellationToken) -> Participant {
    stop.run_until_cancelled(obey(&mut participant, orders)).await;
    participant
}

async fn obey(participant: &mut Participant, mut orders: mpsc::Receiver<Order>) {
    let mut under_way: Option<oneshot::Sender<()>> = None;
    loop {
        if participant.rounds_under_way() == 0 {
            // Whoever gave the order may have gone.
            let _ = under_way.take().map(|done| done.send(()));
        }
        tokio::select! {
            order = orders.recv(), if under_way.is_none() => match order {
                Some(Order { round, done }) => {
                    participant.begin_round(round);
                    under_way = Some(done);
                }
                None => return,
            },
            happening = participant.next() => participant.report(happening).await,
        }
    }
}

//! Many nodes in one process.

mod find;
mod rounds;
mod start;
mod transport;
mod verdict;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::cli::SwarmArgs;
use crate::exit::Failure;
use crate::files;
use crate::participant::Participant;
use crate::report::Reporter;
use rounds::Crew;
use transport::Transport;

/// Starts the nodes, lets them find each other, lets them echo, and says what came of it.
pub(crate) async fn run(args: SwarmArgs, reporter: &Reporter, stop: &CancellationToken) -> Result<(), Failure> {
    let open_files = files::allow(transport::most_files(args.nodes));
    let transport = Transport::choose(args.nodes, open_files)?;
    if transport == Transport::Quic {
        let note =
            format!("The nodes talk QUIC: over TCP they need more open files than the {open_files} allowed here.");
        reporter.note(note).await;
    }
    let starting = start::all(args.nodes, transport, &args.echo.message, reporter);
    let Some(started) = stop.run_until_cancelled(starting).await else { return Ok(()) };
    let nodes = started?;
    let everyone: Vec<_> = nodes.iter().map(|node| (node.speaker(), node.client())).collect();
    let crew = Crew::new(nodes, stop);
    let mut rounds_done = 0;
    if args.nodes > 1 {
        let echoing = async {
            find::each_other(&everyone, reporter).await;
            crew.echo(args.echo.interval, args.echo.rounds, &mut rounds_done).await;
        };
        stop.run_until_cancelled(echoing).await;
    }
    let participants = crew.dismiss().await;
    let last_words = join_all(participants.into_iter().map(Participant::leave)).await;
    let summaries = last_words.iter().map(|(speaker, tally)| (speaker.clone(), tally.summary()));
    reporter.summaries(summaries.collect()).await;
    // Who stops it before the first round has ended doesn't want to know.
    if rounds_done == 0 { Ok(()) } else { verdict::of_pairs(&last_words) }
}

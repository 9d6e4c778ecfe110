//! One thread writes all output: a reader that is slow holds up nobody's calls.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Entry, Event, Speaker, json, table, text};
use crate::exit::Failure;
use crate::tally::Summary;

/// Lines that wait to be written; past it, those who report wait.
const BACKLOG: usize = 128;

/// What there is to write.
enum Line {
    /// To stdout, in words or in JSON.
    Entry(Box<Entry>),
    /// To stdout, the last word on some nodes.
    Summaries(Vec<(Speaker, Summary)>),
    /// To stderr.
    Note(String),
    /// To stderr, replaced by the next where that is a terminal; `None` takes it away.
    Progress(Option<String>),
}

/// Who reports hands lines to it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    lines: mpsc::Sender<Line>,
}

impl Reporter {
    /// Something happened at a node.
    pub(crate) async fn event(&self, node: &Speaker, event: Event) {
        self.send(Line::Entry(Box::new(Entry::new(node.clone(), event)))).await;
    }

    /// The last word on all nodes.
    pub(crate) async fn summaries(&self, summaries: Vec<(Speaker, Summary)>) {
        self.send(Line::Summaries(summaries)).await;
    }

    /// Something for people that isn't output. It may hold anybody's text.
    pub(crate) async fn note(&self, note: String) {
        self.send(Line::Note(note)).await;
    }

    /// Something for people about one node that isn't output.
    pub(crate) async fn note_of(&self, node: &Speaker, note: String) {
        let label = node.label.as_ref().map(|label| format!("[{label}] ")).unwrap_or_default();
        self.note(format!("{label}{note}")).await;
    }

    /// How far something is; what was reported before is out of date.
    pub(crate) async fn progress(&self, progress: String) {
        self.send(Line::Progress(Some(progress))).await;
    }

    /// There is no more progress to be made.
    pub(crate) async fn end_progress(&self) {
        self.send(Line::Progress(None)).await;
    }

    async fn send(&self, line: Line) {
        // Without a printer nobody reads any more.
        let _ = self.lines.send(line).await;
    }
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Printer {
    reporter: Reporter,
    finished: oneshot::Receiver<io::Result<()>>,
}

impl Printer {
    /// Starts it. Once stdout can't be written to it cancels `stop`.
    pub(crate) fn start(json: bool, stop: CancellationToken) -> Self {
        let (lines, mut received) = mpsc::channel(BACKLOG);
        let (done, finished) = oneshot::channel();
        thread::spawn(move || {
            let stdout = io::stdout().lock();
            let style = if json { Style::Json } else { Style::Text { colours: colours(&stdout) } };
            let terminal = io::stderr().is_terminal();
            let mut writer = Writer::new(BufWriter::new(stdout), io::stderr(), style, terminal);
            let result = writer.write_all(&mut received);
            if result.is_err() {
                stop.cancel();
            }
            // Whoever started it may have gone.
            let _ = done.send(result);
        });
        Printer { reporter: Reporter { lines }, finished }
    }

    pub(crate) fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Waits until all is written. All other reporters must be gone. That nobody reads it any more is no failure.
    pub(crate) async fn finish(self) -> Result<(), Failure> {
        drop(self.reporter);
        match self.finished.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::other(format_args!("the output could not be written: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// On a terminal, unless its user wants none (<https://no-color.org>).
fn colours(stdout: &impl IsTerminal) -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    stdout.is_terminal() && wanted && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

enum Style {
    Json,
    Text { colours: bool },
}

struct Writer<O, E> {
    out: O,
    err: E,
    style: Style,
    /// Whether `err` is one.
    terminal: bool,
    /// What stands in the terminal's last line.
    progress: Option<String>,
}

impl<O: Write, E: Write> Writer<O, E> {
    fn new(out: O, err: E, style: Style, terminal: bool) -> Self {
        Writer { out, err, style, terminal, progress: None }
    }

    fn write_all(&mut self, lines: &mut mpsc::Receiver<Line>) -> io::Result<()> {
        while let Some(line) = lines.blocking_recv() {
            self.hide_progress();
            self.write(line)?;
            while let Ok(line) = lines.try_recv() {
                self.write(line)?;
            }
            self.out.flush()?;
            self.show_progress();
        }
        self.hide_progress();
        Ok(())
    }

    fn write(&mut self, line: Line) -> io::Result<()> {
        match line {
            Line::Entry(entry) => self.write_entry(&entry)?,
            Line::Summaries(summaries) => self.write_summaries(summaries)?,
            Line::Note(note) => {
                // What was written before it stands before it.
                self.out.flush()?;
                self.err(format_args!("{}\n", p2prpc::printable(note)));
            }
            Line::Progress(progress) if self.terminal => self.progress = progress,
            Line::Progress(Some(progress)) => self.err(format_args!("{progress}\n")),
            Line::Progress(None) => {}
        }
        Ok(())
    }

    fn write_entry(&mut self, entry: &Entry) -> io::Result<()> {
        match self.style {
            Style::Json => json::write(&mut self.out, entry),
            Style::Text { colours } => text::write(&mut self.out, entry, colours),
        }
    }

    /// Nodes without a label are alone.
    fn write_summaries(&mut self, summaries: Vec<(Speaker, Summary)>) -> io::Result<()> {
        let labelled = summaries.iter().any(|(node, _)| node.label.is_some());
        if labelled && matches!(self.style, Style::Text { .. }) {
            return writeln!(self.out, "{}", table::of(&summaries));
        }
        summaries
            .into_iter()
            .try_for_each(|(node, summary)| self.write_entry(&Entry::new(node, Event::Summary(summary))))
    }

    fn show_progress(&mut self) {
        if let Some(progress) = &self.progress {
            let line = format!("{progress}\r");
            self.err(format_args!("{line}"));
        }
    }

    fn hide_progress(&mut self) {
        if self.progress.is_some() {
            self.err(format_args!("\u{1b}[2K\r"));
        }
    }

    /// Output is worth more than what is said beside it: a closed stderr ends nothing.
    fn err(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.err.write_fmt(text).and_then(|()| self.err.flush());
    }
}

#[cfg(test)]
mod tests {
    use p2prpc::PeerId;

    use super::*;

    fn speaker() -> Speaker {
        Speaker { id: PeerId::random(), label: None }
    }

    fn summary() -> Summary {
        Summary { peers: 0, calls: 0, errors: 0, p50: None, p99: None }
    }

    /// What is on stdout and on stderr after these lines.
    fn written(style: Style, terminal: bool, lines: Vec<Line>) -> (String, String) {
        let (sender, mut receiver) = mpsc::channel(lines.len());
        for line in lines {
            sender.try_send(line).ok().unwrap();
        }
        drop(sender);
        let mut writer = Writer::new(Vec::new(), Vec::new(), style, terminal);
        writer.write_all(&mut receiver).unwrap();
        (String::from_utf8(writer.out).unwrap(), String::from_utf8(writer.err).unwrap())
    }

    fn lines() -> Vec<Line> {
        let joined = Entry::new(speaker(), Event::PeerJoined { peer: PeerId::random() });
        vec![
            Line::Progress(Some("1 of 2".into())),
            Line::Entry(Box::new(joined)),
            Line::Note("a \u{1b}[2J note".into()),
            Line::Summaries(vec![(Speaker { label: Some("node-1".into()), ..speaker() }, summary())]),
        ]
    }

    #[test]
    fn only_json_is_on_stdout_if_asked_for() {
        let (out, err) = written(Style::Json, false, lines());
        assert_eq!(out.lines().count(), 2, "{out}");
        assert!(out.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{out}");
        assert_eq!(err, "1 of 2\na \\u{1b}[2J note\n");
    }

    #[test]
    fn words_and_a_table_are_on_stdout_else() {
        let (out, err) = written(Style::Text { colours: false }, false, lines());
        assert!(out.contains("joined\n") && out.contains("node-1"), "{out}");
        assert_eq!(err, "1 of 2\na \\u{1b}[2J note\n");
    }

    #[test]
    fn on_a_terminal_progress_stands_in_one_line_and_is_gone_in_the_end() {
        let progress = |text: &str| Line::Progress(Some(text.into()));
        let lines = vec![progress("1"), Line::Note("a note".into()), progress("2")];
        let (_, err) = written(Style::Json, true, lines);
        assert_eq!(err, "a note\n2\r\u{1b}[2K\r");
        let lines = vec![progress("1"), Line::Progress(None), Line::Note("a note".into())];
        let (_, err) = written(Style::Json, true, lines);
        assert_eq!(err, "a note\n");
    }

    #[test]
    fn a_closed_stdout_ends_the_writing() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sender, mut receiver) = mpsc::channel(1);
        sender.try_send(Line::Summaries(vec![(speaker(), summary())])).ok().unwrap();
        let mut writer = Writer::new(Closed, Vec::new(), Style::Text { colours: false }, false);
        assert!(writer.write_all(&mut receiver).is_err());
    }
}

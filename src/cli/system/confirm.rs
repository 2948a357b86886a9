//! `system set --confirm`: what was set is undone unless somebody says that he can still work. Who is locked out by it cannot answer, and whose
//! session has ended need not.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::config::units::TimeSpan;
use crate::os::signal::Signals;
use crate::os::terminal;

/// A word; what is longer is no yes.
const MAX_ANSWER_LEN: u64 = 64;

/// The longest time: who comes back later can set it again.
const MAX_PATIENCE: Duration = Duration::from_secs(3600);

/// Somebody is to confirm.
pub(super) struct Confirmation {
    patience: Duration,
    runtime: Runtime,
    signals: Signals,
}

impl Confirmation {
    /// From now on a signal does not end the program: it undoes what is set.
    pub(super) fn within(patience: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _handlers_belong_there = runtime.enter();
            Signals::new()?
        };
        Ok(Self {
            patience,
            runtime,
            signals,
        })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Why it is to be undone.
    pub(super) fn wait(&mut self) -> Result<(), String> {
        let patience = TimeSpan(self.patience);
        // What was typed before it could be read confirms nothing.
        terminal::forget_typed();
        // The terminal may be gone already: then there is no answer either.
        let _ = write!(
            io::stderr(),
            "It works. Press Enter within {patience} to keep it: without that, or if this session ends, everything is undone. "
        );
        let stop = async {
            self.signals.next().await;
        };
        let is_terminal = io::stdin().is_terminal();
        let decided = self
            .runtime
            .block_on(decide(self.patience, answer(), stop, is_terminal));
        if decided.is_err() {
            // Its reason goes on a line of its own.
            let _ = writeln!(io::stderr());
        }
        decided
    }
}

/// A time of at most an hour.
pub(super) fn read_patience(text: &str) -> Result<TimeSpan, String> {
    match text.parse::<TimeSpan>() {
        Ok(span) if span.0.is_zero() || span.0 > MAX_PATIENCE => Err("a time of up to an hour".to_owned()),
        Ok(span) => Ok(span),
        Err(error) => Err(error.to_string()),
    }
}

/// A line of stdin, in a thread of its own: nothing can end its read, but the process ends without it.
fn answer() -> oneshot::Receiver<io::Result<String>> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().take(MAX_ANSWER_LEN).read_line(&mut line);
        // It may be too late for an answer.
        let _ = sender.send(read.map(|_| line));
    });
    receiver
}

async fn decide(
    patience: Duration,
    answer: oneshot::Receiver<io::Result<String>>,
    stop: impl Future<Output = ()>,
    is_terminal: bool,
) -> Result<(), String> {
    tokio::select! {
        biased;
        () = stop => Err("ended before it was confirmed".to_owned()),
        answer = answer => judge(answer.ok(), is_terminal),
        () = sleep(patience) => Err(format!("not confirmed within {}", TimeSpan(patience))),
    }
}

/// An empty line is a person's, at a terminal: in a script it may stand behind the command.
fn judge(answer: Option<io::Result<String>>, is_terminal: bool) -> Result<(), String> {
    let line = match answer {
        Some(Ok(line)) if !line.is_empty() => line,
        _ => return Err("nobody is there to confirm it".to_owned()),
    };
    match line.trim().to_ascii_lowercase().as_str() {
        "" if is_terminal => Ok(()),
        "y" | "yes" => Ok(()),
        _ => Err("not confirmed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn decided(answer: io::Result<&str>) -> Result<(), String> {
        let (sender, receiver) = oneshot::channel();
        sender.send(answer.map(str::to_owned)).unwrap();
        decide(PATIENCE, receiver, pending(), true).await
    }

    #[test]
    fn an_empty_line_of_a_script_confirms_nothing() {
        for (line, keeps) in [("\n", false), ("y\n", true), ("yes\n", true)] {
            assert_eq!(judge(Some(Ok(line.to_owned())), false).is_ok(), keeps, "{line:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn enter_and_yes_keep_it_and_everything_else_undoes() {
        for (answer, keeps) in [
            ("\n", true),
            ("y\n", true),
            ("Yes\r\n", true),
            ("y", true),
            ("n\n", false),
            ("what?\n", false),
            ("", false),
        ] {
            assert_eq!(decided(Ok(answer)).await.is_ok(), keeps, "{answer:?}");
        }
        assert!(decided(Err(io::Error::other("hung up"))).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_it_is_undone_in_time() {
        let (_sender, receiver) = oneshot::channel();
        let begin = Instant::now();
        let why = decide(PATIENCE, receiver, pending(), true).await.unwrap_err();
        assert_eq!((begin.elapsed(), why.as_str()), (PATIENCE, "not confirmed within 30s"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_undoes_even_beside_an_answer() {
        let (sender, receiver) = oneshot::channel();
        sender.send(Ok("y\n".to_owned())).unwrap();
        assert!(decide(PATIENCE, receiver, ready(()), true).await.is_err());
        let (gone, receiver) = oneshot::channel();
        drop(gone);
        assert!(decide(PATIENCE, receiver, pending(), true).await.is_err());
    }

    #[test]
    fn times_are_of_up_to_an_hour() {
        for (text, is_good) in [
            ("30s", true),
            ("1h", true),
            ("0s", false),
            ("61m", false),
            ("30", false),
        ] {
            assert_eq!(read_patience(text).is_ok(), is_good, "{text}");
        }
    }
}

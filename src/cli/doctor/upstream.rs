//! Whether an upstream keeps its side: a TLS handshake that goes well, answers that are padded, and DNSSEC that is checked.

use std::time::Duration;

use tokio::time::Instant;

use crate::admin::protection::Part;
use crate::cli::stats::Upstream as Said;
use crate::cli::status::print::plain;
use crate::config::UpstreamConfig;
use crate::transport::Exchange;
use crate::upstream::connect;
use crate::upstream::records::{Padding, Question, Reply};

const NAME: &str = "upstream";

/// As long as a client of the daemon waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// RFC 7858 section 3.1.
const DOT_PORT: u16 = 853;

const NS: u16 = 2;
const A: u16 = 1;
const SERVFAIL: u16 = 2;

/// Its signatures are wrong on purpose, for tests like this one.
const BOGUS: [&str; 2] = ["dnssec-failed", "org"];

/// What was found. `None` for what could not be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manners {
    /// Whether its answers are padded (RFC 8467).
    pub(super) pads: bool,
    /// Whether it says that the root's records are authentic (AD), which who checks nothing cannot know.
    pub(super) authenticates: bool,
    /// Whether it withholds what is bogus.
    pub(super) withholds_bogus: Option<bool>,
}

/// Asks over TLS: for the root's servers, then for a name that must fail. Where the guard is in the way, `said` is what the running tacenda
/// says of the same upstream.
pub(super) async fn look(upstream: &UpstreamConfig, is_guarded: Option<bool>, said: Option<&Said>) -> Part {
    if upstream.addresses.is_empty() {
        let text = format!(
            "{}: not asked, its address is to be looked up by tacenda",
            upstream.name
        );
        return Part::unknown(NAME, text);
    }
    let began = Instant::now();
    match manners(upstream).await {
        Ok((manners, handshake)) => manners.part(&upstream.name, handshake),
        // The guard lets tacenda's own user ask at the port of DNS over TLS, and that is not who asks here.
        Err(why) if is_guarded == Some(true) && upstream.endpoint.port == DOT_PORT => {
            behind_guard(&upstream.name, &why, said)
        }
        Err(why) => Part::bad(
            NAME,
            format!(
                "{}: {why} (after {:.1} s)",
                upstream.name,
                began.elapsed().as_secs_f64()
            ),
            WHAT_IS_IT,
        ),
    }
}

/// The guard lets nobody ask at that port but tacenda, whose word counts then.
pub(super) fn behind_guard(name: &str, why: &str, said: Option<&Said>) -> Part {
    match said.map(|said| (&*said.state, &said.last_error)) {
        Some(("up", _)) => Part::good(
            NAME,
            format!("{name} answers tacenda; the guard lets nobody else ask there, to look further"),
        ),
        Some(("down", error)) => {
            let error = error.as_deref().map_or_else(String::new, plain);
            Part::bad(NAME, format!("{name} does not answer tacenda: {error}"), WHAT_IS_IT)
        }
        _ => Part::unknown(
            NAME,
            format!("{name}: {why}; the guard lets nobody ask there but tacenda"),
        ),
    }
}

/// For who reads it to think of.
const WHAT_IS_IT: &str = "is it the network, or a wrong address?";

async fn manners(upstream: &UpstreamConfig) -> Result<(Manners, Duration), String> {
    let exchange = connect::bare(&upstream.into()).map_err(|error| error.to_string())?;
    let began = Instant::now();
    let root = ask(&*exchange, &[], NS).await?;
    let handshake = began.elapsed();
    let reply = Reply::read(&root)?;
    // One that knows nothing of the name's type or fails for another reason says nothing of bogus ones.
    let bogus = ask(&*exchange, &BOGUS, A)
        .await
        .ok()
        .and_then(|octets| Reply::read(&octets).ok());
    let withholds_bogus = bogus.and_then(|reply| match reply.rcode {
        SERVFAIL => Some(true),
        0 if !reply.answers.is_empty() => Some(false),
        _ => None,
    });
    let manners = Manners {
        pads: is_padded(root.len()),
        authenticates: reply.flags.contains(&"ad"),
        withholds_bogus,
    };
    Ok((manners, handshake))
}

async fn ask(exchange: &dyn Exchange, name: &[&str], qtype: u16) -> Result<Vec<u8>, String> {
    let question = Question {
        labels: name.iter().map(|label| label.as_bytes().to_vec()).collect(),
        qtype,
    };
    let query = question.write(0, Padding::Blocks);
    let response = exchange.exchange(&query, Instant::now() + PATIENCE).await;
    response
        .map(|response| response.octets)
        .map_err(|error| error.to_string())
}

/// To blocks of 468 octets as RFC 8467 says, or of 128 as some do.
fn is_padded(len: usize) -> bool {
    len.is_multiple_of(468) || len.is_multiple_of(128)
}

impl Manners {
    pub(super) fn part(self, name: &str, handshake: Duration) -> Part {
        let padding = if self.pads {
            "pads its answers"
        } else {
            "does not pad its answers, whose sizes show then"
        };
        let dnssec = match (self.authenticates, self.withholds_bogus) {
            (true, Some(true)) => "checks DNSSEC",
            (true, None) => "says that it checks DNSSEC",
            (false, Some(true)) => "withholds what DNSSEC calls bogus",
            (true, Some(false)) => "says that it checks DNSSEC, and lets bogus answers through",
            (false, _) => "does not check DNSSEC",
        };
        let text = format!(
            "{name}: certificate and handshake are good, first answer after {:.0} ms; it {padding}; it {dnssec}",
            handshake.as_secs_f64() * 1000.0
        );
        let is_honest = self.authenticates && self.withholds_bogus != Some(false);
        if self.pads && is_honest {
            Part::good(NAME, text)
        } else {
            Part::gap(NAME, text, "another upstream, if that matters to you")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protection::State;

    #[test]
    fn sizes_of_padded_answers() {
        assert!([468, 936, 128, 512].into_iter().all(is_padded));
        assert!(![56, 469, 500, 1000].into_iter().any(is_padded));
    }

    #[test]
    fn what_an_upstream_does_not_do_is_a_gap_and_said() {
        let all = Manners {
            pads: true,
            authenticates: true,
            withholds_bogus: Some(true),
        };
        let says = |manners: Manners| manners.part("quad9", Duration::from_millis(35));
        let good = says(all);
        assert_eq!(good.state, State::Good);
        assert!(
            good.text
                .contains("first answer after 35 ms; it pads its answers; it checks DNSSEC"),
            "{}",
            good.text
        );
        for (manners, words) in [
            (Manners { pads: false, ..all }, "does not pad"),
            (
                Manners {
                    authenticates: false,
                    withholds_bogus: Some(false),
                    ..all
                },
                "does not check DNSSEC",
            ),
            (
                Manners {
                    withholds_bogus: Some(false),
                    ..all
                },
                "lets bogus answers through",
            ),
        ] {
            let part = says(manners);
            assert!(
                part.state == State::Gap && part.text.contains(words) && part.help.is_some(),
                "{}",
                part.text
            );
        }
        // A resolver that knows nothing of that name is not called dishonest.
        let unknown = Manners {
            withholds_bogus: None,
            ..all
        };
        assert_eq!(says(unknown).state, State::Good);
    }
}

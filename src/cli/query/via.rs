//! Asks an upstream directly, over DoT or DoH.

use std::time::Duration;

use tokio::time::Instant;

use super::Response;
use crate::cli::{Exit, Failure};
use crate::config::UpstreamConfig;
use crate::upstream::connect;
use crate::upstream::records::{Padding, Question};

/// Asks and waits for the answer.
///
/// # Errors
/// [`Exit::Unavailable`] when none comes.
pub(super) async fn ask(upstream: &UpstreamConfig, question: &Question) -> Result<Response, Failure> {
    let started = Instant::now();
    let query = question.write(0, Padding::Blocks);
    let octets = ask_via(upstream, &query, started + PATIENCE).await.map_err(|reason| {
        Failure::new(
            Exit::Unavailable,
            format!("no answer from {}: {reason}", upstream.endpoint),
        )
    })?;
    let transport = upstream.endpoint.transport.word();
    Ok(Response {
        octets,
        transport,
        server: upstream.endpoint.to_string(),
        took: started.elapsed(),
    })
}

async fn ask_via(upstream: &UpstreamConfig, query: &[u8], deadline: Instant) -> Result<Vec<u8>, String> {
    let exchange = connect::bare(&upstream.into()).map_err(|error| error.to_string())?;
    let response = exchange
        .exchange(query, deadline)
        .await
        .map_err(|error| error.to_string())?;
    Ok(response.octets)
}

/// As long as a client of the daemon waits.
const PATIENCE: Duration = Duration::from_secs(5);

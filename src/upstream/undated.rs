//! The way out for a host whose clock is wrong (T-TIME): it cannot judge the dates of certificates, so it resolves no name, so it does
//! not find the time server that would set its clock. The names of time servers, and no others, are asked again without looking at the
//! dates when that is what a certificate was refused for. Chain, name and pins are checked as ever, and nothing goes out in clear.

use std::fmt;
use std::sync::OnceLock;

use tokio::time::Instant;

use super::pool::Pool;
use super::{Answered, AskError};
use crate::wire::domains::Domains;
use crate::wire::question::QuestionKey;

/// Builds the upstreams that do not look at dates; `None` if they cannot be had.
pub type Build = Box<dyn Fn() -> Option<Pool> + Send + Sync>;

/// The names of time servers, and whom they are asked of while dates cannot be judged.
pub struct Undated {
    names: Domains,
    build: Build,
    /// Made when it is needed first, which on most hosts is never.
    pool: OnceLock<Option<Pool>>,
}

impl Undated {
    /// For these names and all below them; what is no name is left out.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>, build: Build) -> Self {
        Self {
            names: Domains::of_hosts(names),
            build,
            pool: OnceLock::new(),
        }
    }

    /// Whether the question is for a time server.
    pub fn is_for(&self, key: &QuestionKey) -> bool {
        self.names.cover(key.qname())
    }

    /// [`Pool::ask`], without a look at the dates of certificates.
    ///
    /// # Errors
    /// As [`Pool::ask`].
    pub async fn ask(&self, key: &QuestionKey, deadline: Instant) -> Result<Answered, AskError> {
        let made = || {
            tracing::warn!(
                "certificates are refused for their dates, so this host's clock may be wrong: the names of time servers are asked all the same"
            );
            (self.build)()
        };
        match self.pool.get_or_init(made) {
            Some(pool) => pool.ask(key, deadline).await,
            None => Err(AskError::Network),
        }
    }
}

impl fmt::Debug for Undated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undated").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testkit::{A, key};

    #[test]
    fn t_time_only_time_servers_and_what_is_below_them() {
        let names = ["pool.ntp.org", "time.example", "bad..name"];
        let undated = Undated::new(names.into_iter(), Box::new(|| None));
        for (name, expected) in [
            ("pool.ntp.org", true),
            ("0.Debian.pool.NTP.org", true),
            ("time.example", true),
            ("ntp.org", false),
            ("xpool.ntp.org", false),
            ("time.example.com", false),
            ("", false),
        ] {
            assert_eq!(undated.is_for(&key(name, A)), expected, "{name}");
        }
    }
}

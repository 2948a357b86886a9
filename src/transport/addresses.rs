//! Where a resolver is: addresses that may not be known yet, and may change while it is in use.

use std::net::SocketAddr;
use std::pin::pin;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// The addresses of one resolver. Who dials reads them; who looks them up puts them in.
#[derive(Debug)]
pub struct Addresses {
    known: watch::Sender<Known>,
    /// Somebody needs them, or needs others: none is known, or none of them can be connected to.
    trouble: Notify,
}

/// What is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// Nobody has answered yet where it is.
    Nothing,
    /// Nobody could say, and why not.
    Failed(String),
    /// Here, raced in this order; at least one.
    At(Vec<SocketAddr>),
}

impl Addresses {
    /// These; or none yet: then who dials waits until [`Addresses::learned`] or [`Addresses::failed`].
    pub fn new(list: Vec<SocketAddr>) -> Self {
        let known = if list.is_empty() {
            Known::Nothing
        } else {
            Known::At(list)
        };
        Self {
            known: watch::Sender::new(known),
            trouble: Notify::new(),
        }
    }

    /// Those known, maybe none.
    pub fn current(&self) -> Vec<SocketAddr> {
        match &*self.known.borrow() {
            Known::At(list) => list.clone(),
            Known::Nothing | Known::Failed(_) => Vec::new(),
        }
    }

    /// Whether any is known.
    pub fn is_known(&self) -> bool {
        matches!(&*self.known.borrow(), Known::At(_))
    }

    /// Puts these in the place of those before; says whether that is news. No addresses are no news.
    pub fn learned(&self, list: Vec<SocketAddr>) -> bool {
        let next = Known::At(list);
        self.known.send_if_modified(|known| {
            let is_news = *known != next && next != Known::At(Vec::new());
            if is_news {
                *known = next;
            }
            is_news
        })
    }

    /// Somebody looks again: who dials waits for what comes of it.
    pub fn searching(&self) {
        self.known.send_if_modified(|known| {
            let has_failed = matches!(known, Known::Failed(_));
            if has_failed {
                *known = Known::Nothing;
            }
            has_failed
        });
    }

    /// Nobody can say where it is. What was known before still counts.
    pub fn failed(&self, why: String) {
        self.known.send_if_modified(|known| {
            let is_open = !matches!(known, Known::At(_));
            if is_open {
                *known = Known::Failed(why);
            }
            is_open
        });
    }

    /// Waits until one is known, at most until `deadline`. Cancel-safe.
    ///
    /// # Errors
    /// Why none is.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<(), String> {
        if self.is_known() {
            return Ok(());
        }
        self.report_trouble();
        let mut known = self.known.subscribe();
        let settled = known.wait_for(|known| *known != Known::Nothing);
        match timeout_at(deadline, settled).await {
            Ok(Ok(known)) => match &*known {
                Known::Failed(why) => Err(why.clone()),
                Known::At(_) | Known::Nothing => Ok(()),
            },
            // The sender lives in `self`.
            Ok(Err(_)) | Err(_) => Err("its address is not known yet".to_owned()),
        }
    }

    /// They are needed, or none of them works: they should be looked up, again.
    pub(crate) fn report_trouble(&self) {
        self.trouble.notify_one();
    }

    /// What was reported so far has been seen to.
    pub fn trouble_is_over(&self) {
        let report = pin!(self.trouble.notified());
        // Takes the report, if there is one.
        let _ = report.enable();
    }

    /// Ends when they should be looked up; also if that was said before. For one listener. Cancel-safe.
    pub async fn in_trouble(&self) {
        self.trouble.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn list(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_dials_waits_until_somebody_says_where() {
        let addresses = Arc::new(Addresses::new(Vec::new()));
        let waiting = Arc::clone(&addresses);
        let start = Instant::now();
        let waiter = tokio::spawn(async move { waiting.ready(Instant::now() + Duration::from_secs(5)).await });
        addresses.in_trouble().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(addresses.learned(list(&["192.0.2.1:853"])));
        assert_eq!(waiter.await.unwrap(), Ok(()));
        assert_eq!(start.elapsed(), Duration::from_millis(300));
        assert_eq!(addresses.current(), list(&["192.0.2.1:853"]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_search_is_an_error_at_once_and_not_a_hang() {
        let addresses = Addresses::new(Vec::new());
        let start = Instant::now();
        let soon = start + Duration::from_secs(5);
        addresses.failed("no such name".to_owned());
        assert_eq!(addresses.ready(soon).await, Err("no such name".to_owned()));
        assert_eq!(start.elapsed(), Duration::ZERO);
        let nobody = Addresses::new(Vec::new());
        assert_eq!(nobody.ready(soon).await.unwrap_err(), "its address is not known yet");
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[test]
    fn a_failure_does_not_take_away_what_was_known_and_nothing_is_no_news() {
        let addresses = Addresses::new(list(&["192.0.2.1:853"]));
        addresses.failed("gone".to_owned());
        assert!(!addresses.learned(Vec::new()));
        assert!(!addresses.learned(list(&["192.0.2.1:853"])));
        assert!(addresses.is_known());
        assert!(addresses.learned(list(&["192.0.2.2:853"])));
        assert_eq!(addresses.current(), list(&["192.0.2.2:853"]));
    }
}

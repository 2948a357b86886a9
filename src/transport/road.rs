//! TCP and TLS to a target: what every transport here begins with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::dial::{Connected, Dialer};
use super::hold::Hold;
use super::tls::{self, Session};
use super::way::Way;
use super::{ExchangeError, Stats, Target};

/// See the module.
#[derive(Debug)]
pub(super) struct Road {
    dialer: Dialer,
    target: Target,
    stats: Arc<Stats>,
    /// The way that last worked.
    way: Mutex<Option<Way>>,
}

impl Road {
    pub(super) fn new(target: Target, stats: Arc<Stats>) -> Self {
        Self {
            dialer: Dialer::new(Arc::clone(&target.addresses), target.exit.clone()),
            target,
            stats,
            way: Mutex::default(),
        }
    }

    /// On another network, tickets would link us to where we were (RFC 9325 section 3.7), and another address may be the best.
    pub(super) fn network_changed(&self) {
        let is_lost = |way: &mut Way| way.is_lost();
        if self.way().take_if(is_lost).is_some() {
            self.target.tls.forget_tickets();
        }
        self.dialer.network_changed();
    }

    /// Waits until it is known where the target is.
    pub(super) async fn ready(&self, deadline: Instant) -> Result<(), ExchangeError> {
        let ready = self.target.addresses.ready(deadline).await;
        ready.map_err(ExchangeError::network)
    }

    /// Whether packets may leave for the target now.
    pub(super) fn may_leave(&self) -> Result<(), ExchangeError> {
        self.dialer.may_leave()
    }

    fn way(&self) -> MutexGuard<'_, Option<Way>> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects and shakes hands; `check` may refuse the session (ALPN). Once more if the authorities believed in turned out to be
    /// old ones.
    pub(super) async fn open(
        &self,
        check: fn(&Session) -> Result<(), ExchangeError>,
        deadline: Instant,
    ) -> Result<(Session, Hold), ExchangeError> {
        let trust = self.target.tls.config();
        match self.try_open(check, deadline).await {
            Err(_) if !Arc::ptr_eq(&trust, &self.target.tls.config()) => self.try_open(check, deadline).await,
            opened => opened,
        }
    }

    async fn try_open(
        &self,
        check: fn(&Session) -> Result<(), ExchangeError>,
        deadline: Instant,
    ) -> Result<(Session, Hold), ExchangeError> {
        let connected = self.dialer.connect(deadline).await;
        // Whoever looks its addresses up may know newer ones.
        let connected = connected.inspect_err(|_| self.target.addresses.report_trouble())?;
        let Connected {
            stream,
            address,
            took,
            hold,
        } = connected;
        let session = tls::handshake(
            stream,
            &self.target.server_name,
            &self.target.tls,
            deadline,
            &self.stats,
        )
        .await;
        match session.and_then(|session| check(&session).map(|()| session)) {
            Ok(session) => {
                self.dialer.worked(address, took);
                *self.way() = Some(hold.way().clone());
                Ok((session, hold))
            }
            Err(error) => {
                self.dialer.failed(address);
                Err(error)
            }
        }
    }
}

//! One question for a name at a time: of two at once a forger needs to hit either (the birthday attack, T-POI-4).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::transport::ExchangeError;

/// Names in flight and those who wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Table>);

#[derive(Default)]
struct Table {
    names: HashMap<Box<[u8]>, Entry>,
    askers: usize,
}

#[derive(Debug)]
struct Entry {
    turn: Arc<Semaphore>,
    /// The one whose turn it is, and those behind him.
    askers: usize,
}

/// The right to ask for a name now. Whoever is next gets it when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _permit: OwnedSemaphorePermit,
    _place: Place<'a>,
}

impl Names {
    /// Waits until nobody else asks for `name`, a canonical one. Cancel-safe; first come, first served.
    ///
    /// # Errors
    /// `Full` when too many ask at once. `Silent` when the deadline comes first: the server owes an answer for this very name.
    pub(super) async fn enter(&self, name: Vec<u8>, deadline: Instant) -> Result<Turn<'_>, ExchangeError> {
        let (place, turn) = self.line_up(name.into_boxed_slice())?;
        match timeout_at(deadline, turn.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn {
                _permit: permit,
                _place: place,
            }),
            _ => Err(ExchangeError::silent(
                "no answer in time to an earlier question for this name",
            )),
        }
    }

    fn line_up(&self, name: Box<[u8]>) -> Result<(Place<'_>, Arc<Semaphore>), ExchangeError> {
        let mut table = self.lock();
        if table.askers >= MAX_ASKERS {
            return Err(ExchangeError::full("too many questions wait for the server"));
        }
        table.askers += 1;
        let entry = table.names.entry(name.clone()).or_insert_with(|| Entry {
            turn: Arc::new(Semaphore::new(1)),
            askers: 0,
        });
        entry.askers += 1;
        let turn = Arc::clone(&entry.turn);
        Ok((Place { names: self, name }, turn))
    }

    fn leave(&self, name: &[u8]) {
        let mut table = self.lock();
        table.askers -= 1;
        if let Some(entry) = table.names.get_mut(name) {
            entry.askers -= 1;
            if entry.askers == 0 {
                table.names.remove(name);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a name's line, given back however its holder ends.
struct Place<'a> {
    names: &'a Names,
    name: Box<[u8]>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.names.leave(&self.name);
    }
}

impl std::fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

/// Holds names, and debug output ends up in logs.
impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("names", &self.names.len())
            .field("askers", &self.askers)
            .finish()
    }
}

/// Questions at one server at once, in flight or waiting: eight for each socket. What waits behind more would hardly get its turn before
/// its deadline.
pub(super) const MAX_ASKERS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ExchangeErrorKind::{Full, Silent};
    use crate::transport::testing::in_ms;

    fn kind<T>(result: Result<T, ExchangeError>) -> Option<crate::transport::ExchangeErrorKind> {
        result.err().map(|error| error.kind)
    }

    #[tokio::test(start_paused = true)]
    async fn t_poi_4_a_name_is_one_askers_at_a_time_and_others_do_not_wait() {
        let names = Names::default();
        let turn = names.enter(b"a".to_vec(), in_ms(10)).await.unwrap();
        assert_eq!(kind(names.enter(b"a".to_vec(), in_ms(10)).await), Some(Silent));
        names.enter(b"b".to_vec(), in_ms(10)).await.unwrap();
        drop(turn);
        names.enter(b"a".to_vec(), in_ms(10)).await.unwrap();
        let table = names.lock();
        assert_eq!((table.names.len(), table.askers), (0, 0), "nothing is left behind");
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_has_an_end() {
        let names = Names::default();
        let mut turns = Vec::new();
        for number in 0..MAX_ASKERS {
            let name = number.to_string().into_bytes();
            turns.push(names.enter(name, in_ms(10)).await.unwrap());
        }
        assert_eq!(kind(names.enter(b"more".to_vec(), in_ms(10)).await), Some(Full));
        turns.pop();
        assert!(names.enter(b"more".to_vec(), in_ms(10)).await.is_ok());
    }
}

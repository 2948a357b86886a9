//! The limits of the room with their reasons, and the table of TCP connections. Pure: no sockets, no clock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Every query is answered within 5 s, because clients give up then (glibc's default `timeout`); the rest is for
/// writing and sending.
pub(super) const QUERY_DEADLINE: Duration = Duration::from_millis(4_500);

/// Memory that all waiting queries may take together: 32,768 of ordinary length, so some 7,000 new ones a second
/// while every upstream is silent.
pub(super) const MAX_WAITING_KIB: usize = 64 << 10;

/// What one waiting query takes beside its message's whole KiB: its task, its key, its first KiB. A test measures it.
pub(super) const WAITING_QUERY_KIB: u32 = 2;

/// Open TCP connections in all: the usual 1,024 descriptors leave as many for upstreams and the rest.
pub(super) const MAX_CONNECTIONS: usize = 512;

/// Open TCP connections of one client: one alone cannot have all (RFC 9210 section 4.2).
pub(super) const MAX_CONNECTIONS_PER_CLIENT: usize = 256;

/// How long a connection may ask nothing (RFC 7766 section 6.2.3: "in the order of a few seconds"; R7766-7).
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The same when more than half of the connections are taken: two lost packets' time.
pub(super) const IDLE_TIMEOUT_UNDER_PRESSURE: Duration = Duration::from_secs(2);

/// From a message's first octet to its last (T-SLOW).
pub(super) const MESSAGE_DEADLINE: Duration = Duration::from_secs(10);

/// Whatever waits to be written must be gone after this time: 26 KB/s for a full queue, which any link that deserves
/// the name has.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Queries of one connection that wait for an upstream; beyond it nothing more is read. A browser has some 30 at once.
pub(super) const MAX_IN_FLIGHT: usize = 100;

/// Octets of answers that one connection may keep waiting to be written (R7766-8): three answers of the largest size
/// and change. Beyond it nothing more is read or made for it.
pub(super) const MAX_OUTPUT: usize = 256 << 10;

/// What one read takes: some 80 queries of usual size. On the stack, so that an idle connection holds no buffer.
pub(super) const READ_LEN: usize = 4096;

/// How long accepting or receiving rests after an error that would otherwise repeat at once.
pub(super) const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Receive errors in a row before the thread rests: one for each datagram of a batch is nothing unusual.
pub(super) const ERRORS_BEFORE_PAUSE: u32 = 32;

/// Who is connected and who of them is owed nothing.
///
/// `T` is the caller's means to end a connection; it comes back when that connection has to go.
#[derive(Debug)]
pub(super) struct ConnectionTable<T> {
    entries: HashMap<ConnectionId, Entry<T>>,
    next_id: u64,
    max: usize,
    max_per_client: usize,
}

/// Names one connection of a table, for good: never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConnectionId(u64);

#[derive(Debug)]
struct Entry<T> {
    client: IpAddr,
    /// Since when it is owed nothing: no query of its waits and no answer is left to write. A message that has begun
    /// to come in does not count, or trickling octets would hold a place for ever.
    idle_since: Option<Instant>,
    end: T,
}

/// What the table says to a new connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission<T> {
    /// Let in; the idle connection behind `instead_of`, if any, has to go for it and is out of the table already.
    Admitted { id: ConnectionId, instead_of: Option<T> },
    /// Full of connections that are owed something.
    Refused,
}

impl<T> ConnectionTable<T> {
    pub(super) fn new(max: usize, max_per_client: usize) -> Self {
        Self {
            entries: HashMap::new(),
            next_id: 0,
            max,
            max_per_client,
        }
    }

    /// Lets a connection in. Over the limit of its client, or of all, the connection that has been idle longest goes:
    /// of that client, or of all (RFC 9210 section 4.2, R9210-1).
    pub(super) fn admit(&mut self, client: IpAddr, now: Instant, end: T) -> Admission<T> {
        let client = client.to_canonical();
        let of_client = self.entries.values().filter(|entry| entry.client == client).count();
        let instead_of = if of_client >= self.max_per_client {
            self.oldest_idle(|entry| entry.client == client)
        } else if self.entries.len() >= self.max {
            self.oldest_idle(|_| true)
        } else {
            return Admission::Admitted {
                id: self.insert(client, now, end),
                instead_of: None,
            };
        };
        let Some(instead_of) = instead_of.and_then(|id| self.entries.remove(&id)) else {
            return Admission::Refused;
        };
        Admission::Admitted {
            id: self.insert(client, now, end),
            instead_of: Some(instead_of.end),
        }
    }

    fn insert(&mut self, client: IpAddr, now: Instant, end: T) -> ConnectionId {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        self.entries.insert(
            id,
            Entry {
                client,
                idle_since: Some(now),
                end,
            },
        );
        id
    }

    /// The one that has been idle longest, the older one of two. Looks at all entries: at most [`MAX_CONNECTIONS`].
    fn oldest_idle(&self, among: impl Fn(&Entry<T>) -> bool) -> Option<ConnectionId> {
        let candidates = self.entries.iter().filter(|(_, entry)| among(entry));
        candidates
            .filter_map(|(id, entry)| Some((entry.idle_since?, *id)))
            .min()
            .map(|(_, id)| id)
    }

    /// Takes out the connection that has been idle longest, to free a descriptor.
    pub(super) fn take_oldest_idle(&mut self) -> Option<T> {
        let id = self.oldest_idle(|_| true)?;
        self.entries.remove(&id).map(|entry| entry.end)
    }

    /// Notes since when a connection is owed nothing; `None` when it is owed something. Nothing happens to one that
    /// is out already.
    pub(super) fn set_idle_since(&mut self, id: ConnectionId, idle_since: Option<Instant>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.idle_since = idle_since;
        }
    }

    /// The connection has ended. Nothing happens to one that is out already.
    pub(super) fn remove(&mut self, id: ConnectionId) {
        self.entries.remove(&id);
    }

    /// How long a connection may be idle at this moment.
    pub(super) fn idle_timeout(&self) -> Duration {
        if self.is_under_pressure() {
            IDLE_TIMEOUT_UNDER_PRESSURE
        } else {
            IDLE_TIMEOUT
        }
    }

    /// Whether more than half of the places are taken.
    pub(super) fn is_under_pressure(&self) -> bool {
        self.entries.len() > self.max / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "192.168.0.1";
    const BOB: &str = "fd00::2";

    /// Four in all, three for each client; connections are known by the moment when they came.
    struct Door {
        table: ConnectionTable<u64>,
        start: Instant,
        ids: HashMap<u64, ConnectionId>,
    }

    impl Door {
        fn new() -> Self {
            Self {
                table: ConnectionTable::new(4, 3),
                start: Instant::now(),
                ids: HashMap::new(),
            }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn check(&mut self, second: u64, client: &str, expected: Result<Option<u64>, ()>) {
            let came = match self.table.admit(client.parse().unwrap(), self.at(second), second) {
                Admission::Admitted { id, instead_of } => {
                    self.ids.insert(second, id);
                    Ok(instead_of)
                }
                Admission::Refused => Err(()),
            };
            assert_eq!(came, expected, "at {second}");
        }

        fn set_busy(&mut self, second: u64) {
            self.table.set_idle_since(self.ids[&second], None);
        }
    }

    #[test]
    fn r9210_1_a_client_over_its_limit_loses_its_own_oldest_idle_connection() {
        let mut door = Door::new();
        door.check(0, BOB, Ok(None));
        door.check(1, ALICE, Ok(None));
        door.check(2, ALICE, Ok(None));
        door.check(3, "::ffff:192.168.0.1", Ok(None));
        door.check(4, ALICE, Ok(Some(1)));
        door.set_busy(2);
        door.check(5, ALICE, Ok(Some(3)));
    }

    #[test]
    fn r9210_1_a_full_table_loses_the_oldest_idle_connection_of_all() {
        let mut door = Door::new();
        for second in 0..3 {
            door.check(second, ALICE, Ok(None));
        }
        door.check(3, BOB, Ok(None));
        door.check(4, BOB, Ok(Some(0)));
        // Asked something meanwhile: no longer the oldest.
        let now = door.at(5);
        door.table.set_idle_since(door.ids[&1], Some(now));
        door.check(6, BOB, Ok(Some(2)));
    }

    #[test]
    fn r9210_1_only_a_table_without_idle_connections_refuses() {
        let mut door = Door::new();
        for second in 0..3 {
            door.check(second, ALICE, Ok(None));
            door.set_busy(second);
        }
        door.check(3, ALICE, Err(()));
        door.check(4, BOB, Ok(None));
        door.set_busy(4);
        door.check(5, BOB, Err(()));
        door.table.remove(door.ids[&0]);
        door.check(6, BOB, Ok(None));
    }

    #[test]
    fn r7766_7_less_patience_above_half() {
        let mut door = Door::new();
        for second in 0..3 {
            assert_eq!(door.table.idle_timeout(), IDLE_TIMEOUT, "with {second}");
            door.check(second, ALICE, Ok(None));
        }
        assert_eq!(door.table.idle_timeout(), IDLE_TIMEOUT_UNDER_PRESSURE);
    }

    #[test]
    fn who_is_out_stays_out() {
        let mut door = Door::new();
        door.check(0, ALICE, Ok(None));
        assert_eq!(door.table.take_oldest_idle(), Some(0));
        assert_eq!(door.table.take_oldest_idle(), None);
        let id = door.ids[&0];
        door.table.set_idle_since(id, Some(door.at(1)));
        door.table.remove(id);
        assert!(door.table.entries.is_empty());
    }
}

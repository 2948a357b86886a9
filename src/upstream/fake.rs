//! Resolvers that do as they are told, behind the [`Exchange`] trait.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::transport::{BoxFuture, Exchange, ExchangeError, ExchangeErrorKind, Response};
use crate::wire::header::{HEADER_LEN, Header, QR, RA, RD};
use crate::wire::question::read_question;
use crate::wire::testkit::{opt, raw_record, soa};

/// What a fake resolver does with every query.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    /// One A record, 192.0.2.1, TTL 60; nothing of another type.
    Answer,
    /// The same after a while.
    Slow(Duration),
    /// One A record with a private address.
    Private,
    NxDomain,
    /// An RCODE and an EDE.
    Fail(u8, Option<u16>),
    Garbage,
    /// No answer before the deadline.
    Silent,
    /// The road fails.
    Broken,
    /// 429 or 503 with Retry-After.
    Busy(Duration),
}

/// Notes every query that it gets.
#[derive(Debug)]
pub(crate) struct Fake {
    behaviour: Mutex<Behaviour>,
    queries: Mutex<Vec<Vec<u8>>>,
    changes: AtomicUsize,
    warmed: AtomicUsize,
}

impl Fake {
    pub(crate) fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour: Mutex::new(behaviour),
            queries: Mutex::default(),
            changes: AtomicUsize::new(0),
            warmed: AtomicUsize::new(0),
        }
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// The queries so far, as they came.
    pub(crate) fn queries(&self) -> Vec<Vec<u8>> {
        self.queries.lock().unwrap().clone()
    }

    /// How often it was told that the network changed.
    pub(crate) fn changes(&self) -> usize {
        self.changes.load(Ordering::Relaxed)
    }

    /// How often it was to open a connection.
    pub(crate) fn warmed(&self) -> usize {
        self.warmed.load(Ordering::Relaxed)
    }

    pub(crate) fn asked(&self) -> usize {
        self.queries.lock().unwrap().len()
    }
}

impl Exchange for Fake {
    fn network_changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn warm_up(&self) {
        self.warmed.fetch_add(1, Ordering::Relaxed);
    }

    fn exchange<'a>(&'a self, query: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Response, ExchangeError>> {
        self.queries.lock().unwrap().push(query.to_vec());
        let behaviour = *self.behaviour.lock().unwrap();
        Box::pin(async move {
            match behaviour {
                Behaviour::Answer => Ok(answer(query, [192, 0, 2, 1])),
                Behaviour::Private => Ok(answer(query, [192, 168, 1, 1])),
                Behaviour::Slow(time) => {
                    tokio::time::sleep(time).await;
                    Ok(answer(query, [192, 0, 2, 1]))
                }
                Behaviour::NxDomain => Ok(respond(query, 3, &[], &[soa("", 60, 60)], &[])),
                Behaviour::Fail(rcode, ede) => {
                    let ede = ede.map(|code| opt(1232, 0, &[&[0, 15, 0, 2], &code.to_be_bytes()[..]].concat()));
                    Ok(respond(query, rcode, &[], &[], &ede.map_or(vec![], |opt| vec![opt])))
                }
                Behaviour::Garbage => Ok(Response {
                    octets: vec![1, 2, 3],
                    age: 0,
                }),
                Behaviour::Silent => {
                    tokio::time::sleep_until(deadline).await;
                    Err(error(ExchangeErrorKind::Silent))
                }
                Behaviour::Busy(time) => Err(error(ExchangeErrorKind::Busy {
                    retry_after: Some(time),
                })),
                Behaviour::Broken => Err(error(ExchangeErrorKind::Network)),
            }
        })
    }
}

fn error(kind: ExchangeErrorKind) -> ExchangeError {
    ExchangeError {
        kind,
        detail: "as told".into(),
    }
}

fn answer(query: &[u8], address: [u8; 4]) -> Response {
    let question = read_question(query).unwrap();
    if question[question.len() - 4..][..2] == [0, 1] {
        let record = raw_record(&[0xc0, 12], 1, 1, 60, &address);
        respond(query, 0, &[record], &[], &[])
    } else {
        respond(query, 0, &[], &[soa("", 60, 60)], &[])
    }
}

fn respond(query: &[u8], rcode: u8, answers: &[Vec<u8>], authority: &[Vec<u8>], additional: &[Vec<u8>]) -> Response {
    let count = |records: &[Vec<u8>]| u16::try_from(records.len()).unwrap();
    let counts = [1, count(answers), count(authority), count(additional)];
    let header = Header {
        id: 0,
        high: QR | RD,
        low: RA | rcode,
        counts,
    }
    .octets();
    let records = [answers.concat(), authority.concat(), additional.concat()].concat();
    assert!(query.len() > HEADER_LEN);
    Response {
        octets: [header.as_slice(), read_question(query).unwrap(), &records].concat(),
        age: 0,
    }
}

//! What every hostile resolver is put to: while it attacks, every client is answered in time, with nothing of its making; when it
//! behaves again, the next name works within a second; memory stays flat.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{A, Ask, Response, SERVFAIL, receive_udp, tick, udp_socket};
use crate::daemon::{CA, Config, Daemon};
use crate::raw::{Asked, Attack, Peer, Protocol, Raw};
use crate::script::Answer;

/// One kind of attack.
pub(crate) struct Case {
    name: &'static str,
    attack: Attack,
    end: End,
}

/// An attack that comes with each query.
type OnQuery = fn(&mut Peer, &Asked) -> io::Result<()>;

impl Case {
    /// The attacked queries must fail.
    pub(crate) const fn fails(name: &'static str, attack: OnQuery) -> Self {
        Self {
            name,
            attack: Attack::OnQuery(attack),
            end: End::Failed,
        }
    }

    /// The same of a connection that is bad from its beginning.
    pub(crate) const fn fails_at_once(name: &'static str, attack: fn(&mut Peer) -> io::Result<()>) -> Self {
        Self {
            name,
            attack: Attack::OnStart(attack),
            end: End::Failed,
        }
    }

    /// The right answer comes in spite of the attack.
    pub(crate) const fn works(name: &'static str, attack: OnQuery) -> Self {
        Self {
            name,
            attack: Attack::OnQuery(attack),
            end: End::Right,
        }
    }

    /// The right answer comes, and with it what ends the connection for the others.
    pub(crate) const fn settles(name: &'static str, attack: OnQuery) -> Self {
        Self {
            name,
            attack: Attack::OnQuery(attack),
            end: End::Settled,
        }
    }
}

/// How the attacked queries must end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// SERVFAIL.
    Failed,
    /// The right answer came too, and must be found.
    Right,
    /// Either: whose answer came before the connection ended, has it.
    Settled,
}

/// What an attacked client must never see.
pub(crate) const POISON: [u8; 4] = [203, 0, 113, 66];

/// A whole answer that is poison.
pub(crate) fn poison(asked: &Asked) -> Vec<u8> {
    asked.heard.answer(300, &[&POISON]).octets()
}

/// A right answer.
pub(crate) fn right(asked: &Asked) -> Answer {
    asked.heard.answer(300, &[&[192, 0, 2, 1]])
}

/// When the resolver turns good again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turns {
    /// When all who were attacked have their answers.
    Late,
    /// When it has two connections in its hands and queries wait on both.
    Early,
}

/// Puts the daemon to all cases at once: most of their time is waiting.
pub(crate) fn check_all(protocol: Protocol, cases: &[Case]) {
    run_all(protocol, cases, Turns::Late);
}

/// The same of attacks that keep connections, and a resolver that turns good in the middle of them.
pub(crate) fn check_turning(protocol: Protocol, cases: &[Case]) {
    run_all(protocol, cases, Turns::Early);
}

#[expect(clippy::print_stdout, reason = "the figures of a passed ordeal, for `--nocapture`")]
fn run_all(protocol: Protocol, cases: &[Case], turns: Turns) {
    let results: Vec<Result<String, String>> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .map(|case| scope.spawn(|| Ordeal::new(protocol, case).run(turns)))
            .collect();
        running.into_iter().map(|case| case.join().unwrap()).collect()
    });
    let mut failures = String::new();
    for (case, result) in cases.iter().zip(results) {
        match result {
            Ok(figures) => println!("{:28} {figures}", case.name),
            Err(failure) => writeln!(failures, "{}: {failure}", case.name).unwrap(),
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

struct Ordeal<'a> {
    case: &'a Case,
    upstream: Raw,
    daemon: Daemon,
}

impl<'a> Ordeal<'a> {
    fn new(protocol: Protocol, case: &'a Case) -> Self {
        let upstream = Raw::start(protocol, case.attack);
        let daemon = Config::new().upstream(&upstream.url(), CA).start();
        Self { case, upstream, daemon }
    }

    /// Gives back the figures in words.
    fn run(mut self, turns: Turns) -> Result<String, String> {
        self.work_well()?;
        let (memory, cpu) = (self.daemon.resident(), self.daemon.cpu_time());
        self.upstream.set_hostile(true);
        let answered = match turns {
            Turns::Late => self.attacked()?,
            Turns::Early => self.caught()?,
        };
        let burnt = self.daemon.cpu_time().saturating_sub(cpu);
        let connections = self.upstream.connections();
        self.upstream.set_hostile(false);
        let recovered = self.recovered()?;
        if turns == Turns::Late {
            self.not_cached()?;
        }
        let grown = self.daemon.peak().saturating_sub(memory);
        check(grown < MAX_GROWTH, &format!("{grown} octets more than {memory}"))?;
        check(burnt < MAX_CPU, &format!("{burnt:?} of processor time"))?;
        let log = self.daemon.stderr();
        check(self.daemon.is_running() && !log.contains("panicked"), &self.state())?;
        check(
            log.len() < MAX_LOG,
            &format!("no log line is the resolver's to make\n{}", self.state()),
        )?;
        Ok(format!(
            "answered {answered:4.1?}, recovered {recovered:4.0?}, cpu {burnt:3.0?}, memory +{} KiB, {connections} connections",
            grown >> 10
        ))
    }

    /// Asks so much that every allowance for a server's octets is at its largest.
    fn work_well(&self) -> Result<(), String> {
        let socket = udp_socket(self.daemon.dns);
        for round in 0..5 {
            for id in 0..20 {
                let name = format!("before{round}x{id}.example");
                socket.send(&Ask::new(&name, A).id(id).octets()).unwrap();
            }
            let is_well = (0..20).all(|_| receive_udp(&socket).rcode() == 0);
            check(is_well, &format!("before the attack\n{}", self.state()))?;
        }
        Ok(())
    }

    /// Asks while the resolver attacks; gives back how long the last answer took.
    fn attacked(&self) -> Result<Duration, String> {
        let socket = udp_socket(self.daemon.dns);
        let begin = Instant::now();
        for (id, name) in (0..).zip(ATTACKED) {
            socket.send(&Ask::new(name, A).id(id).edns().octets()).unwrap();
        }
        for _ in ATTACKED {
            let response = receive_udp(&socket);
            check(
                begin.elapsed() < DEADLINE,
                &format!("answered after {:?}", begin.elapsed()),
            )?;
            let is_right = response.rcode() == 0 && is_clean(&response);
            let is_failure = response.rcode() == SERVFAIL && response.message.answers.is_empty();
            let is_well = match self.case.end {
                End::Failed => is_failure,
                End::Right => is_right,
                End::Settled => is_failure || is_right,
            };
            check(
                is_well,
                &format!("the attacked client got {:?}\n{}", response.message, self.state()),
            )?;
        }
        Ok(begin.elapsed())
    }

    /// Asks, and waits until the resolver holds two connections with queries on them; gives back how long that took.
    fn caught(&self) -> Result<Duration, String> {
        let socket = udp_socket(self.daemon.dns);
        let begin = Instant::now();
        for (id, name) in (0..).zip(ATTACKED) {
            socket.send(&Ask::new(name, A).id(id).octets()).unwrap();
        }
        while self.upstream.attacks() < 2 {
            check(
                begin.elapsed() < RECOVERY,
                &format!("no second connection\n{}", self.state()),
            )?;
            tick();
        }
        Ok(begin.elapsed())
    }

    /// Asks a new name once the resolver is good; gives back how long its answer took.
    fn recovered(&self) -> Result<Duration, String> {
        let begin = Instant::now();
        let response = Ask::new("fresh.example", A).edns().udp(self.daemon.dns);
        let elapsed = begin.elapsed();
        check(
            response.rcode() == 0 && is_clean(&response) && elapsed < RECOVERY,
            &format!("after {elapsed:?} {:?}\n{}", response.message, self.state()),
        )?;
        Ok(elapsed)
    }

    /// Asks what was attacked until it is answered: failures may be remembered for a moment, poison never.
    fn not_cached(&self) -> Result<(), String> {
        let begin = Instant::now();
        for name in ATTACKED {
            loop {
                let response = Ask::new(name, A).udp(self.daemon.dns);
                if response.rcode() == 0 {
                    check(is_clean(&response), &format!("cached: {:?}", response.message))?;
                    break;
                }
                check(
                    begin.elapsed() < DEADLINE,
                    &format!("{name} still fails\n{}", self.state()),
                )?;
                tick();
            }
            let is_new = self.upstream.has_answered(name) || self.case.end != End::Failed;
            check(is_new, &format!("{name} was answered from the cache"))?;
        }
        Ok(())
    }

    fn state(&self) -> String {
        let log = self.daemon.stderr();
        let begin: String = log.chars().take(2000).collect();
        format!(
            "{}\n{begin}\n{} octets of log",
            self.daemon.stats()["upstreams"],
            log.len()
        )
    }
}

/// Whether it is the right answer and nothing else.
fn is_clean(response: &Response) -> bool {
    let answers = response.answers();
    matches!(&answers[..], [answer] if answer.ends_with(" A 192.0.2.1")) && !holds(&response.octets, &POISON)
}

fn holds(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|window| window == part)
}

fn check(is_so: bool, what: &str) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what.to_owned()) }
}

/// Asked together: several names tell a bad connection from one slow name.
const ATTACKED: [&str; 6] = [
    "a.attacked.example",
    "b.attacked.example",
    "c.attacked.example",
    "d.attacked.example",
    "e.attacked.example",
    "f.attacked.example",
];

/// Promise 4, and a little for a busy machine.
const DEADLINE: Duration = Duration::from_millis(5500);

/// A second, and half of one for a busy machine.
const RECOVERY: Duration = Duration::from_millis(1500);

/// Largest growth of memory from before the attack to its peak.
const MAX_GROWTH: usize = 24 << 20;

/// The lines of a start, and room for one or two more.
const MAX_LOG: usize = 2000;

/// Of processor time while it is attacked, in an unoptimized build.
const MAX_CPU: Duration = Duration::from_secs(3);

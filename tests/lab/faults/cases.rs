//! The list of the faults, and what each of them does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::load::Mix;
use crate::machine;
use crate::pki::Authority;
use crate::relay::Fault;
use crate::rig::{Layout, Outcome, Rig};
use crate::server::{BRIEF, Manner, Server};
use crate::subject::{Kind, Setup};

/// The ordinary load.
const MIX: Mix = Mix { rate: 50, hot: 0 };

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) number: u8,
    /// Tells variants of one number apart.
    pub(crate) variant: &'static str,
    pub(crate) label: &'static str,
    pub(crate) layout: Layout,
    /// Has no meaning over DoT.
    pub(crate) doh_only: bool,
    /// It loads the machine: nothing else runs meanwhile.
    pub(crate) alone: bool,
    /// Means nothing to the peers.
    pub(crate) ours_only: bool,
}

const fn case(number: u8, variant: &'static str, label: &'static str) -> Case {
    Case {
        number,
        variant,
        label,
        layout: Layout::One,
        doh_only: false,
        alone: false,
        ours_only: false,
    }
}

const fn over(layout: Layout, case: Case) -> Case {
    Case { layout, ..case }
}

const fn doh(case: Case) -> Case {
    Case { doh_only: true, ..case }
}

const fn alone(case: Case) -> Case {
    Case { alone: true, ..case }
}

const fn ours(case: Case) -> Case {
    Case {
        ours_only: true,
        ..case
    }
}

/// All of them, in the order of the list.
pub(crate) const CASES: &[Case] = &[
    case(0, "", "no fault (the lab itself)"),
    case(1, "", "refused"),
    case(2, "", "blackhole"),
    case(3, "", "freeze mid-stream"),
    case(4, "", "reset all"),
    case(5, "", "reset after 4000 octets"),
    case(6, "", "close after 4000 octets"),
    case(7, "", "half-open"),
    case(8, "", "+300 ms"),
    case(9, "", "+3 s"),
    case(10, "", "2 KB/s"),
    case(11, "", "a flipped bit in every 3000 octets"),
    case(12, "", "flapping each second"),
    case(13, "", "GOAWAY after 3 requests (DoT: close)"),
    doh(case(14, "a", "no stream allowed")),
    doh(case(14, "b", "one stream allowed")),
    case(15, "a", "503 with Retry-After (DoT: SERVFAIL)"),
    doh(case(15, "b", "429 without Retry-After")),
    case(16, "a", "captive portal, plain HTTP"),
    case(16, "b", "captive portal, foreign certificate"),
    case(17, "", "certificate expired, then renewed"),
    case(18, "", "CA changed, then its file"),
    over(Layout::TwoAddresses, case(19, "", "the other address works now")),
    over(Layout::TwoUpstreams, case(20, "a", "one of two upstreams dies")),
    over(Layout::TwoAddresses, case(20, "b", "one of two addresses dies")),
    case(21, "", "all dead, the cache serves"),
    ours(case(22, "", "route gone and back, new address")),
    over(Layout::BothFamilies, case(23, "a", "IPv6 breaks")),
    over(Layout::BothFamilies, case(23, "b", "IPv6 broken at the start")),
    // Unbound and Knot do not run under libfaketime.
    ours(case(24, "", "the clock jumps")),
    alone(ours(case(25, "", "descriptors exhausted"))),
    alone(ours(case(26, "", "memory limit under a flood"))),
    ours(case(27, "", "disk full")),
    ours(case(28, "", "reload with a broken file")),
    case(29, "", "SIGKILL and restart under load"),
    case(30, "", "stopped, then continued"),
];

/// How long faults last. Longer ones drive back-offs further.
///
/// Up to a second more, another one each time: a back-off that ends together with the fault would look quick.
pub(crate) fn length() -> Duration {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let step = NEXT.fetch_add(1, Ordering::Relaxed) * 370 % 1000;
    seconds("FAULT_SECONDS", 6) + Duration::from_millis(step)
}

/// A length in seconds from the environment.
pub(crate) fn seconds(variable: &str, default: u64) -> Duration {
    let text = std::env::var(variable).unwrap_or_default();
    Duration::from_secs(text.parse().unwrap_or(default))
}

/// Runs one case against one stub.
pub(crate) async fn run(case: Case, kind: Kind, doh: bool) -> Result<Outcome, String> {
    if case.number == 22 {
        return crate::netns::run(doh).await;
    }
    let mut host = machine::Host::default();
    let mut failed = None;
    let prepare = |setup: &mut Setup| failed = machine::prepare(case.number, setup, &mut host).err();
    let rig = Rig::build(kind, doh, case.layout, prepare, MIX).await;
    if let Some(reason) = failed {
        return Err(reason);
    }
    let mut rig = rig?;
    sleep(Duration::from_secs(1)).await;
    match case.number {
        0 => sleep(length()).await,
        1..=12 => network(case.number, &mut rig).await,
        13..=18 => resolver(case, &mut rig).await,
        19..=23 => addresses(case, &mut rig).await,
        _ => machine::act(case.number, &mut rig, &host).await?,
    }
    let outcome = rig.settle().await;
    drop(host);
    Ok(outcome)
}

/// Faults of the line.
async fn network(number: u8, rig: &mut Rig) {
    let fault = match number {
        1 => Fault::Refuse,
        2 => Fault::Blackhole,
        3 => Fault::Freeze,
        4 => Fault::Reset,
        5 => Fault::ResetAfter(4000),
        6 => Fault::CloseAfter(4000),
        7 => Fault::HalfOpen,
        8 => Fault::Delay(Duration::from_millis(300)),
        9 => Fault::Delay(Duration::from_secs(3)),
        10 => Fault::Rate(2048),
        11 => Fault::Flip(3000),
        _ => {
            for _ in 0..length().as_secs() / 2 {
                rig.relays[0].set(Fault::None);
                sleep(Duration::from_secs(1)).await;
                rig.relays[0].set(Fault::Refuse);
                sleep(Duration::from_secs(1)).await;
            }
            rig.relays[0].set(Fault::None);
            return rig.mark();
        }
    };
    rig.hold(fault, length()).await;
}

/// Faults of the resolver.
async fn resolver(case: Case, rig: &mut Rig) {
    let until = Instant::now() + seconds("REFUSE_SECONDS", 5);
    let manner = match (case.number, case.variant) {
        (13, _) => Manner::Goaway(3),
        (14, "a") => Manner::Streams(0),
        (14, _) => Manner::Streams(1),
        (15, "a") => Manner::Refuse {
            status: 503,
            until: Some(until),
        },
        (15, _) => Manner::Refuse {
            status: 429,
            until: None,
        },
        (16, "a") => return rig.hold(Fault::Portal, length()).await,
        (16, _) => return foreign(rig).await,
        (17, _) => return expires(rig).await,
        _ => return other_authority(rig).await,
    };
    rig.server.set(manner);
    let length = if case.number == 15 {
        until.saturating_duration_since(Instant::now())
    } else {
        length()
    };
    sleep(length).await;
    rig.server.set(Manner::Normal);
    rig.mark();
}

/// Somebody else's TLS stands at the address for a while.
async fn foreign(rig: &mut Rig) {
    let portal = Server::start(Authority::new().good(), false).await;
    rig.relays[0].lead_to(portal.port(rig.doh));
    rig.reset_once().await;
    sleep(length()).await;
    rig.relays[0].lead_to(rig.server.port(rig.doh));
    rig.mark();
    sleep(Duration::from_millis(500)).await;
    if portal.heard() > 0 {
        rig.problem(format!("{} queries went to a foreign certificate", portal.heard()));
    }
}

async fn expires(rig: &mut Rig) {
    rig.server.show(rig.authority.expired());
    rig.reset_once().await;
    let before = rig.server.heard();
    sleep(length()).await;
    let heard = rig.server.heard() - before;
    if heard > 0 {
        rig.problem(format!("{heard} queries went to an expired certificate"));
    }
    rig.server.show(rig.authority.good());
    rig.mark();
}

/// The resolver has a certificate of another CA; then the file that the stub trusts is replaced too. No signal is sent.
async fn other_authority(rig: &mut Rig) {
    let next = Authority::new();
    rig.server.show(next.good());
    rig.reset_once().await;
    let before = rig.server.heard();
    sleep(length()).await;
    let heard = rig.server.heard() - before;
    if heard > 0 {
        rig.problem(format!("{heard} queries went to an unknown CA's certificate"));
    }
    let beside = rig.folder.path().join("new.pem");
    std::fs::write(&beside, &next.pem).unwrap();
    std::fs::rename(beside, rig.roots()).unwrap();
    rig.authority = next;
    rig.mark();
}

/// Faults of addresses and upstreams. Where something else goes on working, the time counts from the beginning of the fault.
async fn addresses(case: Case, rig: &mut Rig) {
    match (case.number, case.variant) {
        (19, _) => {
            rig.relays[1].set(Fault::Blackhole);
            sleep(Duration::from_secs(2)).await;
            rig.relays[0].set(Fault::Blackhole);
            rig.relays[1].set(Fault::None);
            // The port must be open before the time counts.
            sleep(Duration::from_millis(20)).await;
            rig.control_by = 1;
            rig.mark();
            sleep(length()).await;
        }
        (20, _) | (23, "a") => {
            rig.relays[0].set(Fault::Blackhole);
            rig.control_by = 1;
            rig.mark();
            sleep(length()).await;
            rig.relays[0].set(Fault::None);
        }
        (23, _) => {
            rig.relays[0].set(Fault::Blackhole);
            sleep(Duration::from_millis(150)).await;
            rig.control_by = 1;
            rig.book.excuse = Some(crate::rig::Excuse::Killed(Instant::now()));
            rig.subject.restart(Duration::ZERO).await;
            rig.mark();
            sleep(length()).await;
        }
        _ => cache_serves(rig).await,
    }
}

/// Names asked before are answered while nobody can be reached: those still fresh, and those whose TTL has run out (RFC 8767).
async fn cache_serves(rig: &mut Rig) {
    let names: Vec<String> = (0..20)
        .flat_map(|i| [format!("kept{i}.example"), format!("{BRIEF}{i}.example")])
        .collect();
    let stub = rig.load.server();
    for name in &names {
        crate::load::ask(stub, name, Duration::from_secs(2)).await;
    }
    rig.relays[0].set(Fault::Blackhole);
    let end = Instant::now() + seconds("DEAD_SECONDS", 8);
    // Longer than the brief TTL: from here on those are stale.
    sleep(Duration::from_secs(3)).await;
    let (mut kept, mut stale, mut rounds) = (0, 0, 0);
    while Instant::now() < end {
        let asking = names.iter().map(|name| {
            let name = name.clone();
            tokio::spawn(async move {
                let good = crate::load::ask(stub, &name, Duration::from_secs(5)).await == Some(0);
                (name.starts_with(BRIEF), good)
            })
        });
        for answer in asking.collect::<Vec<_>>() {
            match answer.await.unwrap() {
                (true, true) => stale += 1,
                (false, true) => kept += 1,
                _ => {}
            }
        }
        rounds += 1;
        sleep(Duration::from_millis(500)).await;
    }
    rig.relays[0].set(Fault::None);
    rig.mark();
    rig.note(format!("fresh {kept}/{0}, stale {stale}/{0}", rounds * 20));
    if kept < rounds * 20 {
        rig.problem("the cache did not serve what was fresh");
    }
    if stale < rounds * 20 {
        rig.problem("the cache did not serve what was stale");
    }
}

//! The tail: 40 ms to the resolver and back, and connections that stall.
//!
//! The model, plainly: the relay delays every octet by 20 ms each way. Besides, once in every second in which it carries something, at
//! a random moment, each connection stalls with a chance of one in ten: for 3 s it moves nothing in either direction, then everything
//! that waited. Nothing is lost. A stub that keeps one connection and only waits is stalled about a fourth of the time, so its
//! p99 is near 3 s; one that notices and asks over another connection stays near one round trip. `SEED` repeats a run.
//!
//! The unit is the round trip as the lab itself sees it: queries one after another over one connection of the control's own,
//! through the same delay without stalls. Timers wake up to a millisecond late; the unit has that in it.

use std::time::Duration;

use crate::cases::seconds;
use crate::control::round_trips;
use crate::daemon::free_port;
use crate::load::{Asked, Load, Mix, PROMISE};
use crate::pki::Authority;
use crate::relay::{Relay, Stalls};
use crate::report::say;
use crate::server::Server;
use crate::subject::{Behind, Kind, Setup, Subject};

const MODEL: Stalls = Stalls {
    one_in: 10,
    length: Duration::from_secs(3),
    seed: 1,
    delay: Duration::from_millis(20),
};

/// Measures one transport of tacenda (with `PEERS=1` the others too, which cannot miss); how many of the three targets it misses.
pub(crate) fn run(doh: bool) -> usize {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let peers = !doh && std::env::var("PEERS").is_ok_and(|value| value == "1");
    if peers {
        runtime.block_on(measure(Kind::Unbound, false));
        runtime.block_on(measure(Kind::Knot, false));
    }
    runtime.block_on(measure(Kind::Tacenda, doh))
}

async fn measure(kind: Kind, doh: bool) -> usize {
    let seed = seconds("SEED", 1).as_secs();
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("ca.pem");
    std::fs::write(&roots, &authority.pem).unwrap();

    // The unit first, with a resolver and a relay of its own.
    let server = Server::start(authority.good(), true).await;
    let calm = Stalls {
        one_in: usize::MAX,
        ..MODEL
    };
    let relay = Relay::start(free_port(), server.port(doh), Some(calm)).await.unwrap();
    let mut trips = round_trips(relay.address, doh, authority.pem.as_bytes(), 100).await;
    let unit = percentile(&mut trips, 50);

    let relay = Relay::start(free_port(), server.port(doh), Some(Stalls { seed, ..MODEL }))
        .await
        .unwrap();
    let mut setup = Setup::new(kind, doh, &roots);
    setup.behind = vec![Behind {
        port: relay.address.port(),
        addresses: vec![relay.address.ip()],
    }];
    let mut subject = Subject::spawn(setup);
    if let Err(reason) = subject.ready().await {
        say(&format!("stalls {kind:?}: {reason}"));
        return 3;
    }
    let (heard, distinct) = (server.heard(), server.distinct());
    let load = Load::start(subject.setup.listen, Mix { rate: 100, hot: 0 }).await;
    tokio::time::sleep(seconds("STALL_SECONDS", 20)).await;
    let asked = load.finish().await;
    let extra = (server.heard() - heard) as f64 / (server.distinct() - distinct).max(1) as f64 - 1.0;
    report(
        &format!("{kind:?} {}", if doh { "DoH" } else { "DoT" }),
        &asked,
        unit,
        extra,
        &relay,
    )
}

fn report(who: &str, asked: &[Asked], unit: Duration, extra: f64, relay: &Relay) -> usize {
    // What failed or was lost took as long as the promise allows.
    let time = |asked: &Asked| {
        if asked.is_good() {
            asked.latency().unwrap_or(PROMISE)
        } else {
            PROMISE
        }
    };
    let mut times: Vec<Duration> = asked.iter().map(time).collect();
    let failed = asked.iter().filter(|asked| !asked.is_good()).count();
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    let in_units = |time: Duration| time.as_secs_f64() / unit.as_secs_f64();
    let slow = times.iter().filter(|time| **time > unit * 10).count();
    let misses = [in_units(p50) > 1.05, in_units(p99) > 3.0, extra > 0.05];
    let mark = |miss: bool| if miss { "!" } else { "" };
    say(&format!(
        "stalls {who}: {} queries, p50 {:.1} ms = {:.2} RTT{}, p99 {:.1} ms = {:.2} RTT{}, extra {:.1} %{}, {slow} over 10 RTT, \
         failed or lost {failed}; \
         RTT {:.1} ms (control), {} stalls on {} connections",
        asked.len(),
        p50.as_secs_f64() * 1e3,
        in_units(p50),
        mark(misses[0]),
        p99.as_secs_f64() * 1e3,
        in_units(p99),
        mark(misses[1]),
        extra * 100.0,
        mark(misses[2]),
        unit.as_secs_f64() * 1e3,
        relay.stalls(),
        relay.connections(),
    ));
    misses.into_iter().filter(|miss| *miss).count()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

//! Fault 22: the default route goes and comes back with another address, as when a laptop changes networks. Needs root.
//!
//! The whole case runs in a network namespace of its own (the test binary again, under `unshare -n`), and the stub in a second
//! one: no packet and no address of it is seen outside.
//!
//! ```text
//! first namespace: client, relay on 10.99.0.1  --- uplink 10.99.1.0/24 (the one that breaks) --- second: the stub
//!                                              --- control 10.99.2.0/24 (the client's way) ----
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use crate::cases::length;
use crate::load::Mix;
use crate::report::say;
use crate::rig::{Layout, Outcome, Rig};
use crate::subject::{Kind, Setup};

/// The resolver's address in the namespaces.
pub(crate) const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));

const STUB: Ipv4Addr = Ipv4Addr::new(10, 99, 2, 2);

/// Says to the test binary that it is in its namespace, and for which transport.
const INNER: &str = "FAULTS_INNER";

/// Before the inner run's numbers.
const TAG: &str = "OUTCOME";

/// Runs the case in namespaces and reads its numbers.
pub(crate) async fn run(doh: bool) -> Result<Outcome, String> {
    let inner = move || {
        Command::new("unshare")
            .args(["-n", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "netns::route_gone_and_back", "--nocapture"])
            .env(INNER, if doh { "doh" } else { "dot" })
            .output()
    };
    let output = tokio::task::spawn_blocking(inner)
        .await
        .unwrap()
        .map_err(|error| format!("needs root and unshare: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if errors.contains("Operation not permitted") {
        return Err("needs root (network namespaces)".into());
    }
    let line = text.split(TAG).nth(1).and_then(|rest| rest.lines().next());
    let numbers: Vec<i64> = line
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [recovery, control, asked, unanswered, failed, relapses, worst] = numbers[..] else {
        return Err(format!("no numbers: {} {}", tail(&text), tail(&errors)));
    };
    let time = |milliseconds: i64| Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    let whole = |number: i64| usize::try_from(number).unwrap_or(0);
    Ok(Outcome {
        recovery: (recovery >= 0).then(|| time(recovery)),
        control: time(control),
        asked: whole(asked),
        unanswered: whole(unanswered),
        failed: whole(failed),
        relapses: whole(relapses),
        worst: time(worst),
        notes: Vec::new(),
        problems: Vec::new(),
    })
}

fn tail(text: &str) -> String {
    text.chars().skip(text.chars().count().saturating_sub(300)).collect()
}

/// The case itself, in a namespace of its own when [`run`] starts it; else both transports of it.
#[test]
#[ignore = "needs root and iproute2"]
fn route_gone_and_back() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let Ok(transport) = std::env::var(INNER) else {
        let _turn = crate::turn();
        for doh in [false, true] {
            let outcome = runtime.block_on(run(doh)).unwrap_or_else(|reason| panic!("{reason}"));
            assert!(
                outcome.is_good(),
                "DoH {doh}: {:?}, {} lost",
                outcome.recovery,
                outcome.unanswered
            );
        }
        return;
    };
    let outcome = runtime.block_on(measure(transport == "doh"));
    let outcome = outcome.unwrap_or_else(|reason| panic!("{reason}"));
    let time = |time: Duration| i64::try_from(time.as_millis()).unwrap();
    say(&format!(
        "{TAG} {} {} {} {} {} {} {}",
        outcome.recovery.map_or(-1, time),
        time(outcome.control),
        outcome.asked,
        outcome.unanswered,
        outcome.failed,
        outcome.relapses,
        time(outcome.worst)
    ));
}

/// The second namespace; taken away when dropped.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        let namespace = Self(format!("tacenda-faults-{}", std::process::id()));
        let name = &namespace.0;
        for line in [
            "link set lo up".to_owned(),
            format!("addr add {RESOLVER}/32 dev lo"),
            format!("netns add {name}"),
            format!("link add up0 type veth peer name up1 netns {name}"),
            format!("link add ctl0 type veth peer name ctl1 netns {name}"),
            "addr add 10.99.1.1/24 dev up0".to_owned(),
            "addr add 10.99.2.1/24 dev ctl0".to_owned(),
            "link set up0 up".to_owned(),
            "link set ctl0 up".to_owned(),
        ] {
            ip(&line);
        }
        for line in [
            "link set lo up",
            "link set up1 up",
            "link set ctl1 up",
            "addr add 10.99.1.2/24 dev up1",
            "route add default via 10.99.1.1",
        ] {
            namespace.ip(line);
        }
        namespace.ip(&format!("addr add {STUB}/24 dev ctl1"));
        namespace
    }

    fn ip(&self, line: &str) {
        ip(&format!("-n {} {line}", self.0));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {line}: {complaint}");
}

async fn measure(doh: bool) -> Result<Outcome, String> {
    let namespace = Namespace::new();
    let prepare = |setup: &mut Setup| {
        setup.listen = SocketAddr::from((STUB, 5300));
        setup.head = "allow = [\"10.99.2.0/24\", \"127.0.0.0/8\"]".into();
        setup.wrap = ["ip", "netns", "exec", &namespace.0].map(str::to_owned).to_vec();
    };
    let mut rig = Rig::build(Kind::Tacenda, doh, Layout::Routed, prepare, Mix { rate: 50, hot: 0 }).await?;
    sleep(Duration::from_secs(1)).await;
    namespace.ip("route del default");
    namespace.ip("addr flush dev up1");
    sleep(length()).await;
    namespace.ip("addr add 10.99.1.77/24 dev up1");
    namespace.ip("route add default via 10.99.1.1");
    rig.mark();
    Ok(rig.settle().await)
}

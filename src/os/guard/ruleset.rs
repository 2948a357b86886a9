//! The packet rules, as text for `nft -f -`. Pure.
//!
//! One transaction that can be repeated: everything is added if it is not there, emptied, and filled anew, so that there is no moment without
//! rules, and the counters go on. Flat commands, because nft before 1.0.7 refuses the block form for a table that outlives its owner.
//!
//! Only positive matches open anything: `skuid != x return` would let a packet through that has no socket (one that is forwarded).

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The table, of family `inet`.
pub const TABLE: &str = "tacenda";

/// Ports that questions are asked at in clear text: DNS, NetBIOS names and datagrams, multicast DNS, LLMNR. And DNS over TLS, which would be
/// opportunistic, to the hotel's own resolver: sealed, but for the wrong reader.
const PORTS: [u16; 6] = [53, 137, 138, 853, MDNS, 5355];

/// RFC 6762.
const MDNS: u16 = 5353;

/// What is done with a question to somebody else's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// tacenda answers it, where the kernel can lead it there; else it is refused.
    Redirect,
    /// It is refused, always.
    Reject,
}

impl Mode {
    /// As the user writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Reject => "reject",
        }
    }
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

impl Protocol {
    /// As nft and URLs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// Somebody whom everybody may reach though he sits at a port for questions: a VPN's server, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exempt {
    /// By which protocol.
    pub protocol: Protocol,
    /// Where.
    pub server: SocketAddr,
}

impl fmt::Display for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol.as_str(), self.server)
    }
}

/// The one way by which a server may be asked in clear text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The server.
    pub server: SocketAddr,
    /// By this interface.
    pub interface: Option<String>,
    /// Through this router.
    pub router: Option<IpAddr>,
}

impl Way {
    /// As a rule; `None` if it names no way, or an interface that would mean others too.
    fn rule(&self) -> Option<String> {
        let family = if self.server.is_ipv6() { "ip6" } else { "ip" };
        let mut rule = format!("th dport {} {family} daddr {}", self.server.port(), self.server.ip());
        if let Some(interface) = &self.interface {
            let _ = write!(rule, " oifname \"{}\"", quotable(interface)?);
        }
        if let Some(router) = self.router {
            let family = if router.is_ipv6() { "ip6" } else { "ip" };
            let _ = write!(rule, " rt {family} nexthop {router}");
        }
        (self.interface.is_some() || self.router.is_some()).then(|| format!("{rule} accept"))
    }
}

/// A name that stands for itself between quotes. nft reads a star as any end, and knows no escapes.
pub fn quotable(interface: &str) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_graphic() && !"\"*\\<>".contains(c);
    (!interface.is_empty() && interface.chars().all(is_plain)).then_some(interface)
}

/// The ways that are open for a window. Not of the rules and their mark: they change by themselves, since the kernel closes them in time,
/// whoever is dead then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// By this interface.
    pub interface: String,
    /// The servers that tacenda may ask there.
    pub servers: Vec<IpAddr>,
    /// For so long. Whole seconds, none for less than one.
    pub left: Duration,
}

impl Ways {
    /// For `nft -f -`, in the place of those that were open before.
    pub fn text(&self) -> String {
        let mut text = format!("flush set inet {TABLE} portal4\nflush set inet {TABLE} portal6\n");
        let seconds = self.left.as_secs();
        let Some(interface) = quotable(&self.interface).filter(|_| seconds > 0) else {
            return text;
        };
        for server in &self.servers {
            let version = if server.is_ipv6() { '6' } else { '4' };
            let element = format!("\"{interface}\" . {server} timeout {seconds}s");
            // Writing into a String cannot fail.
            let _ = writeln!(text, "add element inet {TABLE} portal{version} {{ {element} }}");
        }
        text
    }
}

/// What the rules are made of. Interfaces by name: they may come later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// See [`Mode`].
    pub mode: Mode,
    /// The user whom tacenda runs as.
    pub stub: u32,
    /// Where it listens on loopback.
    pub listen: Vec<SocketAddr>,
    /// Where it listens for others: by which interface they come in, and the address there.
    pub served: BTreeSet<(String, SocketAddr)>,
    /// Servers that it may ask in clear text, each by one way.
    pub ways: BTreeSet<Way>,
    /// Everybody's.
    pub exempt: BTreeSet<Exempt>,
    /// Where the resolvers of DNS over TLS are. While tacenda is root, everybody of root's is let to these alone.
    pub sealed: BTreeSet<IpAddr>,
    /// Whether multicast DNS is let out: a home network's printers.
    pub lets_mdns_out: bool,
}

/// The rules, and by what they are known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// For `nft -f -`; the table must be there.
    pub text: String,
    /// For `nft --check -f -`: whether the kernel takes it.
    pub trial: String,
    /// Mode and checksum, as the table's comment has them.
    pub mark: String,
}

/// The rules for these facts. The same facts give the same octets.
pub fn ruleset(facts: &Facts) -> Ruleset {
    let body = Rules::of(facts);
    let mark = format!("{} {:016x}", facts.mode.as_str(), checksum(&body));
    Ruleset {
        // It is tried out in a table of another name: ours, when it is held, nobody else can even try to change.
        trial: format!(
            "add table inet {TRIAL_TABLE}\n{}",
            body.replace(&format!(" inet {TABLE} "), &format!(" inet {TRIAL_TABLE} "))
        ),
        // The mark is of the text without it.
        text: body.replace(NO_MARK, &mark),
        mark,
    }
}

/// Where the mark stands. No interface's name that is quoted has such characters.
const NO_MARK: &str = "<mark>";

/// Never made, only thought of.
const TRIAL_TABLE: &str = "tacenda_trial";

/// FNV-1a: tells one set of rules from another; nobody gains anything by forging it.
fn checksum(text: &str) -> u64 {
    let step = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Lines of nft.
struct Rules(String);

impl Rules {
    fn of(facts: &Facts) -> String {
        let mut rules = Self(String::new());
        rules.objects();
        rules.sets(facts);
        rules.redirects(facts);
        rules.guards(facts);
        rules.drop_idle_hooks();
        rules.0
    }

    /// A hook costs every packet of the host, also with nothing in it, and one of kind `nat` has the kernel track all connections: 4 % of
    /// a cached answer each.
    fn drop_idle_hooks(&mut self) {
        for chain in ["nat_out", "nat_pre"] {
            if !self.0.contains(&format!("add rule inet {TABLE} {chain} ")) {
                let _ = writeln!(self.0, "delete chain inet {TABLE} {chain}");
            }
        }
    }

    fn add(&mut self, what: &str, rest: impl fmt::Display) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "add {what} inet {TABLE} {rest}");
    }

    fn rule(&mut self, chain: &str, rule: impl fmt::Display) {
        self.add("rule", format_args!("{chain} {rule}"));
    }

    /// Everything by name, added if it is not there; the chains emptied.
    fn objects(&mut self) {
        for counter in ["redirected", "rejected"] {
            self.add("counter", counter);
        }
        for (chain, kind) in CHAINS {
            self.add("chain", format_args!("{chain} {kind}"));
        }
        for (chain, _) in CHAINS {
            let _ = writeln!(self.0, "flush chain inet {TABLE} {chain}");
        }
    }

    fn sets(&mut self, facts: &Facts) {
        let exempt = |v6| {
            let of_family = facts.exempt.iter().filter(move |one| one.server.is_ipv6() == v6);
            of_family.map(|one| {
                format!(
                    "{} . {} . {}",
                    one.server.ip(),
                    one.protocol.as_str(),
                    one.server.port()
                )
            })
        };
        self.set("stub", "type uid", [facts.stub.to_string()].into_iter());
        // By name for the one rule whose ports nft 1.0.6 lists otherwise in a way that it cannot read: whoever saved all rules of the host with
        // `nft list ruleset` could load none of them again.
        self.set("ports", "type inet_service", PORTS.iter().map(u16::to_string));
        for (v6, version, kind) in [(false, '4', "ipv4_addr"), (true, '6', "ipv6_addr")] {
            let kind = format!("type {kind} . inet_proto . inet_service");
            self.set(&format!("exempt{version}"), &kind, exempt(v6));
        }
        for (version, kind) in [('4', "ipv4_addr"), ('6', "ipv6_addr")] {
            let kind = format!("type ifname . {kind}; flags timeout");
            self.set(&format!("portal{version}"), &kind, std::iter::empty());
        }
    }

    fn set(&mut self, name: &str, kind: &str, elements: impl Iterator<Item = String>) {
        self.add("set", format_args!("{name} {{ {kind}; }}"));
        let _ = writeln!(self.0, "flush set inet {TABLE} {name}");
        let elements: Vec<_> = elements.collect();
        if !elements.is_empty() {
            self.add("element", format_args!("{name} {{ {} }}", elements.join(", ")));
        }
    }

    fn redirects(&mut self, facts: &Facts) {
        if facts.mode == Mode::Reject {
            return;
        }
        // In this order: this host's own traffic; what must not be led to tacenda; what is.
        self.rule("nat_out", "oifname \"lo\" return");
        self.rule("nat_out", "fib daddr type local return");
        // The kernel does not lead a packet elsewhere whose address is good on one link only.
        self.rule("nat_out", "ip6 daddr fe80::/10 return");
        if facts.stub != ROOT || !facts.ways.is_empty() {
            // Its own questions would come back to it. Root's other programs are refused then: better than a circle.
            self.rule("nat_out", "meta skuid @stub return");
        } else {
            for version in ["ip", "ip6"] {
                self.rule("nat_out", format_args!("meta skuid @stub {} return", window(version)));
            }
        }
        for version in ["ip", "ip6"] {
            self.rule("nat_out", format_args!("{} return", exempt(version)));
        }
        for (family, v6) in [("ip", false), ("ip6", true)] {
            if let Some(listen) = facts.listen.iter().find(|listen| listen.is_ipv6() == v6) {
                self.redirect("nat_out", "", family, *listen);
            }
        }
        let served: Vec<_> = facts
            .served
            .iter()
            .filter(|(interface, _)| quotable(interface).is_some())
            .collect();
        if !served.is_empty() {
            for version in ["ip", "ip6"] {
                self.rule("nat_pre", format_args!("{} return", exempt(version)));
            }
        }
        for (interface, listen) in served {
            let family = if listen.is_ipv6() { "ip6" } else { "ip" };
            let from = format!("iifname \"{interface}\" fib daddr type != local ");
            self.redirect("nat_pre", &from, family, *listen);
        }
    }

    fn redirect(&mut self, chain: &str, from: &str, family: &str, listen: SocketAddr) {
        let protocol = if family == "ip6" { "ipv6" } else { "ipv4" };
        self.rule(
            chain,
            format_args!(
                "{from}meta nfproto {protocol} meta l4proto {{ udp, tcp }} th dport 53 counter name redirected dnat {family} to {listen}"
            ),
        );
    }

    fn guards(&mut self, facts: &Facts) {
        // Most packets of a host are for itself. After a redirection this still names the old interface, so it opens too little, never too
        // much: `after` sees the new one.
        self.rule("out", "oifname \"lo\" accept");
        self.rule("out", "fib daddr type local accept");
        self.rule("out", "goto judge");
        self.rule("forwarded", "goto judge");
        // Behind every redirection, of others too. Nobody can be told here: `reject` does not exist.
        self.rule("after", "oifname \"lo\" accept");
        self.rule("after", "goto judge_silently");
        let ports = PORTS.map(|port| port.to_string()).join(", ");
        for (chain, led, verdict) in [
            ("judge", "led", "goto refuse"),
            ("judge_silently", "led_silently", "counter name rejected drop"),
        ] {
            let comment = format!("comment \"tacenda {NO_MARK}\"");
            self.rule(chain, format_args!("meta l4proto != {{ udp, tcp }} accept {comment}"));
            // Another's redirection to another port makes it no other question; to a server that is exempt, a container's say, it may lead.
            let was_led = "meta l4proto { udp, tcp } ct direction original ct status dnat ct original proto-dst @ports";
            self.rule(chain, format_args!("{was_led} goto {led}"));
            self.rule(led, "jump exempted");
            self.rule(led, verdict);
            self.rule(chain, format_args!("th dport != {{ {ports} }} accept"));
            self.rule(chain, "jump allowed");
            self.rule(chain, verdict);
        }
        self.rule("refuse", "counter name rejected");
        self.rule("refuse", "meta l4proto tcp reject with tcp reset");
        self.rule("refuse", "reject with icmpx port-unreachable");
        self.allows(facts);
    }

    fn allows(&mut self, facts: &Facts) {
        for version in ["ip", "ip6"] {
            self.rule("exempted", format_args!("{} accept", exempt(version)));
        }
        self.rule("allowed", "jump exempted");
        if facts.lets_mdns_out {
            for group in ["ip daddr 224.0.0.251", "ip6 daddr ff02::fb"] {
                self.rule("allowed", format_args!("{group} udp dport {MDNS} accept"));
            }
        }
        self.rule("allowed", "meta skuid @stub goto allowed_stub");
        if facts.stub == ROOT {
            for server in &facts.sealed {
                let family = if server.is_ipv6() { "ip6" } else { "ip" };
                self.rule(
                    "allowed_stub",
                    format_args!("{family} daddr {server} th dport 853 accept"),
                );
            }
        } else {
            self.rule("allowed_stub", "th dport 853 accept");
        }
        for way in facts.ways.iter().filter_map(Way::rule) {
            self.rule("allowed_stub", way);
        }
        for version in ["ip", "ip6"] {
            self.rule("allowed_stub", format_args!("{} accept", window(version)));
        }
    }
}

fn exempt(family: &str) -> String {
    let version = if family == "ip6" { '6' } else { '4' };
    format!("{family} daddr . meta l4proto . th dport @exempt{version}")
}

fn window(family: &str) -> String {
    let version = if family == "ip6" { '6' } else { '4' };
    format!("th dport 53 oifname . {family} daddr @portal{version}")
}

/// By name, in an order in which none is named before it is there. Priorities: before destination NAT (-100) of others, behind filters of
/// others (0), behind source NAT (100).
const CHAINS: [(&str, &str); 13] = [
    ("exempted", ""),
    ("allowed_stub", ""),
    ("allowed", ""),
    ("refuse", ""),
    ("led", ""),
    ("led_silently", ""),
    ("judge", ""),
    ("judge_silently", ""),
    ("nat_out", "{ type nat hook output priority -110; policy accept; }"),
    ("nat_pre", "{ type nat hook prerouting priority -110; policy accept; }"),
    ("out", "{ type filter hook output priority 10; policy accept; }"),
    ("forwarded", "{ type filter hook forward priority 10; policy accept; }"),
    ("after", "{ type filter hook postrouting priority 300; policy accept; }"),
];

const ROOT: u32 = 0;

#[cfg(test)]
mod tests;

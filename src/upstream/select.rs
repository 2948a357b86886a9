//! Which upstream a question goes to first, and which ones after it. Pure: time, chance and figures are handed in.

use std::time::Duration;

use psl::{List, Psl};
use tokio::time::Instant;

use crate::transport::keyed::{Keyed, SECRET_LEN};

/// How questions are spread over the upstreams.
#[derive(Clone, Debug, Default)]
pub enum Strategy {
    /// The first sees all names; the next is asked only when it fails.
    #[default]
    InOrder,
    /// The faster of two drawn by lot; all of them see names.
    Fastest,
    /// All names of a registrable domain go to one upstream, chosen by a secret of this installation, so that none sees the whole
    /// of a person.
    Spread([u8; SECRET_LEN]),
}

/// What there is to say of an upstream when a question is to be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) index: usize,
    /// It is down, and no trial is due.
    pub(super) is_avoided: bool,
    /// It is down, and this question may try whether it is back.
    pub(super) is_on_trial: bool,
    /// See [`Pace::cost`].
    pub(super) cost: u64,
}

/// A strategy made ready for these upstreams.
#[derive(Debug)]
pub(super) enum Plan {
    InOrder,
    Fastest,
    /// One function for each upstream, in their order.
    Spread(Vec<Keyed>),
}

impl Plan {
    /// For upstreams of these names: under `spread` a name decides which domains an upstream gets.
    pub(super) fn new<'a>(strategy: &Strategy, names: impl Iterator<Item = &'a str>) -> Self {
        match strategy {
            Strategy::InOrder => Self::InOrder,
            Strategy::Fastest => Self::Fastest,
            Strategy::Spread(secret) => Self::Spread(names.map(|name| Keyed::new(secret, name)).collect()),
        }
    }

    /// Puts the candidates into the order in which they are asked. Those that are avoided come last in any case. `draw` is a random
    /// number.
    pub(super) fn sort(&self, candidates: &mut [Candidate], qname: &[u8], draw: u64) {
        match self {
            Self::InOrder => {}
            Self::Fastest => sort_by_cost(candidates, draw),
            // Rendezvous hashing: when one is down, only its own domains move, and they come back to it.
            Self::Spread(keyed) => {
                let domain = registrable(qname);
                candidates.sort_by_cached_key(|candidate| {
                    let number = keyed.get(candidate.index).map(|keyed| keyed.number(domain));
                    std::cmp::Reverse(number)
                });
            }
        }
        candidates.sort_by_key(|candidate| candidate.is_avoided);
    }

    /// Whether a question that tries an upstream which was down should be asked of the next one at the same time: under `fastest`
    /// everybody sees names anyway, and nobody should wait for the slow.
    pub(super) fn tries_beside(&self) -> bool {
        matches!(self, Self::Fastest)
    }
}

/// The cheaper of two drawn by lot goes first (Mitzenmacher 2001): who always took the best of all would run it over. One that is on
/// trial goes before it, for this one question, because being down is not what it costs.
fn sort_by_cost(candidates: &mut [Candidate], draw: u64) {
    candidates.sort_by_key(|candidate| (!candidate.is_on_trial, candidate.is_avoided, candidate.cost));
    let from = candidates.iter().take_while(|candidate| candidate.is_on_trial).count();
    let usable = candidates.iter().filter(|candidate| !candidate.is_avoided).count();
    let drawn_from = u64::try_from(usable.saturating_sub(from)).unwrap_or(0);
    if drawn_from < 3 {
        // The better of both is the best.
        return;
    }
    let first = draw % drawn_from;
    // Another one than the first.
    let second = (first + 1 + (draw >> 32) % (drawn_from - 1)) % drawn_from;
    let winner = from + usize::try_from(first.min(second)).unwrap_or(0);
    candidates[from..=winner].rotate_right(1);
}

/// How fast an upstream answers, for `fastest`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace(Option<(Duration, Instant)>);

impl Pace {
    /// Takes the time of an answer: it counts an eighth (RFC 6298), or more the older the news before it is.
    pub(super) fn observe(&mut self, sample: Duration, now: Instant) {
        let smoothed = self.0.map_or(sample, |(smoothed, at)| {
            let kept = left_after(now.saturating_duration_since(at)).min(0.875);
            smoothed.mul_f64(kept) + sample.mul_f64(1.0 - kept)
        });
        self.0 = Some((smoothed, now));
    }

    /// Takes a failure: as if the answer had come late, or else who fails at once would be the fastest.
    pub(super) fn failed(&mut self, now: Instant) {
        self.observe(FAILURE_COUNTS_AS, now);
    }

    /// What asking costs, in microseconds: the smoothed time, for each question under way and this one. It halves every
    /// [`HALF_LIFE`] without news, so that one that was slow is tried again by a real question now and then; next to nothing for a
    /// stranger.
    pub(super) fn cost(&self, in_flight: u64, now: Instant) -> u64 {
        let decayed = self.0.map_or(Duration::ZERO, |(smoothed, at)| {
            smoothed.mul_f64(left_after(now.saturating_duration_since(at)))
        });
        let micros = u64::try_from(decayed.as_micros()).unwrap_or(u64::MAX);
        micros.max(1).saturating_mul(in_flight.saturating_add(1))
    }
}

/// What is left of 1 after so long.
fn left_after(time: Duration) -> f64 {
    (-time.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
}

/// Whether somebody can own a name, in lower case and without a dot at the end: it is no public suffix (`com`, `co.uk`), and not the root.
pub fn is_registrable(name: &str) -> bool {
    let labels = || name.split('.').rev().map(str::as_bytes);
    List.find(labels()).len < name.len()
}

/// The registrable domain of a name in wire form (Mozilla's Public Suffix List), in wire form; the name itself if it is a public
/// suffix.
fn registrable(qname: &[u8]) -> &[u8] {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(len @ 1..) = qname.get(at).copied() {
        starts.push(at);
        at += usize::from(len) + 1;
    }
    let label = |start: &usize| {
        qname
            .get(start + 1..=start + usize::from(qname[*start]))
            .unwrap_or_default()
    };
    let suffix_len = List.find(starts.iter().rev().map(label)).len;
    // Dots count in that length; the first label's length octet and the root do not.
    let suffix_at = qname.len().saturating_sub(suffix_len + 2);
    let before = starts.iter().rev().find(|start| **start < suffix_at);
    before.map_or(qname, |start| &qname[*start..])
}

/// A failure weighs like an answer that took this long: longer than resolvers take for nearly everything.
const FAILURE_COUNTS_AS: Duration = Duration::from_secs(1);

/// Twice as slow is tried again after ten seconds, thirty times as slow after a minute.
const HALF_LIFE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testkit::name as wire;

    fn up(costs: &[u64]) -> Vec<Candidate> {
        let candidate = |(index, cost): (usize, &u64)| Candidate {
            index,
            is_avoided: false,
            is_on_trial: false,
            cost: *cost,
        };
        costs.iter().enumerate().map(candidate).collect()
    }

    fn order(candidates: &[Candidate]) -> Vec<usize> {
        candidates.iter().map(|candidate| candidate.index).collect()
    }

    #[test]
    fn public_suffixes_are_nobodys() {
        for (name, expected) in [
            ("com", false),
            ("co.uk", false),
            ("", false),
            ("example.com", true),
            ("example.co.uk", true),
            ("corp.internal", true),
            ("internal", false),
        ] {
            assert_eq!(is_registrable(name), expected, "{name}");
        }
    }

    #[test]
    fn registrable_domains() {
        for (name, domain) in [
            ("www.example.com", "example.com"),
            ("a.b.c.example.co.uk", "example.co.uk"),
            ("example.com", "example.com"),
            ("com", "com"),
            ("co.uk", "co.uk"),
            ("", ""),
            ("host.lan.home.unknown-tld", "home.unknown-tld"),
            ("user.github.io", "user.github.io"),
            ("1.2.0.192.in-addr.arpa", "192.in-addr.arpa"),
            ("www.city.kawasaki.jp", "city.kawasaki.jp"),
        ] {
            assert_eq!(registrable(&wire(name)), wire(domain), "{name}");
        }
        let odd = [&[1, b'.', 3][..], b"a.b", &[3], b"com", &[0]].concat();
        assert_eq!(registrable(&odd), &odd[2..], "dots in labels are no ends of labels");
    }

    #[test]
    fn two_choices_spare_the_best_and_never_take_the_worst() {
        let mut firsts = [0; 4];
        let mut state = 1_u64;
        for _ in 0..10_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let mut candidates = up(&[30, 10, 40, 20]);
            Plan::Fastest.sort(&mut candidates, b"\0", state ^ (state >> 29));
            let mut seen = order(&candidates);
            firsts[seen[0]] += 1;
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3]);
        }
        // The best is among two of four in half of the draws.
        assert!((4_500..5_500).contains(&firsts[1]), "{firsts:?}");
        assert_eq!(firsts[2], 0, "{firsts:?}");
    }

    #[test]
    fn of_two_the_faster_one_is_taken_and_who_is_down_comes_last() {
        for draw in 0..50 {
            let mut candidates = up(&[20, 10]);
            Plan::Fastest.sort(&mut candidates, b"\0", draw);
            assert_eq!(order(&candidates), [1, 0]);
            let mut candidates = up(&[1, 20, 10]);
            candidates[0].is_avoided = true;
            Plan::Fastest.sort(&mut candidates, b"\0", draw);
            assert_eq!(order(&candidates), [2, 1, 0]);
            let mut candidates = up(&[9, 20, 10]);
            candidates[1].is_on_trial = true;
            Plan::Fastest.sort(&mut candidates, b"\0", draw);
            assert_eq!(order(&candidates), [1, 0, 2], "a trial goes first, once");
        }
    }

    #[test]
    fn who_was_slow_gets_another_chance_and_who_fails_is_not_fast() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let (mut slow, mut fast, mut failing) = (Pace::default(), Pace::default(), Pace::default());
        assert_eq!(
            slow.cost(5, start),
            6,
            "a stranger is tried first, and strangers share a burst"
        );
        slow.observe(Duration::from_millis(80), start);
        failing.failed(start);
        fast.observe(Duration::from_millis(10), after(39));
        assert!(fast.cost(0, after(39)) < slow.cost(0, after(0)));
        assert!(fast.cost(0, after(39)) > slow.cost(0, after(45)));
        assert!(failing.cost(0, start) > slow.cost(0, start));
        assert_eq!(slow.cost(3, start), 4 * 80_000);
        assert_eq!(slow.cost(0, after(1_000_000)), 1);
    }

    fn spread(secret: u8, names: &[&str]) -> Plan {
        Plan::new(&Strategy::Spread([secret; SECRET_LEN]), names.iter().copied())
    }

    fn first(plan: &Plan, upstreams: usize, name: &str, down: &[usize]) -> usize {
        let mut candidates = up(&vec![0; upstreams]);
        for index in down {
            candidates[*index].is_avoided = true;
        }
        plan.sort(&mut candidates, &wire(name), 0);
        candidates[0].index
    }

    #[test]
    fn spread_keeps_a_domain_together_and_shares_domains_out() {
        let plan = spread(1, &["a", "b", "c"]);
        let mut counts = [0; 3];
        for n in 0..3_000 {
            let chosen = first(&plan, 3, &format!("www.site{n}.co.uk"), &[]);
            assert_eq!(chosen, first(&plan, 3, &format!("mail.deep.site{n}.co.uk"), &[]));
            counts[chosen] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn spread_moves_only_the_domains_of_who_is_down() {
        let plan = spread(1, &["a", "b", "c"]);
        for n in 0..500 {
            let name = format!("site{n}.example");
            let before = first(&plan, 3, &name, &[]);
            let during = first(&plan, 3, &name, &[1]);
            assert!(during != 1 && (before == 1 || during == before));
        }
    }

    #[test]
    fn spread_is_another_one_on_every_installation_and_stays_when_an_upstream_is_added() {
        let (one, other) = (spread(1, &["a", "b"]), spread(2, &["a", "b"]));
        let more = spread(1, &["a", "b", "c"]);
        let names: Vec<_> = (0..1_000).map(|n| format!("site{n}.example")).collect();
        let same = |plan, upstreams| {
            let is_same = |name: &&String| first(plan, upstreams, name, &[]) == first(&one, 2, name, &[]);
            names.iter().filter(is_same).count()
        };
        assert!((400..600).contains(&same(&other, 2)), "{}", same(&other, 2));
        // A third goes to the new one, and no other name moves.
        assert!((600..730).contains(&same(&more, 3)), "{}", same(&more, 3));
    }
}

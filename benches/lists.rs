//! What a million blocked domains cost: time to read them, memory, and a look-up, beside a set of names from `std`. Ratios count,
//! times do not: run it on a quiet machine with `cargo bench --bench lists`.

use std::collections::HashSet;
use std::hint::black_box;
use std::time::Duration;

use tacenda::policy::list::Action;
use tacenda::policy::rules::{Builder, Rules};
use tokio::time::Instant;

/// Domains in the list.
const DOMAINS: usize = 1_000_000;

/// Names asked of one kind, in turn: far more than the processor's own caches keep.
const NAMES: usize = 100_000;

/// Names between two looks at the clock.
const PIECE: usize = 1000;

/// Rounds; the best one counts, because noise only adds.
const ROUNDS: usize = 15;

/// Times that the list is loaded.
const LOADS: usize = 7;

/// What is promised for [`DOMAINS`].
const MOST_OCTETS: usize = 40_000_000;
const LONGEST_LOAD: Duration = Duration::from_millis(1500);
const LONGEST_LOOKUP: f64 = 150.0;

/// Numbers that are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// A label of two syllables and more, as people and machines make them.
    fn label(&mut self) -> String {
        const SYLLABLES: &[&str] = &[
            "ad", "ser", "ve", "tra", "ck", "pix", "el", "me", "tri", "cs", "lo", "ge", "con", "ver", "sta", "ti",
            "da", "ta", "cli", "ban", "ner", "pop", "mo", "bi", "le", "go", "zen", "ka", "ru", "ny",
        ];
        let mut label: String = (0..2 + self.below(4)).map(|_| self.pick(SYLLABLES)).collect();
        if self.below(3) == 0 {
            label.push_str(&self.below(10_000).to_string());
        }
        label
    }

    /// A domain of two labels (half of them) up to four; one in a hundred of up to nine.
    fn domain(&mut self) -> String {
        const TOPS: &[&str] = &[
            "com", "com", "com", "net", "org", "info", "xyz", "top", "ru", "de", "co.uk", "io",
        ];
        const HOSTS: &[&str] = &["ads", "www", "track", "cdn", "metrics", "s1", "pixel", "eu"];
        let mut domain = format!("{}.{}", self.label(), self.pick(TOPS));
        if self.below(2) == 0 {
            domain = format!("{}.{domain}", self.pick(HOSTS));
        }
        if self.below(100) == 0 {
            for _ in 0..1 + self.below(5) {
                domain = format!("{}.{domain}", self.label());
            }
        }
        domain
    }
}

fn wire(name: &str) -> Box<[u8]> {
    let mut octets = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).expect("short"));
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets.into()
}

/// What a set of names can do: every suffix is tried, the longest first.
fn reference(set: &HashSet<Box<[u8]>>, qname: &[u8]) -> bool {
    let mut rest = qname;
    while let Some((&len @ 1.., tail)) = rest.split_first() {
        if set.contains(rest) {
            return true;
        }
        rest = &tail[usize::from(len)..];
    }
    false
}

/// Nanoseconds for one call. Of each piece the best round counts, so that a disturbance spoils a piece and not a round; between two
/// rounds of a piece all the others come, so that nothing is warm that would not be.
fn measure(names: &[Box<[u8]>], mut call: impl FnMut(&[u8])) -> f64 {
    let mut best = vec![Duration::MAX; names.len().div_ceil(PIECE)];
    for _ in 0..ROUNDS {
        for (piece, best) in names.chunks(PIECE).zip(&mut best) {
            let start = Instant::now();
            for name in piece {
                call(black_box(name));
            }
            *best = start.elapsed().min(*best);
        }
    }
    best.iter().sum::<Duration>().as_secs_f64() * 1e9 / names.len() as f64
}

/// Nanoseconds until a read of a place that was not read lately is done: what a look-up of a name that nobody asked for before
/// cannot do without.
fn main_memory() -> f64 {
    let mut numbers = Numbers(2);
    let mut next: Vec<usize> = (0..4 << 20).collect();
    // One circle through all places (Sattolo).
    for at in (1..next.len()).rev() {
        next.swap(at, numbers.below(at));
    }
    let (mut at, mut best) = (0, Duration::MAX);
    for _ in 0..100 {
        let start = Instant::now();
        for _ in 0..PIECE {
            at = next[at];
        }
        best = best.min(start.elapsed());
    }
    black_box(at);
    best.as_secs_f64() * 1e9 / PIECE as f64
}

fn load(list: &[u8]) -> (Rules, Duration) {
    let start = Instant::now();
    let mut builder = Builder::new();
    builder.read(0, Action::Block, list).expect("a list");
    let rules = builder.build();
    (rules, start.elapsed())
}

/// Distinct domains as text, their names, and some of them.
fn domains(numbers: &mut Numbers) -> (String, HashSet<Box<[u8]>>, Vec<String>) {
    let (mut list, mut names, mut some) = (String::new(), HashSet::with_capacity(DOMAINS), Vec::new());
    while names.len() < DOMAINS {
        let domain = numbers.domain();
        if names.insert(wire(&domain)) {
            list.push_str(&domain);
            list.push('\n');
            if names.len().is_multiple_of(DOMAINS / NAMES) {
                some.push(domain);
            }
        }
    }
    (list, names, some)
}

/// A name of this many labels that is in no list.
fn unlisted(numbers: &mut Numbers, labels: usize, n: usize) -> Box<[u8]> {
    let mut name = format!("{}-{n}.com", numbers.label());
    for _ in 2..labels {
        name = format!("{}.{name}", numbers.label());
    }
    wire(&name)
}

/// What is asked, by kind.
fn kinds(
    numbers: &mut Numbers,
    domains: &HashSet<Box<[u8]>>,
    listed: &[String],
) -> Vec<(&'static str, Vec<Box<[u8]>>)> {
    let below = |name: &String| wire(&format!("a1.b2.{name}"));
    let mut kinds = vec![
        ("hit", listed.iter().map(|name| wire(name)).collect::<Vec<_>>()),
        ("hit, 2 below", listed.iter().map(below).collect()),
    ];
    for (kind, labels) in [("miss, 2 labels", 2), ("miss, 4 labels", 4), ("miss, 8 labels", 8)] {
        kinds.push((kind, (0..NAMES).map(|n| unlisted(numbers, labels, n)).collect()));
    }
    // Below a domain of which some other name is in the list: the filter lets it pass.
    let sibling = |name: &String| {
        let parent = name.strip_prefix("track.").or_else(|| name.strip_prefix("cdn."))?;
        let name = wire(&format!("a.b1.c22.d333.e.{parent}"));
        (!reference(domains, &name)).then_some(name)
    };
    let siblings: Vec<_> = listed.iter().filter_map(sibling).collect();
    kinds.push(("miss, 7, a sibling is listed", siblings));
    kinds
}

#[expect(clippy::print_stdout, reason = "a bench talks to its user")]
fn main() {
    let mut numbers = Numbers(1);
    let (list, domains, listed) = domains(&mut numbers);
    let (rules, mut time) = load(list.as_bytes());
    for _ in 1..LOADS {
        time = time.min(load(list.as_bytes()).1);
    }
    assert_eq!(rules.len(), DOMAINS, "every domain is a rule");
    let (octets, ms) = (rules.memory() as f64, time.as_secs_f64() * 1e3);
    println!("{DOMAINS} domains, {} MB as text", list.len() / 1_000_000);
    println!("load    {ms:6.0} ms    (at most {} ms)", LONGEST_LOAD.as_millis());
    println!(
        "memory  {:6.1} MB    (at most {} MB), {:.1} octets a rule",
        octets / 1e6,
        MOST_OCTETS / 1_000_000,
        octets / DOMAINS as f64
    );
    println!("one read of main memory {:.0} ns", main_memory());
    println!("look-up, beside a set of names: asked again and again, and not asked lately");
    let mut slowest = 0.0_f64;
    for (kind, names) in &kinds(&mut numbers, &domains, &listed) {
        let is_hit = kind.starts_with("hit");
        let own = |name: &[u8]| assert_eq!(rules.decide(name).is_some(), is_hit);
        let set = |name: &[u8]| assert_eq!(reference(&domains, name), is_hit);
        let (warm, warm_set) = (measure(&names[..PIECE], own), measure(&names[..PIECE], set));
        let (cold, cold_set) = (measure(names, own), measure(names, set));
        println!(
            "{kind:<29} {warm:6.1} ns {:5.2} x set    {cold:6.1} ns {:5.2} x set",
            warm / warm_set,
            cold / cold_set
        );
        slowest = slowest.max(warm);
    }
    println!("slowest {slowest:6.1} ns    (at most {LONGEST_LOOKUP} ns) of those asked again and again");
    let is_kept = time <= LONGEST_LOAD && rules.memory() <= MOST_OCTETS && slowest <= LONGEST_LOOKUP;
    println!("{}", if is_kept { "as promised" } else { "NOT as promised" });
}

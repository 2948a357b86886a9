//! The rules of all lists in one table: which of them decides on a name, and from which list it is.
//!
//! The longest match decides: of the names that rules are about, the one with most labels. At equal length a rule that allows beats
//! one that blocks; of rules that say the same, the one that was read first is named.
//!
//! # The table
//! Main memory is slow, so a look-up goes there once or twice:
//! - A filter (Bloom's, 16 bits a rule) has one word of 64 bits for a domain of two labels and all below. It says of most names that
//!   no rule is about them or anything below their last two labels, and then nothing else is read.
//! - Rows of 8 slots of 8 octets, a cache line each, hold the rules, on average 6 a row. A name's hash says in which row to begin; who
//!   finds it full goes on to the next.
//!
//! This makes 12.7 octets a rule, 13 MB for a million. While it is built there are 16 octets a rule more.
//!
//! Names are not kept, only hashes of them, so a name may be taken for another. A slot has the lower 45 bits of the hash, and the row
//! says the upper 17 for a million rules, or 20 for 10 million, of which two are the same. A look-up compares with about 6 slots for
//! each suffix that the filter lets pass, mostly one, so it errs with a chance of 6 in 2^43: once in 10^12 names that no rule is
//! about.
//! The hash is SipHash-1-3 under a key drawn for each table, so nobody can look for names that collide, or that fill a row.

use std::collections::hash_map::{DefaultHasher, RandomState};
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufRead};

use super::list::{self, Action, Rule, Scope, Tally};

/// Rules in all, doubles counted: ten times the largest collection known. They take 290 MB while a table is built.
pub const MAX_RULES: usize = 10_000_000;

/// Sources. Who has more has given a wrong directory.
pub const MAX_SOURCES: u16 = 1024;

/// Labels of the longest name (127), the root not counted.
const MAX_LABELS: usize = 127;

/// Labels of the suffix whose word of the filter counts. Top-level domains are no use for that, all have something below.
const GATE_LABELS: u8 = 2;

/// Slots of a row: a cache line.
const ROW_LEN: usize = 8;

/// Rules for which there is a row. Fewer than its slots, so that there is always one that is not full.
const RULES_A_ROW: usize = 6;

/// Rules for which there is a word of the filter.
const RULES_A_WORD: usize = 4;

/// Bits of a slot, from below: source, kind, and a part of the hash.
const SOURCE_BITS: u32 = 16;
const KIND_BITS: u32 = 3;

/// Where in a slot the part of the hash begins: its lower bits, because the row says the upper ones.
const HASH_SHIFT: u32 = SOURCE_BITS + KIND_BITS;

/// A slot without a rule; no kind is 0.
const EMPTY: u64 = 0;

/// Which rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it says.
    pub action: Action,
    /// The source that it is from, by the number that it was read under.
    pub source: u16,
    /// Labels of the name that it is about.
    pub labels: u8,
}

/// Why a source was not taken.
#[derive(Debug)]
pub enum ReadError {
    /// It could not be read to its end, or is longer than [`list::MAX_FILE_LEN`].
    Io(io::Error),
    /// More than [`MAX_RULES`] with it.
    TooManyRules,
    /// Its number is not below [`MAX_SOURCES`].
    TooManySources,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                write!(f, "longer than {} MiB", list::MAX_FILE_LEN >> 20)
            }
            Self::Io(error) => error.fmt(f),
            Self::TooManyRules => write!(f, "more than {MAX_RULES} rules in all lists"),
            Self::TooManySources => write!(f, "more than {MAX_SOURCES} lists"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Puts rules together.
#[derive(Default)]
pub struct Builder {
    keys: RandomState,
    entries: Vec<Entry>,
}

/// A rule on its way into a table.
#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    /// The upper half of the hash of the last [`GATE_LABELS`] labels.
    gate: u32,
    source: u16,
    kind: u8,
    labels: u8,
}

impl Builder {
    /// Without rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a list. If it cannot be read to its end nothing of it is kept, and the others stay.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&mut self, source: u16, action: Action, reader: impl BufRead) -> Result<Tally, ReadError> {
        if source >= MAX_SOURCES {
            return Err(ReadError::TooManySources);
        }
        let before = self.entries.len();
        let read = list::read(reader, action, |_, rule| {
            let is_room = self.entries.len() < MAX_RULES;
            if is_room {
                self.entries.extend(Entry::new(&self.keys, source, &rule));
            }
            is_room
        });
        let taken = match read {
            Ok(tally) if tally.rules as usize == self.entries.len() - before => return Ok(tally),
            Ok(_) => Err(ReadError::TooManyRules),
            Err(error) => Err(ReadError::Io(error)),
        };
        self.entries.truncate(before);
        taken
    }

    /// Makes the table.
    pub fn build(self) -> Rules {
        let count = self.entries.len();
        let rows = if count == 0 { 0 } else { count / RULES_A_ROW + 1 };
        let words = if count == 0 { 0 } else { count / RULES_A_WORD + 1 };
        let mut rules = Rules {
            keys: self.keys,
            filter: vec![0; words].into(),
            rows: vec![Row([EMPTY; ROW_LEN]); rows].into(),
            depths: 0,
            count: 0,
        };
        for entry in self.entries {
            rules.insert(entry);
        }
        rules
    }
}

/// As many rules as are read from memory at once, from the left.
#[derive(Clone)]
#[repr(align(64))]
struct Row([u64; ROW_LEN]);

/// The rules in force. Never changed: a new set takes its place.
pub struct Rules {
    keys: RandomState,
    filter: Box<[u64]>,
    rows: Box<[Row]>,
    /// Which numbers of labels there are rules for: most names have suffixes that need no look.
    depths: u128,
    count: usize,
}

impl Default for Rules {
    /// None.
    fn default() -> Self {
        Builder::new().build()
    }
}

/// What is in there is nobody's business.
impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Rules {
    /// How many, without doubles.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Octets that the table takes.
    pub fn memory(&self) -> usize {
        size_of_val::<[Row]>(&self.rows) + size_of_val::<[u64]>(&self.filter)
    }

    /// Which rule decides on a canonical name in wire form, a QNAME or the target of an alias; `None` if there is none for it.
    /// Allocates nothing.
    pub fn decide(&self, name: &[u8]) -> Option<Decision> {
        if self.is_empty() {
            return None;
        }
        let starts = Starts::of(name)?;
        let mut hasher = self.keys.build_hasher();
        let mut best = None;
        // Rules about top-level domains are few: no filter for them.
        let mut word = !0;
        for (labels, label) in (1..).zip(starts.labels_from_the_right(name)) {
            if self.depths >> labels == 0 {
                break;
            }
            hasher.write(label);
            let has_depth = self.depths >> labels & 1 == 1;
            if !has_depth && labels != GATE_LABELS {
                continue;
            }
            let hash = hasher.finish();
            if labels == GATE_LABELS {
                let gate = gate_of(hash);
                word = self.filter[fraction(gate, self.filter.len())];
                if !is_in(gate_bits(gate), word) {
                    break;
                }
            }
            if has_depth && is_in(rule_bits(hash), word) {
                // A longer match takes the place of a shorter one.
                let is_whole = usize::from(labels) == starts.count;
                best = self.at(hash, is_whole, labels).or(best);
            }
        }
        best
    }

    /// The rule that decides among those about one name.
    fn at(&self, hash: u64, is_whole: bool, labels: u8) -> Option<Decision> {
        let mut place = fraction(hash, self.rows.len());
        let mut found: Option<Decision> = None;
        loop {
            let Row(slots) = &self.rows[place];
            // All at once, without a look at where the rules end: nothing to guess for the processor.
            if slots.iter().fold(false, |any, slot| any | is_about(*slot, hash)) {
                for slot in slots.iter().filter(|slot| is_about(**slot, hash)) {
                    let (action, scope) = rule_of(*slot);
                    // The first of those that allow, or else the first.
                    let is_better = found.is_none_or(|found| found.action == Action::Block && action == Action::Allow);
                    if is_better && scope.covers(is_whole) {
                        #[expect(clippy::cast_possible_truncation, reason = "the source is the lowest 16 bits")]
                        let source = *slot as u16;
                        found = Some(Decision { action, source, labels });
                    }
                }
            }
            if slots[ROW_LEN - 1] == EMPTY {
                return found;
            }
            place = self.after(place);
        }
    }

    /// The first of several that say the same stays.
    fn insert(&mut self, entry: Entry) {
        let rule = entry.hash << HASH_SHIFT | u64::from(entry.kind) << SOURCE_BITS;
        let mut place = fraction(entry.hash, self.rows.len());
        let slot = loop {
            let found = self.rows[place]
                .0
                .iter()
                .position(|slot| *slot == EMPTY || slot >> SOURCE_BITS == rule >> SOURCE_BITS);
            if let Some(slot) = found {
                break slot;
            }
            place = self.after(place);
        };
        if self.rows[place].0[slot] != EMPTY {
            return;
        }
        self.rows[place].0[slot] = rule | u64::from(entry.source);
        self.depths |= 1 << entry.labels;
        self.count += 1;
        if entry.labels >= GATE_LABELS {
            let gate = gate_of(u64::from(entry.gate) << 32);
            self.filter[fraction(gate, self.filter.len())] |= gate_bits(gate) | rule_bits(entry.hash);
        }
    }

    fn after(&self, row: usize) -> usize {
        if row + 1 == self.rows.len() { 0 } else { row + 1 }
    }
}

/// Whether a slot's rule is about the name with this hash.
fn is_about(slot: u64, hash: u64) -> bool {
    slot >> HASH_SHIFT == hash << HASH_SHIFT >> HASH_SHIFT && slot != EMPTY
}

/// Where in something of this length a hash points to.
#[expect(clippy::cast_possible_truncation, reason = "below the length")]
fn fraction(hash: u64, len: usize) -> usize {
    ((u128::from(hash) * len as u128) >> 64) as usize
}

/// What is kept of the hash of a domain of [`GATE_LABELS`] labels while a table is built: the upper half.
fn gate_of(hash: u64) -> u64 {
    hash & !0 << 32
}

/// What says in a word of the filter that something is at or below a domain. By the lowest bits of the gate, the highest ones say
/// which word.
fn gate_bits(gate: u64) -> u64 {
    three_of_64(gate >> 32)
}

/// What says that a rule is about a name.
fn rule_bits(hash: u64) -> u64 {
    three_of_64(hash)
}

fn three_of_64(number: u64) -> u64 {
    1 << (number & 63) | 1 << (number >> 6 & 63) | 1 << (number >> 12 & 63)
}

fn is_in(bits: u64, word: u64) -> bool {
    word & bits == bits
}

/// 1 to 4.
fn kind_of(action: Action, scope: Scope) -> u8 {
    let scope = match scope {
        Scope::Name => 1,
        Scope::Domain => 2,
    };
    match action {
        Action::Block => scope,
        Action::Allow => 2 + scope,
    }
}

fn rule_of(slot: u64) -> (Action, Scope) {
    let kind = slot >> SOURCE_BITS & ((1 << KIND_BITS) - 1);
    let action = if kind > 2 { Action::Allow } else { Action::Block };
    let scope = if kind % 2 == 1 { Scope::Name } else { Scope::Domain };
    (action, scope)
}

impl Entry {
    /// `None` for what is no name, or the root.
    ///
    /// The hash is fed label by label from the right, each with its length before it: so the hashes of all suffixes of a name are had
    /// in one pass.
    fn new(keys: &RandomState, source: u16, rule: &Rule<'_>) -> Option<Self> {
        let starts = Starts::of(rule.name)?;
        let mut hasher: DefaultHasher = keys.build_hasher();
        let mut gate = 0;
        for (labels, label) in (1..).zip(starts.labels_from_the_right(rule.name)) {
            hasher.write(label);
            if labels == GATE_LABELS {
                gate = u32::try_from(hasher.finish() >> 32).ok()?;
            }
        }
        Some(Self {
            hash: hasher.finish(),
            gate,
            source,
            kind: kind_of(rule.action, rule.scope),
            labels: u8::try_from(starts.count).ok()?,
        })
    }
}

/// Where the labels of a name begin.
struct Starts {
    starts: [u8; MAX_LABELS + 1],
    count: usize,
}

impl Starts {
    /// `None` if this is no name in wire form, or the root.
    fn of(name: &[u8]) -> Option<Self> {
        let mut starts = [0; MAX_LABELS + 1];
        let (mut at, mut count) = (0, 0);
        loop {
            *starts.get_mut(count)? = u8::try_from(at).ok()?;
            let len = usize::from(*name.get(at)?);
            at += 1 + len;
            if len == 0 {
                return (count > 0 && at == name.len()).then_some(Self { starts, count });
            }
            count += 1;
        }
    }

    /// Labels with their length octets, without the root.
    fn labels_from_the_right<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.starts[..=self.count]
            .windows(2)
            .rev()
            .map(|pair| &name[usize::from(pair[0])..usize::from(pair[1])])
    }
}

#[cfg(test)]
mod tests;

//! Systems that keep who is asked in a table: keys with values, each written whole or not at all.
//!
//! macOS' dynamic store and Windows' registry are such. A step is some rows of it; which, and what is written, is decided by pure code from
//! facts, anew at each look: so an adapter that came later is seen as one that is not set yet. What stood in a row before is in the journal
//! before ours is written there. A row that others wrote since is theirs.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::system::{Cut, Outline, Picture, Refused, System};

/// A table of a system's. Errors are words for the user.
pub trait Table {
    /// See [`System::NAME`].
    const NAME: &'static str;

    /// See [`System::LOOK_INTERVAL`].
    const LOOK_INTERVAL: Duration;

    /// Whether what is written is still there after the next start of the machine.
    const OUTLIVES_A_START: bool;

    /// What is known of the host.
    type Facts: Picture;

    /// One step.
    type Planned: Copy + PartialEq + fmt::Debug + fmt::Display + Serialize + DeserializeOwned;

    /// Where a value is.
    type Key: Clone + PartialEq + fmt::Debug + fmt::Display + Serialize + DeserializeOwned;

    /// What is there.
    type Value: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned;

    /// See [`System::folder`].
    fn folder(&self) -> PathBuf;

    /// See [`System::facts`].
    fn facts(&self, is_set: bool) -> Self::Facts;

    /// See [`System::boot_id`].
    fn boot_id(&self) -> String;

    /// See [`System::plan`].
    ///
    /// # Errors
    /// Why it cannot be done.
    fn plan(facts: &Self::Facts, listen: IpAddr) -> Result<Outline<Self::Planned>, Refused>;

    /// The rows of a step, in the order in which they are written. Pure.
    fn rows(facts: &Self::Facts, step: Self::Planned, listen: IpAddr) -> Vec<(Self::Key, Self::Value)>;

    /// Whether a value leads programs to us, as ours does. Such a one is never kept to be put back, and never left.
    fn leads_to_us(value: &Self::Value, ours: &Self::Value) -> bool;

    /// The servers that a value names, if it names servers.
    fn servers(value: &Self::Value) -> Vec<String>;

    /// Whether nobody but us has business in this row.
    fn is_our_own(key: &Self::Key) -> bool {
        let _ = key;
        false
    }

    /// What a step changes, in words.
    fn name_of(step: Self::Planned) -> &'static str;

    /// The values of these keys, in their order.
    ///
    /// # Errors
    /// What cannot be read.
    fn read(&self, keys: &[Self::Key]) -> Result<Vec<Option<Self::Value>>, String>;

    /// Writes a value, or takes it away. It is there, or gone, when this returns.
    ///
    /// # Errors
    /// What cannot be written.
    fn write(&self, key: &Self::Key, value: Option<&Self::Value>) -> Result<(), String>;

    /// What will be made for a key because it is not there yet, from above.
    fn missing(&self, key: &Self::Key) -> Vec<String> {
        let _ = key;
        Vec::new()
    }

    /// Takes it away again, unless there is something in it. Best effort.
    fn clear(&self, made: &str) {
        let _ = made;
    }

    /// Tells whoever reads the table that it has changed. Best effort: whether names arrive is tried afterwards.
    fn announce(&self);

    /// See [`System::has_left_something`].
    fn has_left_something(&self) -> bool {
        false
    }

    /// See [`System::salvage`].
    ///
    /// # Errors
    /// What could not be taken away.
    fn salvage(&self) -> Result<Vec<String>, Vec<String>>;
}

/// What a step changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rows<P, K, V> {
    /// The step.
    pub step: P,
    /// What was made so that rows could be written, from above.
    pub made: Vec<String>,
    /// In the order in which they are written.
    pub rows: Vec<Row<K, V>>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Row<K, V> {
    /// Where.
    pub key: K,
    /// What stood there last of others'. Never ours.
    pub before: Option<V>,
    /// What is written.
    pub ours: V,
}

/// What a step of a table changes.
pub type ChangeOf<T> = Rows<<T as Table>::Planned, <T as Table>::Key, <T as Table>::Value>;

impl<T: Table> System for T {
    const NAME: &'static str = T::NAME;
    const LOOK_INTERVAL: Duration = T::LOOK_INTERVAL;

    type Facts = T::Facts;
    type Planned = T::Planned;
    type Change = ChangeOf<T>;

    fn folder(&self) -> PathBuf {
        Table::folder(self)
    }

    fn facts(&self, is_set: bool) -> T::Facts {
        Table::facts(self, is_set)
    }

    fn boot_id(&self) -> String {
        Table::boot_id(self)
    }

    fn plan(facts: &T::Facts, listen: IpAddr) -> Result<Outline<T::Planned>, Refused> {
        <T as Table>::plan(facts, listen)
    }

    fn change(&self, step: T::Planned, listen: IpAddr) -> Result<ChangeOf<T>, String> {
        let mut change = Rows {
            step,
            made: Vec::new(),
            rows: Vec::new(),
        };
        self.note_others(&mut change, listen)?;
        Ok(change)
    }

    fn planned(change: &ChangeOf<T>) -> Option<T::Planned> {
        Some(change.step)
    }

    fn outlives_a_start(_change: &ChangeOf<T>) -> bool {
        T::OUTLIVES_A_START
    }

    fn forget(change: &mut ChangeOf<T>) {
        change.rows.clear();
    }

    fn stands(&self, change: &ChangeOf<T>, listen: IpAddr) -> Result<bool, String> {
        let wanted = T::rows(&Table::facts(self, true), change.step, listen);
        let keys: Vec<_> = wanted.iter().map(|(key, _)| key.clone()).collect();
        let there = self.read(&keys)?;
        let stands = |((_, ours), there): (&(_, T::Value), &Option<T::Value>)| there.as_ref() == Some(ours);
        Ok(wanted.iter().zip(&there).all(stands))
    }

    fn note_others(&self, change: &mut ChangeOf<T>, listen: IpAddr) -> Result<(), String> {
        let wanted = T::rows(&Table::facts(self, true), change.step, listen);
        self.drop_gone(change, &wanted)?;
        let keys: Vec<_> = wanted.iter().map(|(key, _)| key.clone()).collect();
        for ((key, ours), there) in wanted.into_iter().zip(self.read(&keys)?) {
            match change.rows.iter_mut().find(|row| row.key == key) {
                Some(row) => row.see::<T>(there, ours),
                None => {
                    add(&mut change.made, self.missing(&key));
                    let is_others = |there: &T::Value| !T::is_our_own(&key) && !T::leads_to_us(there, &ours);
                    let before = there.filter(is_others);
                    change.rows.push(Row { key, before, ours });
                }
            }
        }
        Ok(())
    }

    fn make(&self, change: &ChangeOf<T>, fault: &Fault) -> Result<(), String> {
        for row in &change.rows {
            if self.value(&row.key)?.as_ref() != Some(&row.ours) {
                self.write(&row.key, Some(&row.ours))?;
                fault.point().map_err(|error| error.to_string())?;
            }
        }
        self.announce();
        Ok(())
    }

    fn take_back(&self, change: &ChangeOf<T>, cut: Cut, fault: &Fault) -> Result<Option<String>, String> {
        let (mut left, mut failed) = (Vec::new(), Vec::new());
        for row in change.rows.iter().rev() {
            match self.take_row_back(row) {
                Ok(is_theirs) if is_theirs && cut.same_start => left.push(row.key.to_string()),
                Ok(_) => {}
                Err(why) => failed.push(why),
            }
            fault.point().map_err(|error| error.to_string())?;
        }
        for made in change.made.iter().rev() {
            self.clear(made);
        }
        self.announce();
        if !failed.is_empty() {
            return Err(failed.join("; "));
        }
        left.reverse();
        Ok((!left.is_empty())
            .then(|| format!("{}: written by somebody else since, and left as it is", left.join(", "))))
    }

    fn has_left_something(&self) -> bool {
        Table::has_left_something(self)
    }

    fn salvage(&self, _fault: &Fault) -> Result<Vec<String>, Vec<String>> {
        Table::salvage(self)
    }

    fn servers_before(change: &ChangeOf<T>) -> Vec<IpAddr> {
        let before = change.rows.iter().filter_map(|row| row.before.as_ref());
        let servers = before.flat_map(<T as Table>::servers);
        servers.filter_map(|server| server.parse().ok()).collect()
    }

    fn name_of(change: &ChangeOf<T>) -> String {
        <T as Table>::name_of(change.step).to_owned()
    }
}

/// What the steps are made of.
trait RowWork: Table {
    fn value(&self, key: &Self::Key) -> Result<Option<Self::Value>, String> {
        Ok(self.read(std::slice::from_ref(key))?.pop().flatten())
    }

    /// Rows that are wanted no more, an adapter's that was taken out, are to be undone only as long as ours stands there.
    fn drop_gone(&self, change: &mut ChangeOf<Self>, wanted: &[(Self::Key, Self::Value)]) -> Result<(), String>
    where
        Self: Sized,
    {
        let mut kept = Vec::new();
        for row in &change.rows {
            let is_wanted = wanted.iter().any(|(key, _)| *key == row.key);
            if is_wanted || self.value(&row.key)?.as_ref() == Some(&row.ours) {
                kept.push(row.clone());
            }
        }
        change.rows = kept;
        Ok(())
    }

    /// Whether it is somebody else's by now, and stays. A row that is gone altogether stays so: its adapter is, or its owner's wish.
    fn take_row_back(&self, row: &Row<Self::Key, Self::Value>) -> Result<bool, String> {
        let there = self.value(&row.key)?;
        if there == row.before {
            return Ok(false);
        }
        let Some(there) = there else { return Ok(false) };
        if there == row.ours || Self::is_our_own(&row.key) || Self::leads_to_us(&there, &row.ours) {
            self.write(&row.key, row.before.as_ref())?;
            return Ok(false);
        }
        Ok(true)
    }
}

impl<T: Table> RowWork for T {}

impl<K, V: PartialEq> Row<K, V> {
    /// What stands there now, and what is to be written. Ours says nothing of what others want; what is gone does.
    fn see<T: Table<Key = K, Value = V>>(&mut self, there: Option<V>, ours: V) {
        let is_ours = |there: &V| *there == self.ours || T::is_our_own(&self.key) || T::leads_to_us(there, &ours);
        if !there.as_ref().is_some_and(is_ours) {
            self.before = there;
        }
        self.ours = ours;
    }
}

/// Adds what is not there yet.
fn add(all: &mut Vec<String>, more: Vec<String>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

#[cfg(test)]
pub(super) mod testing;

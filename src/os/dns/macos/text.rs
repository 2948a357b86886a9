//! What `scutil` reads and writes: keys, and dictionaries as it shows them.
//!
//! It shows no types: a number and a text look alike. Of what stands in a DNS dictionary every key's type is known (SCSchemaDefinitions), so
//! it can be written back as it was; what is not known is kept as it was shown, and is not written back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A value of the dynamic store.
pub type Dictionary = BTreeMap<String, Item>;

/// One item of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// A number.
    Number(i64),
    /// Numbers.
    Numbers(Vec<i64>),
    /// What we could not write back the same.
    Shown(String),
}

/// The servers of a dictionary.
pub const SERVERS: &str = "ServerAddresses";

/// Keys whose values are numbers.
const NUMBERS: [&str; 6] = [
    "SearchOrder",
    "ServerPort",
    "ServerTimeout",
    "ServiceIdentifier",
    "SupplementalMatchDomainsNoSearch",
    "SupplementalMatchOrders",
];

/// Keys whose values are texts.
const TEXTS: [&str; 8] = [
    "ConfirmedServiceID",
    "DomainName",
    "InterfaceName",
    "Options",
    "SearchDomains",
    SERVERS,
    "SortList",
    "SupplementalMatchDomains",
];

/// More than any real one has.
const MAX_ITEMS: usize = 256;

/// One server and nothing else: no search list either, so that no name but the one that was typed is asked.
pub fn only(server: IpAddr) -> Dictionary {
    [(SERVERS.to_owned(), Item::Texts(vec![server.to_string()]))].into()
}

/// The servers that a dictionary names.
pub fn servers(dictionary: &Dictionary) -> &[String] {
    match dictionary.get(SERVERS) {
        Some(Item::Texts(servers)) => servers,
        _ => &[],
    }
}

/// The keys that `list` says: `  subKey [0] = State:/Network/Service/.../DNS`.
pub fn keys(said: &str) -> Vec<String> {
    let key = |line: &str| {
        let (before, key) = line.split_once(" = ")?;
        before
            .trim_start()
            .starts_with("subKey [")
            .then(|| key.trim().to_owned())
    };
    said.lines().filter_map(key).collect()
}

/// What `show` says of some keys, `None` for one that is not there; `None` altogether if it is not what `count` keys give.
///
/// A network's own words are among it, and a line end in them could make one dictionary look like two: then the count is wrong.
pub fn shown(said: &str, count: usize) -> Option<Vec<Option<Dictionary>>> {
    let mut lines = said.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        match line.trim_end().trim_start_matches("> ") {
            "  No such key" => found.push(None),
            "<dictionary> {" => {
                let dictionary = dictionary(&mut lines)?;
                found.push(Some(dictionary));
            }
            "" => {}
            _ => return None,
        }
    }
    (found.len() == count).then_some(found)
}

/// The lines of a dictionary after its first, to its end.
fn dictionary<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Option<Dictionary> {
    let mut found = Dictionary::new();
    loop {
        let line = lines.next()?;
        if line == "}" {
            return Some(found);
        }
        let (key, value) = line.strip_prefix("  ")?.split_once(" : ")?;
        let item = match value {
            "<array> {" => array(key, lines)?,
            _ if value.ends_with('{') => nested(value, lines)?,
            value => single(key, value),
        };
        // Nothing in it is the same as not being there.
        if item != Item::Texts(Vec::new()) && item != Item::Numbers(Vec::new()) {
            found.insert(key.to_owned(), item);
        }
        if found.len() > MAX_ITEMS {
            return None;
        }
    }
}

fn single(key: &str, value: &str) -> Item {
    let value = value.to_owned();
    match value.parse() {
        Ok(number) if NUMBERS.contains(&key) => Item::Number(number),
        _ if TEXTS.contains(&key) && is_plain(&value) => Item::Text(value),
        _ => Item::Shown(value),
    }
}

/// Lines as `    0 : 192.0.2.1`.
fn array<'a>(key: &str, lines: &mut impl Iterator<Item = &'a str>) -> Option<Item> {
    let mut values: Vec<String> = Vec::new();
    loop {
        let line = lines.next()?;
        if line == "  }" {
            break;
        }
        let (index, value) = line.strip_prefix("    ")?.split_once(" :")?;
        if index.parse() != Ok(values.len()) || values.len() > MAX_ITEMS {
            return None;
        }
        values.push(value.strip_prefix(' ').unwrap_or(value).to_owned());
    }
    let numbers: Result<Vec<i64>, _> = values.iter().map(|value| value.parse()).collect();
    Some(match numbers {
        Ok(numbers) if NUMBERS.contains(&key) => Item::Numbers(numbers),
        _ if TEXTS.contains(&key) && values.iter().all(|value| value.is_empty() || is_plain(value)) => {
            Item::Texts(values)
        }
        _ => Item::Shown(values.join(", ")),
    })
}

/// Something within, to its end: kept as one text.
fn nested<'a>(first: &str, lines: &mut impl Iterator<Item = &'a str>) -> Option<Item> {
    let mut text = first.to_owned();
    loop {
        let line = lines.next()?;
        text.push(' ');
        text.push_str(line.trim());
        if line == "  }" {
            return Some(Item::Shown(text));
        }
    }
}

/// The commands that have some keys shown.
pub fn to_show(keys: &[String]) -> Result<String, String> {
    let mut script = String::new();
    for key in keys {
        check(key)?;
        script.push_str(&format!("show {key}\n"));
    }
    Ok(script)
}

/// The commands that write a value, or take it away.
pub fn to_write(key: &str, value: Option<&Dictionary>) -> Result<String, String> {
    check(key)?;
    let Some(value) = value else {
        return Ok(format!("remove {key}\n"));
    };
    let mut script = "d.init\n".to_owned();
    for (name, item) in value {
        check(name)?;
        let words = match item {
            Item::Text(text) => text.clone(),
            Item::Texts(texts) => format!("* {}", joined(texts.iter().map(|text| word(text)))),
            Item::Number(number) => format!("# {number}"),
            Item::Numbers(numbers) => format!("* # {}", joined(numbers.iter().map(i64::to_string))),
            Item::Shown(_) => continue,
        };
        script.push_str(&format!("d.add {name} {words}\n"));
    }
    script.push_str(&format!("set {key}\n"));
    Ok(script)
}

/// A value as it is after it was written: without what cannot be.
pub fn writable(value: &Dictionary) -> Dictionary {
    let is_writable = |item: &Item| !matches!(item, Item::Shown(_));
    let items = value.iter().filter(|(_, item)| is_writable(item));
    items.map(|(name, item)| (name.clone(), item.clone())).collect()
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

/// `SupplementalMatchDomains` of all names is one empty text.
fn word(text: &str) -> String {
    if text.is_empty() {
        "\"\"".to_owned()
    } else {
        text.to_owned()
    }
}

/// Whether a text is one word of `scutil`'s, and no option: letters, digits and what is in names, addresses and keys.
fn is_plain(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:/%".contains(c);
    !text.is_empty() && text.chars().all(is_plain) && !text.starts_with(['-', '%'])
}

fn check(key: &str) -> Result<(), String> {
    if is_plain(key) {
        return Ok(());
    }
    Err(format!("{key:?} is no key that can be handed to scutil"))
}

#[cfg(test)]
mod tests;

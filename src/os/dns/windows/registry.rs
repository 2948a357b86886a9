//! The registry below HKEY_LOCAL_MACHINE: keys with values of a few types, which are kept to the octet.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Key {
    /// The key, below HKEY_LOCAL_MACHINE.
    pub path: String,
    /// The value's name.
    pub name: String,
}

impl Key {
    /// This value of this key.
    pub fn new(path: impl Into<String>, name: &str) -> Self {
        Self {
            path: path.into(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r"HKLM\{}\{}", self.path, self.name)
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// REG_DWORD.
    Number(u32),
    /// REG_SZ.
    Text(String),
    /// REG_MULTI_SZ.
    Texts(Vec<String>),
    /// Of another type, or one of these in an odd form, which some programs leave.
    Other {
        /// Its type's number.
        kind: u32,
        /// Its octets.
        octets: Vec<u8>,
    },
}

const SZ: u32 = 1;
const DWORD: u32 = 4;
const MULTI_SZ: u32 = 7;

impl Value {
    /// As it is stored. What would be stored otherwise by us stays as it is.
    pub fn read(kind: u32, octets: &[u8]) -> Self {
        let value = match kind {
            DWORD => octets
                .try_into()
                .ok()
                .map(|octets| Self::Number(u32::from_le_bytes(octets))),
            SZ => text(octets).and_then(|text| Some(Self::Text(text.strip_suffix('\0')?.to_owned()))),
            MULTI_SZ => text(octets).and_then(|text| {
                let texts = text.strip_suffix('\0')?;
                Some(Self::Texts(texts.split_terminator('\0').map(str::to_owned).collect()))
            }),
            _ => None,
        };
        let same = value.filter(|value| value.stored() == (kind, octets.to_vec()));
        same.unwrap_or_else(|| Self::Other {
            kind,
            octets: octets.to_vec(),
        })
    }

    /// Its type's number and its octets.
    pub fn stored(&self) -> (u32, Vec<u8>) {
        match self {
            Self::Number(number) => (DWORD, number.to_le_bytes().to_vec()),
            Self::Text(text) => (SZ, wide(&format!("{text}\0"))),
            Self::Texts(texts) => {
                let ended = texts.iter().map(|text| format!("{text}\0"));
                (MULTI_SZ, wide(&(ended.collect::<String>() + "\0")))
            }
            Self::Other { kind, octets } => (*kind, octets.clone()),
        }
    }

    /// The text of it, if it is one.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }
}

fn text(octets: &[u8]) -> Option<String> {
    let (units, rest) = octets.as_chunks::<2>();
    let units: Vec<_> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// What we ask of Windows. Errors are words for the user.
pub trait Registry {
    /// A value; none if it, or its key, is not there.
    ///
    /// # Errors
    /// The system's own.
    fn read(&self, key: &Key) -> Result<Option<Value>, String>;

    /// Writes a value, with its key if that is not there, or takes it away. On the disk when this returns.
    ///
    /// # Errors
    /// The system's own.
    fn write(&self, key: &Key, value: Option<&Value>) -> Result<(), String>;

    /// The names of the keys right below one; none, if it is not there.
    ///
    /// # Errors
    /// The system's own.
    fn below(&self, path: &str) -> Result<Vec<String>, String>;

    /// Whether a key is there.
    fn exists(&self, path: &str) -> bool;

    /// Takes away a key with neither values nor keys in it. Another one stays.
    ///
    /// # Errors
    /// The system's own.
    fn remove_empty(&self, path: &str) -> Result<(), String>;

    /// Has the resolver of Windows read all this again and forget what it was told before; that of group policies too, if `by_policy`.
    /// Best effort.
    fn announce(&self, by_policy: bool);

    /// A folder of programs, where only an administrator may write.
    fn programs(&self) -> PathBuf;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stored_as_windows_does() {
        for (value, kind, octets) in [
            (Value::Number(8), 4, &b"\x08\0\0\0"[..]),
            (Value::Text("a,b".into()), 1, b"a\0,\0b\0\0\0"),
            (Value::Text(String::new()), 1, b"\0\0"),
            (Value::Texts(vec![".".into()]), 7, b".\0\0\0\0\0"),
            (Value::Texts(vec!["a".into(), "b".into()]), 7, b"a\0\0\0b\0\0\0\0\0"),
            (Value::Texts(Vec::new()), 7, b"\0\0"),
        ] {
            assert_eq!(value.stored(), (kind, octets.to_vec()));
            assert_eq!(Value::read(kind, octets), value);
        }
    }

    #[test]
    fn odd_values_are_kept_to_the_octet() {
        for (kind, octets) in [
            (1, &b"a\0"[..]),
            (1, b""),
            (1, b"a\0\0\0\0"),
            (1, b"\0\xd8\0\0"),
            (4, b"\x01"),
            (7, b"a\0\0\0"),
            (7, b""),
            (2, b"%\0\0\0"),
            (3, b"\x01\x02\x03"),
            (11, b"\x01\0\0\0\0\0\0\0"),
        ] {
            let value = Value::read(kind, octets);
            assert!(matches!(value, Value::Other { .. }), "{kind} {octets:?}: {value:?}");
            assert_eq!(value.stored(), (kind, octets.to_vec()));
        }
    }

    #[test]
    fn keys_are_shown_as_people_know_them() {
        assert_eq!(Key::new(r"SYSTEM\A", "B").to_string(), r"HKLM\SYSTEM\A\B");
    }
}

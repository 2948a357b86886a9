//! Sets of domains, as a configuration lists them.

use std::collections::HashSet;
use std::fmt;

use super::name;
use super::question::QuestionKey;
use super::record::RecordType;

/// Domains, each with all names below it. The root is never one of them.
#[derive(Clone, Default)]
pub struct Domains(HashSet<Box<[u8]>>);

impl Domains {
    /// Of names with dots; what is no name is left out.
    pub fn of_hosts<'a>(hosts: impl Iterator<Item = &'a str>) -> Self {
        hosts.filter_map(canonical).collect()
    }

    /// How many were listed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a canonical name in wire form is one of them or below one.
    pub fn cover(&self, qname: &[u8]) -> bool {
        name::suffixes(qname).any(|suffix| self.0.contains(suffix))
    }
}

/// Of canonical names in wire form.
impl FromIterator<Box<[u8]>> for Domains {
    fn from_iter<T: IntoIterator<Item = Box<[u8]>>>(names: T) -> Self {
        Self(names.into_iter().collect())
    }
}

/// They are parts of query names, and debug output ends up in logs.
impl fmt::Debug for Domains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domains").field("len", &self.len()).finish()
    }
}

/// A name with dots as a canonical name in wire form; `None` if it is none, or the root.
pub fn canonical(host: &str) -> Option<Box<[u8]>> {
    QuestionKey::of_host(host, RecordType::A).map(|key| key.qname().into())
}

//! Label sets: sorted, without empty values, cheap to clone.
//!
//! Invariant: pairs are sorted by name, names are unique, and no value is empty, because in Prometheus an empty label is
//! a missing one. Equal sets are therefore equal byte for byte. Validity of names is the parsers' business.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The label that holds a metric's name.
pub const NAME: &str = "__name__";

/// One label: name and value.
pub type Pair = (Arc<str>, Arc<str>);

/// A sorted label set. Cloning shares the pairs.
#[derive(Clone)]
pub struct Labels {
    pairs: Arc<[Pair]>,
    /// Of the pairs: sets are looked up at every instant of an evaluation, and made rarely.
    hash: u64,
}

impl Default for Labels {
    fn default() -> Self {
        Labels::sorted(Arc::from(Vec::new()))
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && (Arc::ptr_eq(&self.pairs, &other.pairs) || self.pairs == other.pairs)
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pairs.cmp(&other.pairs)
    }
}

impl Labels {
    fn sorted(pairs: Arc<[Pair]>) -> Self {
        // The same in every process: its keys are constants.
        let mut hasher = DefaultHasher::new();
        pairs.hash(&mut hasher);
        let hash = hasher.finish();
        Labels { pairs, hash }
    }

    /// Sorts the pairs, lets the last of equal names win and drops empty values.
    pub fn from_pairs(mut pairs: Vec<Pair>) -> Self {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let mut out: Vec<Pair> = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match out.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => out.push(pair),
            }
        }
        out.retain(|(_, value)| !value.is_empty());
        Labels::sorted(Arc::from(out))
    }

    /// The same from borrowed text.
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self::from_pairs(
            pairs
                .iter()
                .map(|(name, value)| (Arc::from(*name), Arc::from(*value)))
                .collect(),
        )
    }

    /// The value of a label; empty when it is missing.
    pub fn get(&self, name: &str) -> &str {
        match self.pairs.binary_search_by(|(have, _)| (**have).cmp(name)) {
            Ok(at) => &self.pairs[at].1,
            Err(_) => "",
        }
    }

    /// The metric's name; empty when it is missing.
    pub fn name(&self) -> &str {
        self.get(NAME)
    }

    /// True when no label is set.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Keeps the labels whose name satisfies `keep`.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.pairs.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        let kept = self.pairs.iter().filter(|(name, _)| keep(name));
        Labels::sorted(kept.cloned().collect())
    }

    /// Without the metric's name.
    pub fn without_name(&self) -> Self {
        self.filtered(|name| name != NAME)
    }

    /// Without what says which metric this is: name, and type and unit where they are labels.
    pub fn without_metadata(&self) -> Self {
        self.filtered(|name| !matches!(name, NAME | "__type__" | "__unit__"))
    }

    /// With one label set, or removed when `value` is empty.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut pairs: Vec<Pair> = self
            .pairs
            .iter()
            .filter(|(have, _)| **have != *name)
            .cloned()
            .collect();
        pairs.push((Arc::from(name), Arc::from(value)));
        Self::from_pairs(pairs)
    }

    /// The pairs, for building a larger set.
    pub fn to_pairs(&self) -> Vec<Pair> {
        self.pairs.to_vec()
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        f.write_str(name)?;
        let mut rest = self.iter().filter(|(label, _)| *label != NAME).peekable();
        if rest.peek().is_none() && !name.is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        for (at, (label, value)) in rest.enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{label}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Labels::from_pairs(
            map.iter()
                .map(|(name, value)| (Arc::from(&**name), Arc::from(&**value)))
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_a_missing_label_and_the_last_of_equal_names_wins() {
        let set = Labels::of(&[("b", "2"), ("a", "1"), ("c", ""), ("a", "3")]);
        assert_eq!(set, Labels::of(&[("a", "3"), ("b", "2")]));
        assert_eq!(set.get("c"), "");
        assert_eq!(set.with("a", ""), Labels::of(&[("b", "2")]));
    }

    #[test]
    fn display_is_prometheus_notation() {
        let cases = [
            (Labels::default(), "{}"),
            (Labels::of(&[(NAME, "up")]), "up"),
            (
                Labels::of(&[(NAME, "up"), ("job", "a\"b")]),
                r#"up{job="a\"b"}"#,
            ),
            (
                Labels::of(&[("job", "a"), ("b", "c")]),
                r#"{b="c", job="a"}"#,
            ),
        ];
        for (labels, text) in cases {
            assert_eq!(labels.to_string(), text);
        }
    }
}

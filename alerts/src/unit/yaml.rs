//! Scalars and maps of a unit-test file as promtool reads them: YAML 1.1 with Go's rules for what becomes text.
//!
//! Invariant: what is wrong is refused where it stands, so the parser's error carries line and column. A scalar that is wanted
//! as text is its text, whatever it looks like (`1.50`, `yes`); a missing value is `null`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// A value that is written as a scalar.
pub(super) trait FromText: Sized {
    /// What the scalar should be, for messages.
    const WANTED: &'static str;
    /// Reads it.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// A scalar, read where it stands.
#[derive(Debug, Clone)]
pub(super) struct Scalar<T>(pub T);

impl<'de, T: FromText> Deserialize<'de> for Scalar<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ScalarVisitor(PhantomData))
    }
}

struct ScalarVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for ScalarVisitor<T> {
    type Value = Scalar<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        T::from_text(text).map(Scalar).map_err(E::custom)
    }
}

impl FromText for String {
    const WANTED: &'static str = "text";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_string())
    }
}

/// `true` and `false`, also in the words of YAML 1.1.
impl FromText for bool {
    const WANTED: &'static str = "true or false";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
                Ok(true)
            }
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False"
            | "FALSE" => Ok(false),
            _ => Err(format!("not true or false: {text:?}")),
        }
    }
}

/// A number that is written without quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Only a scalar's type tells a number from text in quotes.
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
        Ok(Number(value))
    }

    /// What YAML 1.1 takes for a number and 1.2 does not: `1_000`, `010`, `0b11`.
    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        let plain = text.replace('_', "");
        let (negative, digits) = match plain.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
        };
        let radix = |prefixes: &[&str], radix| {
            let digits = prefixes
                .iter()
                .find_map(|prefix| digits.strip_prefix(prefix))?;
            i64::from_str_radix(digits, radix)
                .ok()
                .filter(|value| *value >= 0)
        };
        let integer = radix(&["0x", "0X"], 16)
            .or_else(|| radix(&["0b", "0B"], 2))
            .or_else(|| radix(&["0o", "0O", "0"], 8));
        let decimal = || {
            let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
            let number = text.contains('_') && digits.chars().all(numeric);
            number.then(|| digits.parse().ok()).flatten()
        };
        match integer.map(|value| value as f64).or_else(decimal) {
            Some(value) => Ok(Number(if negative { -value } else { value })),
            None => Err(E::custom(format!(
                "not a number: {text:?} (write numbers without quotes, `.nan` and `.inf` with their dot)"
            ))),
        }
    }
}

/// Names and texts; a name that stands twice is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Texts(pub BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names and texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        let mut out = BTreeMap::new();
        while let Some(name) = map.next_key_seed(NewKey(&out))? {
            let text: Option<Scalar<String>> = map.next_value()?;
            out.insert(name, text.map_or_else(String::new, |text| text.0));
        }
        Ok(Texts(out))
    }
}

/// A key that is not there yet.
struct NewKey<'a>(&'a BTreeMap<String, String>);

impl<'de> DeserializeSeed<'de> for NewKey<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewKey<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        match self.0.contains_key(text) {
            true => Err(E::custom(format!("{text:?} stands twice"))),
            false => Ok(text.to_string()),
        }
    }
}

//! Series and values as Prometheus' test languages write them.

use alerts::labels::{Labels, NAME};
use alerts::number::{STALE, parse_value};

/// `1 2+3x4 _ stale …`; an absent value is the stale marker here, a written one is `None` on its right.
pub fn values(text: &str) -> Option<Vec<(f64, bool)>> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        if let Some(count) = word.strip_prefix('_') {
            let count: usize = count
                .strip_prefix('x')
                .map_or(Some(1), |count| count.parse().ok())?;
            out.extend(std::iter::repeat_n((STALE, false), count));
        } else if word == "stale" {
            out.push((STALE, true));
        } else if let Some(value) = number(word) {
            out.push((value, true));
        } else {
            let (start, times) = word.rsplit_once('x')?;
            let times: usize = times.parse().ok()?;
            let split = start.char_indices().skip(1).filter(|(at, c)| {
                matches!(c, '+' | '-')
                    && !matches!(start.as_bytes()[at - 1], b'e' | b'E' | b'+' | b'-')
            });
            let (first, step) = match split.last() {
                Some((at, _)) => (number(&start[..at])?, number(&start[at..])?),
                None => (number(start)?, 0.0),
            };
            let mut value = first;
            for _ in 0..=times {
                out.push((value, true));
                value += step;
            }
        }
    }
    Some(out)
}

pub fn number(word: &str) -> Option<f64> {
    let plain = word.strip_prefix('+').unwrap_or(word);
    parse_value(plain).or_else(|| parse_value(word))
}

/// A series in front of its values, and the rest of the line.
pub fn series(line: &str) -> Option<(Labels, &str)> {
    let line = line.trim();
    let end = match line.find(['{', ' ', '\t']) {
        Some(at) if line.as_bytes()[at] == b'{' && !line[at..].starts_with("{{") => {
            let mut quote = None;
            let mut escaped = false;
            let close = line[at..].char_indices().find(|(_, c)| {
                match (quote, c) {
                    _ if escaped => escaped = false,
                    (Some('"' | '\''), '\\') => escaped = true,
                    (Some(open), c) if open == *c => quote = None,
                    (None, '"' | '\'' | '`') => quote = Some(*c),
                    (None, '}') => return true,
                    _ => {}
                }
                false
            });
            at + close?.0 + 1
        }
        Some(at) => at,
        None => line.len(),
    };
    let (head, rest) = line.split_at(end);
    // The selector's own parser reads the labels: every matcher is an equality.
    let query = if head == "{}" {
        return Some((Labels::default(), rest));
    } else {
        head
    };
    let parsed = promql_parser::parser::parse(query).ok()?;
    let promql_parser::parser::Expr::VectorSelector(selector) = parsed else {
        return None;
    };
    let mut pairs: Vec<(String, String)> = selector
        .name
        .iter()
        .map(|name| (NAME.to_string(), name.clone()))
        .collect();
    pairs.extend(
        selector
            .matchers
            .matchers
            .iter()
            .map(|matcher| (matcher.name.clone(), matcher.value.clone())),
    );
    let pairs = pairs
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    Some((Labels::from_pairs(pairs), rest))
}

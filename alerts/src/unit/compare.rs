//! Is what came what was expected? One to one, in any order.
//!
//! Exact: all labels and annotations, numbers bit for bit but for the sign of zero (NaN equals nothing, as in promtool). Partial:
//! an expected item asks only for what it lists.

use std::collections::BTreeMap;

use super::failure::Shown;
use crate::labels::Labels;

/// How strictly items are compared.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Strictness {
    /// Labels and annotations that are not listed do not matter.
    pub partial: bool,
    /// Numbers may differ by the smallest step there is.
    pub fuzzy: bool,
}

/// Both lists are sorted.
pub(super) fn same_alerts(expected: &[Shown], got: &[Shown], how: Strictness) -> bool {
    if !how.partial {
        return expected == got;
    }
    matched(expected.len(), got.len(), |wanted, have| {
        alert_fits(&expected[wanted], &got[have])
    })
}

/// An alert has all that is listed.
pub(super) fn alert_fits(expected: &Shown, got: &Shown) -> bool {
    subset(&expected.labels, &got.labels) && subset(&expected.annotations, &got.annotations)
}

/// Both lists are sorted by labels.
pub(super) fn same_samples(
    expected: &[(Labels, f64)],
    got: &[(Labels, f64)],
    how: Strictness,
) -> bool {
    let equal = |a: f64, b: f64| a == b || (how.fuzzy && (a.next_down() == b || a.next_up() == b));
    if !how.partial {
        let same = |(a, b): (&(Labels, f64), &(Labels, f64))| a.0 == b.0 && equal(a.1, b.1);
        return expected.len() == got.len() && expected.iter().zip(got).all(same);
    }
    matched(expected.len(), got.len(), |wanted, have| {
        let (wanted, have) = (&expected[wanted], &got[have]);
        let listed = wanted
            .0
            .iter()
            .all(|(name, value)| have.0.get(name) == value);
        listed && equal(wanted.1, have.1)
    })
}

/// An empty value asks that the label is missing.
fn subset(listed: &BTreeMap<String, String>, all: &BTreeMap<String, String>) -> bool {
    let mut listed = listed.iter();
    listed.all(|(name, value)| all.get(name).map_or("", String::as_str) == value)
}

/// Can each item of one side be given its own item of the other? Paths are augmented breadth first, without recursion.
fn matched(wanted: usize, have: usize, fits: impl Fn(usize, usize) -> bool) -> bool {
    if wanted != have {
        return false;
    }
    let mut owner: Vec<Option<usize>> = vec![None; have];
    for start in 0..wanted {
        let mut came_from: Vec<Option<usize>> = vec![None; have];
        let mut open = vec![start];
        let mut free = None;
        while let Some(item) = open.pop() {
            for place in 0..have {
                if came_from[place].is_some() || !fits(item, place) {
                    continue;
                }
                came_from[place] = Some(item);
                match owner[place] {
                    Some(other) => open.push(other),
                    None => free = Some(place),
                }
                if free.is_some() {
                    break;
                }
            }
            if free.is_some() {
                break;
            }
        }
        let Some(mut place) = free else { return false };
        // Everyone on the path moves one place on.
        while let Some(item) = came_from[place] {
            let before = owner.iter().position(|owner| *owner == Some(item));
            owner[place] = Some(item);
            match before {
                Some(before) => place = before,
                None => break,
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alerts(texts: &[&str]) -> Vec<Shown> {
        let pairs = |text: &str| {
            let pairs = text
                .split_whitespace()
                .filter_map(|pair| pair.split_once('='));
            pairs.map(|(a, b)| (a.to_string(), b.to_string())).collect()
        };
        texts
            .iter()
            .map(|text| Shown {
                labels: pairs(text),
                annotations: BTreeMap::new(),
            })
            .collect()
    }

    #[test]
    fn partial_items_are_given_one_to_one() {
        let partial = Strictness {
            partial: true,
            fuzzy: false,
        };
        for (expected, got, want) in [
            (&["a=1"][..], &["a=1 b=2"][..], true),
            (&["a=1"], &["a=2 b=2"], false),
            (&["a=1"], &["a=1", "a=1 b=1"], false),
            (&["a=1 c="], &["a=1 b=2"], true),
            (&["a=1 b="], &["a=1 b=2"], false),
            // The first may take what only the second can have: it must give way.
            (&["a=1", "a=1 b=2"], &["a=1 b=2", "a=1 b=3"], true),
            (
                &["a=1", "a=1", "a=1 b=2"],
                &["a=1 b=2", "a=1 b=3", "a=1"],
                true,
            ),
            (&["b=2", "b=2", "a=1"], &["a=1 b=2", "a=1 b=2", "b=2"], true),
            (&["b=2", "b=2"], &["a=1", "b=2"], false),
            (&[], &[], true),
        ] {
            let (expected, got) = (alerts(expected), alerts(got));
            assert_eq!(
                same_alerts(&expected, &got, partial),
                want,
                "{expected:?} {got:?}"
            );
        }
        assert!(!same_alerts(
            &alerts(&["a=1"]),
            &alerts(&["a=1 b=2"]),
            Strictness::default()
        ));
    }

    #[test]
    fn numbers_are_equal_exactly_or_by_one_step() {
        let near = 0.1 + 0.2;
        for (a, b, exact, fuzzy) in [
            (0.3, near, false, true),
            (0.3, 0.300001, false, false),
            (0.0, -0.0, true, true),
            (f64::INFINITY, f64::INFINITY, true, true),
            (f64::NAN, f64::NAN, false, false),
        ] {
            let sample = |value: f64| [(Labels::default(), value)];
            for (fuzzy, want) in [(false, exact), (true, fuzzy)] {
                let how = Strictness {
                    partial: false,
                    fuzzy,
                };
                assert_eq!(
                    same_samples(&sample(a), &sample(b), how),
                    want,
                    "{a} {b} {fuzzy}"
                );
            }
        }
    }
}

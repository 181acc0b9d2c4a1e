//! Expositions, kept as what changed since the target's previous one.
//!
//! Invariant: applying the differences in order gives back every body, line for line.

use serde::{Deserialize, Serialize};

/// An exposition as line changes to the target's previous successful body; the first is against the empty body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyDiff {
    /// Number of lines of the new body.
    pub lines: u32,
    /// Lines that differ from the previous body's line at the same index, with their index, in rising order.
    pub changed: Vec<(u32, Box<str>)>,
}

impl BodyDiff {
    /// The difference from `previous` to `body`; updates `previous` to `body`'s lines.
    pub fn advance(previous: &mut Vec<Box<str>>, body: &str) -> BodyDiff {
        let mut changed = Vec::new();
        let mut lines = 0usize;
        for (index, line) in body.lines().enumerate() {
            lines = index + 1;
            match previous.get_mut(index) {
                Some(old) if **old == *line => {}
                Some(old) => {
                    *old = line.into();
                    changed.push((index as u32, line.into()));
                }
                None => {
                    previous.push(line.into());
                    changed.push((index as u32, line.into()));
                }
            }
        }
        previous.truncate(lines);
        BodyDiff {
            lines: lines as u32,
            changed,
        }
    }

    /// Applies the difference to the target's previous lines.
    pub fn apply(&self, previous: &mut Vec<Box<str>>) {
        previous.resize(self.lines as usize, "".into());
        for (index, line) in &self.changed {
            if let Some(slot) = previous.get_mut(*index as usize) {
                *slot = line.clone();
            }
        }
    }
}

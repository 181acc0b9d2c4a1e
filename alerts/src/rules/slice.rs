//! Some rules of a set: those that depend on one, and what they need to be evaluated without the others.
//!
//! Invariant: evaluated over the same recording, a slice's wanted rules answer what they answer in the whole set.

use std::collections::BTreeSet;

use super::order::{asked, may_share, reads};
use super::{Rule, RuleSet};
use crate::timeline::RuleAt;

/// Some rules of a set, in its groups and in its order.
#[derive(Debug, Clone)]
pub struct Slice {
    /// The rules.
    pub rules: RuleSet,
    /// Per group: the places in the set of those that are left.
    kept: Vec<Vec<usize>>,
}

impl Slice {
    /// The place in the set of a rule of the slice.
    pub fn place(&self, of: RuleAt) -> RuleAt {
        RuleAt {
            group: of.group,
            rule: self.kept[of.group][of.rule],
        }
    }
}

impl RuleSet {
    /// The rule at a place.
    pub fn rule(&self, at: RuleAt) -> &Rule {
        &self.groups[at.group].rules[at.rule]
    }

    /// All rules with their places, in order.
    pub fn places(&self) -> impl Iterator<Item = (RuleAt, &Rule)> {
        let groups = self.groups.iter().enumerate();
        groups.flat_map(|(group, in_group)| {
            let rules = in_group.rules.iter().enumerate();
            rules.map(move |(rule, one)| (RuleAt { group, rule }, one))
        })
    }

    /// With another rule at a place.
    pub fn with_rule(&self, at: RuleAt, rule: Rule) -> RuleSet {
        let mut out = self.clone();
        out.groups[at.group].rules[at.rule] = rule;
        out
    }

    /// The rule at a place, and those whose answer can change with it: they read what it writes, or write the same series.
    pub fn dependents(&self, of: RuleAt) -> BTreeSet<RuleAt> {
        self.closed(BTreeSet::from([of]), |found, other, asked| {
            let reads = asked.is_none_or(|asked| asked.iter().any(|query| reads(query, found)));
            reads || may_share(found, other)
        })
    }

    /// These rules and what they need: those whose output they read, and those that may write the same series.
    pub fn slice(&self, wanted: &BTreeSet<RuleAt>) -> Slice {
        let needed = self.closed(wanted.clone(), |found, other, _| {
            let reads =
                asked(found).is_none_or(|asked| asked.iter().any(|query| reads(query, other)));
            reads || may_share(found, other)
        });
        let mut rules = self.clone();
        let mut kept = vec![Vec::new(); rules.groups.len()];
        for at in &needed {
            kept[at.group].push(at.rule);
        }
        for (group, kept) in rules.groups.iter_mut().zip(&kept) {
            let all = std::mem::take(&mut group.rules).into_iter().enumerate();
            let left = all.filter(|(at, _)| kept.contains(at));
            group.rules = left.map(|(_, rule)| rule).collect();
        }
        Slice { rules, kept }
    }

    /// Adds rules until `joins` is true of no other one: it is told of one that is in, of one that is not, and what that one asks.
    fn closed(
        &self,
        mut out: BTreeSet<RuleAt>,
        joins: impl Fn(&Rule, &Rule, Option<&[crate::promql::Query]>) -> bool,
    ) -> BTreeSet<RuleAt> {
        let rules: Vec<_> = self
            .places()
            .map(|(at, rule)| (at, rule, asked(rule)))
            .collect();
        let mut open: Vec<RuleAt> = out.iter().copied().collect();
        while let Some(found) = open.pop() {
            for (at, other, asked) in &rules {
                if !out.contains(at) && joins(self.rule(found), other, asked.as_deref()) {
                    out.insert(*at);
                    open.push(*at);
                }
            }
        }
        out
    }
}

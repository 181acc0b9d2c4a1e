//! Asks both sides, finds differences and makes them small.

use alerts::openmetrics;
use alerts::promql::{Annotations, Query, Source};
use regex::Regex;

use crate::answer::{self, Difference, Reply, When};
use crate::changes::{Changes, Version};
use crate::dice::Dice;
use crate::expr::{Expr, Kind};
use crate::number;
use crate::query::Maker;
use crate::server::{Installation, Server};
use crate::words::LABELS;
use crate::world::{self, LENGTH_MS, World};

/// Queries asked of each server: about half a minute.
const CASES: u64 = 4_000;
/// Differences after which a run has seen enough.
const ENOUGH: usize = 100;
/// Questions asked to make one difference smaller.
const SHRINKS: usize = 400;

/// A query, when it is asked, and what differs.
struct Case {
    expr: Expr,
    when: When,
    difference: Difference,
}

struct Search<'a> {
    server: &'a Server,
    world: &'a World,
    source: Source<'a>,
    /// How warnings and infos are worded otherwise; version 2 has none, so that they are not compared.
    notes: Option<&'a [(Regex, &'static str)]>,
}

/// Asks the queries of the seed.
pub fn run(installation: &Installation) {
    let seed = number("FIREDRILL_DIFFERENTIAL_SEED", 1);
    let cases = number("FIREDRILL_DIFFERENTIAL_CASES", CASES);
    let changes = Version::of(installation).map(Changes::after);
    let worlds = world::worlds(seed);
    let server = world::start(installation, &worlds);
    // Prometheus 2 counts both bounds of a range in: it is asked where no bound meets a sample.
    let asked: Vec<&World> = worlds
        .iter()
        .filter(|world| installation.is_3() || !world.grid)
        .collect();
    let words = match Version::of(installation) {
        Some(Version::V3) => answer::WORDS_OF_3_5
            .map(|(pattern, short)| (Regex::new(pattern).expect("a pattern"), short))
            .to_vec(),
        _ => Vec::new(),
    };
    let (mut refused, mut empty, mut undefined, mut found) = (0, 0, 0, 0);
    let mut explained = vec![0; changes.as_ref().map_or(0, |changes| changes.rows.len())];
    for case in 0..cases {
        let mut dice = Dice::new(seed, 1_000 + case);
        let world = dice.pick(&asked);
        let search = Search {
            server: &server,
            world,
            source: Source::new(&world.store),
            notes: installation.is_3().then_some(&words),
        };
        let mut maker = Maker {
            dice,
            start_ms: world.start_ms,
            grid: world.grid,
            newest: installation.is_3(),
        };
        let expr = maker.query();
        let when = when(&mut maker.dice, world, expr.kind());
        let (theirs, difference) = search.ask(&expr, when);
        match theirs {
            Reply::Refused(_) => refused += 1,
            Reply::Series(series) if series.is_empty() => empty += 1,
            _ => {}
        }
        if let Some(difference) = difference {
            let small = search.shrink(Case {
                expr,
                when,
                difference,
            });
            let text = small.expr.to_string();
            let why = changes
                .as_ref()
                .and_then(|changes| changes.explain(&text, small.difference));
            if let Some(row) = why {
                explained[row] += 1;
                continue;
            }
            if search.is_undefined(&small) {
                undefined += 1;
                continue;
            }
            search.print(seed, case, &small);
            found += 1;
            if found == ENOUGH {
                break;
            }
        }
    }
    println!(
        "Prometheus {}: {cases} queries of seed {seed}: {refused} refused, {empty} empty, {undefined} not defined, {found} differ",
        installation.version
    );
    for (row, count) in changes
        .iter()
        .flat_map(|changes| &changes.rows)
        .zip(explained)
    {
        println!("    {count} differ since {}", row.what);
    }
    assert_eq!(found, 0, "answers differ");
}

/// An instant or a range of instants within the world or a little after it.
fn when(dice: &mut Dice, world: &World, kind: Kind) -> When {
    let half = if world.grid { 0 } else { 500 };
    let grain = dice.pick(&[1_000, 15_000, 60_000]);
    let start_ms = world.start_ms + grain * dice.below((LENGTH_MS + 600_000) / grain) + half;
    if dice.percent(50) || matches!(kind, Kind::Range | Kind::Text) {
        return When::At(start_ms);
    }
    let step_ms = dice.pick(&[15_000, 30_000, 60_000, 300_000, 7_000]);
    When::Range {
        start_ms,
        end_ms: start_ms + step_ms * dice.below(60) + dice.pick(&[0, 0, 3_000]),
        step_ms,
    }
}

impl Search<'_> {
    fn ask(&self, expr: &Expr, when: When) -> (Reply, Option<Difference>) {
        let text = expr.to_string();
        let (theirs, said) = answer::annotated_theirs(self.server, &text, when);
        let (ours, noted) = answer::annotated_ours(&self.source, &text, when);
        let sorted = expr.begins("sort") && matches!(when, When::At(_));
        let difference = answer::difference(&theirs, &ours, &text, sorted);
        let answered = !matches!(theirs, Reply::Refused(_));
        let other = answered
            && self
                .notes
                .is_some_and(|words| !answer::same_notes(&said, &noted, words));
        (theirs, difference.or(other.then_some(Difference::Notes)))
    }

    /// What Prometheus itself does not promise. A difference is made small before, so that the parts of the query agree and its
    /// outermost function alone is to blame: which of equal values `topk` and `bottomk` keep; the last digit of a sum or of a
    /// function of the mathematical library, where it becomes a label, the angle of a large number or an overflow; which of two
    /// matchers of one label `absent` takes, since reading the storage sorts them; that a parameter is read in each step while
    /// `@` fixes the vector; that `timestamp` looks at `offset` beside `@`; and what fails between the windows of a subquery,
    /// where it evaluates too and nobody looks.
    fn is_undefined(&self, case: &Case) -> bool {
        let text = case.expr.to_string();
        let (theirs, ours) = (
            answer::theirs(self.server, &text, case.when),
            answer::ours(&self.source, &text, case.when),
        );
        let is = |names: &[&str]| names.iter().any(|name| case.expr.begins(name));
        let fixed = text.contains('@');
        match case.difference {
            Difference::Notes => fixed && is(&["quantile("]) || self.is_noted_between(case),
            Difference::Refusal => matches!(theirs, Reply::Refused(_)) && self.fails_between(case),
            _ if fixed && is(&["timestamp("]) && text.contains("offset") => true,
            Difference::Values => {
                is(&["sin(", "cos(", "tan(", "sinh(", "cosh("])
                    || fixed && is(&["quantile", "topk", "bottomk"])
            }
            _ => {
                let twice = |label: &&str| {
                    let matched = |sign: &str| text.matches(&format!("{label}{sign}")).count();
                    matched("=") + matched("!") > 1
                };
                // Which one is kept changes from one asking to the next, so that nothing smaller may differ.
                let kept = |part: &Expr| part.begins("topk") || part.begins("bottomk");
                let any = is(&["topk", "bottomk", "count_values"])
                    || case.expr.within().iter().any(kept)
                    || is(&["absent"]) && LABELS.iter().any(twice);
                any && answer::same_numbers(&theirs, &ours)
            }
        }
    }

    /// Whether a part of the query is refused here too, where it is asked at more instants than the windows of a subquery hold.
    fn fails_between(&self, case: &Case) -> bool {
        let mut replies = self.everywhere(case).into_iter();
        replies.any(|(reply, _)| matches!(reply, Reply::Refused(_)))
    }

    /// The same of what is noted there and not here.
    fn is_noted_between(&self, case: &Case) -> bool {
        let text = case.expr.to_string();
        let (_, theirs) = answer::annotated_theirs(self.server, &text, case.when);
        let (_, ours) = answer::annotated_ours(&self.source, &text, case.when);
        let words = self.notes.unwrap_or_default();
        let mut known = answer::texts_of(&ours, words);
        if !known.is_subset(&answer::texts_of(&theirs, words)) {
            return false;
        }
        for (_, notes) in self.everywhere(case) {
            known.extend(answer::texts_of(&notes, words));
        }
        answer::texts_of(&theirs, words).is_subset(&known)
    }

    /// Our answers of the parts of a range query at each second of its time and of an hour before.
    fn everywhere(&self, case: &Case) -> Vec<(Reply, Annotations)> {
        let When::Range {
            start_ms, end_ms, ..
        } = case.when
        else {
            return Vec::new();
        };
        let everywhere = When::Range {
            start_ms: (start_ms - LENGTH_MS).div_euclid(1_000) * 1_000,
            end_ms,
            step_ms: 1_000,
        };
        let parts = case.expr.within().into_iter();
        let asked = parts.filter(|part| part.kind() == Kind::Vector);
        asked
            .map(|part| answer::annotated_ours(&self.source, &part.to_string(), everywhere))
            .collect()
    }

    fn shrink(&self, mut case: Case) -> Case {
        let mut left = SHRINKS;
        let mut differs = |expr: &Expr, when: When, wanted: Difference| {
            left = left.saturating_sub(1);
            let same = |found| match wanted {
                Difference::Refusal => found == wanted,
                _ => found != Difference::Refusal,
            };
            left > 0 && self.ask(expr, when).1.is_some_and(same)
        };
        if let When::Range {
            start_ms,
            end_ms,
            step_ms,
        } = case.when
        {
            let mut instants = (start_ms..=end_ms).step_by(step_ms as usize);
            let found = instants.find(|t| differs(&case.expr, When::At(*t), case.difference));
            case.when = found.map_or(case.when, When::At);
        }
        while let Some(expr) = [case.expr.within(), case.expr.smaller()]
            .concat()
            .into_iter()
            .find(|expr| differs(expr, case.when, case.difference))
        {
            case.expr = expr;
        }
        case.difference = self.ask(&case.expr, case.when).1.unwrap_or(case.difference);
        case
    }

    fn print(&self, seed: u64, number: u64, case: &Case) {
        let text = case.expr.to_string();
        println!(
            "=== {:?}: {text}\n    {} (seed {seed}, query {number}, grid {})",
            case.difference, case.when, self.world.grid
        );
        for (who, reply) in [
            (
                "Prometheus",
                answer::annotated_theirs(self.server, &text, case.when),
            ),
            (
                "here",
                answer::annotated_ours(&self.source, &text, case.when),
            ),
        ] {
            let reply: String = format!("{reply:?}").chars().take(600).collect();
            println!("    {who}: {reply}");
        }
        let Ok(query) = Query::parse(&text) else {
            return;
        };
        let mut data = Vec::new();
        openmetrics::write(&self.source, |labels| query.selects(labels), &mut data)
            .expect("writable");
        let until = match case.when {
            When::At(t_ms) => t_ms,
            When::Range { end_ms, .. } => end_ms,
        };
        let near = String::from_utf8(data).expect("UTF-8");
        let recent: Vec<&str> = near
            .lines()
            .filter(|line| {
                let seconds = line
                    .rsplit(' ')
                    .next()
                    .and_then(|word| word.parse::<f64>().ok());
                seconds.is_some_and(|seconds| {
                    let age_ms = until - (seconds * 1000.0) as i64;
                    (0..360_000).contains(&age_ms)
                })
            })
            .take(30)
            .collect();
        println!("    {}", recent.join("\n    "));
    }
}

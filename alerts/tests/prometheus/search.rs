//! Asks both sides, finds differences and makes them small.

use alerts::openmetrics;
use alerts::promql::{Query, Source};

use crate::answer::{self, Difference, Reply, When};
use crate::changes::{Changes, Version};
use crate::dice::Dice;
use crate::expr::{Expr, Kind};
use crate::number;
use crate::query::Maker;
use crate::server::{Installation, Server};
use crate::words::{LABELS, MATH};
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
    let (mut refused, mut empty, mut undefined, mut found) = (0, 0, 0, 0);
    let mut explained = vec![0; changes.as_ref().map_or(0, |changes| changes.rows.len())];
    for case in 0..cases {
        let mut dice = Dice::new(seed, 1_000 + case);
        let world = dice.pick(&asked);
        let search = Search {
            server: &server,
            world,
            source: Source::new(&world.store),
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
        let theirs = answer::theirs(self.server, &text, when);
        let ours = answer::ours(&self.source, &text, when);
        let sorted = expr.begins("sort") && matches!(when, When::At(_));
        let difference = answer::difference(&theirs, &ours, &text, sorted);
        (theirs, difference)
    }

    /// What Prometheus itself does not promise: which of equal values `topk` and `bottomk` keep; the last digit of a sum or of a
    /// function of the mathematical library, where it becomes a label, the angle of a large number or an overflow; which of
    /// two matchers of one label `absent` takes, since reading the storage sorts them; that a parameter is read in each step
    /// while `@` fixes the vector; that `timestamp` looks at `offset` beside `@`; and what fails between the windows of a
    /// subquery, where it evaluates too and nobody looks.
    fn is_undefined(&self, case: &Case) -> bool {
        let text = case.expr.to_string();
        let theirs = answer::theirs(self.server, &text, case.when);
        let ours = answer::ours(&self.source, &text, case.when);
        let holds = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let twice = |label: &&str| {
            let matched = |sign: &str| text.matches(&format!("{label}{sign}")).count();
            matched("=") + matched("!") > 1
        };
        let functions = MATH.iter().filter(|name| holds(&[name])).count();
        let fixed = holds(&["@"]);
        match case.difference {
            Difference::Refusal => {
                let between =
                    matches!(case.when, When::Range { .. }) && holds(&[":]", "s:", "m:", "h:"]);
                between && matches!(theirs, Reply::Refused(_))
            }
            _ if fixed && holds(&["timestamp("]) && holds(&["offset"]) => true,
            Difference::Values => {
                let angle = functions > 1 && holds(&["sin(", "cos(", "tan("]);
                angle
                    || holds(&["sinh", "cosh"])
                    || fixed && holds(&["quantile", "topk", "bottomk"])
            }
            _ => {
                let digits = functions > 0 || holds(&["sum", "avg", "std", "^"]);
                let any = holds(&["topk", "bottomk"])
                    || holds(&["count_values"]) && digits
                    || holds(&["absent"]) && LABELS.iter().any(twice);
                any && answer::same_numbers(&theirs, &ours)
            }
        }
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
            ("Prometheus", answer::theirs(self.server, &text, case.when)),
            ("here", answer::ours(&self.source, &text, case.when)),
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

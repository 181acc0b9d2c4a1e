//! A run as a unit test for promtool: the series that the rules read, and which alerts fire when.
//!
//! Invariant: what the test expects is what the recording showed. The rules are evaluated over the exported input too, as
//! promtool will do it; where the two disagree, which only what a unit test cannot express may cause (an evaluator that is
//! down, two scrapes between two evaluations), the test says nothing and names what it left out.
//!
//! A unit test begins at the epoch. Instants that services expose (`…_timestamp_seconds`, `…_start_time_seconds`) therefore
//! count from the start of the recording; 0, which means "never", stays.

use std::{collections::BTreeSet, fmt, sync::Arc};

use alerts::{
    labels::Labels,
    rules::{Evaluation, RuleKind, RuleSet, Schedule, Up},
    template::Data,
    timeline::{ActiveAlert, AlertState, Timeline},
    unit::{grid::Grid, write},
};
use chaos::{
    judge::{self, Expected, RunVerdict},
    recording::EPOCH_UNIX_S,
    scenario::Plan,
};

use super::{
    RULES,
    looks::{Evaluations, Look, Role, looks, roles},
};
use crate::{
    books::Books,
    exit::Error,
    inputs::Inputs,
    jobs::Job,
    observe::{self, INTERVAL_MS, Observed},
    pipeline,
};

/// Endings of the names of series whose values are instants, by the conventions for metrics.
const INSTANTS: [&str; 2] = ["_timestamp_seconds", "_start_time_seconds"];

/// Every alert is looked at this often: a false alarm of two minutes is seen.
const REGULAR_MS: usize = 60_000;

/// Two versions of Prometheus agree on a value up to this share of it.
const ROUNDING: f64 = 1e-9;

/// One exported unit test.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitTest {
    /// The scenario, which names the file.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The file.
    pub text: String,
    /// Input series.
    pub series: usize,
    /// How often it looks at an alert.
    pub looks: usize,
    /// What it leaves out, and why.
    pub left_out: Vec<String>,
}

impl fmt::Display for UnitTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnitTest {
            scenario,
            seed,
            series,
            looks,
            ..
        } = self;
        let megabytes = self.text.len() as f64 / 1e6;
        write!(
            f,
            "{scenario} seed {seed}: {series} series, {looks} alert tests, {megabytes:.1} MB"
        )?;
        let mut left_out = self.left_out.iter();
        left_out.try_for_each(|reason| write!(f, "\n  left out: {reason}"))
    }
}

/// What became of an export.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The run passed.
    Written(Box<UnitTest>),
    /// It did not, so there is nothing to expect.
    NotPassed(Box<RunVerdict>),
}

/// Runs a scenario and makes a unit test of it.
///
/// # Errors
/// What a run refuses.
pub fn unit_test(inputs: &Inputs, job: &Job) -> Result<Outcome, Error> {
    let plan = Arc::new(job.scenario.compile(job.seed));
    let recording = pipeline::record(&plan, inputs, &mut Books::default())?;
    let observed = observe::observe(&recording, plan.duration).map_err(Error::Internal)?;
    let rules = &inputs.rules;
    let timeline = rules.evaluate(observed.ingest.store(), &observed.schedule);
    let timeline = timeline.map_err(|error| Error::Input(error.to_string()))?;
    let examination = judge::examine(&plan, &recording);
    let verdict = judge::judge(&plan, &examination, &observe::firings(&timeline));
    if verdict.verdict != judge::Verdict::Pass {
        return Ok(Outcome::NotPassed(Box::new(verdict)));
    }
    drop((recording, examination));
    let test =
        Incident::new(&plan, rules, &verdict, &timeline, &observed).test(observed, inputs)?;
    Ok(Outcome::Written(Box::new(test)))
}

/// What the test is made of.
struct Incident<'a> {
    plan: &'a Plan,
    rules: &'a RuleSet,
    timeline: &'a Timeline,
    up: Vec<Up>,
    roles: Vec<Role<'a>>,
    evaluations: Evaluations,
}

impl<'a> Incident<'a> {
    fn new(
        plan: &'a Plan,
        rules: &'a RuleSet,
        verdict: &'a RunVerdict,
        timeline: &'a Timeline,
        observed: &Observed,
    ) -> Incident<'a> {
        let Schedule {
            start_ms, end_ms, ..
        } = observed.schedule;
        Incident {
            plan,
            rules,
            timeline,
            up: observed.schedule.up.clone(),
            roles: roles(rules, &plan.scenario.may, verdict),
            evaluations: Evaluations {
                start_ms,
                end_ms: (end_ms - start_ms).div_euclid(INTERVAL_MS) * INTERVAL_MS,
                interval_ms: INTERVAL_MS,
            },
        }
    }

    fn test(&self, observed: Observed, inputs: &Inputs) -> Result<UnitTest, Error> {
        let Evaluations {
            start_ms, end_ms, ..
        } = self.evaluations;
        let span = (start_ms, start_ms + end_ms);
        let grid = Grid::of(
            observed.ingest.store(),
            span,
            INTERVAL_MS,
            |labels| self.reads(labels),
            rebased,
        );
        drop(observed);
        let looks = looks(&self.roles, self.timeline, self.evaluations, REGULAR_MS);
        let mut schedule = Schedule::steady(0, end_ms, INTERVAL_MS);
        schedule.snapshots = looks.iter().map(|look| look.eval_ms).collect();
        schedule.snapshots.dedup();
        let rules = self.rules.clone().at_one_interval();
        let evaluation = rules
            .evaluate_recorded(&grid.store(), &schedule)
            .map_err(|error| Error::Internal(format!("on the exported input: {error}")))?;
        let mut left_out: Vec<String> = Vec::new();
        let mut alerts = Vec::new();
        for look in &looks {
            match self.expected(look, &schedule, &evaluation) {
                Ok(test) => alerts.push(test),
                Err(reason) => left_out.push(reason),
            }
        }
        left_out.dedup();
        let files = inputs.rule_files.files.keys();
        let test = write::UnitTest {
            comment: self.comment(&left_out),
            rule_files: files
                .map(|path| format!("{RULES}/{}", literal(path)))
                .collect(),
            groups: self.rules.group_names(),
            grid,
            alerts,
        };
        Ok(UnitTest {
            scenario: self.plan.scenario.name.to_string(),
            seed: self.plan.seed,
            text: test.to_string(),
            series: test.grid.series.len(),
            looks: test.alerts.len(),
            left_out,
        })
    }

    /// True for what a selector of a rule matches. A template that queries may read anything.
    fn reads(&self, labels: &Labels) -> bool {
        self.rules
            .groups()
            .iter()
            .flat_map(|group| &group.rules)
            .any(|rule| rule.templates_query() || rule.query.selects(labels))
    }

    /// What promtool must find; or why it cannot be asked.
    fn expected(
        &self,
        look: &Look,
        schedule: &Schedule,
        evaluation: &Evaluation,
    ) -> Result<write::AlertTest, String> {
        let Look {
            eval_ms,
            alert,
            why,
        } = look;
        let t_ms = self.evaluations.start_ms + eval_ms;
        let at = write::duration(*eval_ms);
        if !self
            .up
            .iter()
            .any(|up| (up.from_ms..up.to_ms).contains(&t_ms))
        {
            return Err(format!(
                "{at}: Prometheus was down, so it evaluated no rule"
            ));
        }
        let histories = self.timeline.alerts.iter();
        let recorded: BTreeSet<&Labels> = histories
            .filter(|history| history.alert == *alert && history.fires_at(t_ms))
            .map(|history| &history.labels)
            .collect();
        let snapshot = schedule.snapshots.binary_search(eval_ms);
        let active = snapshot.map_or(&[][..], |at| &evaluation.snapshots[at]);
        let fires = active
            .iter()
            .filter(|active| active.alert == *alert && active.state == AlertState::Firing);
        let firing: Vec<(Labels, _)> = fires
            .clone()
            .map(|active| (active.labels.clone(), active.annotations.clone()))
            .collect();
        if recorded != firing.iter().map(|(labels, _)| labels).collect() {
            return Err(format!(
                "{at}: {alert} fires {} times in the recording and {} times on this input",
                recorded.len(),
                firing.len()
            ));
        }
        if let Some(active) = fires
            .clone()
            .find(|active| hangs_on_last_digits(self.rules, active))
        {
            return Err(format!(
                "{at}: an annotation of {alert} hangs on the last digits of {}, which versions of Prometheus sum differently",
                active.value
            ));
        }
        Ok(write::AlertTest {
            eval_ms: *eval_ms,
            alert: alert.clone(),
            why: why.clone(),
            firing,
        })
    }

    fn comment(&self, left_out: &[String]) -> Vec<String> {
        let scenario = &self.plan.scenario;
        let mut lines = vec![
            format!(
                "Written by `firedrill export tests {} --seed {}`.",
                scenario.name, self.plan.seed
            ),
            String::new(),
            scenario.hypothesis.clone(),
            String::new(),
        ];
        for role in &self.roles {
            let ids: Vec<&str> = role.ids.iter().copied().collect();
            let ids = ids.join(", ");
            let name = role.alert;
            lines.extend(role.outcomes.iter().filter(|_| role.expected == Expected::Must).map(|outcome| {
                let seconds = |value: Option<f64>| value.map_or("?".to_owned(), |value| write::duration((value * 1e3) as i64));
                format!(
                    "{name} ({ids}) must fire within {} of its symptom, which began at {}; it fired at {}.",
                    seconds(outcome.budget_s),
                    seconds(outcome.t_sym_s),
                    seconds(outcome.fired_at_s)
                )
            }));
            if role.expected == Expected::May {
                lines.push(format!("{name} ({ids}) may fire and is not looked at."));
            }
        }
        lines.extend([
            "Every other alert is silent.".to_owned(),
            String::new(),
            "Time counts from the start of the run, also in series whose values are instants (…_timestamp_seconds).".to_owned(),
            format!(
                "A sample that was scraped between two evaluations stands half way between them; a line holds {}.",
                write::duration(write::LINE_MS)
            ),
        ]);
        if !left_out.is_empty() {
            lines.push(String::new());
            lines.push("Left out, because a unit test cannot hold it:".to_owned());
            lines.extend(left_out.iter().map(|reason| format!("  {reason}")));
        }
        lines
    }
}

/// True when an annotation changes with a value that is off by a rounding error, such as 0.49795 written with four digits.
/// Whole numbers are counts, which are exact.
fn hangs_on_last_digits(rules: &RuleSet, active: &ActiveAlert) -> bool {
    let rule = &rules.groups()[active.place.group].rules[active.place.rule];
    let RuleKind::Alerting { annotations, .. } = &rule.kind else {
        return false;
    };
    let text = |value: f64| -> Vec<String> {
        let data = Data {
            labels: &active.labels,
            external_labels: &Labels::default(),
            external_url: "",
            value,
            query: &|_| Err("no series".to_owned()),
        };
        annotations
            .iter()
            .map(|(_, template)| template.expand(&data))
            .collect()
    };
    let value = active.value;
    value.fract() != 0.0 && text(value * (1.0 - ROUNDING)) != text(value * (1.0 + ROUNDING))
}

/// The value as it is when the run begins at the epoch.
fn rebased(labels: &Labels, value: f64) -> f64 {
    let instant = INSTANTS
        .iter()
        .any(|ending| labels.name().ends_with(ending));
    // The stale marker stays, bit for bit.
    if instant && value != 0.0 && !value.is_nan() {
        value - EPOCH_UNIX_S as f64
    } else {
        value
    }
}

/// A path that a glob matches literally.
fn literal(path: &str) -> String {
    let special = |c: char| "*?[\\".contains(c);
    path.chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
        .collect()
}

#[cfg(test)]
mod tests {
    use alerts::number::STALE;

    use super::*;

    #[test]
    fn instants_count_from_the_start_of_the_run_and_never_stays_never() {
        let epoch = EPOCH_UNIX_S as f64;
        for (name, value, expected) in [
            ("x_last_success_timestamp_seconds", epoch + 12.5, 12.5),
            ("process_start_time_seconds", epoch - 3.0, -3.0),
            ("x_last_success_timestamp_seconds", 0.0, 0.0),
            ("x_timestamp_seconds", STALE, STALE),
            ("x_seconds", epoch, epoch),
        ] {
            let labels = Labels::of(&[("__name__", name)]);
            let found = rebased(&labels, value);
            assert_eq!(found.to_bits(), expected.to_bits(), "{name} {value}");
        }
    }

    #[test]
    fn a_path_is_taken_literally() {
        assert_eq!(literal("a/b.yml"), "a/b.yml");
        assert_eq!(literal("a[1]*?.yml"), r"a\[1]\*\?.yml");
    }

    const RULES_TEXT: &str = "groups: [{name: g, rules: [{alert: Lag, expr: lag > 1}, {alert: Other, expr: absent(lag)}]}]";

    /// What is expected at one instant, where the recording had `lag` above 1 from 30 s on and the evaluator was up until 60 s.
    fn at(eval_ms: i64, recorded: f64) -> Result<usize, String> {
        let (rules, start_ms) = (
            RuleSet::from_sources([("r.yml", RULES_TEXT)]).expect("rules"),
            1_000_000_000,
        );
        let store = |above: f64| {
            let mut store = alerts::series::SeriesStore::new();
            for at in 0..8 {
                let value = if at >= 2 { above } else { 0.0 };
                let labels = Labels::of(&[("__name__", "lag")]);
                store
                    .append(&labels, start_ms + at * 15_000, value)
                    .expect("in order");
            }
            store
        };
        let plan = crate::inputs::scenario(
            "outbox-publisher-down.toml",
            include_str!("../../scenarios/outbox-publisher-down.toml"),
        );
        let plan = plan.expect("parses").compile(1);
        let evaluations = Evaluations {
            start_ms,
            end_ms: 105_000,
            interval_ms: INTERVAL_MS,
        };
        let timeline = rules.evaluate(
            &store(recorded),
            &Schedule::steady(start_ms, start_ms + 105_000, INTERVAL_MS),
        );
        let timeline = timeline.expect("evaluated");
        let incident = Incident {
            plan: &plan,
            rules: &rules,
            timeline: &timeline,
            up: vec![Up {
                from_ms: start_ms,
                to_ms: start_ms + 60_000,
                restarted: false,
            }],
            roles: Vec::new(),
            evaluations,
        };
        let grid = Grid::of(
            &store(2.0),
            (start_ms, start_ms + 105_000),
            INTERVAL_MS,
            |_| true,
            rebased,
        );
        let mut schedule = Schedule::steady(0, 105_000, INTERVAL_MS);
        schedule.snapshots = vec![15_000, eval_ms];
        let evaluation = rules
            .evaluate_recorded(&grid.store(), &schedule)
            .expect("evaluated");
        let look = Look {
            eval_ms,
            alert: "Lag".into(),
            why: None,
        };
        incident
            .expected(&look, &schedule, &evaluation)
            .map(|test| test.firing.len())
    }

    #[test]
    fn an_annotation_that_a_rounding_error_changes_is_seen() {
        for (annotation, value, hangs) in [
            ("{{ $value | humanizeDuration }}", 0.49795, true),
            ("{{ $value | humanizeDuration }}", 0.49793, false),
            ("{{ $value }}", 0.25, true),
            ("{{ $value }}", 25.0, false),
            ("none", 0.25, false),
        ] {
            let text = format!(
                "groups: [{{name: g, rules: [{{alert: Lag, expr: lag > 0, annotations: {{a: '{annotation}'}}}}]}}]"
            );
            let rules = RuleSet::from_sources([("r.yml", &*text)]).expect("rules");
            let mut store = alerts::series::SeriesStore::new();
            let labels = Labels::of(&[("__name__", "lag")]);
            store.append(&labels, 0, value).expect("in order");
            let mut schedule = Schedule::steady(0, 0, INTERVAL_MS);
            schedule.snapshots = vec![0];
            let evaluation = rules
                .evaluate_recorded(&store, &schedule)
                .expect("evaluated");
            let active = &evaluation.snapshots[0][0];
            assert_eq!(
                hangs_on_last_digits(&rules, active),
                hangs,
                "{annotation} {value}"
            );
        }
    }

    #[test]
    fn what_a_unit_test_cannot_hold_is_left_out_by_name() {
        assert_eq!(at(45_000, 2.0), Ok(1));
        assert_eq!(at(30_000, 2.0), Ok(1));
        assert_eq!(
            at(45_000, 0.0),
            Err("45s: Lag fires 0 times in the recording and 1 times on this input".to_owned())
        );
        assert_eq!(
            at(75_000, 2.0),
            Err("1m15s: Prometheus was down, so it evaluated no rule".to_owned())
        );
    }
}

//! Alerts against symptoms: missed, late, false, stuck.
//!
//! Budgets run from the first instant of a symptom that lasts at least as long as the alert waits, or from the end of an outage of
//! monitoring that came between. The outage of scraping is itself the symptom of `RESV-PLT-004` and excuses nothing there.

use super::{
    AlertOutcome, Aspect, Expected, Firing, JudgeFinding, Outages, Symptom, Verdict, seconds, show,
};
use crate::{
    recording::Nanos,
    scenario::{
        MILLISECOND, Must, Plan, SECOND, Scenario,
        catalogue::{self, AlertSpec, RESOLVE_SLACK},
    },
};

/// A symptom is stamped with commits and answers, a firing with an evaluation; so much may lie between the two the wrong way round.
const SLACK: Nanos = 30 * SECOND;
/// After an instantaneous symptom, how long its consequences may still raise the alert.
const AFTERMATH: Nanos = 60 * SECOND;

/// Whose symptom is monitoring's own blindness.
const TARGET_DOWN: &str = "RESV-PLT-004";

struct Judge<'a> {
    scenario: &'a Scenario,
    duration: Nanos,
    symptoms: &'a [Symptom],
    outages: &'a Outages,
    firings: Vec<&'a Firing>,
    findings: &'a mut Vec<JudgeFinding>,
}

pub(super) fn judge(
    plan: &Plan,
    symptoms: &[Symptom],
    outages: &Outages,
    firings: &[Firing],
    findings: &mut Vec<JudgeFinding>,
) -> Vec<AlertOutcome> {
    let mut firings: Vec<&Firing> = firings.iter().collect();
    firings.sort_by_key(|firing| firing.fired_at_ms);
    let mut ids: Vec<&str> = symptoms
        .iter()
        .map(|symptom| symptom.alert.as_str())
        .collect();
    ids.extend(plan.scenario.must.iter().map(|must| &*must.alert));
    ids.extend(plan.scenario.may.iter().map(|may| &**may));
    ids.extend(firings.iter().map(|firing| firing.alert_id.as_str()));
    ids.sort_unstable();
    ids.dedup();
    let mut judge = Judge {
        scenario: &plan.scenario,
        duration: plan.duration,
        symptoms,
        outages,
        firings,
        findings,
    };
    ids.into_iter().map(|id| judge.alert(id)).collect()
}

impl Judge<'_> {
    fn alert(&mut self, id: &str) -> AlertOutcome {
        let musts: Vec<Must> = self
            .scenario
            .must
            .iter()
            .filter(|must| *must.alert == *id)
            .cloned()
            .collect();
        let expected = match musts.first() {
            Some(_) => Expected::Must,
            None if self.scenario.may.iter().any(|may| **may == *id) => Expected::May,
            None => Expected::Never,
        };
        let firings: Vec<&Firing> = self
            .firings
            .iter()
            .copied()
            .filter(|firing| firing.alert_id == id)
            .collect();
        let mut outcome = AlertOutcome {
            id: id.to_owned(),
            expected,
            fired_at_s: firings
                .first()
                .map(|firing| seconds(ms(firing.fired_at_ms))),
            budget_s: musts
                .iter()
                .map(|must| seconds(must.budget))
                .reduce(f64::max),
            t_sym_s: None,
            time_to_detect_s: None,
            resolved_at_s: firings
                .iter()
                .map(|firing| firing.resolved_at_ms.map(|at| seconds(ms(at))))
                .reduce(|one, other| Some(one?.max(other?)))
                .flatten(),
        };
        self.ignorance(id);
        for must in &musts {
            self.must(must, &firings, &mut outcome);
        }
        for firing in &firings {
            self.justify(firing, expected);
        }
        if expected == Expected::Never && firings.is_empty() {
            self.sustained(id);
        }
        if expected == Expected::Must {
            self.resolved(id, &firings);
        }
        outcome
    }

    /// Something about an alert and its symptom.
    fn find(&mut self, verdict: Verdict, id: &str, branch: Option<&str>, message: String) {
        self.findings.push(JudgeFinding {
            verdict,
            subject: id.to_owned(),
            aspect: Aspect::Detection,
            branch: branch.map(str::to_owned),
            fired_at_ms: None,
            message,
        });
    }

    /// Something about one firing.
    fn find_of(&mut self, verdict: Verdict, aspect: Aspect, firing: &Firing, message: String) {
        self.findings.push(JudgeFinding {
            verdict,
            subject: firing.alert_id.clone(),
            aspect,
            branch: firing.branch.clone(),
            fired_at_ms: Some(firing.fired_at_ms),
            message,
        });
    }

    /// Symptoms of an alert, or of one branch of it.
    fn symptoms_of(&self, id: &str, branch: Option<&str>) -> Vec<Symptom> {
        let same = |symptom: &&Symptom| {
            symptom.alert == id && (branch.is_none() || symptom.branch.as_deref() == branch)
        };
        self.symptoms.iter().filter(same).cloned().collect()
    }

    fn ignorance(&mut self, id: &str) {
        for symptom in self
            .symptoms_of(id, None)
            .iter()
            .filter(|symptom| symptom.facts == 0)
        {
            let branch = symptom
                .branch
                .as_ref()
                .map_or(String::new(), |branch| format!(" (branch {branch})"));
            let message = format!(
                "whether its symptom{branch} was ever true is unknown: the run has no fact about it"
            );
            self.find(Verdict::Unknown, id, symptom.branch.as_deref(), message);
        }
    }

    /// Each branch whose symptom lasts must fire; the earliest one is reported.
    fn must(&mut self, must: &Must, firings: &[&Firing], outcome: &mut AlertOutcome) {
        let symptoms = self.symptoms_of(&must.alert, must.branch.as_deref());
        if symptoms.is_empty() {
            let message =
                "it must fire, but no symptom of it is defined: it cannot be judged".to_owned();
            self.find(
                Verdict::Unknown,
                &must.alert,
                must.branch.as_deref(),
                message,
            );
            return;
        }
        let mut earliest: Option<(Nanos, Option<Nanos>)> = None;
        for symptom in &symptoms {
            let Some(spec) = spec(symptom) else { continue };
            let lasting = symptom
                .intervals
                .iter()
                .find(|(from, to)| to - from >= spec.wait);
            let Some(&(from, to)) = lasting else { continue };
            let budget = if must.branch.is_some() || symptoms.len() == 1 {
                must.budget
            } else {
                must.budget.max(spec.budget)
            };
            let found = self.lasting(must, symptom, (from, to), budget, firings);
            if earliest.is_none_or(|(start, _)| found.0 < start) {
                earliest = Some(found);
            }
        }
        let Some((start, fired)) = earliest else {
            let known = symptoms.iter().any(|symptom| symptom.facts > 0);
            if known {
                let message = "it must fire, but its symptom was never true for as long as it waits: the fault does not cause it".to_owned();
                self.find(Verdict::Fail, &must.alert, must.branch.as_deref(), message);
            }
            return;
        };
        outcome.t_sym_s = Some(seconds(start));
        outcome.time_to_detect_s = fired.map(|fired| seconds(fired) - seconds(start));
    }

    /// One lasting symptom and its firing. Where the budget began, and when it was met.
    fn lasting(
        &mut self,
        must: &Must,
        symptom: &Symptom,
        (from, to): (Nanos, Nanos),
        budget: Nanos,
        firings: &[&Firing],
    ) -> (Nanos, Option<Nanos>) {
        let (id, branch) = (&must.alert, symptom.branch.as_deref());
        let name = symptom
            .branch
            .as_ref()
            .map_or(String::new(), |branch| format!(" (branch {branch})"));
        let of_branch = |firing: &&&Firing| {
            symptom.branch.is_none() || firing.branch.is_none() || firing.branch == symptom.branch
        };
        let mut fired = firings
            .iter()
            .filter(of_branch)
            .map(|firing| (ms(firing.fired_at_ms), firing.resolved_at_ms.map(ms)));
        // It may fire already when the symptom begins, and it may fire again after an outage.
        let fired = fired.find(|(fired, resolved)| {
            fired + SLACK >= from || resolved.is_none_or(|resolved| resolved > from)
        });
        let fired = fired.map(|(fired, _)| fired);
        let start = self.after_outages(id, from, budget, fired);
        let due = start + budget;
        let held = format!(
            "its symptom{name} was true from {} to {}",
            show(from),
            show(to)
        );
        let blind = if start > from {
            format!("; monitoring was blind until {}", show(start))
        } else {
            String::new()
        };
        match fired {
            Some(fired) if fired > due => {
                let message = format!(
                    "fired at {}, {} too late: {held}{blind}, and the budget is {}",
                    show(fired),
                    show(fired - due),
                    show(budget)
                );
                self.findings.push(JudgeFinding {
                    verdict: Verdict::Fail,
                    subject: id.to_string(),
                    aspect: Aspect::Detection,
                    branch: symptom.branch.clone(),
                    fired_at_ms: Some(fired / MILLISECOND),
                    message,
                });
            }
            Some(_) => {}
            None if due > self.duration => {
                let message = format!(
                    "did not fire, and its budget ends at {}, after the run: {held}{blind}",
                    show(due)
                );
                self.find(Verdict::Unknown, id, branch, message);
            }
            None => {
                let message = format!(
                    "did not fire: {held}{blind}, and the budget of {} ended at {}",
                    show(budget),
                    show(due)
                );
                self.find(Verdict::Fail, id, branch, message);
            }
        }
        (start, fired)
    }

    /// The later of the symptom's start and the end of each outage that came before the alert could fire.
    fn after_outages(&self, id: &str, from: Nanos, budget: Nanos, fired: Option<Nanos>) -> Nanos {
        let scrape: &[(Nanos, Nanos)] = if id == TARGET_DOWN {
            &[]
        } else {
            &self.outages.scrape
        };
        let mut outages: Vec<(Nanos, Nanos)> = self
            .outages
            .evaluator
            .iter()
            .chain(scrape)
            .copied()
            .collect();
        outages.sort_unstable();
        let mut start = from;
        for (blind, sees) in outages {
            let until = fired.unwrap_or(Nanos::MAX).min(start + budget);
            if blind < until && sees > start {
                start = sees;
            }
        }
        // It fired all the same.
        fired.map_or(start, |fired| start.min(fired.max(from)))
    }

    /// A firing needs leave of the scenario and a symptom.
    fn justify(&mut self, firing: &Firing, expected: Expected) {
        let fired = ms(firing.fired_at_ms);
        let branch = firing
            .branch
            .as_ref()
            .map_or(String::new(), |branch| format!(" (branch {branch})"));
        if expected == Expected::Never {
            let message = format!(
                "false alarm: fired{branch} at {}, and the scenario says neither that it must nor that it may",
                show(fired)
            );
            self.find_of(Verdict::Fail, Aspect::Justification, firing, message);
            return;
        }
        let symptoms = self.symptoms_of(&firing.alert_id, firing.branch.as_deref());
        if symptoms.is_empty() {
            // Nobody defines its symptom; the scenario allows it.
            return;
        }
        let pending = ms(firing.pending_at_ms);
        let justified = symptoms.iter().any(|symptom| {
            let window = spec(symptom).map_or(0, |spec| spec.window + spec.keep);
            symptom
                .intervals
                .iter()
                .any(|(from, to)| *from <= fired + SLACK && pending <= to + window + AFTERMATH)
        });
        if !justified && symptoms.iter().any(|symptom| symptom.facts > 0) {
            let message = format!(
                "false alarm: pending{branch} from {}, fired at {}, and its symptom was not true then",
                show(pending),
                show(fired)
            );
            self.find_of(Verdict::Fail, Aspect::Justification, firing, message);
        }
    }

    /// A silent alert whose symptom lasted: either the scenario or the rule is wrong.
    fn sustained(&mut self, id: &str) {
        for symptom in self.symptoms_of(id, None) {
            let Some(spec) = spec(&symptom) else { continue };
            let long = symptom.intervals.iter().find(|(from, to)| {
                let start = self.after_outages(id, *from, spec.budget, None);
                *to > start + spec.budget + spec.window
            });
            if let Some((from, to)) = long {
                let branch = symptom
                    .branch
                    .as_ref()
                    .map_or(String::new(), |branch| format!(" (branch {branch})"));
                let message = format!(
                    "stayed silent though its symptom{branch} was true from {} to {}, and the scenario does not mention it",
                    show(*from),
                    show(*to)
                );
                self.find(Verdict::Fail, id, symptom.branch.as_deref(), message);
            }
        }
    }

    /// After the last symptom ended, an alert has its window, its keeping time and a minute to resolve.
    fn resolved(&mut self, id: &str, firings: &[&Firing]) {
        for firing in firings {
            let symptoms = self.symptoms_of(id, firing.branch.as_deref());
            let keep = symptoms
                .iter()
                .filter_map(spec)
                .map(|spec| spec.window + spec.keep)
                .max()
                .unwrap_or(0);
            let fired = ms(firing.fired_at_ms);
            let ended = symptoms
                .iter()
                .flat_map(|symptom| &symptom.intervals)
                .map(|(_, to)| *to)
                .max();
            let Some(ended) = ended else { continue };
            // What came after it resolved is another firing's.
            let ended = symptoms
                .iter()
                .flat_map(|symptom| &symptom.intervals)
                .filter(|(from, _)| {
                    firing
                        .resolved_at_ms
                        .is_none_or(|resolved| *from <= ms(resolved))
                })
                .map(|(_, to)| *to)
                .max()
                .unwrap_or(ended);
            let blind = self
                .outages
                .evaluator
                .iter()
                .chain(&self.outages.scrape)
                .filter(|(from, to)| *from <= ended && ended < *to);
            let sees = blind.map(|(_, to)| *to).max().unwrap_or(ended);
            let due = sees.max(fired) + keep + RESOLVE_SLACK;
            match firing.resolved_at_ms.map(ms) {
                Some(resolved) if resolved > due => {
                    let message = format!(
                        "resolved at {}, {} too late: its symptom ended at {}",
                        show(resolved),
                        show(resolved - due),
                        show(ended)
                    );
                    self.find_of(Verdict::Fail, Aspect::Resolution, firing, message);
                }
                None if due < self.duration => {
                    let message = format!(
                        "still fires at the end: its symptom ended at {}, and it had to resolve by {}",
                        show(ended),
                        show(due)
                    );
                    self.find_of(Verdict::Fail, Aspect::Resolution, firing, message);
                }
                None => {
                    let message = format!(
                        "still fires at the end of {}; whether it resolves by {} is not seen",
                        show(self.duration),
                        show(due)
                    );
                    self.find_of(Verdict::Unknown, Aspect::Resolution, firing, message);
                }
                Some(_) => {}
            }
        }
    }
}

fn spec(symptom: &Symptom) -> Option<&'static AlertSpec> {
    catalogue::alert(&symptom.alert, symptom.branch.as_deref()).next()
}

fn ms(at: u64) -> Nanos {
    at * MILLISECOND
}

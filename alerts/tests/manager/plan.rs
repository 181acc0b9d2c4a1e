//! The rules that both evaluate, and when what happens.
//!
//! All conditions are windows of seconds since a beginning (`NOW`), so that nothing needs to be scraped and a late or missed
//! evaluation changes what is seen, but for both sides alike.

use alerts::rules::RuleSet;
use twox_hash::XxHash64;

/// The server is killed at this second…
pub const KILLED_S: i64 = 12;
/// …and started again at this one.
pub const BACK_S: i64 = 15;
/// The end.
pub const END_S: i64 = 32;
/// What is active is asked for at these seconds, in a part of the second in which no group is evaluated.
pub const LOOKS_S: [i64; 4] = [5, 7, 19, 24];
/// Where in a second the server is killed and asked: after the groups' evaluations.
pub const QUIET_MS: i64 = 880;
/// `--rules.alert.for-grace-period`.
pub const GRACE_S: i64 = 3;
/// `--rules.alert.for-outage-tolerance`.
pub const TOLERANCE_S: i64 = 12;

/// A group to be: where in its second it is evaluated, its fields, its rules.
struct Draft {
    name: &'static str,
    interval_s: i64,
    late: bool,
    fields: &'static str,
    rules: &'static str,
}

const EARLY: bool = false;
/// Reads what the early groups wrote in the same second.
const LATE: bool = true;

const SOURCES: &str = r#"
      - {record: item, expr: NOW >= 1 < 9, labels: {i: a}}
      - {record: item, expr: vector(1) and on() (NOW >= 3 < 6), labels: {i: b}}
      - {record: item, expr: vector(2) and on() (NOW >= 4 < 8 or NOW >= 18 < 22), labels: {i: c}}
      - {record: held, expr: vector(7) and on() (NOW >= 2 < 14)}
      - {record: constant, expr: NOW * 0 - vector(0.5)}
"#;

const LIVES: &str = r#"
      - {alert: Always, expr: NOW > -1000, for: 1s}
      - {alert: Instant, expr: NOW >= 3 < 5, annotations: {text: '{{ $value }} of {{ $labels.alertname }}'}}
      - {alert: Long, expr: NOW >= 3 < 9, for: 3s}
      - {alert: Missed, expr: NOW >= 3 < 5, for: 4s}
      - {alert: Kept, expr: NOW >= 3 < 5, for: 1s, keep_firing_for: 3s}
      - {alert: KeptAgain, expr: (NOW >= 3 < 5) or (NOW >= 7 < 9), keep_firing_for: 4s}
      - {alert: Returns, expr: (NOW >= 3 < 5) or (NOW >= 7 < 9), annotations: {since: '{{ query "held" | first | value }}'}}
      - {alert: Digit, expr: NOW >= 3 < 9, labels: {digit: '{{ printf "%.0f" $value }}', severity: page}}
      - {alert: Big, expr: NOW >= 3 < 9, for: 1s, labels: {big: '{{ if gt $value 6.0 }}yes{{ else }}no{{ end }}'}}
      - {alert: Empty, expr: NOW >= 3 < 9, labels: {x: '{{ $labels.none }}', team: ''}}
      - {alert: State, expr: 'label_replace(NOW, "alertstate", "mine", "", "") >= 3 < 6', labels: {alertname: other}}
      - {record: firing, expr: 'count(ALERTS{alertname="Long", alertstate="firing"})'}
      - {record: before, expr: 'ALERTS_FOR_STATE{alertname="Later"}'}
      - {alert: Later, expr: NOW >= 3 < 6}
      - {record: own, expr: own + 1 or NOW >= 3 < 4}
"#;

const LIMITS: &str = r#"
      - {alert: Limited, expr: item}
      - {alert: LimitedWaits, expr: item, for: 1s}
      - {alert: LimitedKept, expr: item, keep_firing_for: 3s}
      - {record: limited, expr: item}
"#;

const FAILING: &str = r#"
      - {record: failed, expr: 'item{i="a"} * on() item{i=~"b|c"}'}
      - {alert: Failed, expr: 'item{i="a"} * on() group_left() item{i=~"b|c"}'}
      - {alert: FailedWaits, expr: 'item{i="a"} * on() group_left() (item{i=~"b|c"} or vector(1))', for: 1s}
      - {alert: Same, expr: item, labels: {i: same}}
      - {record: same, expr: item, labels: {i: same}}
      - {alert: Outage, expr: 'NOW * on() (vector(1) or (label_replace(vector(1), "i", "1", "", "") and on() (NOW >= 4 < 14)))', for: 3s}
"#;

/// The rules that fail at some instants, by their limit or otherwise.
pub const FAILING_RULES: [&str; 10] = [
    "Failed",
    "FailedWaits",
    "Limited",
    "LimitedKept",
    "LimitedWaits",
    "Outage",
    "Same",
    "failed",
    "limited",
    "same",
];

const SHARED: &str = r#"
      - {record: twice, expr: vector(1) and on() (NOW >= 2 < 6)}
      - {record: twice, expr: vector(1) and on() (NOW >= 4 < 8)}
      - {record: clash, expr: vector(1) and on() (NOW >= 2 < 6)}
      - {record: clash, expr: vector(2) and on() (NOW >= 4 < 8)}
      - {record: turns, expr: vector(1) and on() (NOW >= 4 < 8)}
      - {record: turns, expr: vector(2) and on() (NOW >= 2 < 6)}
      - {alert: Twin, expr: NOW >= 2 < 6}
      - {alert: Twin, expr: NOW >= 4 < 8, for: 1s}
      - {alert: Twin, expr: NOW >= 16 < 25, for: 4s}
      - {record: both, expr: NOW >= 2 < 6}
      - {record: both, expr: NOW >= 10 < 24, labels: {i: x}}
"#;

const SHARED_LATE: &str = r#"
      - {record: both, expr: NOW >= 4 < 8}
      - {record: both, expr: NOW >= 8 < 20, labels: {i: x}}
      - {alert: Twin, expr: NOW >= 1 < 9, for: 2s}
      - {alert: Twin, expr: NOW >= 17 < 25, for: 5s}
"#;

const SLOW: &str = r#"
      - {alert: Slow, expr: NOW >= 3 < 9, for: 3s}
      - {record: most, expr: max(item)}
      - {alert: ReadsOthers, expr: 'ALERTS{alertname="Long"} unless on() held offset 4s'}
"#;

const RESTORED: &str = r#"
      - {alert: BelowGrace, expr: NOW >= 3, for: 2s}
      - {alert: Fired, expr: NOW >= 3, for: 4s}
      - {alert: FiredKept, expr: NOW >= 3 < 18, for: 4s, keep_firing_for: 4s}
      - {alert: Nearly, expr: NOW >= 4, for: 10s}
      - {alert: AtTheEdge, expr: NOW >= 5, for: 10s}
      - {alert: Halfway, expr: NOW >= 6, for: 14s}
      - {alert: EndedWhileDown, expr: NOW >= 3 < 14, for: 4s}
      - {alert: CameBack, expr: (NOW >= 3 < 14) or (NOW >= 20), for: 4s}
      - {alert: CameBackInTime, expr: NOW >= 3 < 14 or NOW >= 17, for: 4s}
      - {alert: PausedInBetween, expr: NOW >= 3 < 16 or NOW >= 17, for: 4s}
      - {alert: EndedBefore, expr: NOW >= 3 < 10 or NOW >= 14, for: 4s}
      - {alert: NewWhileDown, expr: NOW >= 13, for: 4s}
      - {alert: InstantFired, expr: NOW >= 3 < 20}
      - {alert: RestoredPlain, expr: NOW >= 4, for: 10s, labels: {severity: page}}
      - {alert: RestoredTemplate, expr: NOW >= 4, for: 10s, labels: {two: 'v{{ 2 }}', severity: page}}
      - {alert: RestoredEmpty, expr: NOW >= 4, for: 10s, labels: {x: '{{ $labels.none }}'}}
      - {alert: RestoredMany, expr: 'label_replace(NOW, "i", "1", "", "") >= 4 or label_replace(NOW, "i", "2", "", "") >= 8', for: 8s}
      - {record: all, expr: 'count(ALERTS{alertname=~"Fired|FiredKept|Nearly|Halfway"}) by (alertstate)'}
"#;

/// Every third second: an alert fires in the second evaluation after the restart and is restored after it.
const RARE: &str = r#"
      - {alert: FiredAtOnce, expr: NOW >= 9.9, for: 3s}
      - {alert: FiredAtOnceKept, expr: NOW >= 9.9 < 22, for: 3s, keep_firing_for: 6s}
      - {alert: RareLong, expr: NOW >= 1, for: 12s}
"#;

const BACK_DATED: &str = r#"
      - {record: dated, expr: item}
      - {alert: Dated, expr: NOW >= 3 < 9, for: 2s, annotations: {at: '{{ query "item{i=\"a\"}" | first | value }}'}}
      - {alert: DatedLong, expr: NOW >= 2, for: 12s}
      - {record: both, expr: NOW >= 0 < 9}
      - {record: both, expr: NOW >= 0 < 9, labels: {i: new}}
      - {alert: Dated, expr: NOW >= 5 < 12, for: 1s}
"#;

fn drafts(version_3: bool) -> Vec<Draft> {
    let draft = |name, late, rules| Draft {
        name,
        interval_s: 1,
        late,
        fields: "",
        rules,
    };
    let mut all = vec![
        draft("sources", EARLY, SOURCES),
        draft("lives", EARLY, LIVES),
        Draft {
            fields: "limit: 2",
            ..draft("limits", LATE, LIMITS)
        },
        draft("failing", LATE, FAILING),
        draft("shared", EARLY, SHARED),
        draft("shared-late", LATE, SHARED_LATE),
        Draft {
            interval_s: 2,
            ..draft("slow", LATE, SLOW)
        },
        draft("restored", EARLY, RESTORED),
        Draft {
            interval_s: 3,
            ..draft("rare", EARLY, RARE)
        },
    ];
    if version_3 {
        all.push(Draft {
            fields: "query_offset: 2s, labels: {team: x}",
            ..draft("back-dated", LATE, BACK_DATED)
        });
        all.push(Draft {
            fields: "labels: {severity: page, team: x}",
            ..draft(
                "labelled",
                EARLY,
                "\n      - {alert: Labelled, expr: NOW >= 3 < 6, labels: {team: y}}\n      - {record: labelled, expr: NOW}\n",
            )
        });
    }
    all
}

/// Where in its interval a server evaluates a group.
pub fn offset_ms(version_3: bool, file: &str, name: &str, interval_s: i64) -> i64 {
    if version_3 {
        let text = format!("groups: [{{name: {name}, interval: {interval_s}s}}]");
        let set = RuleSet::from_sources([(file, &*text)]).expect("a group");
        return set.groups()[0].offset_ms(1);
    }
    // Version 2 represents label sets in another way.
    let text = [
        b"file\xff",
        file.as_bytes(),
        b"\xffname\xff",
        name.as_bytes(),
        b"\xff",
    ]
    .concat();
    let hash = XxHash64::oneshot(0, &text) % (interval_s as u64 * 1_000_000_000);
    (hash / 1_000_000) as i64
}

/// The text of the rule file that will have this path. Second 0 is `start_s`. Each group begins with a record of its
/// evaluations, `beat`, and its name is such that groups that read others run half a second after them.
pub fn rules(version_3: bool, file: &str, start_s: i64) -> String {
    let mut out = String::from("groups:\n");
    for draft in drafts(version_3) {
        let wanted = match draft.late {
            EARLY => 50..150,
            LATE => 450..600,
        };
        let fits = |name: &String| {
            let offset = offset_ms(version_3, file, name, draft.interval_s);
            wanted.contains(&(offset % 1000))
        };
        // A long text is represented in another way.
        let width = if draft.name == "labelled" { 300 } else { 1 };
        let mut names = (0..).map(|at| format!("{}-{at:0>width$}", draft.name));
        let name = names.find(fits).expect("a name");
        let interval = draft.interval_s;
        let fields = match draft.fields {
            "" => String::new(),
            fields => format!("    {}\n", fields.replace(", labels", "\n    labels")),
        };
        let rules = draft.rules.trim_matches('\n');
        out += &format!(
            "  - name: {name}\n    interval: {interval}s\n{fields}    rules:\n      - {{record: beat, expr: time(), labels: {{group: {name}}}}}\n{rules}\n"
        );
    }
    out.replace("NOW", &format!("(vector(time()) - {start_s})"))
}

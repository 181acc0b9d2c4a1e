//! The spec language: rows to begin with, sessions, named steps, and interleavings each followed by what PostgreSQL does.
//!
//! ```text
//! spec <name>
//! timeouts lock 700 statement 800            # milliseconds; without it 20 s each, so that no wait ends by itself
//! setup                                      # rows, see `world.rs`
//!   night R 2026-12-24 capacity 5 held 2 confirmed 2
//! session a app                              # or worker
//! step a1 = a begin T                        # T: the tenant that SET LOCAL names; `begin` alone sets none
//! step a2 = a run confirm_nights R 2026-12-24 2026-12-25
//! step a3 = a commit                         # or rollback
//! step a4 = a sql SELECT 1 WHERE {K} = {K}   # {K}: the uuid of that name
//! step a5 = a await                          # until the session's waiting step ends by itself
//! step a6 = a pause 1500                    # milliseconds go by
//! permutation a1 a2 a3
//! | a2: 1 row                                # recorded on PostgreSQL; a plain success of begin, commit, … is not written
//! ```
//!
//! Invariant: `render` of what `parse` returned is the same text, comments and blank lines aside. Left out: loops, conditions,
//! several outcomes of one permutation.

use std::time::Duration;

use ledger::ports::{Role, SessionSettings};

/// Limits of a spec that names none: it is about who waits for whom, not about the clock.
pub const PATIENT: SessionSettings = SessionSettings {
    statement_timeout: Duration::from_secs(20),
    lock_timeout: Duration::from_secs(20),
};

/// What a session does in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Starts a transaction, for a tenant or for none.
    Begin(Option<String>),
    /// Runs a statement file of the ledger.
    Run {
        statement: String,
        args: Vec<String>,
    },
    /// Runs SQL text.
    Sql(String),
    Commit,
    Rollback,
    /// Waits for the session's waiting step.
    Await,
    /// Lets time go by.
    Pause(Duration),
}

/// A named action of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    /// Index into the spec's sessions.
    pub session: usize,
    pub action: Action,
}

/// One interleaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permutation {
    /// Indices into the spec's steps.
    pub steps: Vec<usize>,
    /// The recorded outcome, one line per event.
    pub expected: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub name: String,
    pub settings: SessionSettings,
    /// Lines of `world.rs`.
    pub setup: Vec<String>,
    pub sessions: Vec<(String, Role)>,
    pub steps: Vec<Step>,
    pub permutations: Vec<Permutation>,
}

impl Spec {
    pub fn new(name: &str) -> Spec {
        Spec {
            name: name.to_owned(),
            settings: PATIENT,
            setup: Vec::new(),
            sessions: Vec::new(),
            steps: Vec::new(),
            permutations: Vec::new(),
        }
    }

    /// The same without expectations.
    pub fn bare(&self) -> Spec {
        let mut spec = self.clone();
        for permutation in &mut spec.permutations {
            permutation.expected.clear();
        }
        spec
    }

    /// A permutation's step names.
    pub fn title(&self, permutation: &Permutation) -> String {
        let names = permutation
            .steps
            .iter()
            .map(|&i| self.steps[i].name.as_str());
        names.collect::<Vec<_>>().join(" ")
    }
}

/// Reads a spec file.
///
/// # Errors
/// Names the line.
pub fn parse(text: &str) -> Result<Vec<Spec>, String> {
    let mut specs: Vec<Spec> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix("spec ") {
            specs.push(Spec::new(name.trim()));
            continue;
        }
        let spec = specs
            .last_mut()
            .ok_or_else(|| format!("line {}: no spec begun", index + 1))?;
        parse_line(spec, line, trimmed)
            .map_err(|error| format!("line {}: {error}: {trimmed}", index + 1))?;
    }
    Ok(specs)
}

fn parse_line(spec: &mut Spec, line: &str, trimmed: &str) -> Result<(), String> {
    if let Some(event) = trimmed.strip_prefix('|') {
        let last = spec
            .permutations
            .last_mut()
            .ok_or("no permutation before it")?;
        last.expected.push(event.trim().to_owned());
        return Ok(());
    }
    if line.starts_with(' ') {
        spec.setup.push(trimmed.to_owned());
        return Ok(());
    }
    let (word, rest) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
    match word {
        "setup" => {}
        "timeouts" => spec.settings = parse_timeouts(rest)?,
        "session" => {
            let (name, role) = rest.split_once(' ').ok_or("want `session <name> <role>`")?;
            let role = match role.trim() {
                "app" => Role::App,
                "worker" => Role::Worker,
                other => return Err(format!("no role `{other}`")),
            };
            spec.sessions.push((name.to_owned(), role));
        }
        "step" => {
            let step = parse_step(spec, rest)?;
            spec.steps.push(step);
        }
        "permutation" => {
            let find = |name: &str| spec.steps.iter().position(|step| step.name == name);
            let steps = rest
                .split_whitespace()
                .map(|name| find(name).ok_or_else(|| format!("no step `{name}`")))
                .collect::<Result<_, _>>()?;
            spec.permutations.push(Permutation {
                steps,
                expected: Vec::new(),
            });
        }
        other => return Err(format!("unknown word `{other}`")),
    }
    Ok(())
}

fn parse_timeouts(rest: &str) -> Result<SessionSettings, String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let ["lock", lock, "statement", statement] = words[..] else {
        return Err("want `timeouts lock <ms> statement <ms>`".to_owned());
    };
    Ok(SessionSettings {
        lock_timeout: parse_ms(lock)?,
        statement_timeout: parse_ms(statement)?,
    })
}

fn parse_ms(word: &str) -> Result<Duration, String> {
    let ms = word.parse().map_err(|error| format!("{word}: {error}"))?;
    Ok(Duration::from_millis(ms))
}

fn parse_step(spec: &Spec, rest: &str) -> Result<Step, String> {
    let want = "want `step <name> = <session> <action>`";
    let (name, rest) = rest.split_once(" = ").ok_or(want)?;
    let (session, rest) = rest.split_once(' ').ok_or(want)?;
    let session = spec
        .sessions
        .iter()
        .position(|(name, _)| name == session)
        .ok_or_else(|| format!("no session `{session}`"))?;
    let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let action = match word {
        "begin" => Action::Begin((!rest.is_empty()).then(|| rest.to_owned())),
        "run" => {
            let mut words = rest.split_whitespace().map(str::to_owned);
            Action::Run {
                statement: words.next().ok_or("which statement?")?,
                args: words.collect(),
            }
        }
        "sql" => Action::Sql(rest.to_owned()),
        "commit" => Action::Commit,
        "rollback" => Action::Rollback,
        "await" => Action::Await,
        "pause" => Action::Pause(parse_ms(rest)?),
        other => return Err(format!("unknown action `{other}`")),
    };
    Ok(Step {
        name: name.to_owned(),
        session,
        action,
    })
}

/// Writes one spec.
pub fn render(spec: &Spec) -> String {
    let mut out = vec![format!("spec {}", spec.name)];
    if spec.settings != PATIENT {
        out.push(format!(
            "timeouts lock {} statement {}",
            spec.settings.lock_timeout.as_millis(),
            spec.settings.statement_timeout.as_millis()
        ));
    }
    out.push("setup".to_owned());
    out.extend(spec.setup.iter().map(|line| format!("  {line}")));
    for (name, role) in &spec.sessions {
        let role = match role {
            Role::App => "app",
            Role::Worker => "worker",
        };
        out.push(format!("session {name} {role}"));
    }
    for step in &spec.steps {
        let action = match &step.action {
            Action::Begin(None) => "begin".to_owned(),
            Action::Begin(Some(tenant)) => format!("begin {tenant}"),
            Action::Run { statement, args } => {
                let words = std::iter::once(statement).chain(args);
                format!("run {}", words.cloned().collect::<Vec<_>>().join(" "))
            }
            Action::Sql(sql) => format!("sql {sql}"),
            Action::Commit => "commit".to_owned(),
            Action::Rollback => "rollback".to_owned(),
            Action::Await => "await".to_owned(),
            Action::Pause(time) => format!("pause {}", time.as_millis()),
        };
        let session = &spec.sessions[step.session].0;
        out.push(format!("step {} = {session} {action}", step.name));
    }
    for permutation in &spec.permutations {
        out.push(format!("permutation {}", spec.title(permutation)));
        out.extend(
            permutation
                .expected
                .iter()
                .map(|event| format!("| {event}")),
        );
    }
    out.join("\n") + "\n"
}

/// The file's text with these expectations in place of its own; comments stay.
pub fn with_expectations(text: &str, specs: &[Spec]) -> String {
    let mut permutations = specs.iter().flat_map(|spec| &spec.permutations);
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.trim().starts_with('|')) {
        out.push_str(line);
        out.push('\n');
        if line.trim().starts_with("permutation") {
            for event in permutations.next().into_iter().flat_map(|p| &p.expected) {
                out.push_str(&format!("| {event}\n"));
            }
        }
    }
    out
}

#[test]
fn a_spec_reads_back_as_it_was_written() {
    let text = "spec x y\ntimeouts lock 700 statement 800\nsetup\n  night R 2026-12-24 capacity 1\nsession a app\nsession b worker\n\
        step a1 = a begin T\nstep a2 = a run confirm_nights R 2026-12-24 2026-12-25\nstep b1 = b sql SELECT 1\nstep b2 = b await\nstep b3 = b pause 1500\n\
        permutation a1 b1 a2 b2\n| a2: 1 row\npermutation a1\n";
    let specs = parse(text).unwrap();
    assert_eq!(render(&specs[0]), text);
    let commented = format!("# why\n{text}");
    assert_eq!(with_expectations(&commented, &specs), commented);
}

#[test]
fn a_bad_line_is_refused_with_its_number() {
    let rows = [
        ("step a = b commit", "line 1: no spec begun"),
        ("spec x\nstep a1 = b commit", "line 2: no session `b`"),
        ("spec x\nsession a owner", "line 2: no role `owner`"),
        ("spec x\npermutation a1", "line 2: no step `a1`"),
        (
            "spec x\nsession a app\nstep a1 = a fly",
            "line 3: unknown action `fly`",
        ),
        ("spec x\ntimeouts 3", "line 2: want `timeouts"),
        ("spec x\n| a: ok", "line 2: no permutation"),
    ];
    for (text, want) in rows {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(want), "{text}: {error}");
    }
}

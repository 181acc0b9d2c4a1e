//! What a run is made from: scenarios, rules and the ledger's SQL, embedded or from disk.
//!
//! Invariant: everything is read and checked before anything is run; what is wrong is refused whole, with file, line and
//! reason, and all of it at once where more than one thing is wrong.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use alerts::{
    rules::RuleSet,
    unit::{Files, Suite},
};
use chaos::scenario::Scenario;
use include_dir::{Dir, include_dir};
use ledger::{
    SqlBook,
    schema::{self, Schema},
};
use sha2::{Digest, Sha256};

use crate::{
    exit::Error,
    test_rules::{self, disk::Disk},
    tree::Tree,
};

static SCENARIOS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/scenarios");
static RULES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/alerts/rules");

/// Where inputs come from; `None` is what the program carries.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Scenario files.
    pub scenarios: Option<PathBuf>,
    /// Rule files.
    pub rules: Option<PathBuf>,
    /// The ledger's folder.
    pub ledger: Option<PathBuf>,
}

impl Sources {
    /// The flags that name the same sources again, each with a space before it.
    pub fn flags(&self, with_scenarios: bool) -> String {
        let scenarios = self.scenarios.as_ref().filter(|_| with_scenarios);
        [
            ("--scenarios", scenarios),
            ("--rules", self.rules.as_ref()),
            ("--ledger", self.ledger.as_ref()),
        ]
        .iter()
        .filter_map(|(flag, path)| {
            Some(format!(
                " {flag} {}",
                quote(&(*path)?.display().to_string())
            ))
        })
        .collect()
    }
}

/// A scenario and the text that it was read from.
#[derive(Clone, Debug)]
pub struct Known {
    /// As it was understood.
    pub scenario: Scenario,
    /// As it was written.
    pub text: String,
}

/// Checked inputs.
#[derive(Debug)]
pub struct Inputs {
    /// By name.
    pub scenarios: Vec<Known>,
    /// The alert rules.
    pub rules: RuleSet,
    /// The files that they were read from.
    pub rule_files: Tree,
    /// Hash of the rule files.
    pub rules_sha256: String,
    /// The ledger's SQL.
    pub schema: Arc<Schema>,
    /// Its hash.
    pub ledger_sha256: String,
}

/// The rules' own unit tests are no rule files.
fn is_rule_file(path: &str) -> bool {
    !path.starts_with(TESTS)
}

/// Where unit tests of rules lie, in the rules' folder.
const TESTS: &str = "tests/";

/// Name and text of the built-in files below `alerts/rules`, unit tests included, as they are called in the repository.
fn builtin() -> BTreeMap<String, String> {
    let files = Tree::embedded(&RULES, &["yml", "yaml"]).files.into_iter();
    files
        .map(|(path, text)| (format!("{BUILTIN}{path}"), text))
        .collect()
}

const BUILTIN: &str = "alerts/rules/";

/// Path and text of the built-in rule files, by path.
pub fn builtin_rules() -> Vec<(String, String)> {
    let files = builtin().into_iter();
    files
        .filter(|(path, _)| is_rule_file(&path[BUILTIN.len()..]))
        .collect()
}

/// Name and text of the files with the rules, as in [`rules`].
///
/// # Errors
/// A place that cannot be read.
pub fn rule_sources(place: Option<&Path>) -> Result<Vec<(String, String)>, Error> {
    let Some(place) = place else {
        return Ok(builtin_rules());
    };
    let tree = rule_files(Some(place))?;
    let named = tree.files.iter();
    Ok(named
        .map(|(path, text)| (tree.name(path), text.clone()))
        .collect())
}

/// The unit tests that lie in a folder of rules; none beside a single file.
///
/// # Errors
/// A test file that is refused.
pub fn own_tests(place: Option<&Path>) -> Result<Vec<Suite>, Error> {
    let is_test = |path: &str| {
        let name = path.strip_prefix(TESTS);
        name.is_some_and(|name| !name.contains('/'))
    };
    match place {
        None => {
            let embedded = Embedded(builtin());
            let names = embedded.0.keys();
            let tests = names.filter(|path| is_test(&path[BUILTIN.len()..]));
            test_rules::load(&tests.cloned().collect::<Vec<_>>(), &embedded)
        }
        Some(folder) if folder.is_dir() => {
            let tree = Tree::read(folder, &["yml", "yaml"])?;
            let tests = tree.files.keys().filter(|path| is_test(path));
            let names: Vec<String> = tests.map(|path| tree.name(path)).collect();
            test_rules::load(&names, &Disk)
        }
        Some(_) => Ok(Vec::new()),
    }
}

/// Files that the program carries, by name.
struct Embedded(BTreeMap<String, String>);

impl Files for Embedded {
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
        let options = glob::MatchOptions {
            require_literal_separator: true,
            ..glob::MatchOptions::default()
        };
        let names = self.0.keys();
        Ok(names
            .filter(|name| pattern.matches_with(name, options))
            .cloned()
            .collect())
    }

    fn read(&self, path: &str) -> Result<String, String> {
        let text = self.0.get(path).cloned();
        text.ok_or_else(|| "no such file in the program".to_owned())
    }
}

impl Inputs {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All that is wrong, one line each.
    pub fn load(sources: &Sources) -> Result<Inputs, Error> {
        let scenario_files = match &sources.scenarios {
            Some(folder) => Tree::read(folder, &["toml"])?,
            None => Tree::embedded(&SCENARIOS, &["toml"]),
        };
        let (rules, rule_files) = rules(sources.rules.as_deref())?;
        let schema = ledger(sources.ledger.as_deref())?;
        Ok(Inputs {
            scenarios: scenarios(&scenario_files)?,
            rules_sha256: rule_files.sha256(),
            rules,
            rule_files,
            ledger_sha256: schema_sha256(&schema),
            schema: Arc::new(schema),
        })
    }

    /// The scenarios of these names, in this order and each once; all of them where none is named.
    ///
    /// # Errors
    /// A name that there is not, with those that resemble it.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Known>, Error> {
        if names.is_empty() {
            return Ok(self.scenarios.iter().collect());
        }
        let mut chosen: Vec<&Known> = Vec::new();
        for name in names {
            let known = self
                .scenarios
                .iter()
                .find(|known| *known.scenario.name == **name);
            let known = known.ok_or_else(|| Error::Input(self.unknown(name)))?;
            if !chosen
                .iter()
                .any(|other| other.scenario.name == known.scenario.name)
            {
                chosen.push(known);
            }
        }
        Ok(chosen)
    }

    fn unknown(&self, name: &str) -> String {
        let names = self.scenarios.iter().map(|known| &*known.scenario.name);
        let mut near: Vec<(f64, &str)> = names
            .map(|known| (strsim::jaro_winkler(name, known), known))
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let similar: Vec<&str> = near
            .iter()
            .filter(|(score, _)| *score > 0.8)
            .take(3)
            .map(|(_, name)| *name)
            .collect();
        if similar.is_empty() {
            let all: Vec<&str> = self
                .scenarios
                .iter()
                .map(|known| &*known.scenario.name)
                .collect();
            format!(
                "there is no scenario `{name}`; there are: {}",
                all.join(", ")
            )
        } else {
            format!(
                "there is no scenario `{name}`; did you mean {}?",
                similar.join(" or ")
            )
        }
    }
}

/// One scenario from its text; `file` is what messages call it.
///
/// # Errors
/// All that is wrong with it, one line each.
pub fn scenario(file: &str, text: &str) -> Result<Scenario, Error> {
    Scenario::parse(file, text).map_err(|errors| lines(&errors))
}

fn scenarios(files: &Tree) -> Result<Vec<Known>, Error> {
    let mut known: Vec<Known> = Vec::new();
    let mut wrong = Vec::new();
    for (path, text) in &files.files {
        match Scenario::parse(&files.name(path), text) {
            Ok(scenario) => known.push(Known {
                scenario,
                text: text.clone(),
            }),
            Err(errors) => wrong.extend(errors),
        }
    }
    if wrong.is_empty() {
        Ok(known)
    } else {
        Err(lines(&wrong))
    }
}

/// The rules of a folder or of one file, or those that the program carries; and the files that they were read from.
///
/// # Errors
/// All that is wrong, one line each.
pub fn rules(place: Option<&Path>) -> Result<(RuleSet, Tree), Error> {
    let files = rule_files(place)?;
    Ok((rule_set(&files)?, files))
}

fn rule_files(place: Option<&Path>) -> Result<Tree, Error> {
    let mut files = match place {
        Some(file) if file.is_file() => Tree::of_file(file)?,
        Some(folder) => Tree::read(folder, &["yml", "yaml"])?,
        None => Tree::embedded(&RULES, &["yml", "yaml"]),
    };
    files.files.retain(|path, _| is_rule_file(path));
    Ok(files)
}

fn rule_set(files: &Tree) -> Result<RuleSet, Error> {
    let named: Vec<(String, &str)> = files
        .files
        .iter()
        .map(|(path, text)| (files.name(path), text.as_str()))
        .collect();
    RuleSet::from_sources(named.iter().map(|(name, text)| (name.as_str(), *text)))
        .map_err(|errors| lines(&errors))
}

/// The ledger's SQL, which the simulated database must be able to execute.
fn ledger(folder: Option<&Path>) -> Result<Schema, Error> {
    let (schema, origin) = match folder {
        Some(folder) => {
            let schema =
                schema::from_dir(folder).map_err(|error| Error::Input(error.to_string()))?;
            (schema, folder.display().to_string())
        }
        None => (schema::embedded(), "built-in".to_owned()),
    };
    SqlBook::new(&schema.statements).map_err(|error| Error::Input(format!("{origin}/{error}")))?;
    match chaos::compile(&schema) {
        Ok(_) => Ok(schema),
        Err(errors) => {
            let placed: Vec<String> = errors
                .iter()
                .map(|error| format!("{origin}/{error}"))
                .collect();
            Err(lines(&placed))
        }
    }
}

fn lines(errors: &[impl ToString]) -> Error {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Error::Input(lines.join("\n"))
}

fn schema_sha256(schema: &Schema) -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    part(&schema.bootstrap);
    for (kind, files) in [
        ("migrations", &schema.migrations),
        ("sql", &schema.statements),
    ] {
        part(kind);
        for (name, text) in files {
            part(name);
            part(text);
        }
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A word as a POSIX shell reads it back.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_for_the_shell_where_it_must_be() {
        for (word, quoted) in [
            ("a/b-c.d", "a/b-c.d"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$x", "'$x'"),
        ] {
            assert_eq!(quote(word), quoted);
        }
    }

    #[test]
    fn the_flags_name_the_same_sources_again() {
        let sources = Sources {
            scenarios: Some("s".into()),
            rules: Some("my rules".into()),
            ledger: None,
        };
        assert_eq!(sources.flags(true), " --scenarios s --rules 'my rules'");
        assert_eq!(sources.flags(false), " --rules 'my rules'");
        assert_eq!(Sources::default().flags(true), "");
    }
}

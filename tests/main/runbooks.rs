//! The runbooks: each alert has one, where its `runbook_url` says; its queries can be asked, and it names the scenarios that show it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use alerts::rules::RuleSet;

use crate::program::{call_in, root, scenarios};

/// Text of each page by its name in `runbook_url`.
fn pages() -> BTreeMap<String, String> {
    let folder = root().join("alerts/runbooks");
    let entries = fs::read_dir(folder).expect("alerts/runbooks is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            let text = fs::read_to_string(&path).expect("text");
            (format!("runbooks/{name}"), text)
        })
        .collect()
}

/// What stands below a heading, up to the next one.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let below = text.split_once(&format!("## {heading}\n"));
    let below = below.map_or("", |(_, below)| below);
    below.split("\n## ").next().unwrap_or_default().trim()
}

/// Id, name and page of each alert.
fn alerts() -> BTreeSet<(String, String, String)> {
    let rules = RuleSet::load(&[root().join("alerts/rules")]).expect("rules");
    let known = rules.alerts();
    known
        .map(|(_, rule)| {
            let url = rule.annotation("runbook_url").to_owned();
            (rule.label("alert_id").to_owned(), rule.name.clone(), url)
        })
        .collect()
}

#[test]
fn each_alert_has_a_page_and_each_page_an_alert() {
    let pages = pages();
    let mut needed = BTreeSet::new();
    for (id, name, url) in alerts() {
        assert_eq!(url, format!("runbooks/{id}.md"), "{name}");
        let text = pages.get(&url).unwrap_or_else(|| panic!("no {url}"));
        assert_eq!(text.lines().next(), Some(&*format!("# {id} {name}")));
        for heading in ["What fires it", "First look", "Edges", "First steps"] {
            assert_ne!(section(text, heading), "", "{url}: {heading}");
        }
        needed.insert(url);
    }
    let known: BTreeSet<String> = pages.into_keys().collect();
    assert_eq!(known, needed);
}

#[test]
fn a_page_names_the_scenarios_that_must_fire_its_alert() {
    let pages = pages();
    for (id, _, url) in alerts() {
        let needs = |name: &String| {
            let text = fs::read_to_string(root().join(format!("scenarios/{name}.toml")));
            text.expect("readable")
                .contains(&format!("alert = \"{id}\""))
        };
        let names: Vec<String> = scenarios().into_iter().filter(needs).collect();
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let said = section(&pages[&url], "Scenario");
        let wanted = match names.is_empty() {
            true => "none yet".to_owned(),
            false => names.join(", "),
        };
        assert_eq!(said, wanted, "{url}");
    }
}

#[test]
fn what_a_page_asks_can_be_answered() {
    let mut rules = String::new();
    for (at, (url, text)) in pages().iter().enumerate() {
        let blocks: Vec<&str> = section(text, "First look")
            .split("```promql\n")
            .skip(1)
            .map(|block| block.split("\n```").next().unwrap_or_default())
            .collect();
        assert!(!blocks.is_empty(), "{url} asks nothing");
        for (number, query) in blocks.iter().enumerate() {
            rules += &format!(
                "      # {url}\n      - record: page:{at}_{number}\n        expr: |\n          {}\n",
                query.replace('\n', "\n          ")
            );
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pages.yml");
    fs::write(
        &file,
        format!("groups:\n  - name: pages\n    rules:\n{rules}"),
    )
    .expect("written");
    // Recorded series are asked for too.
    let shipped = root().join("alerts/rules").display().to_string();
    let args = ["check", "rules", "pages.yml", &shipped, "--reference"];
    let outcome = call_in(folder.path(), &args);
    assert_eq!(
        (outcome.code, &*outcome.stderr),
        (0, ""),
        "{}",
        outcome.stdout
    );
}

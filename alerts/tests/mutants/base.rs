//! The unit tests that are changed, with their rules.

use std::path::{Path, PathBuf};

use crate::dice::Dice;
use crate::tree::Node;

/// Tests of one file that are kept: promtool takes its time for each.
const TESTS_MAX: i64 = 3;

/// A unit-test file; its rule files are called `r0.yml`, `r1.yml`, ….
#[derive(Debug, Clone)]
pub struct Base {
    pub test: Node,
    pub rules: Vec<Node>,
}

/// Our own, and those below `PROMTOOL_DIR`.
pub fn all() -> Vec<Base> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        crate_folder.join("tests/unit"),
        crate_folder.join("rules/tests"),
    ];
    let mut files: Vec<PathBuf> = folders.iter().flat_map(|folder| yaml_in(folder)).collect();
    assert!(files.len() >= 9, "{files:?}");
    if let Ok(folder) = std::env::var("PROMTOOL_DIR") {
        let folder = Path::new(&folder);
        let manifest =
            std::fs::read_to_string(folder.join("manifest.tsv")).expect("manifest.tsv is readable");
        for row in manifest.lines().skip(1) {
            let columns: Vec<&str> = row.split('\t').collect();
            files.push(folder.join(columns[0].replace('/', "+")).join(columns[2]));
        }
    }
    files.iter().map(|file| Base::read(file)).collect()
}

fn yaml_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yml"));
    files.sort();
    files
}

impl Base {
    fn read(file: &Path) -> Base {
        let text = |path: &Path| {
            std::fs::read_to_string(path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let mut test = Node::read(&text(file));
        let folder = file.parent().expect("a file in a folder");
        let named = test.get("rule_files").map_or(&[][..], Node::items);
        let patterns = named.iter().filter_map(Node::scalar);
        let paths = patterns.flat_map(|pattern| {
            let pattern = folder.join(pattern).display().to_string();
            glob::glob(&pattern)
                .expect("a pattern")
                .flatten()
                .collect::<Vec<_>>()
        });
        let rules: Vec<Node> = paths.map(|path| Node::read(&text(&path))).collect();
        let names = (0..rules.len()).map(|at| Node::Text(format!("r{at}.yml")));
        test.set("rule_files", Node::List(names.collect()));
        Base { test, rules }
    }

    /// The same with some of its tests.
    pub fn some_tests(&self, dice: &mut Dice) -> Base {
        let mut out = self.clone();
        if let Some(Node::List(tests)) = out.test.get_mut("tests") {
            let start = dice.below(tests.len() as i64) as usize;
            let count = 1 + dice.below(TESTS_MAX) as usize;
            *tests = tests.iter().skip(start).take(count).cloned().collect();
        }
        out
    }

    /// Without an order of its own, promtool takes groups in any order, another in each run.
    pub fn order_groups(&mut self) {
        let mut names: Vec<Node> = Vec::new();
        for group in self
            .rules
            .iter()
            .filter_map(|rules| rules.get("groups"))
            .flat_map(Node::items)
        {
            if let Some(name) = group.get("name")
                && !names.contains(name)
            {
                names.push(name.clone());
            }
        }
        let ordered = self
            .test
            .get("group_eval_order")
            .map_or(&[][..], Node::items);
        if names.len() > 1 && !names.iter().all(|name| ordered.contains(name)) {
            self.test.set("group_eval_order", Node::List(names));
        }
    }
}

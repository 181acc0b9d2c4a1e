//! Real rule files against promtool's own verdict. `RULES_DIR` names a folder whose `manifest.tsv` lists, per file,
//! repository, commit, path, kind and promtool's exit code; without it there is nothing to run.

use std::path::Path;

use alerts::rules::RuleSet;

#[test]
fn real_rule_files_load_where_promtool_accepts_them() {
    let Ok(folder) = std::env::var("RULES_DIR") else {
        println!("RULES_DIR is not set: nothing to run");
        return;
    };
    let folder = Path::new(&folder);
    let manifest =
        std::fs::read_to_string(folder.join("manifest.tsv")).expect("manifest.tsv is readable");
    let (mut agreed, mut refused, mut accepted) = (0, 0, 0);
    for row in manifest.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [repository, _, path, _, code] = columns[..] else {
            panic!("five columns expected: {row}")
        };
        let file = folder.join(repository.replace('/', "+")).join(path);
        match (RuleSet::load(&[&file]), code == "0") {
            (Ok(_), true) | (Err(_), false) => agreed += 1,
            (Ok(_), false) => {
                accepted += 1;
                println!("ACCEPTED what promtool refuses: {}", file.display());
            }
            (Err(errors), true) => {
                refused += 1;
                errors
                    .iter()
                    .for_each(|error| println!("REFUSED what promtool accepts: {error}"));
            }
        }
    }
    println!("TOTAL: {agreed} as promtool, {refused} refused, {accepted} accepted against it");
    assert!(
        accepted == 0,
        "{accepted} files that promtool refuses are accepted"
    );
}

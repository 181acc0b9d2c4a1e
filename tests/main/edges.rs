//! Who may depend on whom. Chaos and alerts never see each other: Prometheus text lies between them.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

#[test]
fn the_crates_depend_on_each_other_only_as_designed() {
    let metadata = MetadataCommand::new()
        .manifest_path(crate::program::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let members: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &metadata.packages {
        let inside = package
            .dependencies
            .iter()
            .map(|dependency| dependency.name.as_str());
        edges.insert(
            package.name.as_str(),
            inside.filter(|name| members.contains(name)).collect(),
        );
    }
    let expected = BTreeMap::from([
        ("alerts", BTreeSet::new()),
        ("chaos", BTreeSet::from(["ledger"])),
        ("firedrill", BTreeSet::from(["alerts", "chaos", "ledger"])),
        ("ledger", BTreeSet::new()),
    ]);
    assert_eq!(
        edges, expected,
        "of all kinds: a dev-dependency would be an edge too"
    );
}

#[test]
fn the_simulation_is_built_without_the_real_adapters() {
    let metadata = MetadataCommand::new()
        .manifest_path(crate::program::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let mut judged = 0;
    for package in &metadata.packages {
        for dependency in &package.dependencies {
            if dependency.name == "ledger" && dependency.kind == DependencyKind::Normal {
                assert!(
                    !dependency.uses_default_features,
                    "{} builds sqlx",
                    package.name
                );
                assert!(
                    dependency.features.is_empty(),
                    "{} asks for {:?}",
                    package.name,
                    dependency.features
                );
                judged += 1;
            }
        }
    }
    assert!(judged >= 2, "chaos and firedrill depend on ledger");
}

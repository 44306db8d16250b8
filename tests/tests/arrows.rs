//! Every arrow between crates points down (docs/decisions/0001-arrows.md).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};

/// What each crate may know of ours. The four floors of the design.
const ALLOWED: &[(&str, &[&str])] = &[
    ("survey", &[]),
    ("proto", &["survey"]),
    ("imagery", &["survey"]),
    ("analysis", &["survey"]),
    ("coordinator", &["survey", "proto", "imagery"]),
    ("worker", &["survey", "proto", "imagery", "analysis"]),
    ("report", &["survey", "proto", "imagery"]),
    ("simulate", &["survey", "imagery"]),
    ("cli", &["survey", "proto", "imagery", "analysis", "coordinator", "worker", "report", "simulate"]),
    ("tests", &["survey", "proto", "imagery", "analysis", "coordinator", "worker", "report", "simulate"]),
];

/// Crates that do I/O or async: the domain and the analysis must not know them.
const IMPURE: &[&str] = &["tokio", "object_store", "reqwest", "hyper", "tonic", "futures"];

fn ours(package: &str) -> Option<String> {
    if package == "groundbreak" { Some("cli".into()) } else { package.strip_prefix("groundbreak-").map(str::to_owned) }
}

fn metadata() -> cargo_metadata::Metadata {
    cargo_metadata::MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap()
}

fn edges(metadata: &cargo_metadata::Metadata) -> BTreeMap<String, BTreeSet<String>> {
    metadata
        .packages
        .iter()
        .map(|package| {
            let name = ours(&package.name).unwrap();
            let to = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind != cargo_metadata::DependencyKind::Development)
                .filter_map(|dependency| {
                    ours(&dependency.name)
                        .or_else(|| IMPURE.contains(&dependency.name.as_str()).then(|| dependency.name.clone()))
                })
                .collect();
            (name, to)
        })
        .collect()
}

/// Edges that are not allowed, as `from -> to`.
fn forbidden(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut found = Vec::new();
    for (from, to) in edges {
        let allowed = ALLOWED.iter().find(|(name, _)| name == from).map(|(_, allowed)| *allowed);
        for to in to {
            let pure_floor = matches!(from.as_str(), "survey" | "analysis");
            let ours = ALLOWED.iter().any(|(name, _)| name == to);
            if allowed.is_none_or(|allowed| ours && !allowed.contains(&to.as_str())) || (!ours && pure_floor) {
                found.push(format!("{from} -> {to}"));
            }
        }
    }
    found
}

#[test]
fn every_arrow_points_down() {
    let edges = edges(&metadata());
    assert_eq!(forbidden(&edges), Vec::<String>::new());
    assert_eq!(
        edges.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        ALLOWED.iter().map(|(name, _)| *name).collect()
    );
}

#[test]
fn an_arrow_up_or_sideways_would_be_seen() {
    let mut edges = edges(&metadata());
    edges.get_mut("survey").unwrap().insert("tokio".into());
    edges.get_mut("coordinator").unwrap().insert("worker".into());
    edges.get_mut("analysis").unwrap().insert("imagery".into());
    assert_eq!(forbidden(&edges), ["analysis -> imagery", "coordinator -> worker", "survey -> tokio"]);
}

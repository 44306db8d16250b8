//! Dashboard, alerts and manual against the list of what a coordinator measures.

use std::collections::BTreeSet;

use coordinator::metrics::{HISTOGRAMS, LABELS, METRICS};
use serde_json::Value;

use crate::files::{each, problems, program, python, root, text, yaml};
use crate::promql::Names;

const ALERTS: &str = "deploy/monitoring/alerts.yaml";
const DASHBOARD: &str = "deploy/monitoring/dashboard.json";

fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).unwrap()
}

fn alerts() -> Vec<Value> {
    let rules = yaml(&text(ALERTS)).remove(0);
    rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Where it stands, and the expression.
fn expressions() -> Vec<(String, String)> {
    let alerts =
        alerts().into_iter().map(|rule| (rule["alert"].to_string(), rule["expr"].as_str().unwrap().to_owned()));
    let panels = dashboard()["panels"].as_array().unwrap().clone().into_iter().flat_map(|panel| {
        let title = panel["title"].to_string();
        let targets: Vec<_> =
            each(&panel["targets"], "expr").into_iter().map(|expr| expr.as_str().unwrap().to_owned()).collect();
        targets.into_iter().map(move |expr| (title.clone(), expr))
    });
    alerts.chain(panels).collect()
}

/// The metric that a series belongs to: a histogram has three.
fn metric(series: &str) -> &str {
    let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| series.strip_suffix(part));
    parts.into_iter().find(|base| HISTOGRAMS.contains(base)).unwrap_or(series)
}

/// What an expression names that there is not.
fn unknown(expression: &str) -> Vec<String> {
    let names = Names::of(expression);
    let mut unknown: Vec<String> =
        names.metrics.iter().filter(|series| !METRICS.contains(&metric(series))).cloned().collect();
    for (series, label, values) in &names.matched {
        match LABELS.iter().find(|(name, known, _)| *name == metric(series) && known == label) {
            None => unknown.push(format!("{series}{{{label}}}")),
            Some((_, _, Some(known))) => {
                unknown.extend(
                    values
                        .iter()
                        .filter(|value| !known.contains(&value.as_str()))
                        .map(|value| format!("{label}={value}")),
                );
            }
            Some((_, _, None)) => {}
        }
    }
    for label in &names.grouped {
        let is_known = LABELS
            .iter()
            .any(|(name, known, _)| known == label && names.metrics.iter().any(|series| metric(series) == *name));
        let is_bound = label == "le" && names.metrics.iter().any(|series| series.ends_with("_bucket"));
        if !(is_known || is_bound) {
            unknown.push(format!("by ({label})"));
        }
    }
    unknown
}

#[test]
fn dashboard_and_alerts_name_only_what_is_measured() {
    let expressions = expressions();
    assert!(expressions.len() > 25, "{}", expressions.len());
    for (place, expression) in &expressions {
        assert_eq!(unknown(expression), Vec::<String>::new(), "{place}: {expression}");
        assert!(!Names::of(expression).metrics.is_empty(), "{place}: {expression} names no metric");
    }
    // And of what is measured, nothing is shown nowhere.
    let shown: BTreeSet<String> = expressions
        .iter()
        .flat_map(|(_, expression)| Names::of(expression).metrics)
        .map(|series| metric(&series).to_owned())
        .collect();
    assert_eq!(shown, METRICS.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn a_name_that_there_is_not_would_be_seen() {
    for (expression, found) in [
        ("sum(groundbreak_nonsense)", "groundbreak_nonsense"),
        ("rate(groundbreak_attempts_total_bucket[5m])", "groundbreak_attempts_total_bucket"),
        ("groundbreak_surveys{phase=\"running\"}", "groundbreak_surveys{phase}"),
        ("groundbreak_surveys{state=~\"running|runing\"}", "state=runing"),
        ("sum by (county) (groundbreak_jobs)", "by (county)"),
        ("sum by (le) (groundbreak_jobs)", "by (le)"),
    ] {
        assert_eq!(unknown(expression), [found], "{expression}");
    }
}

#[test]
fn the_list_of_metrics_is_in_order() {
    let unique: BTreeSet<_> = METRICS.iter().collect();
    assert_eq!(unique.len(), METRICS.len());
    assert!(METRICS.iter().all(|name| name.starts_with("groundbreak_")));
    assert!(HISTOGRAMS.iter().chain(LABELS.iter().map(|(name, ..)| name)).all(|name| METRICS.contains(name)));
}

#[test]
fn each_alert_has_its_place_in_the_manual() {
    let manual = text("docs/operate.md");
    let mut documented: BTreeSet<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|title| title.starts_with("Groundbreak"))
        .collect();
    for rule in alerts() {
        let name = rule["alert"].as_str().unwrap();
        assert!(documented.remove(name), "docs/operate.md has no section `### {name}`");
        assert_eq!(rule["annotations"]["runbook"], format!("docs/operate.md#{}", name.to_lowercase()));
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        assert!(rule["annotations"]["summary"].is_string() && rule["annotations"]["description"].is_string(), "{name}");
    }
    assert!(documented.is_empty(), "no alert is called {documented:?}");
    // The manual names no metric that there is not.
    for part in manual
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|part| part.starts_with("groundbreak_"))
    {
        assert!(METRICS.contains(&metric(part)), "docs/operate.md: {part}");
    }
}

#[test]
fn every_expression_is_promql() {
    let test = "every_expression_is_promql";
    let Some(python) = python(test, "promql_parser") else { return };
    // Grafana replaces these.
    let plain: Vec<String> = expressions()
        .into_iter()
        .map(|(_, expression)| {
            expression.replace("$__rate_interval", "1m").replace("$__range", "3h").replace('\n', " ")
        })
        .collect();
    assert_eq!(problems(&python, &["promql"], &plain.join("\n")), Vec::<String>::new());
    assert_eq!(problems(&python, &["promql"], "sum(rate(groundbreak_jobs[5m]) by").len(), 1, "a mistake would be seen");
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    let test = "alerts_fire_when_they_should_and_not_before";
    let Some(mut promtool) = program(test, "promtool", &["--version"]) else { return };
    let output =
        promtool.args(["test", "rules", "alerts_test.yaml"]).current_dir(root("deploy/monitoring")).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    // Every alert is in a test.
    let tested = text("deploy/monitoring/alerts_test.yaml");
    for rule in alerts() {
        assert!(tested.contains(&format!("alertname: {}", rule["alert"].as_str().unwrap())), "{}", rule["alert"]);
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let mut taken: BTreeSet<(u64, u64)> = BTreeSet::new();
    for panel in panels {
        assert!(!panel["title"].as_str().unwrap().is_empty() && !panel["description"].as_str().unwrap().is_empty());
        let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(number("x") + number("w") <= 24, "{}", panel["title"]);
        for y in number("y")..number("y") + number("h") {
            for x in number("x")..number("x") + number("w") {
                assert!(taken.insert((x, y)), "{} lies over another panel", panel["title"]);
            }
        }
        for source in each(panel, "datasource") {
            assert_eq!(source["uid"], "${datasource}", "{}: it would need a data source of that name", panel["title"]);
        }
    }
}

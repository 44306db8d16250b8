//! `manifest.json`: what the results were made of, and their digests.

use serde_json::{Map, Value, json};

use crate::files::ResultFile;
use crate::input::ReportInput;

/// The manifest over all other files, which are sorted by path.
#[must_use]
pub(crate) fn write(input: &ReportInput<'_>, files: &[ResultFile]) -> Vec<u8> {
    let plan = input.plan;
    let scenes: Vec<Value> = plan
        .scenes
        .iter()
        .map(|scene| {
            let checksums: Vec<&String> = scene.assets.iter().filter_map(|asset| asset.checksum.as_ref()).collect();
            let mut entry = Map::new();
            entry.insert("id".to_owned(), scene.id.0.as_str().into());
            entry.insert(
                "acquired".to_owned(),
                scene.acquired.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into(),
            );
            if !checksums.is_empty() {
                entry.insert("checksum:multihash".to_owned(), json!(checksums));
            }
            Value::Object(entry)
        })
        .collect();
    let results: Vec<Value> = files
        .iter()
        .map(|file| {
            json!({
                "path": file.path,
                "length": file.length,
                "sha256": file.digest.to_hex(),
                "checksum:multihash": file.digest.to_multihash(),
            })
        })
        .collect();
    let manifest = json!({
        "survey": plan.survey,
        "name": plan.name,
        "version": survey::VERSION,
        "spec_hash": plan.spec_hash,
        "before": { "from": input.before.from, "to": input.before.to },
        "after": { "from": input.after.from, "to": input.after.to },
        "grid": { "crs": plan.grid.crs, "resolution_m": plan.grid.resolution_m },
        "detector": plan.detector.name,
        "counties": plan.counties.len(),
        "scenes": scenes,
        "notes": input.notes,
        "results": results,
    });
    pretty(&manifest)
}

/// JSON for people, with a newline at the end.
pub(crate) fn pretty(value: &Value) -> Vec<u8> {
    let mut text = format!("{value:#}");
    text.push('\n');
    text.into_bytes()
}

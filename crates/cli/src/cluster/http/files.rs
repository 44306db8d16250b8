//! Chips and results of a survey, from its output through the coordinator; style sheet and script of the pages.

use axum::extract::{Path, State};
use axum::response::Response;
use proto::convert::job::object;
use proto::v1::county_outcome::Outcome;
use report::{chips, live};
use survey::ids::Digest;
use survey::job::ObjectRef;

use super::Site;
use super::reply::{self, FILE_POLICY, Keep, Refusal};

/// The largest file that is sent.
const MOST_BYTES: u64 = 64 << 20;
/// The list of the results, which is one of them.
const MANIFEST: &str = "manifest.json";

/// A chip, where a county's result lists it.
pub async fn chip(State(site): State<Site>, Path((name, chip)): Path<(String, String)>) -> Result<Response, Refusal> {
    let survey = site.coordinator.survey(&name).await?;
    let (output, ..) = site.output(&survey.id).await?;
    for county in &survey.counties {
        // A chip is named by its site, and a site by its county.
        let Some(Outcome::Result(reference)) = &county.outcome else { continue };
        if !chip.starts_with(chips::file_name(&county.county, "").trim_end_matches("-.png")) {
            continue;
        }
        let reference = object(reference.clone()).map_err(|error| Refusal::unreadable(&error))?;
        let result = site.known.result(&output, &reference).await.map_err(|cause| Refusal::unreadable(&cause))?;
        let Some(found) = result.chips.iter().find(|found| chips::safe_name(&found.name) == chip) else { continue };
        if found.object.length > MOST_BYTES {
            return Err(Refusal::too_large(format!("{chip}: {} bytes are not sent", found.object.length)));
        }
        let bytes = output.fetch(&found.object).await.map_err(|error| Refusal::unreadable(&error))?;
        return Ok(reply::with("image/png", FILE_POLICY, Keep::Hour, bytes));
    }
    Err(Refusal::missing(format!("{chip}: no county's result lists such a chip")))
}

/// A file of the results, where their manifest lists it.
pub async fn result(State(site): State<Site>, Path((name, path)): Path<(String, String)>) -> Result<Response, Refusal> {
    let survey = site.coordinator.survey(&name).await?;
    let (output, ..) = site.output(&survey.id).await?;
    let manifest = output.get(&format!("results/{MANIFEST}")).await.map_err(|error| Refusal::unreadable(&error))?;
    let manifest = manifest.ok_or_else(|| Refusal::missing("the survey has no results yet"))?;
    if path == MANIFEST {
        return Ok(reply::with("application/json", FILE_POLICY, Keep::No, manifest));
    }
    let listed =
        listed(&manifest, &path).ok_or_else(|| Refusal::missing(format!("{path}: the results have no such file")))?;
    if listed.length > MOST_BYTES {
        let place = output.label();
        return Err(Refusal::too_large(format!("{path} has {} bytes: copy it from {place}results/", listed.length)));
    }
    let bytes = output.fetch(&listed).await.map_err(|error| Refusal::unreadable(&error))?;
    Ok(reply::with(kind(&path), &policy(&path), Keep::No, bytes))
}

/// A file as the manifest lists it.
fn listed(manifest: &[u8], path: &str) -> Option<ObjectRef> {
    let document: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    let entry =
        document.get("results")?.as_array()?.iter().find(|entry| entry.get("path").is_some_and(|at| at == path))?;
    let digest = Digest::from_hex(entry.get("sha256")?.as_str()?)?;
    Some(ObjectRef { key: format!("results/{path}"), digest, length: entry.get("length")?.as_u64()? })
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("csv") => "text/csv; charset=utf-8",
        Some("json") => "application/json",
        Some("geojson") => "application/geo+json",
        Some("png") => "image/png",
        Some("parquet") => "application/vnd.apache.parquet",
        _ => "application/octet-stream",
    }
}

/// The report carries its script, its style and its pictures inside; nothing else runs.
fn policy(path: &str) -> String {
    if !path.ends_with(".html") {
        return FILE_POLICY.to_owned();
    }
    format!(
        "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        report::page::script_hash()
    )
}

/// Style sheet, script and icon.
pub async fn asset(Path(name): Path<String>) -> Result<Response, Refusal> {
    let (kind, text) = match name.as_str() {
        "live.css" => ("text/css; charset=utf-8", live::STYLE),
        "live.js" => ("text/javascript; charset=utf-8", live::SCRIPT),
        "icon.svg" => ("image/svg+xml", live::ICON),
        _ => return Err(Refusal::missing(format!("{name}: there is no such file"))),
    };
    Ok(reply::with(kind, FILE_POLICY, Keep::Hour, text))
}

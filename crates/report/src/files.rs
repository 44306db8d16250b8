//! All files under `results/`.

use std::collections::BTreeMap;

use bytes::Bytes;
use survey::ids::Digest;
use survey::job::ObjectRef;

use crate::error::ReportError;
use crate::ground::Ground;
use crate::input::ReportInput;
use crate::{chips, csv, geojson, geoparquet, manifest, page, stac, summary, tables};

/// A file under `results/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFile {
    /// Path relative to `results/`.
    pub path: String,
    /// What it holds.
    pub content: Content,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Number of bytes.
    pub length: u64,
}

/// The bytes of a file, or where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// The bytes of a committed object, to be copied as they are (a chip: a country has more of them than memory).
    Object(ObjectRef),
}

impl ResultFile {
    pub(crate) fn new(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        let (digest, length) = (Digest::of(&bytes), bytes.len() as u64);
        Self { path: path.into(), content: Content::Bytes(bytes.into()), digest, length }
    }
}

/// The files of a report, `manifest.json` last.
///
/// `chips` has the bytes of the chips that [`chips::embedded`] names, by name.
///
/// # Errors
/// A plan and outcomes that don't belong together, and what [`ReportError`] says.
pub fn render(input: &ReportInput<'_>, chips: &BTreeMap<String, Bytes>) -> Result<Vec<ResultFile>, ReportError> {
    let ground = Ground::new(&input.plan.grid)?;
    let counties = summary::counties(input)?;
    let mut files = Vec::new();
    let tables = [tables::counties(&counties, &ground), tables::sites(&counties), tables::footprints(&counties)];
    for table in &tables {
        files.push(ResultFile::new(format!("{}.parquet", table.name), geoparquet::write(table)?));
        files.push(ResultFile::new(format!("{}.geojson", table.name), geojson::write(table)));
        files.push(ResultFile::new(format!("{}.csv", table.name), csv::write(table)?));
    }
    for chip in chips::all(&counties)? {
        files.push(ResultFile {
            path: chips::path(chip),
            content: Content::Object(chip.object.clone()),
            digest: chip.object.digest,
            length: chip.object.length,
        });
    }
    files.push(ResultFile::new("report.html", page::write(input, &counties, &ground, chips)?));
    files.push(ResultFile::new(stac::path(input.plan), stac::write(input, &counties, &ground, &tables, &files)));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.push(ResultFile::new("manifest.json", manifest::write(input, &files)));
    Ok(files)
}

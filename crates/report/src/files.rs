//! All files under `results/`.

use std::collections::BTreeMap;

use bytes::Bytes;
use rayon::prelude::*;
use survey::ids::Digest;
use survey::job::ObjectRef;

use crate::error::ReportError;
use crate::ground::Ground;
use crate::input::ReportInput;
use crate::tables::Table;
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

/// A format that tables are written in.
struct Format {
    extension: &'static str,
    bytes: fn(&Table) -> Result<Vec<u8>, ReportError>,
}

const FORMATS: [Format; 3] = [
    Format { extension: "parquet", bytes: geoparquet::write },
    Format { extension: "geojson", bytes: geojson::write },
    Format { extension: "csv", bytes: csv::write },
];

impl Format {
    fn write(&self, table: &Table) -> Result<ResultFile, ReportError> {
        Ok(ResultFile::new(format!("{}.{}", table.name, self.extension), (self.bytes)(table)?))
    }
}

/// The files of a report, `manifest.json` last. They are made side by side.
///
/// `chips` has the bytes of the chips that [`chips::embedded`] names, by name.
///
/// # Errors
/// A plan and outcomes that don't belong together, and what [`ReportError`] says.
pub fn render(input: &ReportInput<'_>, chips: &BTreeMap<String, Bytes>) -> Result<Vec<ResultFile>, ReportError> {
    let ground = Ground::new(&input.plan.grid)?;
    let counties = summary::counties(input)?;
    let (page, (tables, written)) = rayon::join(
        || page::write(input, &counties, &ground, chips),
        || {
            let tables =
                [tables::counties(&counties, &ground), tables::sites(&counties), tables::footprints(&counties)];
            let files = tables.par_iter().flat_map(|table| FORMATS.par_iter().map(move |format| format.write(table)));
            let written: Vec<Result<ResultFile, ReportError>> = files.collect();
            (tables, written)
        },
    );
    let mut files = written.into_iter().collect::<Result<Vec<_>, _>>()?;
    for chip in chips::all(&counties)? {
        files.push(ResultFile {
            path: chips::path(chip),
            content: Content::Object(chip.object.clone()),
            digest: chip.object.digest,
            length: chip.object.length,
        });
    }
    files.push(ResultFile::new("report.html", page?));
    files.push(ResultFile::new(stac::path(input.plan), stac::write(input, &counties, &ground, &tables, &files)));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.push(ResultFile::new("manifest.json", manifest::write(input, &files)));
    Ok(files)
}

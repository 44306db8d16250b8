//! The list of labelled pairs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use survey::scene::BandName;

use crate::failure;

/// Columns that must be there.
const NEEDED: [&str; 4] = ["set", "before", "after", "truth"];
/// Columns that may be there.
const OPTIONAL: [&str; 3] = ["unchanged", "gsd_m", "bands"];

/// A row of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct PairRow {
    /// Line of the CSV, from 1, the header being the first: as an editor shows it.
    pub row: u64,
    /// The CSV.
    pub list: PathBuf,
    /// Set it belongs to.
    pub set: String,
    /// Image of the earlier date.
    pub before: PathBuf,
    /// Image of the later date.
    pub after: PathBuf,
    /// Labels: not 0 where changed.
    pub truth: PathBuf,
    /// Labels: not 0 where surely unchanged.
    pub unchanged: Option<PathBuf>,
    /// Ground sample distance, metres.
    pub gsd_m: Option<f64>,
    /// Names of the bands in the files' order; an empty name leaves a band out.
    pub bands: Option<Vec<Option<BandName>>>,
}

impl PairRow {
    /// An error about this row.
    pub fn fault(&self, cause: impl std::fmt::Display) -> failure::Failure {
        failure::input(format!("{}: row {}: {cause}", self.list.display(), self.row))
    }
}

/// Reads the list.
///
/// # Errors
/// Names the row and the column.
pub fn read(list: &Path) -> Result<Vec<PairRow>> {
    let name = list.display();
    let bad = |cause: String| failure::input(format!("{name}: {cause}"));
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(list).map_err(|error| {
        bad(format!("it cannot be read ({error}); name a CSV with the columns {}", NEEDED.join(", ")))
    })?;
    let header = reader.headers().map_err(|error| bad(error.to_string()))?.clone();
    let mut columns: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, column) in header.iter().enumerate() {
        let column = column.trim_start_matches('\u{feff}');
        if !NEEDED.contains(&column) && !OPTIONAL.contains(&column) {
            let known = [&NEEDED[..], &OPTIONAL[..]].concat().join(", ");
            return Err(bad(format!("unknown column `{column}`; the columns are {known}")).into());
        }
        if columns.insert(column, index).is_some() {
            return Err(bad(format!("column `{column}` is there twice; keep one")).into());
        }
    }
    if let Some(missing) = NEEDED.iter().find(|column| !columns.contains_key(**column)) {
        let cause = if header.is_empty() { "it is empty".to_owned() } else { format!("column `{missing}` is missing") };
        return Err(bad(format!("{cause}; the columns {} are needed", NEEDED.join(", "))).into());
    }
    let folder = list.parent().unwrap_or(Path::new(""));
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| bad(error.to_string()))?;
        let row = record.position().map_or(0, csv::Position::line);
        let value = |column: &str| {
            columns
                .get(column)
                .and_then(|&index| record.get(index))
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let needed = |column: &str| value(column).ok_or_else(|| bad(format!("row {row}: `{column}` is empty")));
        let path = |column: &str| needed(column).map(|value| folder.join(value));
        let gsd_m = match value("gsd_m") {
            None => None,
            Some(text) => match text.parse::<f64>() {
                Ok(gsd) if gsd.is_finite() && gsd > 0.0 => Some(gsd),
                _ => return Err(bad(format!("row {row}: `gsd_m` is `{text}`; give metres per pixel")).into()),
            },
        };
        rows.push(PairRow {
            row,
            list: list.to_path_buf(),
            set: needed("set")?,
            before: path("before")?,
            after: path("after")?,
            truth: path("truth")?,
            unchanged: value("unchanged").map(|value| folder.join(value)),
            gsd_m,
            bands: value("bands").map(|text| band_names(&text)),
        });
    }
    if rows.is_empty() {
        return Err(bad("it lists no pair; add a row per pair".to_owned()).into());
    }
    Ok(rows)
}

/// `blue green red` or `blue;green;;nir`: an empty name between semicolons, or `-`, leaves a band out.
fn band_names(text: &str) -> Vec<Option<BandName>> {
    let parts: Vec<&str> = if text.contains([';', '|', ',']) {
        text.split([';', '|', ',']).collect()
    } else {
        text.split_whitespace().collect()
    };
    parts
        .into_iter()
        .map(str::trim)
        .map(|name| (!name.is_empty() && name != "-").then(|| BandName::new(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<PairRow>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pairs.csv");
        std::fs::write(&file, text).unwrap();
        read(&file)
    }

    fn refusal(text: &str) -> String {
        list(text).unwrap_err().to_string().split_once("pairs.csv: ").unwrap().1.to_owned()
    }

    #[test]
    fn a_list_is_read_with_paths_relative_to_it() {
        let rows = list("set,before,after,truth,unchanged,bands\nx,a/1.png,b.png,t.png,,blue;green;;nir\n").unwrap();
        assert_eq!(rows.len(), 1);
        assert!(rows[0].before.ends_with("a/1.png") && rows[0].before.is_absolute());
        assert_eq!((rows[0].row, rows[0].unchanged.as_ref()), (2, None));
        let bands = rows[0].bands.clone().unwrap();
        assert_eq!(bands.iter().filter(|band| band.is_none()).count(), 1);
    }

    #[test]
    fn what_is_wrong_with_a_list_is_said_with_row_and_column() {
        assert_eq!(
            refusal("set,befor,after,truth\n"),
            "unknown column `befor`; the columns are set, before, after, truth, unchanged, gsd_m, bands"
        );
        assert!(refusal("set,before,after\nx,a,b\n").starts_with("column `truth` is missing"));
        assert!(refusal("").starts_with("it is empty"));
        assert!(refusal("set,before,after,truth\n").starts_with("it lists no pair"));
        assert_eq!(refusal("set,before,after,truth\nx,a,b,t\nx,a,,t\n"), "row 3: `after` is empty");
        assert!(refusal("set,before,after,truth,gsd_m\nx,a,b,t,fine\n").starts_with("row 2: `gsd_m` is `fine`"));
        assert!(refusal("set,before,after,truth,set\n").contains("`set` is there twice"));
        assert!(refusal("set,before,after,truth\nx,a\n").contains("2"));
    }
}

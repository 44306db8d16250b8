//! The columns of the result tables, each with its type, unit and meaning: what `docs/results.md` lists.

mod counties;
mod footprints;
mod sites;

use chrono::NaiveDate;
use geo::{MultiPolygon, Polygon};

pub use counties::counties;
pub use footprints::footprints;
pub use sites::sites;

use crate::ground::round;

/// A table with one geometry per row.
#[derive(Clone, Debug)]
pub struct Table {
    /// File stem: `counties`, `sites`, `footprints`.
    pub name: &'static str,
    /// Columns, the geometry aside.
    pub columns: Vec<Column>,
    /// Geometries (longitude and latitude), one per row.
    pub geometry: Vec<Geometry>,
    /// Types that the geometry may have, in GeoParquet's words.
    pub geometry_types: &'static [&'static str],
}

/// A row's geometry.
#[derive(Clone, Debug, PartialEq)]
pub enum Geometry {
    /// One polygon.
    Polygon(Polygon<f64>),
    /// Several polygons, or none.
    MultiPolygon(MultiPolygon<f64>),
}

/// A column: what it means and what it holds.
#[derive(Clone, Debug)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Unit; empty where there is none.
    pub unit: &'static str,
    /// Meaning, one sentence.
    pub meaning: &'static str,
    /// The cells.
    pub cells: Cells,
}

/// The cells of a column; `None` is an empty cell (CSV), `null` (GeoJSON) or NULL (Parquet).
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Text.
    Text(Vec<Option<String>>),
    /// Whole numbers.
    Whole(Vec<Option<i64>>),
    /// Numbers rounded to so many decimals.
    Real(u32, Vec<Option<f64>>),
    /// Yes or no.
    Flag(Vec<Option<bool>>),
    /// Days (UTC).
    Day(Vec<Option<NaiveDate>>),
}

impl Cells {
    /// The type in words: `text`, `integer`, `number (2 decimals)`, `boolean`, `date`.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::Text(_) => "text".to_owned(),
            Self::Whole(_) => "integer".to_owned(),
            Self::Real(1, _) => "number (1 decimal)".to_owned(),
            Self::Real(decimals, _) => format!("number ({decimals} decimals)"),
            Self::Flag(_) => "boolean".to_owned(),
            Self::Day(_) => "date".to_owned(),
        }
    }

    /// A cell as CSV writes it: a number with its shortest digits, a day as `2024-05-29`, nothing where there is none.
    #[must_use]
    pub fn text(&self, row: usize) -> String {
        fn cell<T: ToString>(cells: &[Option<T>], row: usize) -> String {
            cells.get(row).and_then(Option::as_ref).map(T::to_string).unwrap_or_default()
        }
        match self {
            Self::Text(cells) => cell(cells, row),
            Self::Whole(cells) => cell(cells, row),
            Self::Real(_, cells) => cell(cells, row),
            Self::Flag(cells) => cell(cells, row),
            Self::Day(cells) => cell(cells, row),
        }
    }

    /// A cell as GeoJSON writes it.
    #[must_use]
    pub fn json(&self, row: usize) -> serde_json::Value {
        use serde_json::Value;
        fn cell<T, V: Into<Value>>(cells: &[Option<T>], row: usize, json: impl Fn(&T) -> V) -> Value {
            cells.get(row).and_then(Option::as_ref).map_or(Value::Null, |cell| json(cell).into())
        }
        match self {
            Self::Text(cells) => cell(cells, row, String::clone),
            Self::Whole(cells) => cell(cells, row, |whole| *whole),
            Self::Real(_, cells) => cell(cells, row, |real| *real),
            Self::Flag(cells) => cell(cells, row, |flag| *flag),
            Self::Day(cells) => cell(cells, row, NaiveDate::to_string),
        }
    }
}

/// Builds the columns of a table over its rows, so that a column's meaning and its value stand on one line.
struct Columns<'r, R> {
    rows: &'r [R],
    columns: Vec<Column>,
}

impl<'r, R> Columns<'r, R> {
    fn over(rows: &'r [R]) -> Self {
        Self { rows, columns: Vec::new() }
    }

    fn add(mut self, name: &'static str, unit: &'static str, meaning: &'static str, cells: Cells) -> Self {
        self.columns.push(Column { name, unit, meaning, cells });
        self
    }

    fn text(self, name: &'static str, meaning: &'static str, value: impl Fn(&'r R) -> Option<&'r str>) -> Self {
        self.words(name, meaning, |row| value(row).map(str::to_owned))
    }

    fn words(self, name: &'static str, meaning: &'static str, value: impl Fn(&'r R) -> Option<String>) -> Self {
        let cells = Cells::Text(self.rows.iter().map(value).collect());
        self.add(name, "", meaning, cells)
    }

    fn whole(
        self,
        name: &'static str,
        unit: &'static str,
        meaning: &'static str,
        value: impl Fn(&'r R) -> Option<u64>,
    ) -> Self {
        let whole = |row: &'r R| value(row).and_then(|value| i64::try_from(value).ok());
        let cells = Cells::Whole(self.rows.iter().map(whole).collect());
        self.add(name, unit, meaning, cells)
    }

    fn year(self, name: &'static str, meaning: &'static str, value: impl Fn(&'r R) -> Option<i32>) -> Self {
        let cells = Cells::Whole(self.rows.iter().map(|row| value(row).map(i64::from)).collect());
        self.add(name, "year", meaning, cells)
    }

    /// A number; one that isn't finite has no meaning and is left out.
    fn real(
        self,
        name: &'static str,
        unit: &'static str,
        decimals: u32,
        meaning: &'static str,
        value: impl Fn(&'r R) -> Option<f64>,
    ) -> Self {
        let real = |row: &'r R| value(row).filter(|value| value.is_finite()).map(|value| round(value, decimals));
        let cells = Cells::Real(decimals, self.rows.iter().map(real).collect());
        self.add(name, unit, meaning, cells)
    }

    fn flag(self, name: &'static str, meaning: &'static str, value: impl Fn(&'r R) -> bool) -> Self {
        let cells = Cells::Flag(self.rows.iter().map(|row| Some(value(row))).collect());
        self.add(name, "", meaning, cells)
    }

    fn day(self, name: &'static str, meaning: &'static str, value: impl Fn(&'r R) -> NaiveDate) -> Self {
        let cells = Cells::Day(self.rows.iter().map(|row| Some(value(row))).collect());
        self.add(name, "UTC", meaning, cells)
    }
}

/// Several remarks in one cell.
fn joined<T: AsRef<str>>(remarks: impl IntoIterator<Item = T>) -> Option<String> {
    let mut text = String::new();
    for remark in remarks {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(remark.as_ref());
    }
    (!text.is_empty()).then_some(text)
}

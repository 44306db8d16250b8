//! Tables as CSV: RFC 4180, UTF-8, a header line, no geometry.

use crate::error::ReportError;
use crate::tables::Table;

/// The table as CSV.
///
/// # Errors
/// None in practice: writing to memory.
pub fn write(table: &Table) -> Result<Vec<u8>, ReportError> {
    let file = format!("{}.csv", table.name);
    let encode = ReportError::encode(&file);
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    let header: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    writer.write_record(&header).map_err(|cause| encode(cause.to_string()))?;
    for row in 0..table.geometry.len() {
        let record = table.columns.iter().map(|column| column.cells.text(row));
        writer.write_record(record).map_err(|cause| encode(cause.to_string()))?;
    }
    writer.into_inner().map_err(|cause| encode(cause.to_string()))
}

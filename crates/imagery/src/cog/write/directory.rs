//! TIFF directories of a new file, and the order of its parts.

use std::io::Write;

use survey::grid::GeoTransform;

use super::{CogCrs, CogSample, CogSpec};

/// A level whose blocks are compressed.
pub(super) struct EncodedLevel {
    /// Columns.
    pub(super) width: u32,
    /// Rows.
    pub(super) height: u32,
    /// Row by row.
    pub(super) blocks: Vec<Vec<u8>>,
}

/// The value of a tag.
enum Value {
    Ascii(String),
    Short(Vec<u16>),
    Long(Vec<u32>),
    Double(Vec<f64>),
    /// Offsets and counts: 8 bytes each in a BigTIFF, 4 otherwise.
    Word(Vec<u64>),
}

impl Value {
    /// TIFF type, count and little-endian bytes.
    fn bytes(&self, big: bool) -> (u16, u64, Vec<u8>) {
        match self {
            Self::Ascii(text) => {
                let mut bytes = text.clone().into_bytes();
                bytes.push(0);
                (2, bytes.len() as u64, bytes)
            }
            Self::Short(values) => {
                (3, values.len() as u64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Long(values) => {
                (4, values.len() as u64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Double(values) => {
                (12, values.len() as u64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Word(values) if big => {
                (16, values.len() as u64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Self::Word(values) => {
                (4, values.len() as u64, values.iter().flat_map(|&value| (value as u32).to_le_bytes()).collect())
            }
        }
    }
}

fn geo_tags(georeference: &(CogCrs, GeoTransform)) -> Vec<(u16, Value)> {
    let (crs, transform) = georeference;
    let mut tags = Vec::new();
    if transform.x_per_row == 0.0
        && transform.y_per_col == 0.0
        && transform.y_per_row < 0.0
        && transform.x_per_col > 0.0
    {
        tags.push((33550, Value::Double(vec![transform.x_per_col, -transform.y_per_row, 0.0])));
        tags.push((33922, Value::Double(vec![0.0, 0.0, 0.0, transform.x0, transform.y0, 0.0])));
    } else {
        #[rustfmt::skip]
        let matrix = vec![
            transform.x_per_col, transform.x_per_row, 0.0, transform.x0,
            transform.y_per_col, transform.y_per_row, 0.0, transform.y0,
            0.0, 0.0, 0.0, 0.0,
            0.0, 0.0, 0.0, 1.0,
        ];
        tags.push((34264, Value::Double(matrix)));
    }
    // GTModelType, GTRasterType (pixel is area), then the CRS and its unit: metre 9001, degree 9102.
    let keys: [[u16; 4]; 4] = match *crs {
        CogCrs::Projected(code) => [[1024, 0, 1, 1], [1025, 0, 1, 1], [3072, 0, 1, code], [3076, 0, 1, 9001]],
        CogCrs::Geographic(code) => [[1024, 0, 1, 2], [1025, 0, 1, 1], [2048, 0, 1, code], [2054, 0, 1, 9102]],
    };
    tags.push((34735, Value::Short([[1, 1, 0, 4]].iter().chain(&keys).flatten().copied().collect())));
    tags
}

fn number(value: f64) -> String {
    if value.is_nan() { "nan".into() } else { format!("{value}") }
}

fn tags<T: CogSample>(spec: &CogSpec, level: &EncodedLevel, index: usize, offsets: Vec<u64>) -> Vec<(u16, Value)> {
    let bands = spec.band_names.len();
    let mut tags = vec![
        (254, Value::Long(vec![u32::from(index > 0)])),
        (256, Value::Long(vec![level.width])),
        (257, Value::Long(vec![level.height])),
        (258, Value::Short(vec![T::BITS; bands])),
        (259, Value::Short(vec![8])),
        (262, Value::Short(vec![1])),
        (277, Value::Short(vec![bands as u16])),
        (284, Value::Short(vec![1])),
        (317, Value::Short(vec![if spec.predictor { 2 } else { 1 }])),
        (322, Value::Long(vec![spec.block_px])),
        (323, Value::Long(vec![spec.block_px])),
        (324, Value::Word(offsets)),
        (325, Value::Word(level.blocks.iter().map(|block| block.len() as u64).collect())),
    ];
    if bands > 1 {
        tags.push((338, Value::Short(vec![0; bands - 1])));
    }
    tags.push((339, Value::Short(vec![T::FORMAT; bands])));
    if index == 0 {
        tags.extend(spec.georeference.iter().flat_map(geo_tags));
        if spec.band_names.iter().any(|name| !name.is_empty()) {
            let items: String = spec
                .band_names
                .iter()
                .enumerate()
                .map(|(band, name)| {
                    let name = name.replace('&', "&amp;").replace('<', "&lt;");
                    format!("  <Item name=\"DESCRIPTION\" sample=\"{band}\" role=\"description\">{name}</Item>\n")
                })
                .collect();
            tags.push((42112, Value::Ascii(format!("<GDALMetadata>\n{items}</GDALMetadata>\n"))));
        }
    }
    if let Some(nodata) = spec.nodata {
        tags.push((42113, Value::Ascii(number(nodata))));
    }
    tags
}

/// Bytes of all directories, with block offsets counted from the file's start.
fn directories<T: CogSample>(spec: &CogSpec, levels: &[EncodedLevel], offsets: &[Vec<u64>], big: bool) -> Vec<u8> {
    let (header, entry, word) = if big { (16, 20, 8) } else { (8, 12, 4) };
    let mut bytes: Vec<u8> = if big {
        [b"II+\0".as_slice(), &8u16.to_le_bytes(), &0u16.to_le_bytes(), &16u64.to_le_bytes()].concat()
    } else {
        [b"II*\0".as_slice(), &8u32.to_le_bytes()].concat()
    };
    debug_assert_eq!(bytes.len(), header);
    let put_word = |bytes: &mut Vec<u8>, value: u64| {
        if big {
            bytes.extend_from_slice(&value.to_le_bytes());
        } else {
            bytes.extend_from_slice(&(value as u32).to_le_bytes());
        }
    };
    for (index, (level, offsets)) in levels.iter().zip(offsets).enumerate() {
        let tags = tags::<T>(spec, level, index, offsets.clone());
        let directory = bytes.len();
        let count_bytes = if big { 8 } else { 2 };
        let mut values_at = directory + count_bytes + tags.len() * entry + word;
        let mut values: Vec<u8> = Vec::new();
        if big {
            bytes.extend_from_slice(&(tags.len() as u64).to_le_bytes());
        } else {
            bytes.extend_from_slice(&(tags.len() as u16).to_le_bytes());
        }
        for (tag, value) in &tags {
            let (kind, count, mut data) = value.bytes(big);
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&kind.to_le_bytes());
            put_word(&mut bytes, count);
            if data.len() <= word {
                data.resize(word, 0);
                bytes.extend_from_slice(&data);
            } else {
                put_word(&mut bytes, (values_at + values.len()) as u64);
                values.extend_from_slice(&data);
                // TIFF wants values at even offsets.
                values.resize(values.len().next_multiple_of(2), 0);
            }
        }
        values_at += values.len();
        // Directories begin at even offsets too; a multiple of 8 suits both kinds.
        let next = values_at.next_multiple_of(8);
        put_word(&mut bytes, if index + 1 < levels.len() { next as u64 } else { 0 });
        bytes.extend_from_slice(&values);
        bytes.resize(next, 0);
    }
    bytes
}

/// Writes header, directories and blocks; returns the number of bytes.
pub(super) fn assemble<T: CogSample>(
    spec: &CogSpec,
    levels: &[EncodedLevel],
    out: &mut impl Write,
) -> std::io::Result<u64> {
    let data: u64 = levels.iter().flat_map(|level| &level.blocks).map(|block| block.len() as u64).sum();
    let nothing: Vec<Vec<u64>> = levels.iter().map(|level| vec![0; level.blocks.len()]).collect();
    // A classic TIFF addresses 4 GiB; room for the directories is left with a wide margin.
    let big = data + directories::<T>(spec, levels, &nothing, false).len() as u64 >= u64::from(u32::MAX);
    let mut at = directories::<T>(spec, levels, &nothing, big).len() as u64;
    let mut offsets = nothing;
    for (level, offsets) in levels.iter().zip(&mut offsets).rev() {
        for (block, offset) in level.blocks.iter().zip(offsets) {
            *offset = at;
            at += block.len() as u64;
        }
    }
    out.write_all(&directories::<T>(spec, levels, &offsets, big))?;
    for block in levels.iter().rev().flat_map(|level| &level.blocks) {
        out.write_all(block)?;
    }
    out.flush()?;
    Ok(at)
}

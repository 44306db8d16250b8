//! A survey small enough to run in a second: two counties, fields, and a lot with three halls that is new.

use std::path::{Path, PathBuf};

use imagery::cog::write::{CogCrs, CogSpec, Overviews, write_cog};
use survey::grid::GeoTransform;

/// West edge of the scenes, EPSG:32652.
pub const WEST: f64 = 500_000.0;
/// North edge of the scenes.
pub const NORTH: f64 = 4_600_000.0;
/// Side of the scenes, m and pixels.
pub const SIDE: u32 = 700;
/// The lot: rows and columns, half-open. 160 × 200 m, 3.2 ha, wholly in the eastern county.
pub const LOT: ([u32; 2], [u32; 2]) = ([250, 410], [420, 620]);

/// A folder with a survey in it; removed when dropped.
pub struct Fixture {
    folder: tempfile::TempDir,
}

/// A number in 0..1 that depends on its arguments alone.
fn noise(row: u32, col: u32, seed: u32) -> f64 {
    let mut hash = row.wrapping_mul(0x9e37_79b1) ^ col.wrapping_mul(0x85eb_ca77) ^ seed.wrapping_mul(0xc2b2_ae3d);
    hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
    hash = (hash ^ (hash >> 12)).wrapping_mul(0x297a_2d39);
    f64::from(hash ^ (hash >> 15)) / f64::from(u32::MAX)
}

/// Red, green, blue, near infrared of a field or a lot.
fn ground(row: u32, col: u32, built: bool, date: u32) -> [f64; 4] {
    let ([top, bottom], [left, right]) = LOT;
    if built && (top..bottom).contains(&row) && (left..right).contains(&col) {
        let (y, x) = (row - top, col - left);
        let in_hall = (20..180).contains(&x) && (y % 50) >= 12 && (y % 50) < 40;
        let ridge = if y % 50 < 26 { 12.0 } else { -12.0 };
        return if in_hall {
            [196.0 + ridge, 200.0 + ridge, 206.0 + ridge, 200.0]
        } else {
            [168.0, 146.0, 120.0, 176.0]
        };
    }
    let parcel = noise(row / 70, col / 110, 5);
    let rows = if (col / 3).is_multiple_of(2) { 3.0 } else { -3.0 };
    let texture = (noise(row / 2, col / 2, 9) - 0.5) * 14.0 + rows;
    let season = if date == 0 { 0.0 } else { 6.0 };
    [
        62.0 + 26.0 * parcel + texture,
        84.0 + 22.0 * parcel + texture + season,
        50.0 + 14.0 * parcel + texture,
        168.0 - 26.0 * parcel + 1.4 * texture,
    ]
}

/// A file of four bands (red, green, blue, nir) and `side` pixels of 1 m a side, with its north-west corner at `origin`.
#[must_use]
pub fn scene_spec(side: u32, origin: (f64, f64)) -> CogSpec {
    let place =
        GeoTransform { x0: origin.0, x_per_col: 1.0, x_per_row: 0.0, y0: origin.1, y_per_col: 0.0, y_per_row: -1.0 };
    CogSpec {
        width: side,
        height: side,
        band_names: ["red", "green", "blue", "nir"].map(str::to_owned).to_vec(),
        georeference: Some((CogCrs::Projected(32652), place)),
        nodata: None,
        block_px: 256,
        overviews: Overviews::None,
        predictor: true,
        deflate_level: 6,
    }
}

/// Writes a scene: four bands (red, green, blue, nir), bytes.
///
/// # Panics
/// Where the file cannot be written.
#[allow(clippy::expect_used, reason = "test support")]
pub fn write_scene(
    path: &Path,
    built: bool,
    date: u32,
    origin: (f64, f64),
    nodata: Option<f64>,
    change: impl Fn(u32, u32, usize, u8) -> u8,
) {
    let pixels = (SIDE * SIDE) as usize;
    let mut bands = vec![vec![0_u8; pixels]; 4];
    for row in 0..SIDE {
        for col in 0..SIDE {
            let values = ground(row, col, built, date);
            for (band, value) in values.into_iter().enumerate() {
                let sensor = (noise(row, col, 31 + date * 4 + band as u32) - 0.5) * 5.0;
                let value = (value + sensor).clamp(1.0, 254.0) as u8;
                bands[band][(row * SIDE + col) as usize] = change(row, col, band, value);
            }
        }
    }
    let spec = CogSpec { nodata, ..scene_spec(SIDE, origin) };
    let bands: Vec<&[u8]> = bands.iter().map(Vec::as_slice).collect();
    std::fs::write(path, write_cog(&spec, &bands).expect("a scene")).expect("a writable folder");
}

const SURVEY: &str = r#"[survey]
name = "fixture"
output = "out"

[counties]
source = "counties.geojson"
id = "pcode"
name = "name"

[before]
scenes = [{ href = "before.tif", date = 2023-10-02, bands = ["red", "green", "blue", "nir"] }]

[after]
scenes = [{ href = "after.tif", date = 2024-05-29, bands = ["red", "green", "blue", "nir"] }]
"#;

/// Id, name and ring of a county; the ring in metres from the scenes' north-west corner, east and south.
pub type Border<'a> = (&'a str, &'a str, &'a [(f64, f64)]);

/// A GeoJSON collection of counties in EPSG:32652: id, name and ring in metres from the scenes' north-west corner.
#[must_use]
pub fn counties(list: &[Border<'_>]) -> String {
    let features: Vec<_> = list
        .iter()
        .map(|(id, name, ring)| {
            let ring: Vec<[f64; 2]> = ring.iter().map(|(x, y)| [WEST + x, NORTH - y]).collect();
            serde_json::json!({ "type": "Feature", "properties": { "pcode": id, "name": name }, "geometry": { "type": "Polygon", "coordinates": [ring] } })
        })
        .collect();
    serde_json::json!({
        "type": "FeatureCollection",
        "crs": { "type": "name", "properties": { "name": "urn:ogc:def:crs:EPSG::32652" } },
        "features": features,
    })
    .to_string()
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    /// Writes the survey.
    ///
    /// # Panics
    /// Where the folder cannot be written.
    #[must_use]
    #[allow(clippy::expect_used, reason = "test support")]
    pub fn new() -> Self {
        let fixture = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        write_scene(&fixture.path("before.tif"), false, 0, (WEST, NORTH), None, |_, _, _, value| value);
        write_scene(&fixture.path("after.tif"), true, 1, (WEST, NORTH), None, |_, _, _, value| value);
        let west = [(0.0, 0.0), (350.0, 0.0), (370.0, 700.0), (0.0, 700.0), (0.0, 0.0)];
        let east = [(350.0, 0.0), (700.0, 0.0), (700.0, 700.0), (370.0, 700.0), (350.0, 0.0)];
        fixture.write("counties.geojson", &counties(&[("KP01", "Sohae", &west), ("KP02", "Tonghae", &east)]));
        fixture.write("survey.toml", SURVEY);
        fixture
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The survey file.
    #[must_use]
    pub fn survey(&self) -> String {
        self.path("survey.toml").to_string_lossy().into_owned()
    }

    /// Writes a file.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[allow(clippy::expect_used, reason = "test support")]
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a writable folder");
    }

    /// Replaces words of the survey file.
    ///
    /// # Panics
    /// Where the words are not there.
    pub fn edit(&self, from: &str, to: &str) {
        assert!(SURVEY.contains(from), "`{from}` is not in the survey");
        self.write("survey.toml", &SURVEY.replace(from, to));
    }

    /// Adds to the survey file.
    pub fn append(&self, text: &str) {
        self.write("survey.toml", &format!("{SURVEY}\n{text}"));
    }
}

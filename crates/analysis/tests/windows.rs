//! Evidence depends on pixels within its reach only, at any resolution; and a cloud is not a roof.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use analysis::calibrate::{CellSample, fit};
use analysis::detect::Detector;
use analysis::evidence::{PairEvidence, Preset, pair_evidence};
use survey::calibration::{Calibration, Registration};
use survey::grid::{Grid, PixelRect};
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::scene::BandName;
use survey::spec::DetectorSpec;

const SIZE: i32 = 420;

fn hash(row: i32, col: i32, salt: u32) -> f32 {
    let mut z = (row as u32).wrapping_mul(0x9e37_79b1)
        ^ (col as u32).wrapping_mul(0x85eb_ca77)
        ^ salt.wrapping_mul(0xc2b2_ae3d);
    z = (z ^ (z >> 15)).wrapping_mul(0x2c1b_3c6d);
    z = (z ^ (z >> 12)).wrapping_mul(0x297a_2d39);
    (z ^ (z >> 15)) as f32 / u32::MAX as f32
}

/// A disk that is bright in all bands on the later date: a cloud or a roof, by its radius.
#[derive(Clone, Copy)]
struct Bright {
    centre: (i32, i32),
    radius: i32,
}

fn window(rect: PixelRect, is_later: bool, bright: &[Bright]) -> SceneWindow {
    let value = |band: usize, row: i32, col: i32| {
        let field =
            hash(row.div_euclid(9), col.div_euclid(14), 1 + u32::from(is_later && hash(row / 9, col / 14, 9) < 0.1));
        let ground = [500.0, 800.0, 600.0, 2600.0][band] * (1.0 - 0.6 * field) + 500.0 * field;
        let is_bright = is_later
            && bright
                .iter()
                .any(|disk| (row - disk.centre.0).pow(2) + (col - disk.centre.1).pow(2) < disk.radius.pow(2));
        let ground = if is_bright { 6000.0 } else { ground };
        ground * (1.0 + 0.05 * (hash(row, col, 20 + band as u32 + 8 * u32::from(is_later)) - 0.5))
    };
    let pixels = || (rect.row0..rect.row1).flat_map(move |row| (rect.col0..rect.col1).map(move |col| (row, col)));
    let state = |row: i32, col: i32| {
        if !is_later && (row - 300).abs() < 5 && col > 200 { PixelState::Nodata } else { PixelState::Valid }
    };
    SceneWindow {
        bands: ["blue", "green", "red", "nir"].map(BandName::new).to_vec(),
        planes: (0..4)
            .map(|band| {
                let values = pixels().map(|(row, col)| value(band, row, col)).collect();
                Plane::from_vec(rect, values).unwrap().into()
            })
            .collect(),
        state: Plane::from_vec(rect, pixels().map(|(row, col)| state(row, col)).collect()).unwrap(),
    }
}

fn calibrated(resolution_m: f64, bright: &[Bright]) -> (Preset, Calibration) {
    let detector = DetectorSpec::default();
    let rect = PixelRect::new(0, 0, SIZE, SIZE);
    let sample = [CellSample { before: window(rect, false, bright), after: window(rect, true, bright) }];
    let grid = Grid { crs: "EPSG:32652".into(), resolution_m };
    (Preset::new(resolution_m, &detector), fit(&sample, &grid, Registration::default(), &detector))
}

fn evidence(rect: PixelRect, preset: &Preset, calibration: &Calibration, bright: &[Bright]) -> PairEvidence {
    evidence_of(rect, rect, preset, calibration, bright)
}

fn evidence_of(
    wanted: PixelRect,
    rect: PixelRect,
    preset: &Preset,
    calibration: &Calibration,
    bright: &[Bright],
) -> PairEvidence {
    let (before, after) = (window(rect, false, bright), window(rect, true, bright));
    pair_evidence(&before, &after, calibration, preset, Detector::Default, wanted)
}

#[test]
fn the_evidence_of_a_window_is_that_of_the_whole() {
    let clouds = [Bright { centre: (150, 180), radius: 30 }, Bright { centre: (190, 330), radius: 9 }];
    for resolution_m in [0.5, 10.0, 30.0] {
        let (preset, calibration) = calibrated(resolution_m, &clouds);
        let whole = evidence(PixelRect::new(0, 0, SIZE, SIZE), &preset, &calibration, &clouds);
        for tile in [PixelRect::new(130, 120, 260, 230), PixelRect::new(201, 150, 290, 301)] {
            let around = tile.grown(preset.halo_px());
            // What a tile's findings are made of.
            let tile = tile.grown(preset.shape_px());
            let part = evidence_of(tile, around, &preset, &calibration, &clouds);
            assert_eq!(part.state.crop(tile), whole.state.crop(tile), "at {resolution_m} m");
            assert_eq!(part.cover_before.crop(tile), whole.cover_before.crop(tile), "at {resolution_m} m");
            for (part, whole) in part.channels.iter().zip(&whole.channels) {
                assert_eq!(part.crop(tile), whole.crop(tile), "at {resolution_m} m");
            }
        }
    }
}

#[test]
fn a_cloud_is_a_gap_and_a_roof_is_not() {
    let seen = |resolution_m: f64, radius: i32| {
        let bright = [Bright { centre: (210, 210), radius }];
        let (preset, calibration) = calibrated(resolution_m, &bright);
        evidence(PixelRect::new(0, 0, SIZE, SIZE), &preset, &calibration, &bright).state.get(210, 210).unwrap()
    };
    // A cloud of 600 m; a hall of 90 m at 30 m; one of 120 m at 10 m; one of 60 m at 1 m.
    assert_eq!(seen(30.0, 10), PixelState::Cloud);
    assert_eq!(seen(10.0, 30), PixelState::Cloud);
    assert_eq!(seen(30.0, 2), PixelState::Valid);
    assert_eq!(seen(10.0, 6), PixelState::Valid);
    assert_eq!(seen(1.0, 30), PixelState::Valid);
}

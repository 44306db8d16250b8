//! The gate of the compared pipelines (`../shared/peers/README.md`): on their synthetic pair, the mode `irmad` gives
//! their threshold and their objects where it is fitted on all cells, as theirs is, and nearly their mask where it is
//! fitted on the cells that a survey samples. Its data takes minutes to make, so it runs by `make gate` only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail by panicking"
)]

use std::path::PathBuf;

use analysis::calibrate::{CellSample, fit, fit_to_all};
use analysis::components::pieces;
use analysis::detect::detect_pair;
use survey::calibration::{Registration, sampled_cells};
use survey::grid::{CELL_PX, Cell, Grid, PixelRect};
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::scene::BandName;
use survey::spec::DetectorSpec;

/// `t0.u16` and `t1.u16`: the pair's samples, band by band, row-major, little-endian.
fn scene(file: PathBuf) -> SceneWindow {
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; run `make gate`", file.display()));
    let samples = bytes.len() / 2 / 4;
    let side = (samples as f64).sqrt() as i32;
    let rect = PixelRect::new(0, 0, side, side);
    assert_eq!(rect.pixels(), samples);
    let planes = bytes
        .chunks_exact(2 * samples)
        .map(|band| {
            let values = band.chunks_exact(2).map(|pair| f32::from(u16::from_le_bytes([pair[0], pair[1]]))).collect();
            Plane::from_vec(rect, values).unwrap().into()
        })
        .collect();
    SceneWindow {
        bands: ["blue", "green", "red", "nir"].map(BandName::new).to_vec(),
        planes,
        state: Plane::filled(rect, PixelState::Valid),
    }
}

#[test]
#[ignore = "needs the 8192 x 8192 pair of ../shared/peers/gen.py: make gate"]
fn the_irmad_mode_passes_the_peers_gate() {
    let folder =
        PathBuf::from(std::env::var("GROUNDBREAK_GATE").expect("GROUNDBREAK_GATE names the folder of the pair"));
    let (before, after) = (scene(folder.join("t0.u16")), scene(folder.join("t1.u16")));
    let detector = DetectorSpec { name: "irmad".into(), ..DetectorSpec::default() };
    let grid = Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 };
    let cut = |window: &SceneWindow, rect: PixelRect| SceneWindow {
        bands: window.bands.clone(),
        planes: window.planes.iter().map(|plane| plane.values().crop(rect).into()).collect(),
        state: window.state.crop(rect),
    };
    let samples_of = |cells: &[Cell]| -> Vec<CellSample> {
        let sample = |cell: &Cell| CellSample { before: cut(&before, cell.rect()), after: cut(&after, cell.rect()) };
        cells.iter().map(sample).collect()
    };
    let mut cells: Vec<Cell> = before.rect().cells().collect();
    assert_eq!(cells.len(), (before.rect().rows() / CELL_PX as usize).pow(2));
    let calibration = fit_to_all(&samples_of(&cells), &grid, Registration::default(), &detector);
    let threshold = calibration.threshold.exp_m1();
    assert!((threshold / 9.877_742_727_456_024 - 1.0).abs() < 1e-6, "threshold {threshold}");
    let found = detect_pair(&before, &after, &calibration, grid.resolution_m, &detector);
    let objects = pieces(&found.change);
    let large =
        objects.iter().filter(|object| object.iter().map(survey::findings::Run::len).sum::<u64>() >= 500).count();
    assert_eq!(large, 658);

    // The cells that a survey samples: the smallest hashes.
    cells.sort_by_key(|cell| (cell.hash(), *cell));
    cells.truncate(usize::try_from(sampled_cells(before.rect(), 8)).unwrap());
    let calibration = fit(&samples_of(&cells), &grid, Registration::default(), &detector);
    let sampled = detect_pair(&before, &after, &calibration, grid.resolution_m, &detector).change;
    let share = sampled.and(&found.change).count() as f64 / sampled.or(&found.change).count() as f64;
    println!(
        "threshold {threshold}, {large} objects; mask of a fit on {} px in {} of 256 cells: IoU {share:.4}",
        calibration.sample_px,
        cells.len()
    );
    assert!(share >= 0.99, "IoU {share}");
}

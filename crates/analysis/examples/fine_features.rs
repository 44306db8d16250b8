//! Writes the features of the fine evidence for raw pairs: what `docs/decisions/0004/fit.py` fits the model on.
//!
//! `fine_features FOLDER RESOLUTION_M`: for each `FOLDER/<name>.raw` (u32 rows, columns, bands; then before and after as
//! f32, band by band, row-major; band names in `<name>.bands`, comma-separated) writes `<name>.features` (f32, feature
//! by feature) and `<name>.change` (u8, the mask of the default detector).

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;

use analysis::calibrate::{CellSample, fit, moved, register};
use survey::grid::{Grid, PixelRect};
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::scene::BandName;
use survey::spec::DetectorSpec;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let resolution_m: f64 = arguments[2].parse().unwrap();
    let name = arguments.get(3).map_or("default", String::as_str);
    let mut files: Vec<_> = std::fs::read_dir(&arguments[1]).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "raw")) {
        one(file, resolution_m, name);
    }
}

fn one(file: &Path, resolution_m: f64, name: &str) {
    let bytes = std::fs::read(file).unwrap();
    let word = |index: usize| u32::from_le_bytes(bytes[index * 4..index * 4 + 4].try_into().unwrap());
    let (rows, cols, bands) = (word(0) as i32, word(1) as i32, word(2) as usize);
    let rect = PixelRect::new(0, 0, rows, cols);
    let names = std::fs::read_to_string(file.with_extension("bands")).unwrap();
    let names: Vec<BandName> = names.trim().split(',').map(BandName::new).collect();
    let window = |date: usize| {
        let planes: Vec<Plane<f32>> = (0..bands)
            .map(|band| {
                let start = 3 + (date * bands + band) * rect.pixels();
                Plane::from_vec(rect, (start..start + rect.pixels()).map(|at| f32::from_bits(word(at))).collect())
                    .unwrap()
            })
            .collect();
        let mut state = Plane::filled(rect, PixelState::Valid);
        for (index, state) in state.data_mut().iter_mut().enumerate() {
            if planes.iter().any(|plane| plane.data()[index] == -9999.0) {
                *state = PixelState::Nodata;
            }
        }
        let planes = planes.into_iter().map(Into::into).collect();
        SceneWindow { bands: names.clone(), planes, state }
    };
    let grid = Grid { crs: String::new(), resolution_m };
    let detector = DetectorSpec { name: name.to_owned(), ..DetectorSpec::default() };
    let (before, after) = (window(0), window(1));
    let mut sample = CellSample { before, after };
    let registration = if analysis::calibrate::wants_registration(&detector) {
        register(std::slice::from_ref(&sample), &grid)
    } else {
        Default::default()
    };
    sample.after = moved(&sample.after, &registration);
    let calibration = fit(std::slice::from_ref(&sample), &grid, registration, &detector);
    println!(
        "{}: shift {:.2} {:.2} ties {} residual {:.2} threshold {:.3} flagged {:.3} rho {:.2?} {:?}",
        file.file_stem().unwrap().to_string_lossy(),
        f64::from(registration.shift_row) / 1024.0,
        f64::from(registration.shift_col) / 1024.0,
        registration.tie_points,
        f64::from(registration.residual) / 1024.0,
        calibration.threshold,
        calibration.flagged_share,
        calibration.irmad.rho,
        calibration.quality
    );
    if resolution_m <= 5.0 {
        let features = analysis::evidence::fine_features(&sample.before, &sample.after, &calibration);
        let bytes: Vec<u8> =
            features.iter().flat_map(|(_, values)| values.iter().flat_map(|value| value.to_le_bytes())).collect();
        std::fs::write(file.with_extension("features"), bytes).unwrap();
    }
    let found = analysis::detect::detect_pair(&sample.before, &sample.after, &calibration, resolution_m, &detector);
    let mut change = Vec::with_capacity(rect.pixels());
    for row in 0..rows {
        for col in 0..cols {
            let state = found.evidence.state.get(row, col).unwrap() as u8;
            change.push(
                u8::from(found.change.get(row, col)) * 255 + if found.change.get(row, col) { 0 } else { 4 - state },
            );
        }
    }
    std::fs::write(file.with_extension("change"), change).unwrap();
}

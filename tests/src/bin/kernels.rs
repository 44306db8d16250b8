//! The kernels of a survey over small windows of made-up ground: `kernels` times each, `kernels NAME TIMES` runs one so
//! often and says nothing, for a counter of instructions (`.ci/kernels`).

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a measuring tool")]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use analysis::calibrate::{CellSample, fit, register};
use analysis::footprint;
use analysis::{PairPixels, detect_tile, halo_px};
use groundbreak_tests::plan::{county, pair, plan, scene_of};
use imagery::cog::write::{CogCrs, CogSpec, Overviews, write_cog};
use imagery::{SceneReader, Stores};
use survey::calibration::{Calibration, Registration};
use survey::county::{County, CountyMap};
use survey::findings::Run;
use survey::grid::{Cell, GeoTransform, Grid, PixelRect};
use survey::plan::{PlannedCell, SurveyPlan};
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::scene::BandName;
use survey::spec::DetectorSpec;

const BANDS: [&str; 4] = ["blue", "green", "red", "nir"];
/// Side of a scene, of which so many rows and columns lie before those of the grid, and what is read of it, pixels.
const SCENE_PX: u32 = 768;
const MARGIN_PX: i32 = 128;
const READ: PixelRect = PixelRect { row0: 100, col0: 100, row1: 612, col1: 612 };
/// How often each kernel is timed; the fastest counts.
const ROUNDS: u32 = 5;

/// A number between 0 and 1 that looks random and is that of the place.
fn noise(row: i32, col: i32, salt: u32) -> f32 {
    let mut z = (row as u32).wrapping_mul(0x9e37_79b1) ^ (col as u32).wrapping_mul(0x85eb_ca77) ^ salt;
    z = (z ^ (z >> 15)).wrapping_mul(0x2c1b_3c6d);
    z = (z ^ (z >> 12)).wrapping_mul(0x297a_2d39);
    (z ^ (z >> 15)) as f32 / u32::MAX as f32
}

/// Fields; later, a lot of bare soil with two halls on it and their shadows.
fn value(is_later: bool, band: usize, row: i32, col: i32) -> f32 {
    let share = noise(row.div_euclid(60), col.div_euclid(90), 1);
    let mut ground =
        [300.0, 650.0, 400.0, 3200.0][band] * share + [900.0, 1200.0, 1500.0, 2100.0][band] * (1.0 - share);
    let (lot_row, lot_col) = (row - 200, col - 180);
    if is_later && (0..180).contains(&lot_row) && (0..220).contains(&lot_col) {
        let is_hall = (35..185).contains(&lot_col);
        let is_roof = is_hall && (20..70).contains(&(lot_row % 90));
        let is_shadow = is_hall && (12..20).contains(&(lot_row % 90));
        let [roof, soil] = [[3000.0, 2150.0, 1280.0, 2550.0], [1500.0, 1980.0, 2550.0, 3150.0]];
        ground = if is_roof { roof[band] } else { soil[band] } * if is_shadow { 0.3 } else { 1.0 };
    }
    ground * (0.99 + 0.02 * noise(row, col, 2 * band as u32 + u32::from(is_later)))
}

fn window(is_later: bool, rect: PixelRect) -> SceneWindow {
    let pixels = || (rect.row0..rect.row1).flat_map(move |row| (rect.col0..rect.col1).map(move |col| (row, col)));
    let plane = |band| pixels().map(|(row, col)| value(is_later, band, row, col)).collect();
    SceneWindow {
        bands: BANDS.map(BandName::new).to_vec(),
        planes: (0..BANDS.len()).map(|band| Plane::from_vec(rect, plane(band)).unwrap().into()).collect(),
        state: Plane::from_vec(rect, vec![PixelState::Valid; rect.pixels()]).unwrap(),
    }
}

fn samples() -> Vec<CellSample> {
    let cells = [Cell { row: 0, col: 0 }, Cell { row: 0, col: 1 }];
    cells.map(|cell| CellSample { before: window(false, cell.rect()), after: window(true, cell.rect()) }).into()
}

/// One kernel: the pixels that it looks at, and what it does.
struct Kernel {
    pixels: usize,
    work: Box<dyn FnMut()>,
}

/// What a detector does with a tile of one cell, whose scenes are in memory.
fn detection(folder: &Path, detector: DetectorSpec) -> Kernel {
    let cell = Cell { row: 0, col: 0 };
    let cells = vec![PlannedCell { cell, pairs: vec![0] }];
    let border = geo::Rect::new((0.0, -512.0), (512.0, 0.0)).to_polygon().into();
    let county = County { border, ..county("a", "A") };
    let plan = SurveyPlan { detector, ..plan(vec![county], vec![pair("p", &BANDS)], cells) };
    let counties = CountyMap::new(&plan.grid, &plan.counties);
    let calibration: Calibration = fit(&samples(), &plan.grid, Registration::default(), &plan.detector);
    let grown = cell.rect().grown(halo_px(plan.grid.resolution_m, &plan.detector));
    let [before, after] = [false, true].map(|is_later| Scene::new(folder, is_later).read(&plan.grid, grown));
    let pixels = [PairPixels { pair: 0, calibration, before, after }];
    Kernel {
        pixels: cell.rect().pixels(),
        work: Box::new(move || assert!(!detect_tile(&plan, &counties, cell.rect(), &pixels).closed.is_empty())),
    }
}

/// A scene of one file.
struct Scene {
    scene: survey::scene::Scene,
    folder: String,
}

impl Scene {
    fn new(folder: &Path, is_later: bool) -> Self {
        let margin = f64::from(MARGIN_PX);
        let transform =
            GeoTransform { x0: -margin, x_per_col: 1.0, x_per_row: 0.0, y0: margin, y_per_col: 0.0, y_per_row: -1.0 };
        let spec = CogSpec {
            width: SCENE_PX,
            height: SCENE_PX,
            band_names: BANDS.map(str::to_owned).to_vec(),
            georeference: Some((CogCrs::Projected(32652), transform)),
            nodata: Some(0.0),
            block_px: 256,
            overviews: Overviews::None,
            predictor: true,
            deflate_level: 1,
        };
        let places = -MARGIN_PX..SCENE_PX as i32 - MARGIN_PX;
        let places = || places.clone().flat_map(|row| places.clone().map(move |col| (row, col)));
        let band = |band| places().map(|(row, col)| value(is_later, band, row, col) as u16).collect::<Vec<_>>();
        let bands = [0, 1, 2, 3].map(band);
        let slices: Vec<&[u16]> = bands.iter().map(Vec::as_slice).collect();
        let path = folder.join(if is_later { "after.tif" } else { "before.tif" });
        std::fs::write(&path, write_cog(&spec, &slices).unwrap()).unwrap();
        let scene = scene_of(&path, "EPSG:32652", transform, [SCENE_PX; 2], &BANDS.map(BandName::new), Some(0.0));
        Self { scene, folder: folder.display().to_string() }
    }

    /// By a new reader, which has kept no block.
    fn read(&self, grid: &Grid, rect: PixelRect) -> SceneWindow {
        let reader = SceneReader::new(Stores::new(&[], &self.folder).unwrap(), 256 << 20);
        let uncorrected = Registration::default();
        let names = BANDS.map(BandName::new);
        let read = reader.read(grid, &self.scene, &names, rect, &uncorrected);
        let read = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(read).unwrap();
        assert!(read.unreadable.is_empty());
        read.window
    }
}

/// A scene that is read onto a grid.
fn reading(folder: &Path, resolution_m: f64) -> Kernel {
    let (scene, grid) = (Scene::new(folder, true), Grid { resolution_m, ..grid() });
    let mut values = vec![0.0; READ.cols()];
    Kernel {
        pixels: READ.pixels(),
        work: Box::new(move || {
            let window = scene.read(&grid, READ);
            for row in READ.row0..READ.row1 {
                let run = Run { row, col0: READ.col0, col1: READ.col1 };
                window.planes.iter().for_each(|plane| plane.copy_to(run, &mut values));
            }
        }),
    }
}

/// The buildings on a lot.
fn buildings() -> Kernel {
    let (survey, fine) = (grid(), Grid { resolution_m: 0.5, ..grid() });
    let mut after = window(true, PixelRect::new(150, 130, 430, 450));
    // As reflectance.
    for plane in &mut after.planes {
        *plane = plane.values().map(|value| value / 10_000.0).into();
    }
    let lot: Vec<Run> = (100..190).map(|row| Run { row, col0: 90, col1: 200 }).collect();
    Kernel {
        pixels: after.rect().pixels(),
        work: Box::new(move || assert_eq!(footprint::find(&lot, &survey, &after, &fine).buildings.len(), 2)),
    }
}

/// The survey's grid.
fn grid() -> Grid {
    Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 }
}

/// Work on the sample of a calibration.
fn calibration(work: impl Fn(&[CellSample]) + 'static) -> Kernel {
    let samples = samples();
    let pixels = samples.iter().map(|sample| sample.before.rect().pixels()).sum();
    Kernel { pixels, work: Box::new(move || work(&samples)) }
}

/// Prepares a kernel. The folder is for its files.
type Prepare = fn(&Path) -> Kernel;

/// All kernels, in the order of a survey.
const KERNELS: [(&str, Prepare); 7] = [
    ("read-copied", |folder| reading(folder, 1.0)),
    ("read-resampled", |folder| reading(folder, 0.9)),
    ("register", |_| calibration(|samples| assert_eq!(register(samples, &grid()).linear, [0; 4]))),
    ("fit", |_| {
        calibration(|samples| {
            let fitted = fit(samples, &grid(), Registration::default(), &DetectorSpec::default());
            assert!(fitted.threshold > 0.0);
        })
    }),
    ("score", |folder| {
        detection(folder, DetectorSpec { name: "irmad".into(), second_look: false, ..DetectorSpec::default() })
    }),
    ("evidence", |folder| detection(folder, DetectorSpec::default())),
    ("buildings", |_| buildings()),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = tempfile::tempdir().unwrap();
    // One thread: what is counted is the work, not how it is shared out.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    match arguments.as_slice() {
        [] => {
            for (name, prepare) in KERNELS {
                let mut kernel = prepare(folder.path());
                let best = (0..ROUNDS).map(|_| time(&mut kernel.work)).min().unwrap_or_default();
                println!("{name:16} {:8.1} ns a pixel", best.as_secs_f64() * 1e9 / kernel.pixels as f64);
            }
            ExitCode::SUCCESS
        }
        [name, times] => match (KERNELS.iter().find(|(known, _)| known == name), times.parse::<u32>()) {
            (Some((_, prepare)), Ok(times)) => {
                let mut kernel = prepare(folder.path());
                (0..times).for_each(|_| (kernel.work)());
                ExitCode::SUCCESS
            }
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    println!("usage: kernels [NAME TIMES]\nnames: {}", KERNELS.map(|(name, _)| name).join(" "));
    ExitCode::from(2)
}

fn time(work: &mut dyn FnMut()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

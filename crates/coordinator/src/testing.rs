//! Small surveys and records for this crate's tests.

use groundbreak_tests::plan;
use imagery::commit::Output;
use imagery::store::Stores;
use survey::grid::Cell;
use survey::ids::{Digest, SurveyId};
use survey::job::{JobKey, ObjectRef};
use survey::plan::{PlannedCell, SurveyPlan};
use survey::scene::BandName;

use crate::journal::Record;
use crate::journal::record::{Received, Submitted};
use crate::schedule::event::Attempt;

/// An output in a folder.
pub fn folder(path: &std::path::Path) -> Output {
    std::fs::create_dir_all(path).unwrap();
    Output::open(&path.to_string_lossy(), &stores(path)).unwrap()
}

/// Stores whose paths begin in a folder.
pub fn stores(path: &std::path::Path) -> Stores {
    Stores::new(&[], &path.to_string_lossy()).unwrap()
}

/// A reference to an object that holds `content`.
pub fn object(content: &str) -> ObjectRef {
    ObjectRef { key: format!("stages/{content}"), digest: Digest::of(content.as_bytes()), length: content.len() as u64 }
}

pub fn submitted(survey: &str) -> Record {
    Record::Submitted(Submitted {
        survey: SurveyId::from(survey),
        name: "a survey".into(),
        plan: object("plan"),
        notes: None,
        output: "file:///out/".into(),
        halo_px: 16,
        max_job_memory: 1 << 30,
        priority: 0,
        version: survey::VERSION.into(),
        submission: String::new(),
        since: Attempt { epoch: 3, counter: 14 },
    })
}

pub fn received(submission: &str) -> Record {
    Record::Received(Received {
        submission: submission.into(),
        name: "a survey".into(),
        output: String::new(),
        priority: 3,
    })
}

pub fn completed(pair: u32) -> Record {
    Record::Completed {
        survey: SurveyId::from("a"),
        key: JobKey::Calibrate(pair),
        object: object(&format!("pair {pair}")),
    }
}

/// The same plan with scenes that cover its first `side` pixels in both directions, red and near infrared.
pub fn with_rasters(mut plan: SurveyPlan, side: u32) -> SurveyPlan {
    let (crs, resolution) = (plan.grid.crs.clone(), plan.grid.resolution_m);
    for scene in &mut plan.scenes {
        scene.assets = vec![survey::scene::Asset {
            href: String::new(),
            crs: crs.clone(),
            transform: survey::grid::GeoTransform {
                x0: 0.0,
                x_per_col: resolution,
                x_per_row: 0.0,
                y0: 0.0,
                y_per_col: 0.0,
                y_per_row: -resolution,
            },
            width: side,
            height: side,
            bits_per_sample: 16,
            band_count: 2,
            size: None,
            etag: None,
            checksum: None,
        }];
        scene.bands = ["red", "nir"]
            .iter()
            .zip(0..)
            .map(|(name, index)| survey::scene::SceneBand {
                name: BandName::new(name),
                asset: 0,
                index,
                scale: 1.0,
                offset: 0.0,
                nodata: None,
            })
            .collect();
    }
    plan
}

/// A plan of cells (row, column, pairs) whose pairs need no scene.
pub fn plan_of_cells(cells: &[(i32, i32, &[u32])], tile_px: i32, counties: usize) -> SurveyPlan {
    let pairs = cells.iter().flat_map(|(_, _, pairs)| pairs.iter()).max().map_or(0, |&pair| pair + 1);
    let pairs = (0..pairs).map(|pair| plan::pair(&format!("pair-{pair}"), &["red", "nir"])).collect();
    let counties =
        (0..counties).map(|index| plan::county(&format!("C{index:04}"), &format!("County {index}"))).collect();
    let mut cells: Vec<PlannedCell> =
        cells.iter().map(|&(row, col, pairs)| PlannedCell { cell: Cell { row, col }, pairs: pairs.to_vec() }).collect();
    cells.sort_by_key(|planned| planned.cell);
    SurveyPlan { tile_px, ..plan::plan(counties, pairs, cells) }
}

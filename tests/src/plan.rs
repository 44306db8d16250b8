//! Plans that need no scene and no border: for tests of what is done with jobs.

use std::path::Path;

use survey::county::County;
use survey::grid::{GeoTransform, Grid};
use survey::ids::{CountyId, SceneId, SurveyId};
use survey::plan::{Context, PlannedCell, SurveyPlan};
use survey::scene::{Asset, BandName, Scene, SceneBand, ScenePair};
use survey::spec::DetectorSpec;

/// A scene without files, at 1 m.
#[must_use]
pub fn scene(id: &str) -> Scene {
    Scene {
        id: SceneId::from(id),
        acquired: chrono::DateTime::UNIX_EPOCH,
        platform: None,
        gsd_m: 1.0,
        off_nadir_deg: None,
        cloud_cover: None,
        footprint: geo::MultiPolygon(vec![]),
        assets: vec![],
        bands: vec![],
        masks: vec![],
    }
}

/// A scene of one file of 16-bit samples, a band after the other.
#[must_use]
pub fn scene_of(
    file: &Path,
    crs: &str,
    transform: GeoTransform,
    [width, height]: [u32; 2],
    bands: &[BandName],
    nodata: Option<f64>,
) -> Scene {
    let asset = Asset {
        href: format!("file://{}", file.display()),
        crs: crs.into(),
        transform,
        width,
        height,
        bits_per_sample: 16,
        band_count: bands.len() as u16,
        size: None,
        etag: None,
        checksum: None,
    };
    let band = |(index, name): (u16, &BandName)| SceneBand {
        name: name.clone(),
        asset: 0,
        index,
        scale: 1.0,
        offset: 0.0,
        nodata,
    };
    Scene { assets: vec![asset], bands: (0..).zip(bands).map(band).collect(), ..scene("scene") }
}

/// A county without a border.
#[must_use]
pub fn county(id: &str, name: &str) -> County {
    County {
        id: CountyId::from(id),
        name: name.into(),
        parent: None,
        designated: vec![],
        border: geo::MultiPolygon(vec![]),
        notes: vec![],
    }
}

/// A pair of the two scenes, compared in `bands`.
#[must_use]
pub fn pair(key: &str, bands: &[&str]) -> ScenePair {
    let bands: Vec<BandName> = bands.iter().map(|band| BandName::new(band)).collect();
    ScenePair { before: 0, after: 1, before_bands: bands.clone(), after_bands: bands, key: key.into() }
}

/// A survey of two scenes at 1 m with tiles of 512 pixels.
#[must_use]
pub fn plan(counties: Vec<County>, pairs: Vec<ScenePair>, cells: Vec<PlannedCell>) -> SurveyPlan {
    SurveyPlan {
        survey: SurveyId::from("a"),
        name: "a survey".into(),
        spec_hash: "00".into(),
        grid: Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 },
        tile_px: 512,
        detector: DetectorSpec::default(),
        counties,
        scenes: vec![scene("before"), scene("after")],
        pairs,
        cells,
        context: Context::default(),
    }
}

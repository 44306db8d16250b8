//! What jobs would commit if they had looked at pixels: plausible objects whose bytes depend on the job and on nothing else.

use std::collections::BTreeMap;

use proto::ConvertError;
use survey::calibration::{Calibration, IrMad, PairStatistics, Registration};
use survey::findings::{Coverage, Findings};
use survey::grid::{Block, PixelRect};
use survey::ids::CountyId;
use survey::job::{JobKey, ObjectRef};
use survey::plan::SurveyPlan;
use survey::result::CountyResult;

/// What a job of `plan` commits. `tiles` are the tiles that a merge holds: the first county has components in all of them.
///
/// # Errors
/// None for the jobs of a plan.
pub fn object(plan: &SurveyPlan, key: JobKey, tiles: Vec<ObjectRef>) -> Result<Vec<u8>, ConvertError> {
    Ok(match key {
        JobKey::Calibrate(pair) => proto::objects::encode_calibration(&calibration(pair)),
        JobKey::Detect(block) => proto::objects::encode_findings(&findings(block, BTreeMap::new()))?,
        JobKey::Merge(block) => proto::objects::encode_findings(&findings(block, BTreeMap::from([(0, tiles)])))?,
        JobKey::Assemble(county) => {
            let id =
                plan.counties.get(county as usize).map_or_else(|| CountyId::from("none"), |county| county.id.clone());
            proto::objects::encode_county_result(&result(id))
        }
    })
}

fn calibration(pair: u32) -> Calibration {
    Calibration {
        registration: Registration::default(),
        irmad: IrMad {
            mean_before: vec![],
            mean_after: vec![],
            a: vec![],
            b: vec![],
            rho: vec![],
            variance: vec![],
            rounds: 1,
        },
        radiometry: vec![],
        threshold: f64::from(pair),
        flagged_share: 0.0,
        changed_from: f64::from(pair),
        statistics: PairStatistics::default(),
        sample_px: 1,
        quality: vec![],
    }
}

fn findings(block: Block, closed_at: BTreeMap<u32, Vec<ObjectRef>>) -> Findings {
    Findings {
        rect: PixelRect::new(block.y, block.x, block.y + 1, block.x + 1),
        closed: vec![],
        open: vec![],
        coverage: BTreeMap::new(),
        closed_at,
        unreadable: BTreeMap::new(),
        small_px: BTreeMap::new(),
        failed: vec![],
    }
}

fn result(county: CountyId) -> CountyResult {
    CountyResult {
        county,
        coverage: Coverage::default(),
        pixel_area_m2: 1.0,
        construction_px: 0,
        sites: vec![],
        extended: vec![],
        unreadable: vec![],
        chips: vec![],
        quality: vec![],
    }
}

//! From `survey.toml` to a plan: counties, grid, scenes and what each cell is filled from. Reads documents and file
//! headers, never a pixel.

mod cost;
mod counties;
mod error;
mod export;
mod grid;
mod layers;
pub mod memory;
mod vector;

use std::collections::BTreeSet;

use imagery::ImageryError;
use imagery::catalog::{self, Found};
use imagery::crs::Crs;
use imagery::select;
use imagery::store::Stores;
use survey::county::CountyMap;
use survey::failure::FailureClass;
use survey::grid::Cell;
use survey::ids::{Digest, SurveyId};
use survey::plan::SurveyPlan;
use survey::scene::Scene;
use survey::spec::{SurveySpec, WindowSection};
use tracing::{info, info_span};

pub use cost::{TileCost, TileCosts, tiles};
pub use error::PlanError;
pub use export::{PlanFile, PlanSummary, export};
pub use memory::Memory;

use counties::LonLatBox;

/// How far beyond the counties' borders the survey looks, pixels: a site that lies half outside is still seen whole.
const MARGIN_PX: i32 = 128;

/// A plan, and what a person should know about it.
pub struct Planned {
    /// The plan.
    pub plan: SurveyPlan,
    /// Remarks: refused scenes, repaired borders, overlaps.
    pub warnings: Vec<String>,
}

/// How much is to be known of the scenes before planning ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The catalog's words are enough where they suffice: a dry run.
    Catalog,
    /// Each file in use is asked for its header, size and ETag.
    Files,
}

/// Plans a survey.
///
/// # Errors
/// Names the key of the survey file, what is wrong and the mend.
pub async fn plan(spec: &SurveySpec, stores: &Stores, depth: Depth) -> Result<Planned, PlanError> {
    let mut warnings = Vec::new();
    let source = counties::read(stores, &spec.counties).await?;
    for county in source.selected.iter().filter(|county| !county.notes.is_empty()) {
        warnings.push(format!("county {} ({}): {}", county.id, county.name, county.notes.join("; ")));
    }
    info!(counties = source.selected.len(), "read county source");

    [&spec.before, &spec.after].into_iter().for_each(|window| catalog::allow(stores, window));
    let (before, after) = tokio::join!(
        scenes(stores, &spec.before, "before", &source.extent, depth),
        scenes(stores, &spec.after, "after", &source.extent, depth)
    );
    let ((before, of_before), (after, of_after)) = (before?, after?);
    warnings.extend(of_before.into_iter().chain(of_after));
    let grid = grid::choose(&spec.grid, &source.whole, &before, &after)?;
    let crs = Crs::parse(&grid.crs).map_err(PlanError::input("grid.crs"))?;
    info!(crs = %grid.crs, resolution_m = grid.resolution_m, before = before.len(), after = after.len(), "chose grid");

    let designated = layers::designations(stores, spec.designations.as_ref()).await?;
    let mut counties = counties::on_grid(&source, &crs, &designated)?;
    let context = layers::context(stores, &spec.context, &grid).await?;

    let map = CountyMap::new(&grid, &counties);
    let cells = info_span!("cells").in_scope(|| planned_cells(&map, counties.len()));
    for (index, county) in counties.iter_mut().enumerate() {
        if map.bounds(index as u32).is_none() {
            county.notes.push("no pixel centre of the grid lies inside".to_owned());
        }
    }
    let selection = {
        let _span = info_span!("select", cells = cells.len()).entered();
        select::choose(&cells, &grid, &before, &after, &spec.detector)
            .map_err(PlanError::input(if spec.detector.bands.is_some() { "detector.bands" } else { "before, after" }))?
    };
    warnings.extend(selection.warnings.iter().cloned());
    if selection.pairs.is_empty() {
        return Err(nothing_to_compare(&before, &after));
    }
    let mut plan = SurveyPlan {
        survey: SurveyId(String::new()),
        name: spec.survey.name.clone(),
        spec_hash: spec.hash(),
        grid,
        tile_px: i32::try_from(spec.tile_px()).unwrap_or(i32::MAX / 4),
        detector: spec.detector.clone(),
        counties,
        scenes: selection.scenes,
        pairs: selection.pairs,
        cells: selection.by_cell,
        context,
    };
    plan.survey = survey_id(&plan);
    Ok(Planned { plan, warnings })
}

fn planned_cells(map: &CountyMap, counties: usize) -> Vec<Cell> {
    let mut cells = BTreeSet::new();
    for county in 0..counties {
        cells.extend(map.cells(county as u32, MARGIN_PX));
    }
    cells.into_iter().collect()
}

/// The scenes of a window, complete, and remarks on those that are left out.
async fn scenes(
    stores: &Stores,
    window: &WindowSection,
    which: &'static str,
    extent: &LonLatBox,
    depth: Depth,
) -> Result<(Vec<Scene>, Vec<String>), PlanError> {
    let mut warnings = Vec::new();
    let bbox = [extent.west, extent.south, extent.east, extent.north];
    let found: Found = catalog::search(stores, window, which, bbox).await.map_err(PlanError::input(which))?;
    warnings.extend(found.refused.iter().map(|(scene, cause)| format!("{which}: scene {scene} is left out: {cause}")));
    found.require(window, which).map_err(no_scene)?;
    let (complete, refused) =
        catalog::complete_all(stores, found.scenes, depth == Depth::Files).await.map_err(PlanError::input(which))?;
    for (id, error) in refused {
        if error.class() != FailureClass::BadInput {
            return Err(PlanError::Input { key: which.to_owned(), error });
        }
        warnings.push(format!("{which}: scene {id} is left out: {error}"));
    }
    if complete.is_empty() {
        return Err(PlanError::unfit(which, warnings.last().cloned().unwrap_or_default(), "mend or replace the files"));
    }
    Ok((complete, warnings))
}

/// A search that found nothing names the key itself.
fn no_scene(error: ImageryError) -> PlanError {
    match error {
        ImageryError::Document { href, cause, mend } => PlanError::unfit(&href, cause, mend),
        error => PlanError::Input { key: "before, after".to_owned(), error },
    }
}

fn nothing_to_compare(before: &[Scene], after: &[Scene]) -> PlanError {
    let earliest = before.iter().map(Scene::date).min();
    let latest = after.iter().map(Scene::date).max();
    if let (Some(earliest), Some(latest)) = (earliest, latest)
        && earliest >= latest
    {
        return PlanError::unfit(
            "before",
            format!("its scenes (from {earliest}) are not earlier than those of [after] (up to {latest})"),
            "swap [before] and [after], or correct the dates",
        );
    }
    let name =
        |scenes: &[Scene]| scenes.iter().take(3).map(|scene| scene.id.to_string()).collect::<Vec<_>>().join(", ");
    PlanError::unfit(
        "before, after",
        format!(
            "no cell of the counties is covered by a scene of both dates ({} before: {}; {} after: {})",
            before.len(),
            name(before),
            after.len(),
            name(after)
        ),
        "name scenes that overlap each other and the counties",
    )
}

/// The survey's id: what it asks and what it is asked of, never where things lie.
fn survey_id(plan: &SurveyPlan) -> SurveyId {
    use std::fmt::Write as _;
    let mut inputs = format!("{}\n{}\n", survey::VERSION, plan.spec_hash);
    let _ = writeln!(inputs, "{:?}", plan.grid);
    for county in &plan.counties {
        let _ = writeln!(inputs, "{county:?}");
    }
    for scene in &plan.scenes {
        let _ = writeln!(inputs, "{} {} {:?}", scene.id, scene.acquired, scene.bands);
        for asset in &scene.assets {
            let _ = writeln!(
                inputs,
                "{:?} {} {} {:?} {:?}",
                asset.transform, asset.width, asset.height, asset.size, asset.checksum
            );
        }
    }
    let _ = writeln!(inputs, "{:?}\n{:?}", plan.context, plan.cells.len());
    let slug: String = plan
        .name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .take(40)
        .collect();
    let slug = slug.trim_matches('-');
    let digest = Digest::of(inputs.as_bytes()).short();
    SurveyId(if slug.is_empty() { digest } else { format!("{slug}-{digest}") })
}

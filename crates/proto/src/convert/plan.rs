//! The plan.

use survey::county::County;
use survey::grid::{Cell, Grid, MAX_INDEX};
use survey::ids::{CountyId, SurveyId};
use survey::plan::{Context, Place, PlannedCell, SurveyPlan, Way};
use survey::spec::DetectorSpec;

use crate::convert::geometry::{flat, multi_polygon, multi_polygon_to_wire, points};
use crate::convert::scene::{pair, pair_to_wire, scene, scene_to_wire};
use crate::error::{ConvertError, Within, each, finite, index_into, required};
use crate::v1;

/// A plan as a message.
#[must_use]
pub fn plan_to_wire(plan: &SurveyPlan) -> v1::Plan {
    v1::Plan {
        survey: plan.survey.0.clone(),
        name: plan.name.clone(),
        spec_hash: plan.spec_hash.clone(),
        grid: Some(v1::Grid { crs: plan.grid.crs.clone(), resolution_m: plan.grid.resolution_m }),
        tile_px: plan.tile_px.unsigned_abs(),
        detector: Some(detector_to_wire(&plan.detector)),
        counties: plan.counties.iter().map(county_to_wire).collect(),
        scenes: plan.scenes.iter().map(scene_to_wire).collect(),
        pairs: plan.pairs.iter().map(pair_to_wire).collect(),
        cells: plan
            .cells
            .iter()
            .map(|planned| v1::PlannedCell {
                row: planned.cell.row,
                col: planned.cell.col,
                pairs: planned.pairs.clone(),
            })
            .collect(),
        context: Some(context_to_wire(&plan.context)),
    }
}

/// The plan of a message.
///
/// # Errors
/// A part is missing, out of range or out of order, or refers to a scene or pair that the plan lacks.
pub fn plan(plan: v1::Plan) -> Result<SurveyPlan, ConvertError> {
    let grid = required("grid", plan.grid)?;
    let scenes = each("scenes", plan.scenes, scene)?;
    let pairs = each("pairs", plan.pairs, |message| pair(message, scenes.len()))?;
    let counties = each("counties", plan.counties, county)?;
    if let Some(two) = counties.windows(2).find(|two| matches!(two, [a, b] if a.id >= b.id)) {
        let ids: Vec<&str> = two.iter().map(|county| county.id.as_ref()).collect();
        return Err(ConvertError::invalid("counties", format!("out of order at {}", ids.join(", "))));
    }
    let cells = each("cells", plan.cells, |message| planned_cell(message, pairs.len()))?;
    if let Some(index) = cells.windows(2).position(|two| matches!(two, [a, b] if a.cell >= b.cell)) {
        return Err(ConvertError::invalid(format!("cells[{index}]"), "the cells are not in row-major order"));
    }
    let resolution_m = finite("grid.resolution_m", grid.resolution_m)?;
    if resolution_m <= 0.0 {
        return Err(ConvertError::invalid("grid.resolution_m", format!("{resolution_m} is not a resolution")));
    }
    if !(1..=1 << 16).contains(&plan.tile_px) {
        return Err(ConvertError::invalid("tile_px", format!("{} is not a side of a tile", plan.tile_px)));
    }
    Ok(SurveyPlan {
        survey: SurveyId(plan.survey),
        name: plan.name,
        spec_hash: plan.spec_hash,
        grid: Grid { crs: grid.crs, resolution_m },
        tile_px: plan.tile_px.cast_signed(),
        detector: detector(required("detector", plan.detector)?).within("detector")?,
        counties,
        scenes,
        pairs,
        cells,
        context: context(required("context", plan.context)?).within("context")?,
    })
}

fn planned_cell(message: v1::PlannedCell, pairs: usize) -> Result<PlannedCell, ConvertError> {
    let limit = MAX_INDEX / survey::grid::CELL_PX;
    for (field, value) in [("row", message.row), ("col", message.col)] {
        if !(-limit..limit).contains(&value) {
            return Err(ConvertError::invalid(field, format!("{value} lies outside the grid")));
        }
    }
    for (index, &of) in message.pairs.iter().enumerate() {
        index_into("pairs", of, pairs)?;
        if message.pairs.iter().take(index).any(|&earlier| earlier == of) {
            return Err(ConvertError::invalid("pairs", format!("pair {of} stands there twice")));
        }
    }
    Ok(PlannedCell { cell: Cell { row: message.row, col: message.col }, pairs: message.pairs })
}

fn detector_to_wire(detector: &DetectorSpec) -> v1::Detector {
    let DetectorSpec { name, bands, min_site_ha, max_site_ha, group_radius_m, max_pairs_per_cell, second_look } =
        detector.clone();
    v1::Detector {
        name,
        bands: bands.map(|name| v1::BandNames { name }),
        min_site_ha,
        max_site_ha,
        group_radius_m,
        max_pairs_per_cell,
        no_second_look: !second_look,
    }
}

fn detector(message: v1::Detector) -> Result<DetectorSpec, ConvertError> {
    Ok(DetectorSpec {
        name: message.name,
        bands: message.bands.map(|bands| bands.name),
        min_site_ha: finite("min_site_ha", message.min_site_ha)?,
        max_site_ha: finite("max_site_ha", message.max_site_ha)?,
        group_radius_m: finite("group_radius_m", message.group_radius_m)?,
        max_pairs_per_cell: message.max_pairs_per_cell,
        second_look: !message.no_second_look,
    })
}

fn county_to_wire(county: &County) -> v1::County {
    v1::County {
        id: county.id.0.clone(),
        name: county.name.clone(),
        parent: county.parent.clone(),
        designated: county.designated.clone(),
        border: Some(multi_polygon_to_wire(&county.border)),
        notes: county.notes.clone(),
    }
}

fn county(message: v1::County) -> Result<County, ConvertError> {
    Ok(County {
        border: multi_polygon(required("border", message.border)?).within("border")?,
        id: CountyId(message.id),
        name: message.name,
        parent: message.parent,
        designated: message.designated,
        notes: message.notes,
    })
}

fn context_to_wire(context: &Context) -> v1::Context {
    let places = |places: &[Place]| {
        places.iter().map(|place| v1::Place { name: place.name.clone(), x: place.x, y: place.y }).collect()
    };
    v1::Context {
        stations: places(&context.stations),
        roads: context
            .roads
            .iter()
            .map(|road| v1::Way { name: road.name.clone(), xy: flat(road.points.iter().copied()) })
            .collect(),
        towns: places(&context.towns),
        facilities: places(&context.facilities),
        greenhouses: places(&context.greenhouses),
    }
}

fn context(message: v1::Context) -> Result<Context, ConvertError> {
    let place = |place: v1::Place| Ok(Place { name: place.name, x: finite("x", place.x)?, y: finite("y", place.y)? });
    Ok(Context {
        stations: each("stations", message.stations, place)?,
        roads: each("roads", message.roads, |road| Ok(Way { points: points("xy", &road.xy)?, name: road.name }))?,
        towns: each("towns", message.towns, place)?,
        facilities: each("facilities", message.facilities, place)?,
        greenhouses: each("greenhouses", message.greenhouses, place)?,
    })
}

//! Which scene pairs fill which cell of the grid, in which order: a pure function of scenes and cells.
//!
//! A cell gets an ordered list of pairs. The first is the best one there; each further one is the best at filling what
//! those before it leave, and there are no more than fill it. Nothing here knows tiles or counties.

mod bands;
mod ground;
mod rank;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use survey::grid::{Cell, Grid};
use survey::ids::Digest;
use survey::plan::PlannedCell;
use survey::scene::{Scene, ScenePair};
use survey::spec::DetectorSpec;

use self::bands::comparable;
use self::ground::{Ground, Seen};
use self::rank::{Choice, Known, Pair};
use crate::crs::Crs;
use crate::error::ImageryError;

/// What was chosen.
#[derive(Debug)]
pub struct Selection {
    /// The scenes in use, by (acquired, id).
    pub scenes: Vec<Scene>,
    /// The pairs in use, by key; their scenes are indices into `scenes`.
    pub pairs: Vec<ScenePair>,
    /// All cells, in the order given, each with its pairs.
    pub by_cell: Vec<PlannedCell>,
    /// Remarks.
    pub warnings: Vec<String>,
}

/// Chooses pairs for `cells` (sorted).
///
/// # Errors
/// Where a CRS is unknown, or a scene lacks a band that `detector.bands` names.
pub fn choose(
    cells: &[Cell],
    grid: &Grid,
    before: &[Scene],
    after: &[Scene],
    detector: &DetectorSpec,
) -> Result<Selection, ImageryError> {
    let to = Crs::parse(&grid.crs)?;
    let on_ground = |scenes: &[Scene]| -> Result<Vec<Ground>, ImageryError> {
        scenes.par_iter().map(|scene| Ground::of(scene, grid, &to)).collect()
    };
    let (ground_before, ground_after) = (on_ground(before)?, on_ground(after)?);
    let choice = Choice { before, after, ground_before: &ground_before, ground_after: &ground_after, detector };
    let rows: Vec<&[Cell]> = cells.chunk_by(|a, b| a.row == b.row).collect();
    let by_row: Vec<Vec<Vec<Pair>>> =
        rows.par_iter().map(|row| choose_row(&choice, row)).collect::<Result<_, ImageryError>>()?;
    let by_cell: Vec<Vec<Pair>> = by_row.into_iter().flatten().collect();
    let warnings: BTreeSet<String> =
        ground_before.iter().chain(&ground_after).filter_map(|ground| ground.warning.clone()).collect();
    assemble(cells, &choice, by_cell, warnings.into_iter().collect())
}

/// The pairs of the cells of one row.
fn choose_row(choice: &Choice<'_>, cells: &[Cell]) -> Result<Vec<Vec<Pair>>, ImageryError> {
    let before = views(choice.ground_before, cells);
    let after = views(choice.ground_after, cells);
    let mut known = Known::new();
    // Neighbouring cells deep inside the same scenes have the same choice.
    let mut cache: BTreeMap<(&[Seen], &[Seen]), Vec<Pair>> = BTreeMap::new();
    let mut chosen = Vec::with_capacity(cells.len());
    for (seen_before, seen_after) in before.iter().zip(&after) {
        let key = (seen_before.as_slice(), seen_after.as_slice());
        let pairs = match cache.get(&key) {
            Some(pairs) => pairs.clone(),
            None => {
                let pairs = choice.rank(seen_before, seen_after, &mut known)?;
                cache.insert(key, pairs.clone());
                pairs
            }
        };
        chosen.push(pairs);
    }
    Ok(chosen)
}

/// For each of the cells of one row, the scenes that touch it.
fn views(grounds: &[Ground], cells: &[Cell]) -> Vec<Vec<Seen>> {
    let mut views: Vec<Vec<Seen>> = vec![Vec::new(); cells.len()];
    let Some(row) = cells.first().map(|cell| cell.row) else { return views };
    for (scene, ground) in grounds.iter().enumerate().filter(|(_, ground)| ground.reaches(row)) {
        ground.view(cells, |cell, points| views[cell].push(Seen { scene, points }));
    }
    views
}

/// Scenes, pairs and cells that refer to each other.
fn assemble(
    cells: &[Cell],
    choice: &Choice<'_>,
    by_cell: Vec<Vec<Pair>>,
    warnings: Vec<String>,
) -> Result<Selection, ImageryError> {
    let chosen: BTreeSet<Pair> = by_cell.iter().flatten().copied().collect();
    let mut scenes: Vec<&Scene> = chosen.iter().flat_map(|&(b, a)| [&choice.before[b], &choice.after[a]]).collect();
    scenes.sort_by(|a, b| (a.acquired, &a.id).cmp(&(b.acquired, &b.id)));
    // A scene of both windows is one scene; two files of one name and day are not.
    scenes.dedup_by(|a, b| a == b);
    let index = |scene: &Scene| {
        let first = scenes.partition_point(|other| (other.acquired, &other.id) < (scene.acquired, &scene.id));
        let more = scenes.get(first..).unwrap_or_default().iter().position(|other| *other == scene);
        (first + more.unwrap_or_default()) as u32
    };
    let mut pairs: Vec<(Pair, ScenePair)> = Vec::with_capacity(chosen.len());
    for (b, a) in chosen {
        let (earlier, later) = (&choice.before[b], &choice.after[a]);
        let Some((before_bands, after_bands)) = comparable(earlier, later, choice.detector)? else { continue };
        let key = format!("{}~{}", safe(earlier.id.as_ref()), safe(later.id.as_ref()));
        let pair = ScenePair { before: index(earlier), after: index(later), before_bands, after_bands, key };
        pairs.push(((b, a), pair));
    }
    pairs.sort_by(|a, b| a.1.key.cmp(&b.1.key));
    let place: BTreeMap<Pair, u32> = pairs.iter().enumerate().map(|(place, (pair, _))| (*pair, place as u32)).collect();
    let by_cell = cells
        .iter()
        .zip(by_cell)
        .map(|(&cell, pairs)| PlannedCell {
            cell,
            pairs: pairs.iter().filter_map(|pair| place.get(pair).copied()).collect(),
        })
        .collect();
    Ok(Selection {
        scenes: scenes.into_iter().cloned().collect(),
        pairs: pairs.into_iter().map(|(_, pair)| pair).collect(),
        by_cell,
        warnings,
    })
}

/// An id as a part of an object key. Where letters had to be replaced, the id's digest keeps it apart from others that
/// read the same then.
fn safe(id: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if id.chars().all(plain) {
        return id.to_owned();
    }
    let mapped: String = id.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
    format!("{mapped}-{}", Digest::of(id.as_bytes()).short())
}

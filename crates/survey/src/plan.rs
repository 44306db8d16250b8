//! The plan of a survey: everything a worker needs to know that is not a pixel.

use serde::{Deserialize, Serialize};

use crate::county::County;
use crate::grid::{Block, Cell, Grid, PixelRect};
use crate::ids::SurveyId;
use crate::scene::{Scene, ScenePair};
use crate::spec::DetectorSpec;
use crate::swath::Swaths;

/// What is to be done, and with what.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyPlan {
    /// The survey.
    pub survey: SurveyId,
    /// Name that a person gave it.
    pub name: String,
    /// SHA-256 of the canonical spec.
    pub spec_hash: String,
    /// The grid.
    pub grid: Grid,
    /// Side of a tile in pixels.
    pub tile_px: i32,
    /// Detector and its parameters.
    pub detector: DetectorSpec,
    /// The counties to survey, by id.
    pub counties: Vec<County>,
    /// The scenes in use, by (acquired, id).
    pub scenes: Vec<Scene>,
    /// The scene pairs in use, by key.
    pub pairs: Vec<ScenePair>,
    /// Planned cells in row-major order, each with the ordered pairs that may fill it (indices into `pairs`; none
    /// where no scene pair covers it). A pixel is surveyed where its cell is planned; the planned area is the counties
    /// and a margin around them.
    pub cells: Vec<PlannedCell>,
    /// Places that a site is set in relation to.
    pub context: Context,
}

/// A planned cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCell {
    /// The cell.
    pub cell: Cell,
    /// Pairs in order of preference.
    pub pairs: Vec<u32>,
}

/// Bounding box of the planned cells in pixels, and the root of the merge tree over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedExtent {
    /// All planned cells.
    pub rect: PixelRect,
    /// The lowest block that holds them all, [`Block::WHOLE`] at the highest.
    pub root: Block,
}

impl SurveyPlan {
    /// The planned cell, if it is planned.
    #[must_use]
    pub fn cell(&self, cell: Cell) -> Option<&PlannedCell> {
        self.cells.binary_search_by_key(&cell, |planned| planned.cell).ok().and_then(|index| self.cells.get(index))
    }

    /// The tiles that touch a planned cell, in row-major order.
    #[must_use]
    pub fn tiles(&self) -> Vec<Block> {
        let mut tiles: Vec<Block> = self
            .cells
            .iter()
            .flat_map(|planned| {
                let rect = planned.cell.rect();
                let rows = rect.row0.div_euclid(self.tile_px)..(rect.row1 - 1).div_euclid(self.tile_px) + 1;
                let cols = rect.col0.div_euclid(self.tile_px)..(rect.col1 - 1).div_euclid(self.tile_px) + 1;
                rows.flat_map(move |y| cols.clone().map(move |x| Block { level: 0, y, x }))
            })
            .collect();
        tiles.sort_unstable();
        tiles.dedup();
        tiles
    }

    /// The planned cells' bounding box and the root block; `None` for an empty plan. The root is a tile where one holds
    /// everything, and [`Block::WHOLE`] where the cells lie on both sides of the grid's origin.
    #[must_use]
    pub fn extent(&self) -> Option<PlannedExtent> {
        let rect = self.cells.iter().map(|planned| planned.cell.rect()).reduce(|a, b| a.union(&b))?;
        let mut first = Block::tile_of(rect.row0, rect.col0, self.tile_px);
        let mut last = Block::tile_of(rect.row1 - 1, rect.col1 - 1, self.tile_px);
        while first != last {
            if [first.y, first.x, last.y, last.x].iter().all(|index| (-1..=0).contains(index)) {
                return Some(PlannedExtent { rect, root: Block::WHOLE });
            }
            (first, last) = (first.parent(), last.parent());
        }
        Some(PlannedExtent { rect, root: first })
    }

    /// In which order to go over its tiles.
    #[must_use]
    pub fn swaths(&self) -> Swaths {
        self.extent().map_or_else(Swaths::default, |extent| Swaths::over(extent.rect, self.tile_px))
    }
}

/// Places by kind, in CRS coordinates of the grid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// Railway stations.
    pub stations: Vec<Place>,
    /// Roads.
    pub roads: Vec<Way>,
    /// Towns.
    pub towns: Vec<Place>,
    /// Known facilities (factories, mines, ports, …).
    pub facilities: Vec<Place>,
    /// Known greenhouse farms.
    pub greenhouses: Vec<Place>,
}

/// A named point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Name, if it has one.
    pub name: Option<String>,
    /// Metres of the grid's CRS.
    pub x: f64,
    /// Metres of the grid's CRS.
    pub y: f64,
}

/// A named polyline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// Name, if it has one.
    pub name: Option<String>,
    /// Vertices in metres of the grid's CRS.
    pub points: Vec<(f64, f64)>,
}

//! Buildings inside a site, from the later scene at its own resolution.
//!
//! A building is a compact, nearly rectangular patch that stands out from what surrounds it: brighter, bluer, darker
//! than bare ground, or full of edges (a frame without its roof). Patches are looked for at several levels of each of
//! these quantities, as in maximally stable regions (Matas et al. 2004), scored by rectangularity and contrast, and the
//! best ones that don't overlap are kept. All operators have a bounded reach; levels are quantiles over the site, so the
//! result is a function of the site's pixels alone.

mod candidates;
mod channels;
mod cue;
mod frames;
mod join;
mod pixels;
#[cfg(test)]
pub(crate) mod test_ground;

use survey::findings::Run;
use survey::grid::{Grid, PixelRect};
use survey::raster::SceneWindow;

use crate::mask::Mask;
use crate::outline::Shape;

pub use channels::Channels;

/// Pixels of this size or smaller show single buildings, metres.
pub const COARSEST_M: f64 = 2.5;
/// Pixels of this size or smaller show whether a building has its roof, metres.
pub const COARSEST_FRAME_M: f64 = 0.8;
/// Pixels of this size or smaller show the shadow of a building, metres.
pub const COARSEST_SHADOW_M: f64 = 1.5;
/// The window of a site should not have more pixels than this: a coarser view is read then.
pub const MAX_WINDOW_PX: f64 = 4.0e6;
/// Ground around a site that belongs into its window, metres.
pub const MARGIN_M: f64 = 20.0;

/// The pixel size at which to read the later scene around a site: the scene's own, or the finest at which the window
/// stays within bounds. `bounds` are pixels of the survey grid.
#[must_use]
pub fn window_gsd_m(grid: &Grid, bounds: PixelRect, scene_gsd_m: f64) -> f64 {
    let side = |pixels: usize| pixels as f64 * grid.resolution_m + 2.0 * MARGIN_M;
    let bounded = (side(bounds.rows()) * side(bounds.cols()) / MAX_WINDOW_PX).sqrt();
    scene_gsd_m.min(grid.resolution_m).max(bounded)
}

/// The pixels of `fine` to read for a site.
#[must_use]
pub fn window_rect(grid: &Grid, bounds: PixelRect, fine: &Grid) -> PixelRect {
    let scale = grid.resolution_m / fine.resolution_m;
    let margin = MARGIN_M / fine.resolution_m;
    let low = |index: i32| (f64::from(index) * scale - margin).floor() as i32;
    let high = |index: i32| (f64::from(index) * scale + margin).ceil() as i32;
    PixelRect::new(low(bounds.row0), low(bounds.col0), high(bounds.row1), high(bounds.col1))
}

/// What a building looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildingKind {
    /// It has a roof.
    Roof,
    /// Beams and columns: edges all over its inside.
    Frame,
    /// Flat on the ground, without a shadow: a foundation.
    Slab,
}

/// A building, in pixels of the window's grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Building {
    /// Its pixels, sorted.
    pub runs: Vec<Run>,
    /// Measures of its shape, pixels.
    pub shape: Shape,
    /// Roof or frame.
    pub kind: BuildingKind,
    /// Mean brightness / median brightness of the site.
    pub brightness: f64,
    /// Mean brightness / mean brightness of the ring around it, as far as it is not green; 0 where it is all green.
    pub against_ring: f64,
    /// Mean blue index `(B − R) / (B + R)`; 0 where a band is missing.
    pub blue: f64,
    /// Difference to the ring around it / spread within both.
    pub contrast: f64,
    /// Share of the ring around it that is dark as a shadow.
    pub shadow: f64,
}

/// What is seen inside a site.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Buildings, largest first, then by first pixel.
    pub buildings: Vec<Building>,
    /// Whether pixels are small enough to tell buildings.
    pub resolved: bool,
    /// Share of the site's pixels that the window shows.
    pub visible: f64,
    /// Share of the site's visible pixels that are green.
    pub green: f64,
    /// Pixel size, metres.
    pub gsd_m: f64,
}

/// Finds the buildings of a site: `lot` are its change pixels on the survey's `grid`, `window` the later scene on
/// `fine`, a grid of the same CRS.
#[must_use]
pub fn find(lot: &[Run], grid: &Grid, window: &SceneWindow, fine: &Grid) -> Seen {
    let changed = on_grid(lot, grid, window.rect(), fine);
    let channels = Channels::new(window, fine);
    let seen = changed.and(&channels.valid);
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let resolved = fine.resolution_m <= COARSEST_M;
    let buildings = if resolved && !seen.is_empty() {
        candidates::buildings(&lot_of(&changed, fine), &channels, fine)
    } else {
        Vec::new()
    };
    Seen {
        buildings,
        resolved,
        visible: share(seen.count(), changed.count()),
        green: share(seen.and(&channels.green).count(), seen.count()),
        gsd_m: fine.resolution_m,
    }
}

/// Runs of one grid as a mask on another one of the same CRS: the pixels whose centre lies in a run.
fn on_grid(runs: &[Run], grid: &Grid, rect: PixelRect, fine: &Grid) -> Mask {
    let scale = grid.resolution_m / fine.resolution_m;
    let first = |index: i32| (f64::from(index) * scale - 0.5).ceil() as i32;
    let mut mask = Mask::new(rect);
    for run in runs {
        for row in first(run.row).max(rect.row0)..first(run.row + 1).min(rect.row1) {
            mask.set_run(Run { row, col0: first(run.col0), col1: first(run.col1) });
        }
    }
    mask
}

/// The lot that change pixels make up: gaps up to 8 m closed, holes filled, a seam of 2 m around.
fn lot_of(changed: &Mask, fine: &Grid) -> Mask {
    let pixels = |metres: f64| (metres / fine.resolution_m).round() as i32;
    fill_holes(&changed.close(pixels(8.0).clamp(1, 30))).dilate(pixels(2.0).max(1))
}

/// Fills what the outside cannot reach. (A site is whole here, so no tile can show.)
pub(crate) fn fill_holes(mask: &Mask) -> Mask {
    let rect = mask.rect();
    let ground = mask.complement();
    let inner: Vec<Run> = crate::components::pieces(&ground)
        .into_iter()
        .filter(|piece| {
            piece.iter().all(|run| {
                run.row > rect.row0 && run.row < rect.row1 - 1 && run.col0 > rect.col0 && run.col1 < rect.col1
            })
        })
        .flatten()
        .collect();
    mask.or(&Mask::from_runs(rect, &inner))
}

#[cfg(test)]
mod tests {
    use super::test_ground::{BLUE, CONCRETE, Frames, Ground, RED, WHITE, four_halls, greenhouses};
    use super::*;

    fn told(seen: &Seen) -> String {
        let told = |building: &Building| {
            let Building { shape, kind, contrast, shadow, .. } = building;
            let (area, rect) = (shape.area * seen.gsd_m * seen.gsd_m, shape.rectangularity());
            format!(
                "\n{area:.0} m², rectangularity {rect:.2}, {kind:?}, contrast {contrast:.1}, shadow {shadow:.2}, {:?}",
                shape.rect
            )
        };
        seen.buildings.iter().map(told).collect()
    }

    #[test]
    fn four_halls_are_found_with_their_sizes_whatever_their_roofs_and_the_resolution() {
        for spectrum in [BLUE, WHITE] {
            for gsd_m in [0.3, 0.5, 1.0] {
                let seen = Ground { gsd_m, boxes: four_halls(spectrum), ..Ground::default() }.seen();
                assert_eq!(seen.buildings.len(), 4, "{gsd_m} m, {spectrum:?}: {}", told(&seen));
                for building in &seen.buildings {
                    assert_eq!(building.kind, BuildingKind::Roof);
                    let area = building.shape.area * gsd_m * gsd_m;
                    assert!((area / 1875.0 - 1.0).abs() < 0.1, "{gsd_m} m: {}", told(&seen));
                    assert!((building.shape.rect.elongation() - 3.0).abs() < 0.25, "{}", told(&seen));
                }
            }
        }
    }

    #[test]
    fn frames_are_told_from_roofs() {
        let seen = Ground { gsd_m: 0.3, boxes: four_halls(CONCRETE), frames: true, ..Ground::default() }.seen();
        assert_eq!(seen.buildings.len(), 4, "{}", told(&seen));
        assert!(seen.buildings.iter().all(|building| building.kind == BuildingKind::Frame), "{}", told(&seen));
    }

    #[test]
    fn frames_end_where_their_outermost_beams_do_whatever_their_direction() {
        for gsd_m in [0.3, 0.5] {
            for degrees in [0.0, 20.0, 45.0, 77.0] {
                let seen = Frames { gsd_m, degrees }.seen();
                let frames: Vec<_> = seen.buildings.iter().filter(|b| b.kind == BuildingKind::Frame).collect();
                assert_eq!(frames.len(), 2, "{gsd_m} m, {degrees}°: {}", told(&seen));
                for frame in frames {
                    let (length, width) = (frame.shape.rect.length * gsd_m, frame.shape.rect.width * gsd_m);
                    // Beams 0.9 m wide every 6 m, from the first to the last one.
                    assert!((length - 72.9).abs() < 3.0 && (width - 30.9).abs() < 3.0, "{degrees}°: {}", told(&seen));
                }
            }
        }
    }

    #[test]
    fn many_small_houses_are_many_small_buildings() {
        let boxes = (0..6)
            .flat_map(|row| {
                (0..10).map(move |col| (40.0 + 22.0 * f64::from(row), 38.0 + 20.0 * f64::from(col), 8.0, 11.0, RED))
            })
            .collect();
        let seen = Ground { gsd_m: 0.5, boxes, ..Ground::default() }.seen();
        assert!((54..=60).contains(&seen.buildings.len()), "{}", seen.buildings.len());
        assert!(seen.buildings.iter().all(|building| building.shape.area * 0.25 < 130.0), "{}", told(&seen));
    }

    #[test]
    fn greenhouses_are_narrow_halls_one_by_one() {
        for gsd_m in [0.3, 0.5, 1.0] {
            let seen = Ground { gsd_m, boxes: greenhouses(), ..Ground::default() }.seen();
            assert!((24..=25).contains(&seen.buildings.len()), "{gsd_m} m: {}", told(&seen));
        }
    }

    #[test]
    fn a_bright_patch_without_a_shadow_is_no_building() {
        let mut ground = Ground { gsd_m: 0.5, boxes: four_halls(CONCRETE), ..Ground::default() };
        ground.boxes.truncate(1);
        assert_eq!(ground.seen().buildings.len(), 1);
        ground.shadow_m = 0.0;
        assert_eq!(ground.seen().buildings.len(), 0);
    }

    #[test]
    fn bare_ground_holds_no_building_and_coarse_pixels_cannot_say() {
        assert_eq!(Ground::default().seen().buildings.len(), 0);
        let coarse = Ground { gsd_m: 3.0, boxes: four_halls(BLUE), ..Ground::default() }.seen();
        assert!(!coarse.resolved && coarse.buildings.is_empty());
    }

    #[test]
    fn a_large_site_is_viewed_coarser_and_a_small_one_at_the_scenes_own_resolution() {
        let grid = Grid { crs: String::new(), resolution_m: 1.0 };
        assert_eq!(window_gsd_m(&grid, PixelRect::new(0, 0, 150, 220), 0.3), 0.3);
        let large = window_gsd_m(&grid, PixelRect::new(0, 0, 2000, 2000), 0.3);
        assert!((large - 1.02).abs() < 0.01);
    }

    #[test]
    fn holes_are_filled_and_bays_are_not() {
        let rows = ["#### #", "#  # #", "#### #", "     #"];
        let mask =
            Mask::from_fn(PixelRect::new(0, 0, 4, 6), |row, col| rows[row as usize].as_bytes()[col as usize] == b'#');
        assert_eq!(fill_holes(&mask).count(), mask.count() + 2);
    }
}

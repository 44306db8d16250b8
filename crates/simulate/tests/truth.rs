//! What `truth.geojson` says is what the pixels show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests may stop where they stand")]

use simulate::geometry::{Bounds, Point, point};
use simulate::render::canvas::Frame;
use simulate::render::lots;
use simulate::scenario::{self, Scenario, SensorChoice};
use simulate::sensor::SceneSpec;
use simulate::world::{Epoch, Outline, Phase, Present};
use survey::grid::{Grid, PixelRect};
use survey::raster::{PixelState, SceneWindow};
use survey::scene::BandName;

/// Samples every `step` metres, from north to south.
fn frame(bounds: Bounds, step: f32) -> Frame {
    let count = |low: f32, high: f32| ((high - low) / step) as usize;
    Frame {
        origin: point(bounds.min.x + step / 2.0, bounds.max.y - step / 2.0),
        col: point(step, 0.0),
        row: point(0.0, -step),
        cols: count(bounds.min.x, bounds.max.x),
        rows: count(bounds.min.y, bounds.max.y),
    }
}

#[test]
fn lots_have_the_area_that_they_are_asked_for_and_that_the_labels_count() {
    for (seed, area_ha) in [(1, 1.6), (2, 3.3), (3, 4.0)] {
        let scenario = scenario::small(seed, 512.0, area_ha, Phase::Frames);
        let Outline::Polygon(polygon) = &scenario.world.sites[0].outline else {
            panic!("a factory's lot is a polygon")
        };
        let asked = f64::from(area_ha);
        assert!((polygon.area() / 1e4 / asked - 1.0).abs() < 1e-3, "{}", polygon.area());
        let frame = frame(scenario.world.bounds, 0.5);
        let count = |epoch| lots(&scenario.world, epoch, frame).iter().filter(|&&site| site == 1).count();
        let counted_ha = count(Epoch::After) as f64 * 0.25 / 1e4;
        assert!((counted_ha / asked - 1.0).abs() < 0.01, "{counted_ha} ha counted, {asked} asked");
        assert_eq!(count(Epoch::Before), 0, "nothing is there before");
    }
}

/// The grid and the pixels of a whole world at 1 m.
fn grid_over(scenario: &Scenario) -> (Grid, PixelRect) {
    let grid = Grid { crs: format!("EPSG:{}", scenario.anchor.zone.epsg()), resolution_m: 1.0 };
    let (row, col) = grid.to_pixel(scenario.anchor.easting, scenario.anchor.northing);
    let (bottom, left) = (row.round() as i32, col.round() as i32);
    let side = scenario.world.bounds.max.x as i32;
    (grid, PixelRect::new(bottom - side, left, bottom, left + side))
}

fn ndvi(window: &SceneWindow, row: i32, col: i32) -> f32 {
    let band = |name| window.band(&BandName::new(name)).unwrap().get(row, col).unwrap();
    let (red, nir) = (band("red"), band("nir"));
    (nir - red) / (nir + red)
}

fn exact(mut scene: SceneSpec) -> SceneSpec {
    scene.sensor.misregistration_m = (0.0, 0.0);
    scene.sensor.distortion = 0.0;
    scene
}

#[test]
fn vegetation_is_lost_on_the_lot_and_almost_nowhere_else_so_sharply() {
    let scenario = scenario::small(4, 512.0, 3.3, Phase::Frames);
    let (grid, rect) = grid_over(&scenario);
    let windows: Vec<SceneWindow> = scenario
        .scenes
        .iter()
        .map(|scene| scenario::scene_window(&scenario, &exact(scene.clone()), &grid, rect))
        .collect();
    let (mut on_lot, mut lot, mut centre) = (0u32, 0u32, point(0.0, 0.0));
    for row in rect.row0..rect.row1 {
        for col in rect.col0..rect.col1 {
            let (x, y) = grid.centre(row, col);
            let p = point((x - scenario.anchor.easting) as f32, (y - scenario.anchor.northing) as f32);
            if scenario.world.sites[0].outline.depth(p, scenario.world.seed) > 5.0 {
                lot += 1;
                let (before, after) = (ndvi(&windows[0], row, col), ndvi(&windows[1], row, col));
                if before > 0.35 && after < 0.3 {
                    on_lot += 1;
                    centre = centre.plus(p);
                }
            }
        }
    }
    assert!(f64::from(on_lot) > 0.97 * f64::from(lot), "{on_lot} of {lot} pixels");
    let off = centre.times(1.0 / on_lot as f32).minus(point(256.0, 256.0)).length();
    assert!(off < 2.0, "the lot lies {off} m off");
}

/// Where the mean of a channel falls by half across an edge tells where the edge is.
fn edge_col(window: &SceneWindow, rows: std::ops::Range<i32>, cols: std::ops::Range<i32>) -> f64 {
    let plane = window.band(&BandName::new("green")).unwrap();
    let profile: Vec<f64> = cols
        .clone()
        .map(|col| rows.clone().map(|row| f64::from(plane.get(row, col).unwrap())).sum::<f64>() / rows.len() as f64)
        .collect();
    let (low, high) =
        (profile.iter().copied().fold(f64::MAX, f64::min), profile.iter().copied().fold(f64::MIN, f64::max));
    let half = (low + high) / 2.0;
    let at = profile.windows(2).position(|pair| (pair[0] - half) * (pair[1] - half) <= 0.0).unwrap();
    f64::from(cols.start) + at as f64 + 0.5 + (half - profile[at]) / (profile[at + 1] - profile[at])
}

#[test]
fn a_scene_shows_the_ground_displaced_by_its_misregistration() {
    // A concrete yard with its edge along a column of the grid.
    let mut scenario = scenario::small(5, 512.0, 3.3, Phase::Frames);
    let corner = |x: f32, y: f32| point(x, y);
    let yard = simulate::geometry::Convex(vec![
        corner(60.0, 60.0),
        corner(100.0, 60.0),
        corner(100.0, 110.0),
        corner(60.0, 110.0),
    ]);
    scenario.world.patches.push(simulate::world::Patch {
        outline: Outline::Polygon(yard),
        ground: simulate::world::Ground::Yard,
        present: Present::Always,
        axis: point(1.0, 0.0),
        site: None,
    });
    let (grid, rect) = grid_over(&scenario);
    let rows = rect.row1 - 100..rect.row1 - 70;
    let cols = rect.col0 + 92..rect.col0 + 108;
    let mut scene = exact(scenario.scenes[1].clone());
    let still = edge_col(&scenario::scene_window(&scenario, &scene, &grid, rect), rows.clone(), cols.clone());
    let edge = grid.to_pixel(scenario.anchor.easting + 100.0, 0.0).1;
    assert!((still - edge).abs() < 0.15, "{still}, not {edge}");
    // The file says x, the pixel shows x + 0.6: the edge appears 0.6 pixels further west.
    scene.sensor.misregistration_m = (0.6, 0.0);
    let moved = edge_col(&scenario::scene_window(&scenario, &scene, &grid, rect), rows, cols);
    assert!((still - moved - 0.6).abs() < 0.15, "moved by {}", still - moved);
}

#[test]
fn roofs_lean_away_from_the_satellite_and_shadows_fall_away_from_the_sun() {
    // Satellite in the east at 45°, sun in the south at 45°: a mast's top appears as far west as it is tall, its shadow
    // ends as far north.
    let light = simulate::render::Light::new(180.0, 45.0, 90.0, 45.0);
    let near = |a: Point, x: f32, y: f32| a.minus(point(x, y)).length() < 1e-5;
    assert!(near(light.lean, -1.0, 0.0), "{:?}", light.lean);
    assert!(near(light.shadow, 0.0, 1.0), "{:?}", light.shadow);
}

#[test]
fn clouds_and_the_edge_of_the_swath_are_gaps_of_a_window() {
    let scenario = scenario::province(1, SensorChoice::default(), SensorChoice::default(), true, false);
    let (grid, rect) = grid_over(&scenario);
    let window = |scene: &SceneSpec, x: f32, y: f32| {
        let (row, col) = (rect.row1 - y as i32, rect.col0 + x as i32);
        let around = PixelRect::new(row - 100, col - 100, row + 100, col + 100);
        scenario::scene_window(&scenario, scene, &grid, around)
    };
    let share = |window: &SceneWindow, state| {
        window.state.data().iter().filter(|&&s| s == state).count() as f64 / window.state.data().len() as f64
    };
    let clouds = scenario.scenes[2].clouds.unwrap();
    assert!(share(&window(&scenario.scenes[2], clouds.centre.x, clouds.centre.y), PixelState::Cloud) > 0.5);
    assert_eq!(share(&window(&scenario.scenes[0], clouds.centre.x, clouds.centre.y), PixelState::Valid), 1.0);
    // The later scenes end before the eastern county begins.
    assert_eq!(share(&window(&scenario.scenes[3], 3350.0, 1900.0), PixelState::Nodata), 1.0);
}

//! The warp as a whole, on rasters whose pixels are known.

use survey::grid::{GeoTransform, Grid};
use survey::raster::Plane;

use super::values::Scaling;

use super::geometry::Geometry;
use super::*;
use crate::cog::{Block, Samples};

const UTM: &str = "EPSG:32652";

fn grid(resolution_m: f64) -> Grid {
    Grid { crs: UTM.into(), resolution_m }
}

/// A north-up raster of `gsd` whose first pixel has its corner at (x0, y0).
fn north_up(x0: f64, y0: f64, gsd: f64) -> GeoTransform {
    GeoTransform { x0, x_per_col: gsd, x_per_row: 0.0, y0, y_per_col: 0.0, y_per_row: -gsd }
}

struct Picture {
    crs: &'static str,
    transform: GeoTransform,
    width: u32,
    height: u32,
    samples: Vec<f32>,
    nodata: Vec<f64>,
    /// Pixels (x0, y0, x1, y1) that cannot be read.
    unreadable: Option<Region>,
    /// What its blocks are said to take.
    block_bytes: u64,
}

impl Picture {
    fn new(transform: GeoTransform, width: u32, height: u32, value: impl Fn(u32, u32) -> f32) -> Self {
        let samples = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| value(x, y)).collect();
        Self { crs: UTM, transform, width, height, samples, nodata: vec![-1.0], unreadable: None, block_bytes: 0 }
    }

    fn on(&self, grid: &Grid, rect: PixelRect, correction: &Registration) -> (Plane<f32>, Plane<PixelState>) {
        self.warped(grid, rect, correction, |warp| warp)
    }

    fn warped(
        &self,
        grid: &Grid,
        rect: PixelRect,
        correction: &Registration,
        way: impl FnOnce(Warp) -> Warp,
    ) -> (Plane<f32>, Plane<PixelState>) {
        let geometry = Geometry::new(grid, self.crs, self.transform, self.width, self.height).unwrap();
        let empty = || (Plane::filled(rect, 0.0), Plane::filled(rect, PixelState::NoScene));
        let Some(warp) = Warp::new(&geometry, &[(self.width, self.height)], correction, rect) else { return empty() };
        let warp = way(warp);
        let Some((region, _)) = warp.needed() else { return empty() };
        let bands = vec![BandSource { index: 0, scaling: Scaling::PLAIN, nodata: self.nodata.clone() }];
        // Whole numbers lie in the file as such.
        let is_whole = |sample: &f32| (0.0..65536.0).contains(sample) && sample.fract() == 0.0;
        let samples = if self.samples.iter().all(is_whole) {
            Samples::U16(self.samples.iter().map(|&sample| sample as u16).collect())
        } else {
            Samples::F32(self.samples.clone())
        };
        let block = Block { rows: self.height, cols: self.width, bands: vec![samples], bounds: vec![], mask: None };
        let mut builder = warp.builder(region, (self.width, self.height), self.block_bytes, bands, None);
        builder.add(Arc::new(block), 0, 0, &[]);
        if let Some(region) = self.unreadable {
            builder.add_unreadable(region);
        }
        let Resampled { mut bands, state } = warp.resample(builder);
        (bands.remove(0).values().into_owned(), state)
    }
}

/// Reproducible noise in 0..1000.
fn noise(x: u32, y: u32) -> f32 {
    let mut z = (u64::from(x) << 32 | u64::from(y)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z >> 40) % 1000) as f32
}

fn shift(row: i32, col: i32) -> Registration {
    Registration { shift_row: row, shift_col: col, ..Registration::default() }
}

#[test]
fn where_pixels_coincide_with_the_grid_values_are_copied_exactly() {
    // 30 m Landsat pixels: the corner is a multiple of 30 only up to rounding.
    let (row, col) = (-153_421, 17_003);
    let picture = Picture::new(north_up(f64::from(col) * 30.0, -f64::from(row) * 30.0 + 1e-7, 30.0), 90, 70, noise);
    let rect = PixelRect::new(row - 5, col - 5, row + 80, col + 95);
    let (values, state) = picture.on(&grid(30.0), rect, &Registration::default());
    for r in rect.row0..rect.row1 {
        for c in rect.col0..rect.col1 {
            let (x, y) = (u32::try_from(c - col), u32::try_from(r - row));
            match (x, y) {
                (Ok(x), Ok(y)) if x < 90 && y < 70 => {
                    assert_eq!(state.get(r, c), Some(PixelState::Valid));
                    assert_eq!(values.get(r, c), Some(noise(x, y)));
                }
                _ => assert_eq!(state.get(r, c), Some(PixelState::NoScene)),
            }
        }
    }
}

#[test]
fn what_coincides_is_the_same_copied_as_weighed() {
    let mut picture = Picture::new(north_up(70.0, -40.0, 1.0), 90, 70, noise);
    for at in [0, 31, 32, 33, 89, 90, 2000, 2001, 2095, 6299] {
        picture.samples[at] = if at % 2 == 0 { -1.0 } else { f32::NAN };
    }
    picture.unreadable = Some(Region { x0: 40, y0: 20, x1: 52, y1: 31 });
    let inside = PixelRect::new(50, 80, 90, 120);
    for rect in
        [inside, PixelRect::new(-7, -9, 200, 210), PixelRect::new(100, 150, 140, 190), PixelRect::new(0, 0, 9, 9)]
    {
        for (correction, copies) in [(shift(0, 0), true), (shift(1024, -2048), true), (shift(1, 0), false)] {
            let weighed = picture.warped(&grid(1.0), rect, &correction, Warp::weighing);
            for block_bytes in [0, u64::MAX] {
                picture.block_bytes = block_bytes;
                let (values, state) = picture.warped(&grid(1.0), rect, &correction, |warp| {
                    assert_eq!(warp.shift.is_some(), copies, "{rect:?} {correction:?}");
                    warp
                });
                let is_same = values == weighed.0 && state == weighed.1;
                assert!(is_same, "{rect:?} {correction:?}, blocks of {block_bytes} bytes");
            }
        }
    }
}

#[test]
fn a_constant_stays_that_constant_to_the_last_bit() {
    let turned = GeoTransform { x0: 0.0, x_per_col: 0.31, x_per_row: 0.11, y0: 0.0, y_per_col: 0.11, y_per_row: -0.31 };
    for (transform, size) in [(turned, 200), (north_up(0.37, -0.11, 0.71), 90), (north_up(0.0, 0.0, 1.7), 40)] {
        let mut picture = Picture::new(transform, size, size, |_, _| 1234.567);
        picture.samples[27] = -1.0;
        let (values, state) = picture.on(&grid(1.0), PixelRect::new(-5, 0, 60, 60), &shift(300, -77));
        let valid: Vec<f32> =
            values.data().iter().zip(state.data()).filter(|(_, s)| **s == PixelState::Valid).map(|(v, _)| *v).collect();
        assert!(valid.len() > 1000 && valid.iter().all(|&value| value == 1234.567), "{}", valid.len());
    }
}

#[test]
fn a_linear_ramp_is_exact_under_a_shift_and_under_shrinking() {
    let value = |x: f64, y: f64| 100.0 + 3.0 * x - 2.0 * y;
    for gsd in [1.0, 0.5, 0.3, 1.7] {
        let count = (60.0 / gsd) as u32;
        // The centre of pixel (x, y) lies at ((x + ½)·gsd, −(y + ½)·gsd).
        let picture = Picture::new(north_up(0.0, 0.0, gsd), count, count, |x, y| {
            value((f64::from(x) + 0.5) * gsd, (f64::from(y) + 0.5) * gsd) as f32
        });
        let correction = shift(381, -256);
        let rect = PixelRect::new(15, 15, 45, 45);
        let (values, state) = picture.on(&grid(1.0), rect, &correction);
        assert!(state.data().iter().all(|&state| state == PixelState::Valid));
        for row in rect.row0..rect.row1 {
            for col in rect.col0..rect.col1 {
                let (r, c) = correction.apply(f64::from(row) + 0.5, f64::from(col) + 0.5);
                let error = f64::from(values.get(row, col).unwrap()) - value(c, r);
                // Half a step of the place's rounding (1/2048 source pixel) times the slopes.
                assert!(error.abs() <= 5.0 * gsd.max(1.0) / 2048.0 + 1e-4, "gsd {gsd}: {error}");
                if gsd == 1.0 {
                    assert!(error.abs() < 2e-5, "{error}");
                }
            }
        }
    }
}

#[test]
fn an_impulse_keeps_its_integral() {
    for step in [1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 6.5] {
        let gsd = 1.0 / step;
        let count = (80.0 * step) as u32;
        let (at_x, at_y) = ((39.3 * step) as u32, (40.6 * step) as u32);
        let picture = Picture::new(north_up(0.25 * gsd, -0.5 * gsd, gsd), count, count, |x, y| {
            if (x, y) == (at_x, at_y) { 4096.0 } else { 0.0 }
        });
        let (values, _) = picture.on(&grid(1.0), PixelRect::new(10, 10, 70, 70), &Registration::default());
        let (mut sum, mut mean) = (0.0_f64, [0.0; 2]);
        for row in 10..70 {
            for col in 10..70 {
                let value = f64::from(values.get(row, col).unwrap());
                sum += value;
                mean[0] += value * (f64::from(col) + 0.5);
                mean[1] += value * (f64::from(row) + 0.5);
            }
        }
        let integral = sum / (4096.0 * gsd * gsd);
        // Where grid pixels don't lie at whole 1/1024 of a source pixel, the rounding of places shows.
        let tolerance = if step == 6.5 { 1e-4 } else { 1e-6 };
        assert!((integral - 1.0).abs() < tolerance, "step {step}: integral {integral}");
        let centre = [(f64::from(at_x) + 0.75) * gsd, (f64::from(at_y) + 1.0) * gsd];
        for axis in 0..2 {
            let error = mean[axis] / sum - centre[axis];
            // Averaged pixels, as an overview's, lie where their middle is.
            let averaged = (step.floor() - 1.0) / 2.0 * gsd;
            assert!(error.abs() < 0.07 + averaged, "step {step}: it moved by {error}");
        }
    }
}

#[test]
fn a_parabola_is_lifted_by_exactly_the_second_moment_of_the_point_spread() {
    // Source pixels per grid pixel; the point spread of a grid pixel's sensor is ¼(s² − 1) source pixels² wider, and
    // the mean of x² under a kernel is x² + its variance, whatever its shape and phase.
    for step in [0.7, 1.0, 1.125, 1.5, 2.0, 2.5, 3.0, 6.5] {
        let gsd = 1.0 / step;
        let count = (40.0 * step) as u32;
        let middle = 20.0 * step;
        let picture = Picture::new(north_up(0.0, 0.0, gsd), count, count, |x, _| {
            let x = f64::from(x) + 0.5 - middle;
            (x * x) as f32
        });
        let correction = shift(0, 261);
        let (values, _) = picture.on(&grid(1.0), PixelRect::new(18, 15, 20, 25), &correction);
        let analytic = (0.25 * (step * step - 1.0)).max(0.0);
        for col in 15..25 {
            let x = correction.apply(0.0, f64::from(col) + 0.5).1 * step - middle;
            let lifted = f64::from(values.get(18, col).unwrap()) - x * x;
            // The average of a pixel itself is not part of the kernel: samples are taken as they are.
            // The place is rounded to 1/2048 source pixel, which a slope of 2x turns into values.
            let rounding = 2.0 * x.abs() * step.max(1.0) / 2048.0 + 1e-3;
            assert!((lifted - analytic).abs() <= rounding, "step {step}: {lifted} != {analytic}");
        }
    }
}

#[test]
fn any_rectangle_and_any_number_of_threads_give_the_same_bytes() {
    let turned =
        GeoTransform { x0: 3.0, x_per_col: 0.41, x_per_row: 0.09, y0: -2.0, y_per_col: 0.09, y_per_row: -0.41 };
    let degrees = GeoTransform {
        x0: 129.0 - 0.0008,
        x_per_col: 0.9e-5,
        x_per_row: 0.0,
        y0: 40.0,
        y_per_col: 0.0,
        y_per_row: -0.9e-5,
    };
    let place = grid(1.0).to_pixel(500_000.0, 4_427_757.0);
    let (row, col) = (place.0 as i32, place.1 as i32);
    let cases = [
        (UTM, turned, 0, 0),
        (UTM, north_up(0.5, 0.25, 1.0), 0, 0),
        (UTM, north_up(-3.0, 4.0, 0.25), 0, 0),
        ("EPSG:4326", degrees, row, col - 60),
    ];
    for (crs, transform, row, col) in cases {
        let linear = [200_000, -90_000, 150_000, 30_000];
        let correction = Registration { centre_row: row + 40, centre_col: col + 60, linear, ..shift(512, -300) };
        let mut picture = Picture::new(transform, 300, 260, |x, y| {
            let value = noise(x, y);
            if value < 30.0 || (x / 40 == 3 && y / 30 == 2) { -1.0 } else { value }
        });
        picture.crs = crs;
        picture.unreadable = Some(Region { x0: 64, y0: 64, x1: 128, y1: 96 });
        let whole = PixelRect::new(row - 10, col - 10, row + 110, col + 130);
        let reference = picture.on(&grid(1.0), whole, &correction);
        let count = |state: PixelState| reference.1.data().iter().filter(|s| **s == state).count();
        assert!(count(PixelState::Valid) > 1000 && count(PixelState::Unreadable) > 50, "{crs} {transform:?}");
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for part in [
                PixelRect::new(row + 3, col + 5, row + 77, col + 99),
                PixelRect::new(row + 31, col + 31, row + 33, col + 34),
            ] {
                let (values, state) = pool.install(|| picture.on(&grid(1.0), part, &correction));
                let bits = |plane: &Plane<f32>| plane.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(state, reference.1.crop(part));
                assert_eq!(bits(&values), bits(&reference.0.crop(part)));
            }
        }
    }
}

#[test]
fn an_invalid_pixel_never_leaks_into_a_value() {
    // Valid values are 100 to 200; what is invalid is enormous.
    let picture = Picture::new(north_up(0.3, -0.45, 0.8), 120, 120, |x, y| match noise(x, y) {
        value if value < 100.0 => 1e30,
        value => 100.0 + value / 10.0,
    });
    let picture = Picture { nodata: vec![f64::from(1e30_f32)], ..picture };
    let (values, state) = picture.on(&grid(1.0), PixelRect::new(2, 2, 90, 90), &Registration::default());
    let valid: Vec<f32> =
        values.data().iter().zip(state.data()).filter(|(_, s)| **s == PixelState::Valid).map(|(v, _)| *v).collect();
    let missing = state.data().iter().filter(|s| **s == PixelState::Nodata).count();
    assert!(valid.len() > 6000 && missing > 10, "{} {missing}", valid.len());
    // Cubic weights overshoot by a share of the range of 100 at most.
    assert!(valid.iter().all(|&value| (50.0..=250.0).contains(&value)));
}

#[test]
fn exactly_the_pixels_whose_kernel_touches_an_unreadable_block_are_unreadable() {
    let mut picture = Picture::new(north_up(0.25, -0.0, 1.0), 64, 64, noise);
    picture.unreadable = Some(Region { x0: 16, y0: 16, x1: 32, y1: 32 });
    let rect = PixelRect::new(0, 0, 64, 64);
    let (_, state) = picture.on(&grid(1.0), rect, &Registration::default());
    for row in 0..64 {
        for col in 1..64 {
            // Rows coincide: one tap. Columns lie a quarter off: taps from col − 2 to col + 1.
            let touches = (16..32).contains(&row) && (15..34).contains(&col);
            let expected = if touches { PixelState::Unreadable } else { PixelState::Valid };
            assert_eq!(state.get(row, col), Some(expected), "{row} {col}");
        }
    }
}

#[test]
fn the_control_grid_is_nowhere_off_by_a_sixteenth_of_a_pixel() {
    // A geographic raster far from the zone's meridian, at 90 m, and an oblique one at high latitude.
    for (crs, lon, lat, degrees, resolution) in [
        ("EPSG:4326", 126.2, 40.0, 8e-4, 90.0),
        ("EPSG:4326", 127.0, 79.5, 1e-3, 120.0),
        ("EPSG:32651", 0.0, 0.0, 0.0, 10.0),
    ] {
        let transform = if degrees > 0.0 {
            GeoTransform { x0: lon, x_per_col: degrees, x_per_row: 0.0, y0: lat, y_per_col: 0.0, y_per_row: -degrees }
        } else {
            north_up(780_000.0, 4_400_000.0, resolution)
        };
        let grid = grid(resolution);
        let geometry = Geometry::new(&grid, crs, transform, 2000, 2000).unwrap();
        let sampling = Sampling::choose(geometry.scale().unwrap(), &[(2000, 2000)]);
        let (row, col) = geometry.place(1000.0, 1000.0).unwrap();
        let (row, col) = (row as i32, col as i32);
        let rect = PixelRect::new(row - 300, col - 300, row + 300, col + 300);
        let control = Control::new(&geometry, &Registration::default(), &sampling, rect);
        let mut worst = 0.0_f64;
        for (part, cell) in control.cells(rect) {
            for (row, col) in [(part.row0, part.col0), (part.row0 + 9, part.col0 + 17), (part.row1 - 1, part.col1 - 1)]
            {
                if !rect.contains(row, col) {
                    continue;
                }
                let (x, y) = cell.locate(row, col).unwrap();
                let (exact_x, exact_y) = geometry.locate(f64::from(row) + 0.5, f64::from(col) + 0.5).unwrap();
                let error = |got: i64, exact: f64, ratio: f64| (got as f64 / 1024.0 + 0.5 - exact / ratio).abs();
                worst = worst.max(error(x, exact_x, sampling.ratio[0])).max(error(y, exact_y, sampling.ratio[1]));
            }
        }
        assert!(worst < 1.0 / 16.0, "{crs} {lon}: {worst}");
    }
}

#[test]
fn a_row_of_a_control_cell_lies_where_each_of_its_pixels_does() {
    let degrees = |x0: f64, y0: f64, step: f64| GeoTransform {
        x0,
        x_per_col: step,
        x_per_row: 1e-4,
        y0,
        y_per_col: 2e-4,
        y_per_row: -step,
    };
    // Interpolated between corners; pixel by pixel, where these are far; beyond the pole, where pixels have no place.
    let (mut between, mut nowhere) = (0, 0);
    for (x0, y0, step, resolution) in
        [(126.0, 40.0, 1e-3, 30.0), (100.0, 88.0, 0.1, 20_000.0), (0.0, 60.0, 0.3, 300_000.0)]
    {
        let grid = grid(resolution);
        let geometry = Geometry::new(&grid, "EPSG:4326", degrees(x0, y0, step), 600, 300).unwrap();
        let sampling = Sampling::choose(geometry.scale().unwrap_or([1.0; 2]), &[(600, 300)]);
        let (row, col) = geometry.place(300.0, 150.0).unwrap();
        let rect = PixelRect::new(row as i32 - 70, col as i32 - 75, row as i32 + 70, col as i32 + 75);
        let control = Control::new(&geometry, &Registration::default(), &sampling, rect);
        let origin = [control.extent()[0] / 2, -77];
        for (part, cell) in control.cells(rect) {
            for row in part.row0..part.row1 {
                let each = |row: i32| (part.col0..part.col1).map(move |col| cell.locate(row, col));
                let Some([xs, ys]) = cell.locate_row(row, part.col0, origin) else {
                    nowhere += 1;
                    assert!(
                        each(row)
                            .chain((part.col1..part.col0 + 32).map(|col| cell.locate(row, col)))
                            .any(|place| place.is_none())
                    );
                    continue;
                };
                between += 1;
                for ((place, x), y) in each(row).zip(xs).zip(ys) {
                    assert_eq!(place, Some((i64::from(x) + origin[0], i64::from(y) + origin[1])));
                }
            }
        }
    }
    assert!(between > 100 && nowhere > 0, "{between} {nowhere}");
}

#[test]
fn a_scene_across_the_antimeridian_is_one_piece_and_a_place_without_projection_is_no_scene() {
    let degrees = |x0: f64, y0: f64, step: f64| GeoTransform {
        x0,
        x_per_col: step,
        x_per_row: 0.0,
        y0,
        y_per_col: 0.0,
        y_per_row: -step,
    };
    let grid = Grid { crs: "EPSG:32660".into(), resolution_m: 100.0 };
    // Columns are degrees east of 179.9 in steps of 0.001: 180° lies at column 100.
    for x0 in [179.9, -180.1] {
        let mut picture = Picture::new(degrees(x0, -16.0, 1e-3), 200, 100, |x, _| x as f32);
        picture.crs = "EPSG:4326";
        let geometry = Geometry::new(&grid, picture.crs, picture.transform, 200, 100).unwrap();
        let (row, col) = geometry.place(100.0, 50.0).unwrap();
        let (row, col) = (row as i32, col as i32);
        let rect = PixelRect::new(row - 20, col - 70, row + 20, col + 70);
        let (values, state) = picture.on(&grid, rect, &Registration::default());
        assert!(state.row(row).iter().all(|&state| state == PixelState::Valid));
        for pair in values.row(row).windows(2) {
            // One grid pixel of 100 m is 0.935 columns at 16° south.
            assert!((pair[1] - pair[0] - 0.935).abs() < 0.01, "{pair:?}");
        }
        // Far beyond the earth: no panic.
        let nowhere = PixelRect::new(900_000_000, 900_000_000, 900_000_040, 900_000_040);
        let (_, state) = picture.on(&grid, nowhere, &Registration::default());
        assert!(state.data().iter().all(|&state| state == PixelState::NoScene));
    }
    // A raster with no place: a transform that cannot be inverted, and one beyond the pole.
    let flat = GeoTransform { x_per_col: 0.0, ..degrees(0.0, 0.0, 1e-3) };
    for transform in [flat, degrees(179.0, 4000.0, 1e-3), degrees(f64::NAN, 0.0, 1e-3)] {
        let mut picture = Picture::new(transform, 10, 10, noise);
        picture.crs = "EPSG:4326";
        let (_, state) = picture.on(&grid, PixelRect::new(0, 0, 40, 40), &Registration::default());
        assert!(state.data().iter().all(|&state| state == PixelState::NoScene));
    }
}

#[test]
fn averaging_takes_a_fine_scene_without_overviews_at_bounded_cost() {
    let picture = Picture::new(north_up(0.0, 0.0, 0.05), 1000, 1000, |x, y| noise(x / 20, y / 20));
    let (values, _) = picture.on(&grid(1.0), PixelRect::new(10, 10, 40, 40), &Registration::default());
    // Averages of noise over point spreads: near the mean, and nowhere beyond the range.
    let mean = values.data().iter().sum::<f32>() / values.data().len() as f32;
    assert!((mean - 500.0).abs() < 30.0, "{mean}");
}

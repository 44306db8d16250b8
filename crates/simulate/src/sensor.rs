//! Satellites: from what the ground reflects to the numbers in a file, with everything that makes two scenes differ
//! although nothing changed.

use chrono::{DateTime, Utc};
use survey::grid::GeoTransform;

use crate::covers::{CLOUD, Season, Spectrum, blend};
use crate::geometry::{Bounds, Convex, Point, point};
use crate::noise::{fractal, gaussian, hash2, mix};
use crate::render::canvas::Frame;
use crate::render::{Light, Renderer, radiance};
use crate::utm::Zone;
use crate::world::{Epoch, World};

/// Where a world lies: its south-west corner in a zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// The zone.
    pub zone: Zone,
    /// Easting of the corner, metres.
    pub easting: f64,
    /// Northing of the corner, metres.
    pub northing: f64,
}

impl Anchor {
    /// Longitude and latitude of a point of the world.
    #[must_use]
    pub fn lon_lat(&self, p: Point) -> (f64, f64) {
        self.zone.inverse(self.easting + f64::from(p.x), self.northing + f64::from(p.y))
    }

    /// The point of the world at coordinates of a zone.
    #[must_use]
    pub fn local(&self, zone: Zone, x: f64, y: f64) -> (f64, f64) {
        let (x, y) = if zone == self.zone {
            (x, y)
        } else {
            let (lon, lat) = zone.inverse(x, y);
            self.zone.forward(lon, lat)
        };
        (x - self.easting, y - self.northing)
    }
}

/// A band of a sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// STAC common name: `blue`, `green`, `red` or `nir`.
    pub name: &'static str,
    /// Its place in a [`Spectrum`].
    pub index: usize,
    /// Digital numbers per unit of reflectance.
    pub gain: f32,
    /// Digital numbers that the atmosphere adds.
    pub haze: f32,
}

/// Type of the samples in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 8 bits.
    Uint8,
    /// 11 bits in 16.
    Uint16,
}

/// A sensor and how well its scenes lie on the ground.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    /// Name for people.
    pub platform: &'static str,
    /// Ground sample distance, metres: the side of a pixel.
    pub gsd_m: f64,
    /// How finely a pixel is sampled: once, twice on its diagonal, or n × n times from 3 on.
    pub supersampling: usize,
    /// Standard deviation of the point spread function, pixels.
    pub psf_px: f32,
    /// Standard deviation of the noise, digital numbers.
    pub noise_dn: f32,
    /// Type of samples.
    pub dtype: Dtype,
    /// Bands in the file's order.
    pub bands: Vec<Band>,
    /// What the file's georeference is off by, metres east and north.
    pub misregistration_m: (f64, f64),
    /// Rotation and stretch on top, in parts of the distance from the scene's centre.
    pub distortion: f64,
}

/// Clouds over a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clouds {
    /// Where they gather.
    pub centre: Point,
    /// How far they spread, metres.
    pub radius_m: f32,
    /// Height, metres: decides where the shadow falls.
    pub height_m: f32,
    /// Their shape.
    pub seed: u32,
}

/// A scene to acquire.
#[derive(Clone, Debug)]
pub struct SceneSpec {
    /// Its id.
    pub id: String,
    /// When.
    pub acquired: DateTime<Utc>,
    /// Which state of the world it shows.
    pub epoch: Epoch,
    /// With what.
    pub sensor: Sensor,
    /// Sun azimuth and elevation, degrees.
    pub sun: (f64, f64),
    /// Azimuth towards the satellite and view angle off nadir, degrees.
    pub view: (f64, f64),
    /// Zone of the file's coordinates.
    pub zone: Zone,
    /// Easting of the upper-left corner.
    pub x0: f64,
    /// Northing of the upper-left corner.
    pub y0: f64,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Where there are data, in the world's metres; everywhere where absent.
    pub valid: Option<Convex>,
    /// Clouds, if any.
    pub clouds: Option<Clouds>,
}

impl SceneSpec {
    /// The georeference that the file declares.
    #[must_use]
    pub fn transform(&self) -> GeoTransform {
        let gsd = self.sensor.gsd_m;
        GeoTransform { x0: self.x0, x_per_col: gsd, x_per_row: 0.0, y0: self.y0, y_per_col: 0.0, y_per_row: -gsd }
    }

    /// The sun and the view.
    #[must_use]
    pub fn light(&self) -> Light {
        Light::new(self.sun.0, self.sun.1, self.view.0, self.view.1)
    }
}

/// Pixels that are asked for.
#[derive(Clone, Copy, Debug)]
pub struct PixelWindow {
    /// First column.
    pub col0: u32,
    /// First row.
    pub row0: u32,
    /// Columns.
    pub cols: u32,
    /// Rows.
    pub rows: u32,
}

/// Renders a scene piece by piece.
pub struct Camera<'a> {
    scene: &'a SceneSpec,
    anchor: Anchor,
    renderer: Renderer<'a>,
}

/// Pixels of context that the point spread function needs.
const HALO: i64 = 2;
/// Lattice on which clouds are evaluated, metres.
const CLOUD_LATTICE_M: f32 = 10.0;

impl<'a> Camera<'a> {
    /// A camera for a scene of a world.
    #[must_use]
    pub fn new(scene: &'a SceneSpec, world: &'a World, anchor: Anchor) -> Self {
        let season = Season::of(scene.acquired.date_naive());
        Self { scene, anchor, renderer: Renderer::new(world, scene.epoch, season, scene.light()) }
    }

    /// What the ground of a pixel position is, by the declared georeference.
    fn nominal(&self, col: f64, row: f64) -> Point {
        let gsd = self.scene.sensor.gsd_m;
        let (x, y) = self.anchor.local(self.scene.zone, self.scene.x0 + col * gsd, self.scene.y0 - row * gsd);
        point(x as f32, y as f32)
    }

    /// What a pixel position really shows.
    fn shown(&self, col: f64, row: f64) -> (f64, f64) {
        let (scene, gsd) = (self.scene, self.scene.sensor.gsd_m);
        let (x, y) = self.anchor.local(scene.zone, scene.x0 + col * gsd, scene.y0 - row * gsd);
        let (dx, dy) = ((col - f64::from(scene.width) / 2.0) * gsd, (f64::from(scene.height) / 2.0 - row) * gsd);
        let (east, north) = scene.sensor.misregistration_m;
        let bend = scene.sensor.distortion;
        (x + east + bend * (0.6 * dx - 0.8 * dy), y + north + bend * (0.8 * dx + 0.6 * dy))
    }

    /// Fills `samples`, the bands of a pixel together, with the digital numbers of a window; 0 is no data.
    pub fn expose<T: Copy>(&self, window: PixelWindow, samples: &mut [T], number: impl Fn(f32) -> T) {
        let scene = self.scene;
        let sensor = &scene.sensor;
        let (cols, rows) = (window.cols as usize, window.rows as usize);
        let valid: Vec<bool> = (0..rows * cols)
            .map(|index| {
                let (row, col) = (index / cols, index % cols);
                let at = self.nominal_in(window, col, row);
                scene.valid.as_ref().is_none_or(|valid| valid.depth(at) >= 0.0)
            })
            .collect();
        if !valid.contains(&true) {
            samples.fill(number(0.0));
            return;
        }
        let (wide_cols, wide_rows) = (cols + 2 * HALO as usize, rows + 2 * HALO as usize);
        let mut pixels = self.average(window, wide_cols, wide_rows);
        blur(&mut pixels, wide_cols, wide_rows, sensor.psf_px);
        let clouds = CloudWindow::new(scene, self, window);
        let seed = hash2(scene.acquired.timestamp() as i32, scene.width as i32, 0x5e_4502);
        let ceiling = if sensor.dtype == Dtype::Uint8 { 255.0 } else { 2047.0 };
        let bands = sensor.bands.len();
        for (index, pixel) in samples.chunks_exact_mut(bands).enumerate() {
            let (row, col) = (index / cols, index % cols);
            if !valid.get(index).copied().unwrap_or_default() {
                pixel.fill(number(0.0));
                continue;
            }
            let at = (row + HALO as usize) * wide_cols + col + HALO as usize;
            let mut light = pixels.get(at).copied().unwrap_or_default();
            if let Some(clouds) = &clouds {
                let (cloud, shadow) = clouds.at(self.nominal_in(window, col, row));
                light = blend(light.map(|value| value * (1.0 - 0.62 * shadow)), CLOUD, cloud);
            }
            let place = hash2((window.col0 as usize + col) as i32, (window.row0 as usize + row) as i32, seed);
            for (sample, band) in pixel.iter_mut().zip(&sensor.bands) {
                let noise = gaussian(mix(place ^ (band.index as u32 + 1).wrapping_mul(0x9e37_79b9)));
                let clean = band.haze + band.gain * light.get(band.index).copied().unwrap_or_default();
                *sample = number((clean + sensor.noise_dn * noise).clamp(1.0, ceiling));
            }
        }
    }

    fn nominal_in(&self, window: PixelWindow, col: usize, row: usize) -> Point {
        self.nominal(f64::from(window.col0) + col as f64 + 0.5, f64::from(window.row0) + row as f64 + 0.5)
    }

    /// Mean radiance of each pixel of a window and its halo.
    fn average(&self, window: PixelWindow, cols: usize, rows: usize) -> Vec<Spectrum> {
        let places = sample_places(self.scene.sensor.supersampling);
        let (col0, row0) = (i64::from(window.col0) - HALO, i64::from(window.row0) - HALO);
        let shown = |col: f64, row: f64| self.shown(col0 as f64 + col, row0 as f64 + row);
        let share = 1.0 / places.len().max(1) as f32;
        let mut pixels = vec![[0.0f32; 4]; cols * rows];
        for (x, y) in places {
            // Affine over a block: also where the file is in another zone, within a millimetre.
            let (origin, east, south) = (shown(x, y), shown(cols as f64 + x, y), shown(x, rows as f64 + y));
            let step = |to: (f64, f64), count: usize| {
                point(((to.0 - origin.0) / count as f64) as f32, ((to.1 - origin.1) / count as f64) as f32)
            };
            let frame = Frame {
                origin: point(origin.0 as f32, origin.1 as f32),
                col: step(east, cols),
                row: step(south, rows),
                cols,
                rows,
            };
            let canvas = self.renderer.canvas(frame);
            for (pixel, sample) in pixels.iter_mut().zip(&canvas.samples) {
                for (sum, value) in pixel.iter_mut().zip(radiance(sample)) {
                    *sum += share * value;
                }
            }
        }
        pixels
    }

    /// The cloud mask of a window of pixels that are `side` times as large as the scene's: 0 clear, 1 cloud, 2 shadow.
    pub fn cloud_mask(&self, window: PixelWindow, side: u32, samples: &mut [u8]) {
        samples.fill(0);
        let fine = PixelWindow {
            col0: window.col0 * side,
            row0: window.row0 * side,
            cols: window.cols * side,
            rows: window.rows * side,
        };
        let Some(clouds) = CloudWindow::new(self.scene, self, fine) else { return };
        let side = f64::from(side);
        for (index, sample) in samples.iter_mut().enumerate() {
            let (row, col) = (index / window.cols as usize, index % window.cols as usize);
            let centre = self.nominal(
                (f64::from(window.col0) + col as f64 + 0.5) * side,
                (f64::from(window.row0) + row as f64 + 0.5) * side,
            );
            // Masks are drawn with a margin.
            let around = [(0.0, 0.0), (9.0, 0.0), (-9.0, 0.0), (0.0, 9.0), (0.0, -9.0)];
            let (mut cloud, mut shadow) = (0.0f32, 0.0f32);
            for (dx, dy) in around {
                let (c, s) = clouds.at(centre.plus(point(dx, dy)));
                (cloud, shadow) = (cloud.max(c), shadow.max(s));
            }
            *sample = if cloud > 0.02 { 1 } else { u8::from(shadow > 0.03) * 2 };
        }
    }

    /// Share of the valid scene under cloud, percent, on a coarse lattice.
    #[must_use]
    pub fn cloud_cover(&self) -> f64 {
        const STEP: u32 = 32;
        let whole = PixelWindow { col0: 0, row0: 0, cols: self.scene.width, rows: self.scene.height };
        let Some(clouds) = CloudWindow::new(self.scene, self, whole) else { return 0.0 };
        let (mut cloudy, mut all) = (0u32, 0u32);
        for row in 0..self.scene.height / STEP {
            for col in 0..self.scene.width / STEP {
                let at = self.nominal(f64::from(col * STEP), f64::from(row * STEP));
                if self.scene.valid.as_ref().is_none_or(|valid| valid.depth(at) >= 0.0) {
                    all += 1;
                    cloudy += u32::from(clouds.at(at).0 > 0.3);
                }
            }
        }
        100.0 * f64::from(cloudy) / f64::from(all.max(1))
    }
}

/// Where in a pixel the ground is sampled: its centre, two places on its diagonal, or a lattice of n × n.
fn sample_places(supersampling: usize) -> Vec<(f64, f64)> {
    match supersampling {
        0 | 1 => vec![(0.5, 0.5)],
        2 => vec![(0.25, 0.25), (0.75, 0.75)],
        n => {
            let at = |index: usize| (index as f64 + 0.5) / n as f64;
            (0..n * n).map(|index| (at(index % n), at(index / n))).collect()
        }
    }
}

/// Separable Gaussian with five taps.
fn blur(pixels: &mut [Spectrum], cols: usize, rows: usize, sigma: f32) {
    if sigma <= 0.0 {
        return;
    }
    let raw: Vec<f32> = (-2i32..=2).map(|i| libm::expf(-0.5 * (i * i) as f32 / (sigma * sigma))).collect();
    let total: f32 = raw.iter().sum();
    let taps: Vec<f32> = raw.iter().map(|tap| tap / total).collect();
    let mut pass = |count: usize, stride: usize, lines: usize, line_stride: usize| {
        let mut line = vec![[0.0f32; 4]; count];
        for number in 0..lines {
            let start = number * line_stride;
            for (i, value) in line.iter_mut().enumerate() {
                *value = pixels.get(start + i * stride).copied().unwrap_or_default();
            }
            for i in 0..count {
                let mut sum = [0.0f32; 4];
                for (offset, tap) in taps.iter().enumerate() {
                    let from = (i + offset).saturating_sub(2).min(count - 1);
                    for (total, value) in sum.iter_mut().zip(line.get(from).copied().unwrap_or_default()) {
                        *total += tap * value;
                    }
                }
                if let Some(pixel) = pixels.get_mut(start + i * stride) {
                    *pixel = sum;
                }
            }
        }
    };
    pass(cols, 1, rows, cols);
    pass(rows, cols, cols, 1);
}

/// Clouds and their shadow over a window.
struct CloudWindow {
    clouds: Clouds,
    shadow: Point,
    bounds: Bounds,
    cols: usize,
    density: Vec<(f32, f32)>,
}

impl CloudWindow {
    fn new(scene: &SceneSpec, camera: &Camera<'_>, window: PixelWindow) -> Option<Self> {
        let clouds = scene.clouds?;
        let (col0, row0) = (f64::from(window.col0), f64::from(window.row0));
        let (col1, row1) = (col0 + f64::from(window.cols), row0 + f64::from(window.rows));
        let corners = [(col0, row0), (col1, row0), (col0, row1), (col1, row1)];
        let view = Bounds::of(corners.map(|(col, row)| camera.nominal(col, row))).grown(30.0);
        let shadow = scene.light().shadow.times(clouds.height_m);
        let reach = Bounds::of([clouds.centre, clouds.centre.plus(shadow)]).grown(clouds.radius_m * 1.6);
        if !reach.touches(&view) {
            return None;
        }
        let snap = |value: f32| (value / CLOUD_LATTICE_M).floor() * CLOUD_LATTICE_M;
        let bounds = Bounds { min: point(snap(view.min.x), snap(view.min.y)), max: view.max };
        let count = |low: f32, high: f32| ((high - low) / CLOUD_LATTICE_M) as usize + 3;
        let (cols, rows) = (count(bounds.min.x, bounds.max.x), count(bounds.min.y, bounds.max.y));
        let mut made = Self { clouds, shadow, bounds, cols, density: Vec::with_capacity(cols * rows) };
        for row in 0..rows {
            for col in 0..cols {
                let p = bounds.min.plus(point(col as f32 * CLOUD_LATTICE_M, row as f32 * CLOUD_LATTICE_M));
                made.density.push((made.opacity(p), made.opacity(p.minus(made.shadow))));
            }
        }
        Some(made)
    }

    fn opacity(&self, p: Point) -> f32 {
        let Clouds { centre, radius_m, seed, .. } = self.clouds;
        let distance = p.minus(centre).length() / radius_m;
        if distance > 1.6 {
            return 0.0;
        }
        let shape = fractal(p.x / 210.0, p.y / 210.0, seed, 6) - 0.5 + 0.42 * (1.0 - distance);
        (shape * 4.5).clamp(0.0, 1.0)
    }

    /// Opacity of the cloud and of its shadow.
    fn at(&self, p: Point) -> (f32, f32) {
        let (x, y) = ((p.x - self.bounds.min.x) / CLOUD_LATTICE_M, (p.y - self.bounds.min.y) / CLOUD_LATTICE_M);
        let (fx, fy) = (x.floor(), y.floor());
        let (tx, ty) = (x - fx, y - fy);
        let index = fy.max(0.0) as usize * self.cols + fx.max(0.0) as usize;
        let corner = |offset: usize| self.density.get(index + offset).copied().unwrap_or_default();
        let (a, b, c, d) = (corner(0), corner(1), corner(self.cols), corner(self.cols + 1));
        let mix = |a: f32, b: f32, c: f32, d: f32| {
            let (low, high) = (a + (b - a) * tx, c + (d - c) * tx);
            low + (high - low) * ty
        };
        (mix(a.0, b.0, c.0, d.0), mix(a.1, b.1, c.1, d.1))
    }
}

//! Evidence where buildings have a shape: window means of score, brightness, vegetation, hue and structure of both
//! dates, and a small network over them.

use std::ops::Range;

use survey::raster::Plane;
use survey::wide::wide;

use super::base::{BasePlanes, UNIT};
use super::logarithm::Logarithm;
use super::model::{FEATURES, Model};
use super::window::Table;

/// Radius of the windows of the gradients' correlation.
const CORRELATION_RADIUS: usize = 5;
/// Radius of the windows of the brightness' deviation.
const CONTRAST_RADIUS: usize = 4;
/// Radius of the largest windows.
const LARGEST_RADIUS: usize = 24;
/// A lot is bright stripped ground, subsoil or concrete, before its halls stand: brighter than fields get (robust z) ...
const BRIGHT: f32 = 2.5;
/// ... where ground was smooth before (edge density, logarithm) ...
const SMOOTH: f32 = -1.1;
/// ... and scores. Log-odds per unit beyond each of these.
const STRIPPED: f32 = 4.0;
/// Floor of a mean gradient and of a standard deviation, so that a smooth field has a logarithm.
const FLOOR: f32 = 0.05;

/// What the rows of a chunk say.
pub struct FineRows {
    /// Log-odds of change.
    pub logit: Vec<f32>,
    /// `1 − NCC` of the gradients, 0 to 2.
    pub structure: Vec<f32>,
    /// Logarithm of edge density after over before.
    pub edge_growth: Vec<f32>,
    /// Edge density before, logarithm.
    pub edges_before: Vec<f32>,
}

/// The evidence of `rows` (counted from the first row of the planes).
#[must_use]
pub fn fine_rows(base: &BasePlanes, rows: Range<usize>) -> FineRows {
    let model = Model::of(base.colours.has_colour);
    let size = rows.len() * base.rect.cols();
    let planes = features(base, rows);
    let mut logit = vec![0.0; size];
    model.logits(&planes, &mut logit);
    let plane = |name: &str| FEATURES.iter().position(|other| *other == name).and_then(|at| planes.get(at));
    let zeros = vec![0.0; size];
    let plane = |name: &str| plane(name).unwrap_or(&zeros);
    let (bright, score, smooth) = (plane("brightness_8_after"), plane("score_4"), plane("edges_12_before"));
    wide(|| {
        for (((logit, bright), score), smooth) in logit.iter_mut().zip(bright).zip(score).zip(smooth) {
            *logit = logit.max(STRIPPED * (bright - BRIGHT).min(*score).min(SMOOTH - smooth));
        }
    });
    let edges_before = plane("edges_6_before").clone();
    FineRows {
        logit,
        structure: plane("correlation").iter().map(|correlation| 1.0 - correlation).collect(),
        edge_growth: plane("edges_6_after").iter().zip(&edges_before).map(|(after, before)| after - before).collect(),
        edges_before,
    }
}

/// The values of each feature over `rows`, in the order of [`FEATURES`].
pub fn features(base: &BasePlanes, rows: Range<usize>) -> Vec<Vec<f32>> {
    let mut windows = Windows::new(base, rows);
    let mut planes: Vec<Vec<f32>> = FEATURES.iter().map(|_| Vec::new()).collect();
    // Means that deviations and correlation are taken from, of the earlier date and of the later.
    let (mut brightness, mut gradients) = (Vec::new(), Vec::new());
    // One plane after the other, so that its sums stay in the cache while windows of all radii are read from them.
    for (quantity, suffix, plane) in [
        ("score", "", &base.score),
        ("brightness", "_before", &base.before.brightness),
        ("brightness", "_after", &base.after.brightness),
        ("vegetation", "_before", &base.before.vegetation),
        ("vegetation", "_after", &base.after.vegetation),
        ("hue", "_before", &base.before.hue),
        ("hue", "_after", &base.after.hue),
        ("edges", "_before", &base.before.gradient),
        ("edges", "_after", &base.after.gradient),
    ] {
        windows.of(plane);
        for (feature, values) in FEATURES.iter().zip(&mut planes) {
            let Some(radius) = feature.strip_suffix(suffix).and_then(|what| radius_of(what, quantity)) else {
                continue;
            };
            *values = windows.mean(radius);
            if quantity == "edges" {
                logarithms(values);
            }
        }
        match quantity {
            "brightness" => brightness.push((plane, windows.mean(CONTRAST_RADIUS))),
            "edges" => gradients.push((plane, windows.mean(CORRELATION_RADIUS))),
            _ => {}
        }
    }
    let mut put = |name: &str, values: Vec<f32>| {
        if let Some(at) = FEATURES.iter().position(|feature| *feature == name) {
            planes[at] = values;
        }
    };
    for (name, (plane, mean)) in ["contrast_4_before", "contrast_4_after"].into_iter().zip(brightness) {
        put(name, windows.log_deviation(plane, &mean));
    }
    if let [before, after] = &gradients[..] {
        put("correlation", windows.correlation([before.0, after.0], [&before.1, &after.1]));
    }
    planes
}

/// The radius of `score_12`, where the quantity is `score`.
fn radius_of(feature: &str, quantity: &str) -> Option<usize> {
    feature.strip_prefix(quantity)?.strip_prefix('_')?.parse().ok()
}

/// Window means over valid pixels for a chunk of rows.
struct Windows<'a> {
    base: &'a BasePlanes,
    rows: Range<usize>,
    /// By radius: 1 / number of valid pixels; 0 where there is none.
    inverse: Vec<(usize, Vec<f32>)>,
    /// Of the plane that is looked at.
    table: Table,
}

impl<'a> Windows<'a> {
    fn new(base: &'a BasePlanes, rows: Range<usize>) -> Self {
        let reach = rows.start.saturating_sub(LARGEST_RADIUS)..(rows.end + LARGEST_RADIUS).min(base.rect.rows());
        let mut windows = Self { base, rows, inverse: Vec::new(), table: Table::new(base.rect.cols(), reach) };
        windows.of(&base.valid);
        windows.inverse = [1, 2, CONTRAST_RADIUS, CORRELATION_RADIUS, 6, 8, 12, LARGEST_RADIUS]
            .map(|radius| {
                let inverse = windows.each(radius, |_, counts, inverse| {
                    let pixels = inverse.iter_mut().zip(counts);
                    wide(|| {
                        pixels.for_each(|(inverse, &count)| {
                            *inverse = if count > 0 { 1.0 / count as f32 } else { 0.0 };
                        });
                    });
                });
                (radius, inverse)
            })
            .into();
        windows
    }

    /// Looks at a plane.
    fn of(&mut self, plane: &Plane<i16>) {
        self.table.fill(|row, out| copy(plane, row, out));
    }

    /// Looks at the product of two planes.
    fn of_product(&mut self, a: &Plane<i16>, b: &Plane<i16>) {
        self.table.fill(|row, out| product(a, b, row, out));
    }

    /// What `make` makes of the sums over the windows of each row, counted from the first.
    fn each(&self, radius: usize, make: impl Fn(usize, &[i32], &mut [f32])) -> Vec<f32> {
        let cols = self.base.rect.cols();
        let mut out = vec![0.0; self.rows.len() * cols];
        let mut sums = vec![0; cols];
        for (index, out) in out.chunks_exact_mut(cols.max(1)).enumerate() {
            self.table.window_sums(self.rows.start + index, radius, &mut sums);
            make(index, &sums, out);
        }
        out
    }

    /// Means over the windows, in units of `scale`.
    fn means(&self, radius: usize, scale: f32) -> Vec<f32> {
        let cols = self.base.rect.cols();
        let inverse = self.inverse.iter().find(|(other, _)| *other == radius).map_or(&[][..], |(_, inverse)| inverse);
        self.each(radius, |index, sums, out| {
            let pixels = out.iter_mut().zip(sums).zip(&inverse[index * cols..]);
            wide(|| pixels.for_each(|((out, &sum), inverse)| *out = sum as f32 * inverse * scale));
        })
    }

    fn mean(&self, radius: usize) -> Vec<f32> {
        self.means(radius, 1.0 / UNIT)
    }

    fn mean_product(&self, radius: usize) -> Vec<f32> {
        self.means(radius, 1.0 / (UNIT * UNIT))
    }

    /// Logarithm of the standard deviation of a plane of which these are the means.
    fn log_deviation(&mut self, plane: &Plane<i16>, mean: &[f32]) -> Vec<f32> {
        self.of_product(plane, plane);
        let mut out = self.mean_product(CONTRAST_RADIUS);
        let ln = Logarithm::new();
        wide(|| {
            for (out, mean) in out.iter_mut().zip(mean) {
                *out = ln.of((*out - mean * mean).max(0.0).sqrt() + FLOOR);
            }
        });
        out
    }

    /// Normalised cross-correlation of two planes of which these are the means; 1 where both are smooth (nothing to compare).
    fn correlation(&mut self, [a, b]: [&Plane<i16>; 2], [mean_a, mean_b]: [&[f32]; 2]) -> Vec<f32> {
        let [aa, bb, mut out] = [(a, a), (b, b), (a, b)].map(|(one, other)| {
            self.of_product(one, other);
            self.mean_product(CORRELATION_RADIUS)
        });
        let means = mean_a.iter().zip(mean_b);
        let squares = aa.iter().zip(&bb);
        wide(|| {
            for ((out, (mean_a, mean_b)), (aa, bb)) in out.iter_mut().zip(means).zip(squares) {
                let variance_a = (aa - mean_a * mean_a).max(0.0);
                let variance_b = (bb - mean_b * mean_b).max(0.0);
                let covariance = *out - mean_a * mean_b;
                *out = ((covariance + 0.01) / ((variance_a * variance_b).sqrt() + 0.01)).clamp(-1.0, 1.0);
            }
        });
        out
    }
}

/// ln(value + [`FLOOR`]).
fn logarithms(values: &mut [f32]) {
    let ln = Logarithm::new();
    wide(|| values.iter_mut().for_each(|value| *value = ln.of(*value + FLOOR)));
}

fn line(plane: &Plane<i16>, row: usize) -> &[i16] {
    plane.row(plane.rect().row0 + row as i32)
}

fn copy(plane: &Plane<i16>, row: usize, out: &mut [i32]) {
    let pixels = out.iter_mut().zip(line(plane, row));
    wide(|| pixels.for_each(|(out, &value)| *out = i32::from(value)));
}

fn product(a: &Plane<i16>, b: &Plane<i16>, row: usize, out: &mut [i32]) {
    let lines = line(a, row).iter().zip(line(b, row));
    let pixels = out.iter_mut().zip(lines);
    wide(|| pixels.for_each(|(out, (&a, &b))| *out = i32::from(a) * i32::from(b)));
}

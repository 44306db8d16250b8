//! Evidence where buildings have a shape: window means of score, brightness, vegetation, hue and structure of both
//! dates, and a small network over them.

use std::ops::Range;

use survey::raster::Plane;
use survey::wide::wide;

use super::base::{BasePlanes, UNIT};
use super::logarithm::Logarithm;
use super::model::{FEATURES, Model};
use super::window::slide;

/// Radius of the windows of the gradients' correlation.
const CORRELATION_RADIUS: usize = 5;
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
    let mut planes: Vec<Vec<f32>> = Vec::with_capacity(FEATURES.len());
    features(base, rows, |_, values| planes.push(values.to_vec()));
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

/// Calls `take(feature, values)` for each feature in the order of [`FEATURES`], with its values over `rows`.
pub fn features(base: &BasePlanes, rows: Range<usize>, mut take: impl FnMut(usize, &[f32])) {
    let windows = Windows::new(base, rows);
    let mut values = vec![0.0; windows.size()];
    for (feature, name) in FEATURES.iter().enumerate() {
        let (what, date) = match name.rsplit_once('_') {
            Some((what, "before")) => (what, &base.before),
            Some((what, "after")) => (what, &base.after),
            _ => (*name, &base.after),
        };
        let window = what.rsplit_once('_').and_then(|(quantity, radius)| Some((quantity, radius.parse().ok()?)));
        let (quantity, radius) = window.unwrap_or((what, CORRELATION_RADIUS));
        match quantity {
            "score" => windows.mean(&base.score, radius, &mut values),
            "brightness" => windows.mean(&date.brightness, radius, &mut values),
            "vegetation" => windows.mean(&date.vegetation, radius, &mut values),
            "hue" => windows.mean(&date.hue, radius, &mut values),
            "edges" => windows.log_mean(&date.gradient, radius, &mut values),
            "contrast" => windows.log_deviation(&date.brightness, radius, &mut values),
            _ => windows.correlation(&base.before.gradient, &base.after.gradient, &mut values),
        }
        take(feature, &values);
    }
}

/// Window means over valid pixels for a chunk of rows.
struct Windows<'a> {
    base: &'a BasePlanes,
    rows: Range<usize>,
    /// By radius: 1 / number of valid pixels; 0 where there is none.
    inverse: Vec<(usize, Vec<f32>)>,
}

impl<'a> Windows<'a> {
    fn new(base: &'a BasePlanes, rows: Range<usize>) -> Self {
        let mut windows = Self { base, rows, inverse: Vec::new() };
        windows.inverse = [1, 2, 4, CORRELATION_RADIUS, 6, 8, 12, 24]
            .into_iter()
            .map(|radius| {
                let mut inverse = vec![0.0; windows.size()];
                windows.sums(
                    radius,
                    |row, out| copy(&windows.base.valid, row, out),
                    |pixels, counts| {
                        let pixels = inverse[pixels].iter_mut().zip(counts);
                        wide(|| {
                            pixels.for_each(|(inverse, &count)| {
                                *inverse = if count > 0 { 1.0 / count as f32 } else { 0.0 };
                            });
                        });
                    },
                );
                (radius, inverse)
            })
            .collect();
        windows
    }

    fn size(&self) -> usize {
        self.rows.len() * self.base.rect.cols()
    }

    fn inverse(&self, radius: usize) -> &[f32] {
        self.inverse.iter().find(|(other, _)| *other == radius).map_or(&[], |(_, inverse)| inverse)
    }

    /// Calls `take` with the pixels of each row and the sums over their windows.
    fn sums(&self, radius: usize, read: impl Fn(usize, &mut [i32]), mut take: impl FnMut(Range<usize>, &[i32])) {
        let (cols, height) = (self.base.rect.cols(), self.base.rect.rows());
        let first = self.rows.start;
        slide(cols, height, radius, self.rows.clone(), read, |row, sums| {
            let start = (row - first) * cols;
            take(start..start + cols, sums);
        });
    }

    /// Means over the windows of what `read` fills in, in units of `scale`.
    fn means(&self, radius: usize, read: impl Fn(usize, &mut [i32]), scale: f32, out: &mut [f32]) {
        let inverse = self.inverse(radius);
        self.sums(radius, read, |pixels, sums| {
            let pixels = out[pixels.clone()].iter_mut().zip(sums).zip(&inverse[pixels]);
            wide(|| pixels.for_each(|((out, &sum), inverse)| *out = sum as f32 * inverse * scale));
        });
    }

    fn mean(&self, plane: &Plane<i16>, radius: usize, out: &mut [f32]) {
        self.means(radius, |row, buffer| copy(plane, row, buffer), 1.0 / UNIT, out);
    }

    fn log_mean(&self, plane: &Plane<i16>, radius: usize, out: &mut [f32]) {
        self.mean(plane, radius, out);
        let ln = Logarithm::new();
        wide(|| out.iter_mut().for_each(|value| *value = ln.of(*value + FLOOR)));
    }

    fn log_deviation(&self, plane: &Plane<i16>, radius: usize, out: &mut [f32]) {
        let mut mean = vec![0.0; out.len()];
        self.mean(plane, radius, &mut mean);
        self.means(radius, |row, buffer| product(plane, plane, row, buffer), 1.0 / (UNIT * UNIT), out);
        let ln = Logarithm::new();
        wide(|| {
            for (out, mean) in out.iter_mut().zip(mean) {
                *out = ln.of((*out - mean * mean).max(0.0).sqrt() + FLOOR);
            }
        });
    }

    /// Normalised cross-correlation of two planes; 1 where both are smooth (nothing to compare).
    fn correlation(&self, a: &Plane<i16>, b: &Plane<i16>, out: &mut [f32]) {
        let moment = |a: &Plane<i16>, b: Option<&Plane<i16>>| {
            let mut means = vec![0.0; out.len()];
            match b {
                Some(b) => {
                    let read = |row: usize, buffer: &mut [i32]| product(a, b, row, buffer);
                    self.means(CORRELATION_RADIUS, read, 1.0 / (UNIT * UNIT), &mut means);
                }
                None => self.mean(a, CORRELATION_RADIUS, &mut means),
            }
            means
        };
        let (mean_a, mean_b) = (moment(a, None), moment(b, None));
        let (aa, bb, ab) = (moment(a, Some(a)), moment(b, Some(b)), moment(a, Some(b)));
        let means = mean_a.iter().zip(&mean_b);
        let squares = aa.iter().zip(&bb).zip(&ab);
        wide(|| {
            for ((out, (mean_a, mean_b)), ((aa, bb), ab)) in out.iter_mut().zip(means).zip(squares) {
                let variance_a = (aa - mean_a * mean_a).max(0.0);
                let variance_b = (bb - mean_b * mean_b).max(0.0);
                let covariance = ab - mean_a * mean_b;
                *out = ((covariance + 0.01) / ((variance_a * variance_b).sqrt() + 0.01)).clamp(-1.0, 1.0);
            }
        });
    }
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

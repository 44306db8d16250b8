//! Frames: halls of columns and beams, before they have a roof.
//!
//! Between its beams one sees the ground, so a frame is no patch of one brightness or colour. What makes it one thing is
//! edges: there is one within a bay's half width everywhere inside and none outside. So edges are closed by half a bay,
//! and what holds together without thin parts is a candidate. Piles, streets of houses and rows of film are full of
//! edges too. A frame's run straight through it, so the profile across it keeps much of its contrast: the share of the
//! variance that it keeps tells them apart.

use std::sync::Arc;

use rayon::prelude::*;
use survey::findings::Run;
use survey::grid::PixelRect;
use survey::raster::Plane;

use super::channels::{Channels, box_mean};
use super::pixels::{quantile, values};
use crate::components::pieces;
use crate::mask::Mask;
use crate::outline::{Shape, shape};

/// Half the distance between the edges of beams, at most, metres: portal frames stand 5 to 7 m apart.
const HALF_BAYS_M: [f64; 2] = [2.2, 3.4];
/// Narrower parts of what edges hold together are stacks, walls and jibs beside a frame, metres.
const NARROW_M: [f64; 2] = [9.0, 16.0];
/// What a beam's pixel has of its line's mean, at least.
const OWN: f32 = 0.45;
/// Beams run on straight for at least this long, metres; stacks and vehicles don't.
const BEAM_M: f64 = 12.0;
/// Beams are what stands out along a line, or has edges, by more than these shares of the way from the site's median to
/// its strongest.
const LEVELS: [f32; 3] = [0.2, 0.35, 0.55];
/// The axis of a site is looked for in lines of this length, metres, at about so many pixels.
const AXIS_M: f64 = 24.0;
const AXIS_SAMPLE: f64 = 20_000.0;
/// Beams stronger than this percentile of the site count as much: cranes and sheets outshine them.
const STRONG: usize = 98;
/// Beams are followed so far beyond a patch, metres.
const FARTHER_M: f64 = 20.0;
/// A bay, metres.
const BAY_M: f64 = 2.0;
/// Beams end where less than this share of their strength is left, against bare ground. More than half: their shadows
/// beside them are lines, too.
const ENDS: f64 = 0.45;
/// No bay is longer, metres: two frames stand farther apart.
const LONGEST_BAY_M: f64 = 7.8;
/// No frame is shorter, metres.
const SHORTEST_M: f64 = 12.0;
/// Beams as steep as this share of the steepest count as its equals.
const STEEP: f64 = 0.8;
/// A beam's width, and how far from there the outermost beam may be, metres.
const BEAM_WIDTH_M: f64 = 1.0;
const SNAP_M: f64 = 5.0;
/// Cosine of the angle up to which a patch counts as parallel to the site's axis: 10°.
const PARALLEL: f64 = 0.985;
/// What varies over more than this many metres is no beam.
const COARSE_M: f64 = 4.0;
/// Share of the variance that a frame's profile keeps, at least.
pub(super) const LEAST_LINES: f64 = 0.18;
/// Least difference of texture to what lies beyond, in units of the spread of both.
pub(super) const LEAST_CONTRAST: f64 = 0.3;

/// A patch that beams fill.
pub(super) struct Patch {
    runs: Vec<Run>,
    /// All of the ground that beams fill, with the thin parts.
    closed: Arc<Mask>,
}

/// What is known of a site's beams.
pub(super) struct Beams {
    /// Brightness against its surroundings: what is left of beams.
    pub(super) detail: Plane<f32>,
    /// Mean of the detail along the line through a pixel, along or across the axis.
    response: Plane<f32>,
    /// Its median size.
    median: f32,
    /// What a beam counts at most.
    strongest: f32,
    /// Median gradient, and that of the steepest edges.
    gradient: [f32; 2],
    axis: (f64, f64),
    gsd_m: f64,
}

impl Beams {
    pub(super) fn new(ground: &Mask, channels: &Channels, gsd_m: f64) -> Self {
        let detail = detail(channels, gsd_m);
        let axis = dominant_axis(&detail, ground, gsd_m);
        let response = response(&detail, ground, axis, BEAM_M / gsd_m);
        let mut sizes: Vec<f32> = values(&response, ground).into_iter().map(f32::abs).collect();
        let (median, strongest) = (quantile(&mut sizes, 50), quantile(&mut sizes, STRONG));
        let mut gradients = values(&channels.gradient, ground);
        let gradient = [50, STRONG].map(|percent| quantile(&mut gradients, percent));
        Self { detail, response, median, strongest, gradient, axis, gsd_m }
    }

    fn pixels(&self, metres: f64) -> i32 {
        ((metres / self.gsd_m).round() as i32).max(1)
    }

    /// Patches of the ground that beams fill.
    pub(super) fn patches(&self, ground: &Mask, channels: &Channels) -> Vec<Patch> {
        let mut patches = Vec::new();
        let least = (super::candidates::LEAST_FRAME_M2 / (self.gsd_m * self.gsd_m)) as u64;
        let above = |plane: &Plane<f32>, level: f32| Mask::from_plane(plane, |value| value > level).and(ground);
        let lines = LEVELS.map(|share| above(&self.response, self.median + share * (self.strongest - self.median)));
        let [median, steepest] = self.gradient;
        let edges = LEVELS.map(|share| above(&channels.gradient, median + share * (steepest - median)));
        for lines in lines.iter().chain(&edges) {
            for half_bay in HALF_BAYS_M {
                let closed = Arc::new(lines.close(self.pixels(half_bay)));
                for narrow in NARROW_M {
                    let solid = closed.open(self.pixels(narrow / 2.0));
                    for runs in
                        pieces(&solid).into_iter().filter(|runs| runs.iter().map(Run::len).sum::<u64>() >= least)
                    {
                        patches.push(Patch { runs, closed: Arc::clone(&closed) });
                    }
                }
            }
        }
        patches
    }

    /// The rectangles that a patch's beams end at: from the middle of the patch outwards until, over a bay, less than
    /// half of the ground is filled; cut where there are no beams for longer than a bay.
    pub(super) fn rectangles(&self, patch: &Patch) -> Vec<Mask> {
        let Some(rect) = shape(&patch.runs).map(|shape| shape.rect) else { return Vec::new() };
        let (mut ux, mut uy) = rect.direction;
        // Halls of a lot stand parallel; the rectangle around a ragged patch is a little off.
        for (ax, ay) in [self.axis, (-self.axis.1, self.axis.0)] {
            let along = ax * rect.direction.0 + ay * rect.direction.1;
            if along.abs() > PARALLEL {
                (ux, uy) = (ax * along.signum(), ay * along.signum());
            }
        }
        let turned = Turned { x: rect.centre_x, y: rect.centre_y, ux, uy };
        let mut along = (-0.45 * rect.length, 0.45 * rect.length);
        let mut across = (-0.45 * rect.width, 0.45 * rect.width);
        for _ in 0..2 {
            let longer = self.extent(patch, along, inner(across), false, &|u, v| turned.at(u, v));
            along = longer.unwrap_or(along);
            let wider = self.extent(patch, across, inner(along), false, &|v, u| turned.at(u, v));
            across = wider.unwrap_or(across);
        }
        let (first, last) = (along.0.floor() as i64, along.1.ceil() as i64);
        let lines = (first..last).map(|u| self.line(patch, u, inner(across), &|u, v| turned.at(u, v)).1);
        let spans = self.spans(&lines.collect::<Vec<_>>());
        let fitted = |(from, to): (usize, usize)| {
            let span = ((first + from as i64) as f64, (first + to as i64 + 1) as f64);
            let across = self.extent(patch, across, inner(span), true, &|v, u| turned.at(u, v))?;
            let span = self.snapped(patch, span, inner(across), &|u, v| turned.at(u, v));
            turned.mask(span, across, self.response.rect(), self.pixels(3.0))
        };
        spans.into_iter().filter_map(fitted).collect()
    }

    /// The spans of a side between which there are no beams for longer than a bay.
    fn spans(&self, profile: &[f64]) -> Vec<(usize, usize)> {
        let (bay, least) = (self.pixels(LONGEST_BAY_M) as usize, self.pixels(SHORTEST_M) as usize);
        let mut sorted = profile.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let strong = 0.4 * sorted.get(sorted.len() * 9 / 10).copied().unwrap_or(0.0);
        let beams = profile.iter().enumerate().filter(|(_, value)| **value >= strong).map(|(at, _)| at);
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for at in beams {
            match spans.last_mut() {
                Some(span) if at - span.1 <= bay => span.1 = at,
                _ => spans.push((at, at)),
            }
        }
        spans.retain(|span| span.1 - span.0 >= least);
        spans
    }

    /// How far beams go on, along one side of a patch; `across` is what of the other side is looked at.
    fn extent(
        &self,
        patch: &Patch,
        (from, to): (f64, f64),
        across: (f64, f64),
        snaps: bool,
        at: &dyn Fn(f64, f64) -> (f64, f64),
    ) -> Option<(f64, f64)> {
        let reach = FARTHER_M / self.gsd_m;
        let (first, last) = ((from - reach).floor() as i64, (to + reach).ceil() as i64);
        let (filled, _): (Vec<f64>, Vec<f64>) = (first..last).map(|u| self.line(patch, u, across, at)).unzip();
        let half = (BAY_M / self.gsd_m / 2.0).round() as usize;
        let smooth: Vec<f64> = (0..filled.len())
            .map(|index| {
                let near = &filled[index.saturating_sub(half)..(index + half + 1).min(filled.len())];
                near.iter().sum::<f64>() / near.len() as f64
            })
            .collect();
        let index = |u: f64| ((u.floor() as i64 - first).max(0) as usize).min(smooth.len());
        let (low, high) = (index(from + 0.25 * (to - from)), index(to - 0.25 * (to - from)));
        let core = smooth.get(low..high).filter(|core| !core.is_empty())?;
        let floor = smooth.iter().copied().fold(f64::MAX, f64::min);
        let enough = floor + ENDS * (core.iter().sum::<f64>() / core.len() as f64 - floor);
        let (mut start, mut end) = (low, high);
        while start > 0 && smooth[start - 1] >= enough {
            start -= 1;
        }
        while end < smooth.len() && smooth[end] >= enough {
            end += 1;
        }
        let span = (first as f64 + start as f64, first as f64 + end as f64);
        Some(if snaps { self.snapped(patch, span, across, at) } else { span })
    }

    /// The span between the outermost beams: where their strength falls most steeply.
    fn snapped(
        &self,
        patch: &Patch,
        span: (f64, f64),
        across: (f64, f64),
        at: &dyn Fn(f64, f64) -> (f64, f64),
    ) -> (f64, f64) {
        let (thin, near) = (self.pixels(BEAM_WIDTH_M) as usize, self.pixels(SNAP_M) as usize);
        let first = span.0.floor() as i64 - (thin + near) as i64;
        let last = span.1.ceil() as i64 + (thin + near) as i64;
        let profile: Vec<f64> = (first..last).map(|u| self.line(patch, u, across, at).1).collect();
        let mean = |from: usize, to: usize| {
            let part = profile.get(from..to).unwrap_or_default();
            part.iter().sum::<f64>() / part.len().max(1) as f64
        };
        let snap = |end: usize, outward: bool| -> usize {
            let tried = end.saturating_sub(near).max(thin)..=(end + near).min(profile.len().saturating_sub(thin));
            let fall = |at: usize| {
                let rise = mean(at, at + thin) - mean(at.saturating_sub(thin), at);
                if outward { -rise } else { rise }
            };
            let steepest = tried.clone().map(fall).fold(0.0, f64::max);
            let is_peak = |at: usize| (at.saturating_sub(thin)..=at + thin).all(|near| fall(near) <= fall(at));
            let is_steep = |at: &usize| steepest > 0.0 && fall(*at) >= STEEP * steepest && is_peak(*at);
            let found = if outward { tried.rev().find(is_steep) } else { tried.into_iter().find(is_steep) };
            found.unwrap_or(end)
        };
        let index = |u: f64| (u.floor() as i64 - first).max(0) as usize;
        let (start, end) = (snap(index(span.0), false), snap(index(span.1), true));
        (first as f64 + start as f64, first as f64 + end as f64)
    }

    /// Of a line across: the share that beams fill, and the mean strength of the beams.
    fn line(&self, patch: &Patch, u: i64, across: (f64, f64), at: &dyn Fn(f64, f64) -> (f64, f64)) -> (f64, f64) {
        let rect = self.response.rect();
        let (mut filled, mut sum, mut count) = (0_u32, 0.0_f64, 0_u32);
        let mut v = across.0;
        while v < across.1 {
            let (x, y) = at(u as f64 + 0.5, v);
            let (row, col) = (y.floor() as i32, x.floor() as i32);
            if row >= rect.row0 && row < rect.row1 && col >= rect.col0 && col < rect.col1 {
                let value = self.response.row(row)[(col - rect.col0) as usize];
                sum += f64::from(value.clamp(0.0, self.strongest));
                filled += u32::from(patch.closed.get(row, col));
            }
            count += 1;
            v += 1.0;
        }
        let count = f64::from(count.max(1));
        (f64::from(filled) / count, sum / count)
    }
}

/// Coordinates along a direction and across it, from a centre, pixels.
struct Turned {
    x: f64,
    y: f64,
    ux: f64,
    uy: f64,
}

impl Turned {
    fn at(&self, u: f64, v: f64) -> (f64, f64) {
        (self.x + u * self.ux - v * self.uy, self.y + u * self.uy + v * self.ux)
    }

    /// The pixels whose centres lie in a rectangle.
    fn mask(&self, along: (f64, f64), across: (f64, f64), within: PixelRect, margin: i32) -> Option<Mask> {
        let corners = [(along.0, across.0), (along.0, across.1), (along.1, across.0), (along.1, across.1)];
        let corners = corners.map(|(u, v)| self.at(u, v));
        let low = |values: [f64; 4]| values.into_iter().fold(f64::MAX, f64::min).floor() as i32;
        let high = |values: [f64; 4]| values.into_iter().fold(f64::MIN, f64::max).ceil() as i32;
        let (xs, ys) = (corners.map(|at| at.0), corners.map(|at| at.1));
        let bounds = PixelRect::new(low(ys), low(xs), high(ys), high(xs)).grown(margin).intersection(&within)?;
        Some(Mask::from_fn(bounds, |row, col| {
            let (dx, dy) = (f64::from(col) + 0.5 - self.x, f64::from(row) + 0.5 - self.y);
            let (u, v) = (dx * self.ux + dy * self.uy, dy * self.ux - dx * self.uy);
            u >= along.0 && u < along.1 && v >= across.0 && v < across.1
        }))
    }
}

/// The middle of a span, without what lies near its ends.
fn inner((from, to): (f64, f64)) -> (f64, f64) {
    let off = 0.1 * (to - from);
    (from + off, to - off)
}

/// The direction along which lines stand out most, or at right angles to which: tried in steps of 3°, then of half a
/// degree, at every so many pixels.
fn dominant_axis(detail: &Plane<f32>, ground: &Mask, gsd_m: f64) -> (f64, f64) {
    let stride = ((ground.count() as f64 / AXIS_SAMPLE).sqrt().ceil() as i32).max(1);
    let sample: Vec<(i32, i32)> = ground
        .runs()
        .iter()
        .filter(|run| run.row % stride == 0)
        .flat_map(|run| (run.col0..run.col1).filter(|col| col % stride == 0).map(|col| (run.row, col)))
        .collect();
    let axis = |half_degrees: i32| {
        let angle = (f64::from(half_degrees) / 2.0).to_radians();
        (libm::cos(angle), libm::sin(angle))
    };
    let energy = |half_degrees: i32| -> f64 {
        let lines = Crossing::new(detail, axis(half_degrees), AXIS_M / gsd_m);
        sample.iter().map(|&(row, col)| f64::from(lines.strongest(row, col)).powi(2)).sum()
    };
    let best = |tried: Vec<i32>| -> i32 {
        let energies: Vec<(i32, f64)> = tried.into_par_iter().map(|angle| (angle, energy(angle))).collect();
        energies.into_iter().fold((0, f64::MIN), |best, next| if next.1 > best.1 { next } else { best }).0
    };
    let coarse = best((0..180).step_by(6).collect());
    axis(best((coarse - 6..=coarse + 6).collect()))
}

/// Two lines that cross at right angles, over a plane.
struct Crossing<'a> {
    detail: &'a Plane<f32>,
    /// Steps (rows, columns) along each line.
    steps: [Vec<(i32, i32)>; 2],
    /// The same steps in the plane's values, one along each line.
    places: Vec<[isize; 2]>,
    /// No step leads farther, rows or columns.
    reach: i32,
}

impl<'a> Crossing<'a> {
    fn new(detail: &'a Plane<f32>, (ux, uy): (f64, f64), length_px: f64) -> Self {
        let half = (length_px / 2.0).round().max(2.0) as i32;
        let steps = [(ux, uy), (-uy, ux)].map(|(dx, dy)| -> Vec<(i32, i32)> {
            let at = |step: i32| ((f64::from(step) * dy).round() as i32, (f64::from(step) * dx).round() as i32);
            (-half..=half).map(at).collect()
        });
        let cols = detail.rect().cols() as isize;
        let place = |(down, right): (i32, i32)| down as isize * cols + right as isize;
        let places = steps[0].iter().zip(&steps[1]).map(|(&along, &across)| [place(along), place(across)]).collect();
        let reach = steps.iter().flatten().map(|(down, right)| down.abs().max(right.abs())).max().unwrap_or(0);
        Self { detail, steps, places, reach }
    }

    /// The mean along one of the lines through a pixel of the plane, whichever is farther from 0.
    fn strongest(&self, row: i32, col: i32) -> f32 {
        let rect = self.detail.rect();
        let is_inside = |at: i32, first: i32, end: i32| at - self.reach >= first && at + self.reach < end;
        let [along, across] = if is_inside(row, rect.row0, rect.row1) && is_inside(col, rect.col0, rect.col1) {
            self.means_inside(row, col)
        } else {
            [0, 1].map(|line| self.mean(line, row, col))
        };
        if across.abs() > along.abs() { across } else { along }
    }

    /// The means along both lines where they lie inside, as they mostly do: the same additions without looking where one
    /// is.
    fn means_inside(&self, row: i32, col: i32) -> [f32; 2] {
        let (rect, data) = (self.detail.rect(), self.detail.data());
        let here = (row - rect.row0) as isize * rect.cols() as isize + (col - rect.col0) as isize;
        let mut sums = [0.0_f32; 2];
        for places in &self.places {
            for (sum, place) in sums.iter_mut().zip(places) {
                *sum += data[(here + place) as usize];
            }
        }
        sums.map(|sum| sum / self.places.len() as f32)
    }

    /// The mean along the part of a line that lies inside.
    fn mean(&self, line: usize, row: i32, col: i32) -> f32 {
        let rect = self.detail.rect();
        let (mut sum, mut count) = (0.0_f32, 0_u16);
        for &(down, right) in &self.steps[line] {
            let (r, c) = (row + down, col + right);
            if r >= rect.row0 && r < rect.row1 && c >= rect.col0 && c < rect.col1 {
                sum += self.detail.row(r)[(c - rect.col0) as usize];
                count += 1;
            }
        }
        sum / f32::from(count.max(1))
    }
}

/// Mean of the detail along the line through a pixel, along the axis or across it, whichever is farther from 0.
fn response(detail: &Plane<f32>, ground: &Mask, axis: (f64, f64), length_px: f64) -> Plane<f32> {
    let rect = detail.rect();
    let lines = Crossing::new(detail, axis, length_px);
    let mut response = Plane::filled(rect, 0.0_f32);
    response.data_mut().par_chunks_mut(rect.cols().max(1)).enumerate().for_each(|(index, out)| {
        let row = rect.row0 + index as i32;
        for run in ground.row_runs(row) {
            for col in run.col0.max(rect.col0)..run.col1.min(rect.col1) {
                // A line goes on beyond its beam: the pixel itself must stand out as well.
                let (line, here) = (lines.strongest(row, col), detail.row(row)[(col - rect.col0) as usize]);
                out[(col - rect.col0) as usize] = if here * line.signum() >= OWN * line.abs() { line } else { 0.0 };
            }
        }
    });
    response
}

/// Brightness against its surroundings: what is left of beams.
fn detail(channels: &Channels, gsd_m: f64) -> Plane<f32> {
    let coarse = box_mean(&channels.brightness, (COARSE_M / gsd_m).round().max(1.0) as usize);
    let mut detail = channels.brightness.clone();
    for (value, &around) in detail.data_mut().iter_mut().zip(coarse.data()) {
        *value -= around;
    }
    detail
}

/// The share of a patch's variance that its profile keeps, along whichever of its sides it keeps more: 1 for lines from
/// side to side, next to 0 for what lies anyhow.
pub(super) fn lines(detail: &Plane<f32>, mask: &Mask, shape: &Shape) -> f64 {
    let (dx, dy) = shape.rect.direction;
    [(dx, dy), (-dy, dx)].into_iter().map(|axis| profile_share(detail, &mask.runs(), axis)).fold(0.0, f64::max)
}

fn profile_share(detail: &Plane<f32>, runs: &[Run], (ux, uy): (f64, f64)) -> f64 {
    let rect = detail.rect();
    let Some(first) = runs.first() else { return 0.0 };
    // Bins one pixel wide, along the axis, counted from the first pixel on.
    let bin = |row: i32, col: i32| (f64::from(col - first.col0) * ux + f64::from(row - first.row) * uy).floor() as i64;
    let ends = runs.iter().flat_map(|run| [bin(run.row, run.col0), bin(run.row, run.col1)]);
    let (low, high) = ends.fold((i64::MAX, i64::MIN), |(low, high), at| (low.min(at), high.max(at)));
    let mut bins = vec![(0.0_f64, 0_u32); (high - low + 1).max(0) as usize];
    let mut total = 0.0;
    for run in runs.iter().filter(|run| run.row >= rect.row0 && run.row < rect.row1) {
        let line = detail.row(run.row);
        for col in run.col0.max(rect.col0)..run.col1.min(rect.col1) {
            let value = f64::from(line[(col - rect.col0) as usize]);
            if let Some((sum, count)) = bins.get_mut((bin(run.row, col) - low) as usize) {
                *sum += value;
                *count += 1;
            }
            total += value * value;
        }
    }
    let kept: f64 = bins.iter().filter(|(_, count)| *count > 0).map(|(sum, count)| sum * sum / f64::from(*count)).sum();
    if total > 0.0 { kept / total } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_inside_have_the_means_of_lines_anywhere() {
        let rect = PixelRect::new(-20, 30, 40, 100);
        let values = (0..rect.pixels()).map(|at| ((at * 7919) % 613) as f32 * 0.37 - 100.0).collect();
        let detail = Plane::from_vec(rect, values).unwrap();
        for angle in [0.0_f64, 0.3, 0.8, 1.5] {
            let lines = Crossing::new(&detail, (angle.cos(), angle.sin()), 24.0);
            for (row, col) in [(0, 60), (5, 77), (-8, 42)] {
                assert_eq!(lines.means_inside(row, col), [0, 1].map(|line| lines.mean(line, row, col)), "{angle}");
            }
            // In a corner half of a line is missing.
            assert!(lines.strongest(-20, 30).is_finite());
        }
    }
}

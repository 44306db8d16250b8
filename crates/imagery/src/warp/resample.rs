//! From working pixels to pixels of the grid.
//!
//! # Invariant
//! A pixel's value is `nearest + Σ w·(sample − nearest)`, rows first, in tap order, whatever path computes it: alone, in
//! a row with its neighbours, or among missing samples that turn out not to matter. So the rectangle that was asked for
//! cannot show in it, and a constant stays that constant to the last bit.

use rayon::prelude::*;
use survey::findings::Run;
use survey::grid::PixelRect;
use survey::raster::{BandPlane, PixelState, Plane};
use survey::wide::wide;

use super::control::{CONTROL_PX, Control, ControlCell};
use super::kernel::{Kernel, MAX_TAPS, PHASE_BITS, PHASES};
use super::lanes::{Places, weigh_rows, whole_kernels};
use super::pick::LANES;
use super::source::{Region, SourceWindow, UNREADABLE, VALID, state_of};

/// The smallest share of a kernel's weight (of that which falls on the raster) that must be on valid pixels.
const MIN_VALID_WEIGHT: f32 = 0.5;

/// Columns that lie as their source pixels do are weighed together where they are so many as a rule.
const EVENLY_PX: usize = 16;

/// A place in the source: index of the pixel and phase.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Tap {
    pub(super) first: i64,
    pub(super) phase: usize,
}

impl Tap {
    pub(super) fn new(place: i64, kernel: &Kernel) -> Self {
        let first = (place >> PHASE_BITS) - kernel.before();
        Self { first, phase: (place & (PHASES as i64 - 1)) as usize }
    }
}

/// The pixels of a rectangle of one file's bands, and their states.
pub(crate) struct Resampled {
    pub(crate) bands: Vec<BandPlane>,
    pub(crate) state: Plane<PixelState>,
}

/// The working pixels that the kernels of the pixels of `rect` may touch, by control cell, clipped to the raster.
pub(crate) fn footprints(control: &Control, kernels: [&Kernel; 2], rect: PixelRect) -> Vec<Region> {
    let extent = control.extent();
    let whole = Region { x0: 0, y0: 0, x1: pixels_of(extent[0]), y1: pixels_of(extent[1]) };
    control
        .cells(rect)
        .filter_map(|(part, cell)| {
            let region = footprint(cell, kernels, part)?.intersection(&whole);
            (!region.is_empty()).then_some(region)
        })
        .collect()
}

/// Working pixels of an extent in 1/1024 pixels, the last of which may be cut.
fn pixels_of(extent: i64) -> i64 {
    (extent + PHASES as i64 - 1) >> PHASE_BITS
}

fn footprint(cell: ControlCell<'_>, kernels: [&Kernel; 2], part: PixelRect) -> Option<Region> {
    let [low, high] = cell.range(part)?;
    let axis = |low: i64, high: i64, kernel: &Kernel| {
        let last = Tap::new(high, kernel).first + kernel.taps() as i64;
        (Tap::new(low, kernel).first, last)
    };
    let (x0, x1) = axis(low.0, high.0, kernels[0]);
    let (y0, y1) = axis(low.1, high.1, kernels[1]);
    Some(Region { x0, y0, x1, y1 })
}

/// Resamples the window to `rect`. Kernels are [x, y].
pub(crate) fn resample(control: &Control, kernels: [&Kernel; 2], window: &SourceWindow, rect: PixelRect) -> Resampled {
    let mut bands: Vec<Plane<f32>> = (0..window.band_count()).map(|_| Plane::filled(rect, 0.0)).collect();
    let mut state = Plane::filled(rect, PixelState::NoScene);
    strips(rect, &mut bands, &mut state).into_par_iter().for_each(|mut strip| {
        let mut runs = Vec::new();
        let mut separable: Option<Separable> = None;
        for (part, cell) in control.cells(strip.rect) {
            let Some(region) = footprint(cell, kernels, part) else { continue };
            let is_clean = window.is_clean(region);
            if is_clean && cell.is_separable() {
                let next = Separable::new(kernels[1], cell, part);
                match &mut separable {
                    Some(last) if last.goes_on(&next) => last.join(next),
                    _ => {
                        if let Some(last) = separable.replace(next) {
                            last.resample(kernels, window, &mut strip);
                        }
                    }
                }
                continue;
            }
            let cell = Cell { place: cell, part, is_clean };
            resample_cell(control, kernels, window, &cell, &mut strip, &mut runs);
        }
        if let Some(last) = separable {
            last.resample(kernels, window, &mut strip);
        }
    });
    Resampled { bands: bands.into_iter().map(BandPlane::Values).collect(), state }
}

/// A horizontal strip of the output that lies in one row of control cells.
struct Strip<'a> {
    rect: PixelRect,
    bands: Vec<&'a mut [f32]>,
    state: &'a mut [PixelState],
}

impl Strip<'_> {
    fn index(&self, row: i32, col: i32) -> usize {
        (row - self.rect.row0) as usize * self.rect.cols() + (col - self.rect.col0) as usize
    }
}

fn strips<'a>(rect: PixelRect, bands: &'a mut [Plane<f32>], state: &'a mut Plane<PixelState>) -> Vec<Strip<'a>> {
    let mut strips: Vec<Strip<'a>> = Vec::new();
    let mut rests: Vec<&'a mut [f32]> = bands.iter_mut().map(Plane::data_mut).collect();
    let mut rest = state.data_mut();
    let mut row0 = rect.row0;
    while row0 < rect.row1 && rect.cols() > 0 {
        let row1 = ((row0.div_euclid(CONTROL_PX) + 1) * CONTROL_PX).min(rect.row1);
        let len = (row1 - row0) as usize * rect.cols();
        let (state, after) = rest.split_at_mut(len);
        rest = after;
        let mut parts = Vec::with_capacity(rests.len());
        rests = rests
            .into_iter()
            .map(|band| {
                let (part, after) = band.split_at_mut(len);
                parts.push(part);
                after
            })
            .collect();
        strips.push(Strip { rect: PixelRect { row0, row1, ..rect }, bands: parts, state });
        row0 = row1;
    }
    strips
}

/// A control cell whose pixels `part` are looked at one by one; `is_clean` where all that they may touch is valid.
struct Cell<'a> {
    place: ControlCell<'a>,
    part: PixelRect,
    is_clean: bool,
}

fn resample_cell(
    control: &Control,
    kernels: [&Kernel; 2],
    window: &SourceWindow,
    &Cell { place: cell, part, is_clean }: &Cell<'_>,
    strip: &mut Strip<'_>,
    runs: &mut Vec<Places>,
) {
    let extent = control.extent();
    let half = PHASES as i64 / 2;
    let is_inside = |place: i64, extent: i64| place + half >= 0 && place + half < extent;
    let is_small = window.region().is_small();
    let origin = [window.region().x0, window.region().y0].map(|corner| corner << PHASE_BITS);
    runs.clear();
    for row in part.row0..part.row1 {
        // Where all that a kernel may touch is valid, its centre lies on the raster: a kernel reaches two pixels to each side or more.
        if is_clean
            && is_small
            && let Some([x, y]) = cell.locate_row(row, part.col0, origin)
        {
            let (index, count) = (strip.index(row, part.col0), part.cols());
            runs.push(Places { index, count, x, y });
            strip.state[index..index + count].fill(PixelState::Valid);
            continue;
        }
        for col in part.col0..part.col1 {
            let Some((x, y)) = cell.locate(row, col) else { continue };
            if !is_inside(x, extent[0]) || !is_inside(y, extent[1]) {
                continue;
            }
            let index = strip.index(row, col);
            let taps = [Tap::new(x, kernels[0]), Tap::new(y, kernels[1])];
            // Among missing samples, most kernels lie on valid ones only.
            let reach = Region {
                x0: taps[0].first,
                y0: taps[1].first,
                x1: taps[0].first + kernels[0].taps() as i64,
                y1: taps[1].first + kernels[1].taps() as i64,
            };
            if !is_clean && !window.is_clean(reach) {
                strip.state[index] = patchy_kernel(control, kernels, window, taps, &mut strip.bands, index);
                continue;
            }
            strip.state[index] = PixelState::Valid;
            if !is_small {
                for (band, out) in strip.bands.iter_mut().enumerate() {
                    out[index] = whole_kernel(kernels, window, band, taps);
                }
                continue;
            }
            let place = [x - origin[0], y - origin[1]].map(|place| place as i32);
            match runs.last_mut() {
                Some(run) if run.index + run.count == index && run.count < LANES => run.push(place),
                _ => runs.push(Places::new(index, place)),
            }
        }
    }
    whole_kernels(kernels, window, runs, &mut strip.bands);
}

/// `centre + Σ w·(sample − centre)`, the centre being the sample of tap `before`.
#[inline]
pub(super) fn weigh(weights: &[f32], samples: &[f32], before: usize) -> f32 {
    // The common lengths are known to the compiler.
    fn run<const N: usize>(weights: &[f32], samples: &[f32], before: usize) -> Option<f32> {
        let (weights, samples): (&[f32; N], &[f32; N]) = (weights.try_into().ok()?, samples.try_into().ok()?);
        let centre = samples[before];
        let mut sum = 0.0;
        for tap in 0..N {
            sum += weights[tap] * (samples[tap] - centre);
        }
        Some(centre + sum)
    }
    let known = match weights.len() {
        4 => run::<4>(weights, samples, before),
        6 => run::<6>(weights, samples, before),
        8 => run::<8>(weights, samples, before),
        10 => run::<10>(weights, samples, before),
        _ => None,
    };
    known.unwrap_or_else(|| {
        let centre = samples[before];
        let mut sum = 0.0;
        for (&weight, &sample) in weights.iter().zip(samples) {
            sum += weight * (sample - centre);
        }
        centre + sum
    })
}

/// A pixel whose kernel lies on valid pixels throughout.
pub(super) fn whole_kernel([kx, ky]: [&Kernel; 2], window: &SourceWindow, band: usize, [tx, ty]: [Tap; 2]) -> f32 {
    let (wx, wy) = (kx.weights(tx.phase), ky.weights(ty.phase));
    let mut rows = [0.0_f32; MAX_TAPS];
    let rows = &mut rows[..wy.len()];
    for (y, row) in (ty.first..).zip(rows.iter_mut()) {
        *row = weigh(wx, window.values(band, y, tx.first, wx.len()), kx.before() as usize);
    }
    weigh(wy, rows, ky.before() as usize)
}

/// Clean cells beside each other whose x depends on the column and whose y on the row: each source row is weighed once.
struct Separable {
    part: PixelRect,
    /// By column, 1/1024 working pixel.
    xs: Vec<i64>,
    /// By row.
    ys: Vec<Tap>,
}

impl Separable {
    fn new(ky: &Kernel, cell: ControlCell<'_>, part: PixelRect) -> Self {
        let place = |row: i32, col: i32| cell.locate(row, col).unwrap_or_default();
        let xs = (part.col0..part.col1).map(|col| place(part.row0, col).0).collect();
        let ys = (part.row0..part.row1).map(|row| Tap::new(place(row, part.col0).1, ky)).collect();
        Self { part, xs, ys }
    }

    /// Whether the pixels of another cell lie beside these in the same source rows.
    fn goes_on(&self, next: &Self) -> bool {
        next.part.col0 == self.part.col1 && next.ys == self.ys
    }

    fn join(&mut self, next: Self) {
        self.part.col1 = next.part.col1;
        self.xs.extend(next.xs);
    }

    fn resample(&self, [kx, ky]: [&Kernel; 2], window: &SourceWindow, strip: &mut Strip<'_>) {
        let cols = self.part.cols();
        let firsts = self.ys.iter().map(|tap| tap.first);
        let (Some(y0), Some(y1)) = (firsts.clone().min(), firsts.max().map(|last| last + ky.taps() as i64)) else {
            return;
        };
        // Columns that lie as their source pixels do, and those that lie each by itself.
        let evenly: Vec<&[i64]> = self.xs.chunk_by(|a, b| *b == a + PHASES as i64).collect();
        let mut weighed: Vec<Vec<f32>> =
            (0..window.band_count()).map(|_| vec![0.0; (y1 - y0) as usize * cols]).collect();
        if evenly.len() <= cols.div_ceil(EVENLY_PX) {
            weigh_evenly(kx, window, &evenly, y0, &mut weighed);
        } else {
            weigh_rows(kx, window, &self.xs, y0, &mut weighed);
        }
        for (band, weighed) in weighed.iter().enumerate() {
            for (row, tap) in (self.part.row0..self.part.row1).zip(&self.ys) {
                let start = strip.index(row, self.part.col0);
                let out = &mut strip.bands[band][start..start + cols];
                let line = |index: usize| &weighed[((tap.first - y0) as usize + index) * cols..][..cols];
                weigh_lines(ky, tap.phase, line, out);
            }
        }
        for row in self.part.row0..self.part.row1 {
            let start = strip.index(row, self.part.col0);
            strip.state[start..start + cols].fill(PixelState::Valid);
        }
    }
}

/// [`weigh_rows`] where the places of columns are those of pixels beside each other, run by run.
fn weigh_evenly(kernel: &Kernel, window: &SourceWindow, runs: &[&[i64]], top: i64, weighed: &mut [Vec<f32>]) {
    let cols = runs.iter().map(|xs| xs.len()).sum::<usize>().max(1);
    for (band, weighed) in weighed.iter_mut().enumerate() {
        for (y, mut out) in (top..).zip(weighed.chunks_exact_mut(cols)) {
            for xs in runs {
                let tap = Tap::new(xs[0], kernel);
                let (pixels, rest) = out.split_at_mut(xs.len());
                let samples = window.values(band, y, tap.first, xs.len() + kernel.taps() - 1);
                weigh_lines(kernel, tap.phase, |index| &samples[index..][..xs.len()], pixels);
                out = rest;
            }
        }
    }
}

/// [`weigh`] for many pixels of one phase: tap `t` of pixel `i` is `line(t)[i]`.
#[inline]
fn weigh_lines<'a>(kernel: &Kernel, phase: usize, line: impl Fn(usize) -> &'a [f32], out: &mut [f32]) {
    let centres = line(kernel.before() as usize);
    if phase == 0 && kernel.is_interpolating() {
        out.copy_from_slice(centres);
        return;
    }
    if let &[wa, wb, wc, wd] = kernel.weights(phase) {
        let lines = line(0).iter().zip(line(1)).zip(line(2)).zip(line(3));
        wide(|| {
            for (((((a, b), c), d), centre), out) in lines.zip(centres).zip(out) {
                let sum = 0.0 + wa * (a - centre) + wb * (b - centre) + wc * (c - centre) + wd * (d - centre);
                *out = centre + sum;
            }
        });
        return;
    }
    wide(|| {
        out.fill(0.0);
        for (tap, &weight) in kernel.weights(phase).iter().enumerate() {
            for ((out, &sample), &centre) in out.iter_mut().zip(line(tap)).zip(centres) {
                *out += weight * (sample - centre);
            }
        }
        for (out, &centre) in out.iter_mut().zip(centres) {
            *out += centre;
        }
    });
}

/// A pixel among whose source pixels some may be missing: those are left out and the rest stands for them, where it
/// has at least half of the weight. A pixel that depends on an unreadable one is unreadable.
fn patchy_kernel(
    control: &Control,
    kernels: [&Kernel; 2],
    window: &SourceWindow,
    taps: [Tap; 2],
    bands: &mut [&mut [f32]],
    index: usize,
) -> PixelState {
    let [kx, ky] = kernels;
    let (wx, wy) = (kx.weights(taps[0].phase), ky.weights(taps[1].phase));
    let region = window.region();
    let extent = control.extent();
    let (last_x, last_y) = (pixels_of(extent[0]), pixels_of(extent[1]));
    // Samples that count: place and weight. Small: at most a few dozen.
    let mut samples: Vec<(i64, i64, f32)> = Vec::with_capacity(wx.len() * wy.len());
    let (mut on_raster, mut valid) = (0.0_f32, 0.0_f32);
    let mut missing = 0_u8;
    let mut complete = true;
    for (j, &row_weight) in wy.iter().enumerate() {
        let y = taps[1].first + j as i64;
        for (i, &col_weight) in wx.iter().enumerate() {
            let x = taps[0].first + i as i64;
            if row_weight == 0.0 || col_weight == 0.0 {
                continue;
            }
            let weight = row_weight * col_weight;
            if x < 0 || y < 0 || x >= last_x || y >= last_y {
                complete = false;
                continue;
            }
            let in_window = x >= region.x0 && x < region.x1 && y >= region.y0 && y < region.y1;
            let state = if in_window { window.states(y, x, 1)[0] } else { UNREADABLE };
            on_raster += weight;
            if state == VALID {
                valid += weight;
                samples.push((x, y, weight));
            } else {
                missing = missing.max(state);
                complete = false;
            }
        }
    }
    if missing == UNREADABLE {
        return PixelState::Unreadable;
    }
    let whole = Region {
        x0: taps[0].first,
        y0: taps[1].first,
        x1: taps[0].first + kx.taps() as i64,
        y1: taps[1].first + ky.taps() as i64,
    };
    if complete && whole.intersection(&region) == whole {
        for (band, out) in bands.iter_mut().enumerate() {
            out[index] = whole_kernel(kernels, window, band, taps);
        }
        return PixelState::Valid;
    }
    let (nearest_x, nearest_y) = nearest(taps, kernels, [last_x, last_y]);
    let Some(centre) = samples.iter().find(|sample| (sample.0, sample.1) == (nearest_x, nearest_y)).or(samples.first())
    else {
        return state_of(missing.max(PixelState::Nodata as u8));
    };
    if valid < MIN_VALID_WEIGHT * on_raster {
        return state_of(missing.max(PixelState::Nodata as u8));
    }
    for (band, out) in bands.iter_mut().enumerate() {
        let at = |x: i64, y: i64| window.values(band, y, x, 1)[0];
        let origin = at(centre.0, centre.1);
        let mut sum = 0.0;
        for &(x, y, weight) in &samples {
            sum += weight * (at(x, y) - origin);
        }
        out[index] = origin + sum / valid;
    }
    PixelState::Valid
}

/// The source pixel that holds the place.
fn nearest(taps: [Tap; 2], kernels: [&Kernel; 2], sizes: [i64; 2]) -> (i64, i64) {
    let axis = |axis: usize| {
        let centre = taps[axis].first + kernels[axis].before();
        (centre + i64::from(taps[axis].phase >= PHASES / 2)).clamp(0, (sizes[axis] - 1).max(0))
    };
    (axis(0), axis(1))
}

/// The pixels of `rect` whose kernels touch `region` (working pixels), as runs by row.
pub(crate) fn touching(control: &Control, kernels: [&Kernel; 2], rect: PixelRect, region: Region) -> Vec<Run> {
    let mut pixels: Vec<(i32, i32)> = Vec::new();
    let extent = control.extent();
    let half = PHASES as i64 / 2;
    let touches = |place: i64, extent: i64, kernel: &Kernel, from: i64, to: i64| {
        let tap = Tap::new(place, kernel);
        let is_inside = place + half >= 0 && place + half < extent;
        let weights = kernel.weights(tap.phase).iter().enumerate();
        is_inside
            && weights.filter(|(_, weight)| **weight != 0.0).any(|(index, _)| {
                let at = tap.first + index as i64;
                at >= from && at < to
            })
    };
    for (part, cell) in control.cells(rect) {
        let Some(reach) = footprint(cell, kernels, part) else { continue };
        if reach.intersection(&region).is_empty() {
            continue;
        }
        for row in part.row0..part.row1 {
            for col in part.col0..part.col1 {
                if let Some((x, y)) = cell.locate(row, col)
                    && touches(x, extent[0], kernels[0], region.x0, region.x1)
                    && touches(y, extent[1], kernels[1], region.y0, region.y1)
                {
                    pixels.push((row, col));
                }
            }
        }
    }
    pixels.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    for (row, col) in pixels {
        match runs.last_mut() {
            Some(run) if run.row == row && run.col1 == col => run.col1 += 1,
            _ => runs.push(Run { row, col0: col, col1: col + 1 }),
        }
    }
    runs
}

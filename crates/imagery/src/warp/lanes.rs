//! Pixels whose kernels lie on valid samples throughout, a row of them at a time: each keeps its own taps and weights, and what is
//! added up for one is added up for all of them in one register. Rows first: each row of the source is weighed once for all of the
//! pixels, whichever of them want it.

use super::kernel::{Kernel, MAX_TAPS, PHASE_BITS, PHASES};
use super::pick::{LANES, LINE, OneByOne, Pick, Picking, picking};
use super::resample::{Tap, weigh as weigh_one, whole_kernel};
use super::source::SourceWindow;

/// Rows of the source that are weighed for the same pixels.
const ROWS: usize = MAX_TAPS;

/// Pixels of the grid beside each other, and their places in the source, 1/1024 pixel from the corner of its window.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// Index of the first in the strip.
    pub(super) index: usize,
    /// How many they are, at most [`LANES`].
    pub(super) count: usize,
    /// By pixel.
    pub(super) x: [i32; LANES],
    /// By pixel.
    pub(super) y: [i32; LANES],
}

impl Places {
    /// One pixel.
    pub(super) fn new(index: usize, [x, y]: [i32; 2]) -> Self {
        Self { index, count: 1, x: [x; LANES], y: [y; LANES] }
    }

    /// The next one, for which there is room.
    pub(super) fn push(&mut self, [x, y]: [i32; 2]) {
        if let (Some(next_x), Some(next_y)) = (self.x.get_mut(self.count), self.y.get_mut(self.count)) {
            (*next_x, *next_y) = (x, y);
            self.count += 1;
        }
    }
}

/// Puts the values of these pixels where they belong in each band.
pub(super) fn whole_kernels(kernels: [&Kernel; 2], window: &SourceWindow, runs: &[Places], bands: &mut [&mut [f32]]) {
    match kernels[0].taps() {
        4 => picking(Lanes::<4> { kernels, window, runs, bands }),
        6 => picking(Lanes::<6> { kernels, window, runs, bands }),
        8 => picking(Lanes::<8> { kernels, window, runs, bands }),
        10 => picking(Lanes::<10> { kernels, window, runs, bands }),
        _ => {
            for run in runs {
                for at in 0..run.count {
                    let taps = taps_of(kernels, window, run, at);
                    for (band, out) in bands.iter_mut().enumerate() {
                        out[run.index + at] = whole_kernel(kernels, window, band, taps);
                    }
                }
            }
        }
    }
}

/// The taps of a pixel.
fn taps_of([kx, ky]: [&Kernel; 2], window: &SourceWindow, run: &Places, at: usize) -> [Tap; 2] {
    let corner = [window.region().x0, window.region().y0].map(|corner| corner << PHASE_BITS);
    [Tap::new(i64::from(run.x[at]) + corner[0], kx), Tap::new(i64::from(run.y[at]) + corner[1], ky)]
}

/// Weighs the rows of each band from `top` on at the places `xs` of their columns, as many as `weighed` has room for.
pub(super) fn weigh_rows(kernel: &Kernel, window: &SourceWindow, xs: &[i64], top: i64, weighed: &mut [Vec<f32>]) {
    match kernel.taps() {
        4 => picking(Rows::<4> { kernel, window, xs, top, weighed }),
        6 => picking(Rows::<6> { kernel, window, xs, top, weighed }),
        8 => picking(Rows::<8> { kernel, window, xs, top, weighed }),
        _ => picking(Rows::<10> { kernel, window, xs, top, weighed }),
    }
}

/// [`weigh_rows`] with `N` taps, where the kernel has as many.
struct Rows<'a, const N: usize> {
    kernel: &'a Kernel,
    window: &'a SourceWindow,
    xs: &'a [i64],
    top: i64,
    weighed: &'a mut [Vec<f32>],
}

impl<const N: usize> Picking for Rows<'_, N> {
    #[inline(always)]
    fn run(self, pick: impl Pick) {
        let Self { kernel, window, xs: all, top, weighed } = self;
        let mut across = Across::<N>::new(kernel);
        let region = window.region();
        for (start, xs) in (0..).step_by(LANES).zip(all.chunks(LANES)) {
            let mut places = [0; LANES];
            for (place, x) in places.iter_mut().zip(xs) {
                *place = (x - (region.x0 << PHASE_BITS)) as i32;
            }
            let fits = kernel.taps() == N && region.is_small() && across.place(&lanes_of(&places, 0, xs.len()), pick);
            for (band, weighed) in weighed.iter_mut().enumerate() {
                for (y, out) in (top..).zip(weighed.chunks_exact_mut(all.len())) {
                    let out = &mut out[start..start + xs.len()];
                    if fits {
                        put(out, &across.weigh(window.line(band, across.left, (y - region.y0) as i32), pick), xs.len());
                        continue;
                    }
                    for (out, &x) in out.iter_mut().zip(xs) {
                        let tap = Tap::new(x, kernel);
                        let samples = window.values(band, y, tap.first, kernel.taps());
                        *out = weigh_one(kernel.weights(tap.phase), samples, kernel.before() as usize);
                    }
                }
            }
        }
    }
}

/// [`whole_kernels`] with `N` taps in x.
struct Lanes<'a, 'b, const N: usize> {
    kernels: [&'a Kernel; 2],
    window: &'a SourceWindow,
    runs: &'a [Places],
    bands: &'a mut [&'b mut [f32]],
}

impl<const N: usize> Picking for Lanes<'_, '_, N> {
    #[inline(always)]
    fn run(self, pick: impl Pick) {
        let Self { kernels: [kx, ky], window, runs, bands } = self;
        let (mut across, mut down) = (Across::<N>::new(kx), Down::<N>::new(ky));
        let mut weighed = [[0.0_f32; LANES]; ROWS];
        for run in runs {
            let mut from = 0;
            while from < run.count {
                // As many as lie in so short a line and so few rows: of a steep turn, fewer. One alone always does.
                let mut count = run.count - from;
                while !(across.place(&lanes_of(&run.x, from, count), pick)
                    && down.place(&lanes_of(&run.y, from, count)))
                {
                    count = count.div_ceil(2);
                }
                for (band, out) in bands.iter_mut().enumerate() {
                    for (row, weighed) in weighed.iter_mut().take(down.rows).enumerate() {
                        *weighed = across.weigh(window.line(band, across.left, down.top + row as i32), pick);
                    }
                    put(&mut out[run.index + from..], &down.weigh(&weighed), count);
                }
                from += count;
            }
        }
    }
}

/// Puts `count` of the values at the beginning of `out`.
#[inline(always)]
fn put(out: &mut [f32], values: &[f32; LANES], count: usize) {
    match out.first_chunk_mut() {
        // Of a length that is known: nothing is called to copy them.
        Some(out) if count == LANES => *out = *values,
        _ => out[..count].copy_from_slice(&values[..count]),
    }
}

/// Places of `count` pixels from one on; the last stands in for those that are not there.
#[inline(always)]
fn lanes_of(places: &[i32; LANES], from: usize, count: usize) -> [i32; LANES] {
    if count == LANES {
        return *places;
    }
    let mut lanes = [0; LANES];
    for (lane, to) in lanes.iter_mut().enumerate() {
        // Always below; so the compiler sees it, too.
        *to = places[(from + lane.min(count - 1)) % LANES];
    }
    lanes
}

/// The least pixel of some places, and how far from it that of each is.
#[inline(always)]
fn pixels_of(places: &[i32; LANES]) -> (i32, [i32; LANES]) {
    let least = least_of(places) >> PHASE_BITS;
    let mut pixels = [0; LANES];
    for (pixel, &place) in pixels.iter_mut().zip(places) {
        *pixel = (place >> PHASE_BITS) - least;
    }
    (least, pixels)
}

#[inline(always)]
fn least_of(values: &[i32]) -> i32 {
    let mut least = i32::MAX;
    for &value in values {
        least = if value < least { value } else { least };
    }
    least
}

#[inline(always)]
fn most_of(values: &[i32]) -> i32 {
    let mut most = i32::MIN;
    for &value in values {
        most = if value > most { value } else { most };
    }
    most
}

/// Puts the weights of some places, by tap: of a kernel of `N` taps, or of another.
#[inline(always)]
fn put_weights<const N: usize>(weights: &mut [[f32; LANES]], kernel: &Kernel, places: &[i32; LANES]) {
    let phase = |place: i32| (place & (PHASES as i32 - 1)) as usize;
    if kernel.taps() != N {
        for (lane, &place) in places.iter().enumerate() {
            for (line, &weight) in weights.iter_mut().zip(kernel.weights(phase(place))) {
                line[lane] = weight;
            }
        }
        return;
    }
    // Four at a time: what has been written by a few bytes is slow to be read by many.
    let (places, _) = places.as_chunks::<4>();
    for (group, &[a, b, c, d]) in places.iter().enumerate() {
        let of = |place: i32| kernel.weights(phase(place)).first_chunk::<N>();
        let (Some(a), Some(b), Some(c), Some(d)) = (of(a), of(b), of(c), of(d)) else { continue };
        for (tap, line) in weights.iter_mut().take(N).enumerate() {
            line[4 * group..4 * group + 4].copy_from_slice(&[a[tap], b[tap], c[tap], d[tap]]);
        }
    }
}

/// How pixels beside each other are weighed along a row of the source, with the `N` taps of a kernel.
struct Across<'a, const N: usize> {
    kernel: &'a Kernel,
    /// The first pixel of the source that any of them wants, from the window's corner.
    left: i32,
    /// Whether what a group of lanes wants lies as near together as the machine picks, or else is picked one by one.
    is_near: bool,
    /// From `left` on, the first that any of a group of lanes wants; and from that on, what each wants, by tap.
    from: [usize; LANES],
    at: [[i32; LANES]; N],
    weights: [[f32; LANES]; N],
}

impl<'a, const N: usize> Across<'a, N> {
    #[inline(always)]
    fn new(kernel: &'a Kernel) -> Self {
        Self { kernel, left: 0, is_near: true, from: [0; LANES], at: [[0; LANES]; N], weights: [[0.0; LANES]; N] }
    }

    /// Of pixels at these places from now on. False where they lie too far from each other for a line.
    #[inline(always)]
    fn place<P: Pick>(&mut self, places: &[i32; LANES], pick: P) -> bool {
        let (left, pixels) = pixels_of(places);
        if most_of(&pixels) as usize + N > LINE {
            return false;
        }
        let mut from_group = pixels;
        self.is_near = self.group(&mut from_group, pick);
        let pixels = if self.is_near { from_group } else { pixels };
        self.left = left - self.kernel.before() as i32;
        for (tap, at) in (0..).zip(&mut self.at) {
            for (at, pixel) in at.iter_mut().zip(&pixels) {
                *at = pixel + tap;
            }
        }
        put_weights::<N>(&mut self.weights, self.kernel, places);
        true
    }

    /// Finds where the lanes of a group begin, and counts the pixels of each from there. False where they lie too far from each other.
    #[inline(always)]
    fn group<P: Pick>(&mut self, pixels: &mut [i32; LANES], _: P) -> bool {
        for (group, from) in pixels.chunks_exact_mut(P::GROUP).zip(&mut self.from) {
            let least = least_of(group);
            for pixel in &mut *group {
                *pixel -= least;
            }
            *from = least as usize;
            if most_of(group) as usize + N > P::REACH || *from + P::REACH > LINE {
                return false;
            }
        }
        true
    }

    /// The values in a row whose samples from `left` on are `line`.
    #[inline(always)]
    fn weigh(&self, line: &[f32], pick: impl Pick) -> [f32; LANES] {
        let mut space;
        let line = match line.first_chunk() {
            Some(line) => line,
            None => {
                space = [0.0; LINE];
                space[..line.len()].copy_from_slice(line);
                &space
            }
        };
        let mut samples = [[0.0; LANES]; N];
        for (samples, at) in samples.iter_mut().zip(&self.at) {
            *samples =
                if self.is_near { pick.pick(line, &self.from, at) } else { OneByOne.pick(line, &[0; LANES], at) };
        }
        weigh(&self.weights, &samples, self.kernel.before() as usize)
    }
}

/// How pixels beside each other are weighed down the rows of the source: by a kernel of `N` taps, or by another.
struct Down<'a, const N: usize> {
    kernel: &'a Kernel,
    /// The first row that any of them wants, from the window's corner, and how many they want together.
    top: i32,
    rows: usize,
    /// From there on, the first that each wants.
    at: [i32; LANES],
    weights: [[f32; LANES]; MAX_TAPS],
}

impl<'a, const N: usize> Down<'a, N> {
    #[inline(always)]
    fn new(kernel: &'a Kernel) -> Self {
        Self { kernel, top: 0, rows: 0, at: [0; LANES], weights: [[0.0; LANES]; MAX_TAPS] }
    }

    /// Of pixels at these places from now on. False where they lie in too many rows.
    #[inline(always)]
    fn place(&mut self, places: &[i32; LANES]) -> bool {
        let (top, at) = pixels_of(places);
        (self.top, self.rows) = (top - self.kernel.before() as i32, most_of(&at) as usize + self.kernel.taps());
        self.at = at;
        put_weights::<N>(&mut self.weights, self.kernel, places);
        self.rows <= ROWS
    }

    /// The values from those of the rows from `top` on.
    #[inline(always)]
    fn weigh(&self, rows: &[[f32; LANES]; ROWS]) -> [f32; LANES] {
        let taps = self.kernel.taps();
        let mut values = [0.0; LANES];
        for (first, rows) in (0..).zip(rows[..self.rows].windows(taps)) {
            let before = self.kernel.before() as usize;
            let of_rows = match (self.weights.first_chunk::<N>(), rows.first_chunk::<N>()) {
                (Some(weights), Some(rows)) if taps == N => weigh(weights, rows, before),
                _ => weigh(&self.weights[..taps], rows, before),
            };
            for ((value, &of_rows), &at) in values.iter_mut().zip(&of_rows).zip(&self.at) {
                *value = if at == first { of_rows } else { *value };
            }
        }
        values
    }
}

/// [`weigh_one`] in each lane: the same sums in the same order.
#[inline(always)]
fn weigh(weights: &[[f32; LANES]], samples: &[[f32; LANES]], before: usize) -> [f32; LANES] {
    let centre = samples[before];
    let mut sum = [0.0_f32; LANES];
    for (weights, samples) in weights.iter().zip(samples) {
        for lane in 0..LANES {
            sum[lane] += weights[lane] * (samples[lane] - centre[lane]);
        }
    }
    for lane in 0..LANES {
        sum[lane] += centre[lane];
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cog::{Block, Samples};
    use crate::warp::pick::{MACHINES, on_machine};
    use crate::warp::source::{Region, WindowBuilder};
    use crate::warp::values::{BandSource, Scaling};

    const SIDE: u32 = 120;

    fn noise(at: u32) -> f32 {
        (at.wrapping_mul(2_654_435_761) >> 9) as f32 / 7.0
    }

    /// Two bands of noise.
    fn window() -> SourceWindow {
        let whole = Region { x0: 0, y0: 0, x1: i64::from(SIDE), y1: i64::from(SIDE) };
        let source = |index| BandSource { index, scaling: Scaling::PLAIN, nodata: vec![] };
        let mut builder = WindowBuilder::new(whole, [1, 1], (SIDE, SIDE), vec![source(0), source(1)], None);
        let samples = |band: u32| Samples::F32((0..SIDE * SIDE).map(|at| noise(at + band * 77_777)).collect());
        builder.add(
            &Block { rows: SIDE, cols: SIDE, bands: vec![samples(0), samples(1)], bounds: vec![], mask: None },
            0,
            0,
            &[],
        );
        builder.finish()
    }

    /// [`whole_kernels`] by one kind of registers.
    fn by<const N: usize>(machine: usize, lanes: Lanes<'_, '_, 0>) {
        let Lanes { kernels, window, runs, bands } = lanes;
        on_machine(machine, Lanes::<N> { kernels, window, runs, bands });
    }

    #[test]
    fn many_at_a_time_have_the_bits_of_each_alone() {
        let window = window();
        let kernels = [0.5, 0.8, 1.5, 1.999].map(|step| Kernel::new(step, 1e6));
        assert_eq!(kernels.each_ref().map(Kernel::taps), [4, 6, 8, 10]);
        // Steps of a pixel of the grid along its row, in the source, 1/1024 px: finer, as fine, coarser, turned, mirrored, none.
        let steps = [(307, 21), (1021, -71), (1900, 300), (-1021, 40), (60, 1024), (-700, -700), (0, 0), (3000, 3000)];
        let cases = [1, LANES - 1, LANES].into_iter().flat_map(|count| steps.map(|step| (count, step)));
        for (kx, ky) in kernels.iter().flat_map(|kx| kernels.iter().map(move |ky| (kx, ky))) {
            for (count, (dx, dy)) in cases.clone() {
                // Up to the last pixels of the window, behind which there is no line.
                let place = |lane: usize, step: i32, kernel: &Kernel| {
                    let last = ((SIDE as i32 - 1 - kernel.taps() as i32 / 2) << 10) + 517;
                    last - if step < 0 { -step * lane as i32 } else { step * (LANES - 1 - lane) as i32 }
                };
                let x = std::array::from_fn(|lane| place(lane, dx, kx));
                let y = std::array::from_fn(|lane| place(lane, dy, ky));
                let run = Places { index: 3, count, x, y };
                for machine in 0..MACHINES {
                    let mut bands = [vec![0.0; count + 4], vec![0.0; count + 4]];
                    let mut slices = bands.each_mut().map(Vec::as_mut_slice);
                    let lanes = Lanes { kernels: [kx, ky], window: &window, runs: &[run], bands: &mut slices };
                    match kx.taps() {
                        4 => by::<4>(machine, lanes),
                        6 => by::<6>(machine, lanes),
                        8 => by::<8>(machine, lanes),
                        _ => by::<10>(machine, lanes),
                    }
                    for (band, values) in bands.iter().enumerate() {
                        assert_eq!((&values[..3], values[count + 3]), (&[0.0; 3][..], 0.0));
                        for (lane, value) in values[3..count + 3].iter().enumerate() {
                            let taps = taps_of([kx, ky], &window, &run, lane);
                            let alone = whole_kernel([kx, ky], &window, band, taps);
                            let what = format!("machine {machine}, step {dx} {dy}, lane {lane} of {count}");
                            assert_eq!(value.to_bits(), alone.to_bits(), "{} × {} taps, {what}", kx.taps(), ky.taps());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_of_the_source_is_weighed_as_each_of_its_places_alone() {
        let window = window();
        for step in [0.3, 0.8, 1.5, 1.7] {
            let kernel = &Kernel::new(step, 1e6);
            let xs: Vec<i64> = (0..45).map(|col| (6 << 10) + 99 + (f64::from(col) * step * 1024.0) as i64).collect();
            let mut weighed = vec![vec![0.0; xs.len() * 3]; 2];
            weigh_rows(kernel, &window, &xs, 40, &mut weighed);
            for (band, weighed) in weighed.iter().enumerate() {
                for (at, value) in weighed.iter().enumerate() {
                    let tap = Tap::new(xs[at % xs.len()], kernel);
                    let samples = window.values(band, 40 + (at / xs.len()) as i64, tap.first, kernel.taps());
                    let alone = weigh_one(kernel.weights(tap.phase), samples, kernel.before() as usize);
                    assert_eq!(value.to_bits(), alone.to_bits(), "step {step}, {at}");
                }
            }
        }
    }
}

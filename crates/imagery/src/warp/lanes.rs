//! Pixels whose kernels lie on valid samples throughout, several at a time: each keeps its own taps and weights, and what is
//! added up for one is added up for all of them in one register.

use survey::wide::{Kernel as Wide, wide_kernel};

use super::kernel::{Kernel, MAX_TAPS};
use super::resample::{Tap, whole_kernel};
use super::source::SourceWindow;

/// Pixels at a time.
const LANES: usize = 32;

/// A pixel of the grid: its index in the strip, and its taps in x and y.
pub(super) type Place = (usize, [Tap; 2]);

/// Puts the values of the pixels `places` where they belong in each band.
pub(super) fn whole_kernels(kernels: [&Kernel; 2], window: &SourceWindow, places: &[Place], bands: &mut [&mut [f32]]) {
    match kernels[0].taps() {
        4 => wide_kernel(Lanes::<4> { kernels, window, places, bands }),
        6 => wide_kernel(Lanes::<6> { kernels, window, places, bands }),
        8 => wide_kernel(Lanes::<8> { kernels, window, places, bands }),
        10 => wide_kernel(Lanes::<10> { kernels, window, places, bands }),
        _ => {
            for &(index, taps) in places {
                for (band, out) in bands.iter_mut().enumerate() {
                    out[index] = whole_kernel(kernels, window, band, taps);
                }
            }
        }
    }
}

/// [`whole_kernels`] with `N` taps in x.
struct Lanes<'a, 'b, const N: usize> {
    kernels: [&'a Kernel; 2],
    window: &'a SourceWindow,
    places: &'a [Place],
    bands: &'a mut [&'b mut [f32]],
}

impl<const N: usize> Wide for Lanes<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernels: [kx, ky], window, places, bands } = self;
        let (rows, before) = (ky.taps(), [kx.before() as usize, ky.before() as usize]);
        for places in places.chunks(LANES) {
            let Some(&first) = places.first() else { continue };
            // Where there are fewer pixels, the first stands in for those that are not there.
            let of = |lane: usize| places.get(lane).unwrap_or(&first).1;
            let mut starts = [0_usize; LANES];
            let (mut across, mut down) = ([[0.0_f32; LANES]; N], [[0.0_f32; LANES]; MAX_TAPS]);
            for (lane, start) in starts.iter_mut().enumerate() {
                let [x, y] = of(lane);
                *start = window.index(x.first, y.first);
                transpose(&mut across, lane, kx.weights(x.phase));
                transpose(&mut down, lane, ky.weights(y.phase));
            }
            for (band, out) in bands.iter_mut().enumerate() {
                let samples = window.band(band);
                let mut weighed = [[0.0_f32; LANES]; MAX_TAPS];
                for (row, weighed) in weighed.iter_mut().take(rows).enumerate() {
                    let mut taken = [[0.0_f32; LANES]; N];
                    for (lane, start) in starts.iter().enumerate() {
                        transpose(&mut taken, lane, &samples[start + row * window.width()..][..N]);
                    }
                    *weighed = weigh(&across, &taken, before[0]);
                }
                let values = weigh(&down[..rows], &weighed[..rows], before[1]);
                for ((index, _), value) in places.iter().zip(values) {
                    out[*index] = value;
                }
            }
        }
    }
}

#[inline(always)]
fn transpose(lines: &mut [[f32; LANES]], lane: usize, values: &[f32]) {
    for (line, &value) in lines.iter_mut().zip(values) {
        line[lane] = value;
    }
}

/// [`weigh`](super::resample::weigh) in each lane: the same sums in the same order.
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
    use crate::warp::source::{Region, WindowBuilder};
    use crate::warp::values::{BandSource, Scaling};

    const SIDE: u32 = 60;

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

    #[test]
    fn many_at_a_time_have_the_bits_of_each_alone() {
        let window = window();
        let kernels = [0.5, 0.8, 1.5, 1.999].map(|step| Kernel::new(step, 1e6));
        assert_eq!(kernels.each_ref().map(Kernel::taps), [4, 6, 8, 10]);
        for (kx, ky) in kernels.iter().flat_map(|kx| kernels.iter().map(move |ky| (kx, ky))) {
            for count in [1, LANES - 1, LANES, LANES + 1, 2 * LANES + 1] {
                let places: Vec<Place> = (0..count)
                    .map(|index| {
                        let at = |salt: usize| (noise((index * 31 + salt) as u32) as i64) % (40 << 10);
                        let tap = |place: i64| Tap { first: place >> 10, phase: (place & 1023) as usize };
                        (count - 1 - index, [tap(at(1)), tap(at(2))])
                    })
                    .collect();
                let mut bands = [vec![0.0; count], vec![0.0; count]];
                whole_kernels([kx, ky], &window, &places, &mut bands.each_mut().map(Vec::as_mut_slice));
                for &(index, taps) in &places {
                    for (band, values) in bands.iter().enumerate() {
                        let alone = whole_kernel([kx, ky], &window, band, taps);
                        assert_eq!(values[index].to_bits(), alone.to_bits(), "{} × {} taps", kx.taps(), ky.taps());
                    }
                }
            }
        }
    }
}

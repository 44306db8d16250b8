//! From samples to values, and which of them are none.

use std::ops::Range;

use survey::wide::{Kernel, wide_kernel};

use super::source::{NODATA, combine};
use crate::cog::{Block, Bounds, Sample, Samples, each};

/// No integer sample is larger: 2⁶⁴.
const LARGEST_INTEGER: f64 = 18_446_744_073_709_551_616.0;

/// A band that is read of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BandSource {
    /// Band of the file, from 0.
    pub(crate) index: usize,
    /// What makes a value of a sample.
    pub(crate) scaling: Scaling,
    /// Samples that mean "no data".
    pub(crate) nodata: Vec<f64>,
}

impl BandSource {
    /// Samples of a type that mean "no data".
    #[inline(always)]
    fn missing<T: Sample>(&self) -> Vec<T> {
        self.nodata.iter().filter_map(|&value| T::of(value)).collect()
    }

    /// Whether the band has a finite value for each sample between `bounds`: sample × scale + offset is monotone, so that what is
    /// finite at both ends is finite between.
    fn has_all<T: Sample>(&self, _: &[T], bounds: Bounds) -> bool {
        let Bounds { low, high } = bounds;
        let is_met = |missing: &T| (low..=high).contains(&missing.to_f64());
        let is_finite = |sample: f64| ((sample * self.scaling.scale + self.scaling.offset) as f32).is_finite();
        !self.missing::<T>().iter().any(is_met) && is_finite(low) && is_finite(high)
    }

    /// Whether each sample of a type has a value that is finite.
    #[inline(always)]
    fn is_finite<T: Sample>(&self) -> bool {
        T::IS_FINITE && self.scaling.scale.abs() * LARGEST_INTEGER + self.scaling.offset.abs() < f64::from(f32::MAX)
    }
}

/// Sample × scale + offset is the value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scaling {
    pub(crate) scale: f64,
    pub(crate) offset: f64,
}

impl Scaling {
    pub(crate) const PLAIN: Self = Self { scale: 1.0, offset: 0.0 };

    /// The value of a sample. Adding zero makes −0 a 0, so that a value that is copied has the bytes of one that a kernel gives.
    #[inline(always)]
    fn value<T: Sample>(&self, sample: T) -> f32 {
        if *self == Self::PLAIN {
            sample.to_f32() + 0.0
        } else {
            (sample.to_f64() * self.scale + self.offset) as f32 + 0.0
        }
    }
}

/// Samples on the way to values.
struct PutValues<'a, T> {
    samples: &'a [T],
    band: &'a BandSource,
    values: &'a mut [f32],
}

impl<T: Sample> Kernel for PutValues<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { samples, band, values } = self;
        let scaling = band.scaling;
        let pixels = values.iter_mut().zip(samples);
        // Each loop by itself: the compiler does not see that the scaling is the same for all.
        if scaling == Scaling::PLAIN {
            pixels.for_each(|(value, &sample)| *value = sample.to_f32() + 0.0);
        } else {
            pixels.for_each(|(value, &sample)| *value = scaling.value(sample));
        }
        if !band.is_finite::<T>() {
            values.iter_mut().for_each(|value| *value = if value.is_finite() { *value } else { 0.0 });
        }
    }
}

/// Samples of which some may be missing.
struct FindMissing<'a, T> {
    samples: &'a [T],
    band: &'a BandSource,
    states: &'a mut [u8],
}

impl<T: Sample> Kernel for FindMissing<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { samples, band, states } = self;
        let nodata: Vec<T> = band.missing();
        // Most rows miss nothing; to know that, one look without branches is enough.
        let has_nodata =
            nodata.iter().any(|&missing| samples.iter().fold(false, |any, &sample| any | (sample == missing)));
        let is_finite = band.is_finite::<T>()
            || samples.iter().fold(true, |all, &sample| all & band.scaling.value(sample).is_finite());
        if !has_nodata && is_finite {
            return;
        }
        for (&sample, state) in samples.iter().zip(states) {
            if nodata.contains(&sample) || !band.scaling.value(sample).is_finite() {
                *state = combine(*state, NODATA);
            }
        }
    }
}

/// The values of a range of a band's samples; 0 for those that are none or not there.
pub(crate) fn put_values(samples: &Samples, range: Range<usize>, band: &BandSource, values: &mut [f32]) {
    each!(samples, all => match all.get(range) {
        Some(samples) => wide_kernel(PutValues { samples, band, values }),
        None => values.fill(0.0),
    });
}

/// Whether all bands have a value for each pixel of a block, by what is known of the block as a whole.
pub(crate) fn is_whole(block: &Block, bands: &[BandSource]) -> bool {
    bands.iter().all(|band| {
        let bounds = block.bounds.get(band.index).copied().flatten();
        block
            .bands
            .get(band.index)
            .zip(bounds)
            .is_some_and(|(samples, bounds)| each!(samples, all => band.has_all(all, bounds)))
    })
}

/// Marks the pixels for which a band has no value.
pub(crate) fn find_missing(samples: &Samples, range: Range<usize>, band: &BandSource, states: &mut [u8]) {
    each!(samples, all => match all.get(range) {
        Some(samples) => wide_kernel(FindMissing { samples, band, states }),
        None => states.fill(NODATA),
    });
}

#[cfg(test)]
mod tests {
    use super::super::source::VALID;
    use super::*;
    use crate::cog::Extremes;

    fn band(nodata: Vec<f64>) -> BandSource {
        BandSource { index: 0, scaling: Scaling { scale: 0.5, offset: 1.0 }, nodata }
    }

    #[test]
    fn nodata_nan_and_infinity_are_no_values_whatever_the_type() {
        let run = |samples: Samples, nodata: Vec<f64>| {
            let (mut values, mut states) = (vec![9.0; 3], vec![VALID; 3]);
            put_values(&samples, 0..3, &band(nodata.clone()), &mut values);
            find_missing(&samples, 0..3, &band(nodata), &mut states);
            (values, states)
        };
        assert_eq!(
            run(Samples::F32(vec![f32::NAN, f32::INFINITY, 2.0]), vec![]),
            (vec![0.0, 0.0, 2.0], vec![NODATA, NODATA, VALID])
        );
        // −3.4028234663852886e38, as GDAL writes it, is a float; 0.1 has no exact double.
        let float = Samples::F32(vec![f32::MIN, 0.1, 4.0]);
        assert_eq!(run(float, vec![-3.402_823_466_385_288_6e38, 0.1]).1, [NODATA, NODATA, VALID]);
        // A nodata value that the type cannot hold matches nothing.
        assert_eq!(run(Samples::U8(vec![0, 255, 1]), vec![-1.0, 256.0]).1, [VALID, VALID, VALID]);
        // What there is in the place of a value means nothing.
        assert_eq!(run(Samples::U8(vec![0, 255, 1]), vec![0.0]), (vec![1.0, 128.5, 1.5], vec![NODATA, VALID, VALID]));
    }

    #[test]
    fn of_a_block_that_is_whole_by_its_bounds_nothing_is_missing() {
        let floats = [-3.0_f32, -0.0, 0.0, 2.5, 4.0, 1e30];
        let kinds = [
            Samples::U8(vec![3, 4, 250]),
            Samples::I8(vec![-7, 0, 5]),
            Samples::U16(vec![1, 2, 65_535]),
            Samples::I16(vec![-32_768, -9, 0]),
            Samples::U32(vec![7, 8, u32::MAX]),
            Samples::I32(vec![i32::MIN, 1, 2]),
            Samples::U64(vec![0, 1, u64::MAX]),
            Samples::I64(vec![i64::MIN, -1, i64::MAX]),
            Samples::F32(floats.to_vec()),
            Samples::F64(vec![-1e300, 0.0, 1.5]),
        ];
        let (mut whole, mut parted) = (0, 0);
        for samples in kinds {
            let bounds = each!(&samples, all => {
                let mut extremes = Extremes::new();
                extremes.take(all);
                extremes.bounds()
            });
            let length = samples.len();
            let between = bounds.unwrap();
            let block = Block { rows: 1, cols: length as u32, bands: vec![samples], bounds: vec![bounds], mask: None };
            let outside = [between.low - 1.0, between.high * 2.0 + 1.0, f64::NAN, 1.1];
            let inside = [between.low, between.high, -0.0, 2.5, 1.0, 18_446_744_073_709_551_616.0];
            let nodata = outside.into_iter().chain(inside).map(|value| vec![value]).chain([vec![], vec![0.0, 4.0]]);
            for nodata in nodata {
                for (scale, offset) in [
                    (1.0, 0.0),
                    (0.5, 1.0),
                    (-2.0, 3.0),
                    (0.0, 1.0),
                    (1e300, 0.0),
                    (f64::NAN, 0.0),
                    (1.0, f64::INFINITY),
                ] {
                    let band = BandSource { index: 0, scaling: Scaling { scale, offset }, nodata: nodata.clone() };
                    let mut states = vec![VALID; length];
                    find_missing(&block.bands[0], 0..length, &band, &mut states);
                    let is_whole = is_whole(&block, std::slice::from_ref(&band));
                    let has_all = states.iter().all(|&state| state == VALID);
                    assert!(has_all || !is_whole, "{:?}, {band:?}", block.bands[0]);
                    (whole, parted) = (whole + usize::from(is_whole), parted + usize::from(!has_all));
                }
            }
        }
        // Both happen, and where all are there it is known as a rule.
        assert!(whole > 200 && parted > 200, "{whole} {parted}");
        let unknown = Block { rows: 1, cols: 1, bands: vec![Samples::U8(vec![1])], bounds: vec![None], mask: None };
        assert!(!is_whole(&unknown, &[band(vec![])]));
    }
}

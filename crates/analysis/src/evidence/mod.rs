//! Evidence of change by pixel, of one scene pair.
//!
//! Every value depends on pixels within [`Preset::evidence_px`] (and the reach of the cloud search) only, through
//! integer window sums and + − × ÷ √ and tables: it is the same whatever rectangle it is computed in.

mod base;
mod blocks;
mod cover;
mod fine;
mod logarithm;
mod model;
mod preset;
mod spectral;
mod window;

use std::ops::Range;

use rayon::prelude::*;
use survey::calibration::Calibration;
use survey::findings::{EVIDENCE_CHANNELS, EvidenceChannel, Run};
use survey::grid::PixelRect;
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::result::Cover;
use survey::wide::wide;

use crate::cloud;
use crate::detect::Detector;
pub(crate) use base::quantise;
use base::{BasePlanes, DateLooks, DatePlanes, base_planes, score_plane};
pub(crate) use blocks::in_blocks;
use fine::{FineRow, FineRows};
pub(crate) use logarithm::ln;
pub use preset::{Preset, Scale};
use spectral::spectral_rows;
pub(crate) use window::slide;

/// Rows that are computed one after the other: half a tile. The next chunk takes the sums over the rows around them again.
const CHUNK_ROWS: usize = 576;

/// The evidence of one pair over a rectangle.
#[derive(Clone, Debug, PartialEq)]
pub struct PairEvidence {
    /// By [`EvidenceChannel`], 1/256; 0 where the pair is not valid. Of the detectors that decide by the score alone, all
    /// but the score are empty.
    pub channels: [Plane<i16>; EVIDENCE_CHANNELS],
    /// Cover before.
    pub cover_before: Plane<Cover>,
    /// Valid, or why the pair says nothing here.
    pub state: Plane<PixelState>,
}

/// The evidence of a pair over the common rectangle of its windows. Of rows outside `wanted` not all of it is there.
#[must_use]
pub fn pair_evidence(
    before: &SceneWindow,
    after: &SceneWindow,
    calibration: &Calibration,
    preset: &Preset,
    detector: Detector,
    wanted: PixelRect,
) -> PairEvidence {
    let rect = before.rect().intersection(&after.rect()).unwrap_or(PixelRect::new(0, 0, 0, 0));
    let mut state = pair_state(&before.state.crop(rect), &after.state.crop(rect));
    if preset.block_px > 1 {
        let (before, after) = in_blocks(before, after, preset.block_px);
        let found = pair_evidence(&before, &after, calibration, &preset.of_blocks(), detector, before.rect());
        return blocks::spread(&found, state, preset.block_px);
    }
    if let Some(reach) = preset.cloud {
        cloud::mask_clouds(before, after, &calibration.statistics, reach, &mut state);
    }
    if detector.decides_by() == EvidenceChannel::Score {
        return score_alone(score_plane(before, after, &state, calibration), state);
    }
    let base = base_planes(before, after, &state, calibration);
    let mut planes = Found::nothing(rect);
    let row = |row: i32| (row.clamp(rect.row0, rect.row1) - rect.row0) as usize;
    planes.chunks(rect.cols(), row(wanted.row0)..row(wanted.row1)).for_each(|(first, mut chunk)| match preset.scale {
        Scale::Fine => chunk.fine(&base, first),
        scale => {
            let rows = first..first + chunk.rows(&base);
            chunk.spectral(&base, rows.clone(), &spectral_rows(&base, before, after, &calibration.irmad, scale, rows));
        }
    });
    planes.with(base, state)
}

/// The evidence of the detectors that decide by the score: what the ground looks like is asked for later, where it changed
/// ([`PairLooks`]). The planes of the other channels are empty.
fn score_alone(score: Plane<i16>, state: Plane<PixelState>) -> PairEvidence {
    let nothing = PixelRect::new(0, 0, 0, 0);
    let mut channels: [Plane<i16>; EVIDENCE_CHANNELS] = std::array::from_fn(|_| Plane::filled(nothing, 0));
    channels[EvidenceChannel::Score as usize] = score;
    PairEvidence { channels, cover_before: Plane::filled(nothing, Cover::Unknown), state }
}

/// What the ground of a pair looks like, for the detectors that decide by the score alone.
pub(crate) struct PairLooks<'a> {
    windows: [&'a SceneWindow; 2],
    before: DateLooks,
    after: DateLooks,
}

impl<'a> PairLooks<'a> {
    pub(crate) fn new(before: &'a SceneWindow, after: &'a SceneWindow, calibration: &Calibration) -> Self {
        let [earlier, later] = [DateLooks::new(before, calibration, 0), DateLooks::new(after, calibration, 1)];
        Self { windows: [before, after], before: earlier, after: later }
    }

    /// What is known of a run of valid pixels that the pair saw, beside their score.
    pub(crate) fn describe(&self, run: Run, score: &[i16], out: &mut Described) {
        let Described { channels, cover, standardised, spaces } = out;
        channels.iter_mut().chain([&mut *standardised]).for_each(|channel| channel.resize(score.len(), 0));
        for channel in [EvidenceChannel::Logit, EvidenceChannel::Score] {
            channels[channel as usize].copy_from_slice(score);
        }
        let [of_before, of_after] = spaces;
        let (before, after) = (self.windows[0].run(run, of_before), self.windows[1].run(run, of_after));
        self.after.brightness(&after, &mut channels[EvidenceChannel::BrightnessAfter as usize]);
        self.after.vegetation(&after, standardised, &mut channels[EvidenceChannel::VegetationAfter as usize]);
        self.before.brightness(&before, &mut channels[EvidenceChannel::BrightnessBefore as usize]);
        // What is standardised is from here on that of the earlier scene.
        self.before.vegetation(&before, standardised, &mut channels[EvidenceChannel::VegetationBefore as usize]);
        let colours = cover::Colours {
            is_normalised: self.before.is_normalised(),
            has_colour: self.before.has_colour() && self.after.has_colour(),
        };
        let index = &channels[EvidenceChannel::VegetationBefore as usize];
        let brightness = &channels[EvidenceChannel::BrightnessBefore as usize];
        cover.clear();
        cover.extend(
            (0..score.len())
                .map(|at| cover::cover(&cover::Looks::of(standardised[at], index[at], brightness[at], colours, None))),
        );
    }
}

/// What is known of a run of pixels.
#[derive(Default)]
pub(crate) struct Described {
    pub(crate) channels: [Vec<i16>; EVIDENCE_CHANNELS],
    pub(crate) cover: Vec<Cover>,
    /// The earlier scene's vegetation index, robust z.
    standardised: Vec<i16>,
    /// For the values of both scenes.
    spaces: [Vec<f32>; 2],
}

/// What is found beside the base planes.
struct Found<P, C> {
    logit: P,
    structure: P,
    growth: P,
    cover: C,
}

impl Found<Plane<i16>, Plane<Cover>> {
    fn nothing(rect: PixelRect) -> Self {
        let plane = || Plane::filled(rect, 0);
        Self { logit: plane(), structure: plane(), growth: plane(), cover: Plane::filled(rect, Cover::Unknown) }
    }

    /// Of some rows those that are computed together, each with the first of them.
    fn chunks(
        &mut self,
        cols: usize,
        rows: Range<usize>,
    ) -> impl ParallelIterator<Item = (usize, Found<&mut [i16], &mut [Cover]>)> {
        let size = (CHUNK_ROWS * cols).max(1);
        let part = rows.start * cols..rows.end.max(rows.start) * cols;
        let Self { logit, structure, growth, cover } = self;
        let [logit, structure, growth] =
            [logit, structure, growth].map(|plane| plane.data_mut()[part.clone()].par_chunks_mut(size));
        let planes = logit.zip(structure).zip(growth).zip(cover.data_mut()[part].par_chunks_mut(size)).enumerate();
        planes.map(move |(index, (((logit, structure), growth), cover))| {
            (rows.start + index * CHUNK_ROWS, Found { logit, structure, growth, cover })
        })
    }

    fn with(self, base: BasePlanes, state: Plane<PixelState>) -> PairEvidence {
        let mut channels: [Plane<i16>; EVIDENCE_CHANNELS] =
            std::array::from_fn(|_| Plane::filled(PixelRect::new(0, 0, 0, 0), 0));
        for (channel, plane) in [
            (EvidenceChannel::Logit, self.logit),
            (EvidenceChannel::Score, base.score),
            (EvidenceChannel::Structure, self.structure),
            (EvidenceChannel::VegetationBefore, base.before.index),
            (EvidenceChannel::VegetationAfter, base.after.index),
            (EvidenceChannel::EdgeGrowth, self.growth),
            (EvidenceChannel::BrightnessAfter, base.after.brightness),
            (EvidenceChannel::BrightnessBefore, base.before.brightness),
        ] {
            channels[channel as usize] = plane;
        }
        PairEvidence { channels, cover_before: self.cover, state }
    }
}

impl Found<&mut [i16], &mut [Cover]> {
    fn rows(&self, base: &BasePlanes) -> usize {
        self.logit.len() / base.rect.cols().max(1)
    }

    /// The evidence where buildings have a shape, of the rows from `first` on.
    fn fine(&mut self, base: &BasePlanes, first: usize) {
        let width = base.rect.cols();
        let mut rows = FineRows::new(base, first);
        for index in 0..self.rows(base) {
            let at = index * width..(index + 1) * width;
            let FineRow { logit, correlation, edges: [before, after] } = rows.row(first + index);
            let known = BaseRow::of(base, first + index);
            known.put(logit.iter().copied(), &mut self.logit[at.clone()]);
            known.put(correlation.iter().map(|correlation| 1.0 - correlation), &mut self.structure[at.clone()]);
            known.put(after.iter().zip(before).map(|(after, before)| after - before), &mut self.growth[at.clone()]);
            known.covers(before.iter().map(|&edges| Some(edges)), &mut self.cover[at]);
        }
    }

    /// The evidence where a lot is some pixels, of `rows`.
    fn spectral(&mut self, base: &BasePlanes, rows: Range<usize>, logit: &[f32]) {
        let width = base.rect.cols();
        for (index, row) in rows.enumerate() {
            let at = index * width..(index + 1) * width;
            let known = BaseRow::of(base, row);
            known.put(logit[at.clone()].iter().copied(), &mut self.logit[at.clone()]);
            known.covers(std::iter::repeat(None), &mut self.cover[at]);
        }
    }
}

/// What the base planes say of a row.
struct BaseRow<'a> {
    valid: &'a [i16],
    vegetation: &'a [i16],
    index: &'a [i16],
    brightness: &'a [i16],
    colours: cover::Colours,
}

impl<'a> BaseRow<'a> {
    fn of(base: &'a BasePlanes, row: usize) -> Self {
        let line = |plane: &'a Plane<i16>| plane.row(base.rect.row0 + row as i32);
        let DatePlanes { vegetation, index, brightness, .. } = &base.before;
        Self {
            valid: line(&base.valid),
            vegetation: line(vegetation),
            index: line(index),
            brightness: line(brightness),
            colours: base.colours,
        }
    }

    /// Puts values where pixels are valid.
    fn put(&self, values: impl Iterator<Item = f32>, out: &mut [i16]) {
        let pixels = out.iter_mut().zip(self.valid).zip(values);
        wide(|| pixels.for_each(|((out, valid), value)| *out = quantise(value) * valid));
    }

    /// What the ground was before.
    fn covers(&self, edges: impl Iterator<Item = Option<f32>>, out: &mut [Cover]) {
        for ((at, out), edges) in out.iter_mut().enumerate().zip(edges) {
            if self.valid[at] != 0 {
                let looks = (self.vegetation[at], self.index[at], self.brightness[at]);
                *out = cover::cover(&cover::Looks::of(looks.0, looks.1, looks.2, self.colours, edges));
            }
        }
    }
}

/// Whether a pair can be compared at a pixel, and if not, what says most of why.
pub(crate) fn pair_state(before: &Plane<PixelState>, after: &Plane<PixelState>) -> Plane<PixelState> {
    let mut state = before.clone();
    for (state, &other) in state.data_mut().iter_mut().zip(after.data()) {
        *state = match (*state, other) {
            (PixelState::Valid, PixelState::Valid) => PixelState::Valid,
            (PixelState::Valid, missing) | (missing, PixelState::Valid) => missing,
            (one, other) => one.max(other),
        };
    }
    state
}

/// The features of the fine evidence over the common rectangle of a pair's windows, one plane per feature: what the
/// model of the default detector was fitted on.
#[must_use]
pub fn fine_features(
    before: &SceneWindow,
    after: &SceneWindow,
    calibration: &Calibration,
) -> Vec<(&'static str, Vec<f32>)> {
    let rect = before.rect().intersection(&after.rect()).unwrap_or(PixelRect::new(0, 0, 0, 0));
    let state = pair_state(&before.state.crop(rect), &after.state.crop(rect));
    let base = base_planes(before, after, &state, calibration);
    model::FEATURES.into_iter().zip(fine::features(&base)).collect()
}

#[cfg(test)]
mod tests {
    use survey::grid::Grid;
    use survey::scene::BandName;
    use survey::spec::DetectorSpec;

    use super::*;
    use crate::calibrate::{self, CellSample};

    const SIDE: i32 = 96;

    /// Fields and a road, with some pixels under a cloud.
    fn window(seed: u32, names: &[&str]) -> SceneWindow {
        let rect = PixelRect::new(-40, 1000, -40 + SIDE, 1000 + SIDE);
        let plane = |band: u32| {
            let value = |at: u32| {
                let (row, col) = (at / SIDE as u32, at % SIDE as u32);
                let noise =
                    at.wrapping_mul(2_654_435_761).wrapping_add(seed * 97 + band * 31).wrapping_mul(2_246_822_519);
                (200 + 150 * ((row / 13 + col / 17 + band) % 4) + (noise >> 26)) as f32
            };
            Plane::from_vec(rect, (0..(SIDE * SIDE) as u32).map(value).collect()).unwrap()
        };
        let mut state = Plane::filled(rect, PixelState::Valid);
        state.row_mut(-30)[seed as usize..40].fill(PixelState::Cloud);
        let planes = (0..names.len() as u32).map(plane).map(Into::into).collect();
        SceneWindow { bands: names.iter().map(|name| BandName::new(name)).collect(), planes, state }
    }

    #[test]
    fn gradients_are_those_of_the_definition() {
        for (rows, cols) in [(7, 40), (1, 9), (9, 1), (2, 2), (1, 1)] {
            let rect = PixelRect::new(-3, 5, rows - 3, cols + 5);
            let noise = |at: i32| (at as u32).wrapping_mul(2_654_435_761) >> 16;
            let plane = |of: &dyn Fn(i32) -> i16| Plane::from_vec(rect, (0..rows * cols).map(of).collect()).unwrap();
            let valid = plane(&|at| i16::from(noise(at + 999) % 4 > 0));
            let brightness = plane(&|at| (noise(at) % 4097) as i16 - 2048);
            let gradient = base::gradient_plane(&brightness, &valid);
            for (row, col) in (rect.row0..rect.row1).flat_map(|row| (rect.col0..rect.col1).map(move |col| (row, col))) {
                let centre = brightness.get(row, col).unwrap();
                let at = |row: i32, col: i32| match valid.get(row, col) {
                    Some(1) => f32::from(brightness.get(row, col).unwrap()),
                    _ => f32::from(centre),
                };
                let (dx, dy) = (at(row, col + 1) - at(row, col - 1), at(row + 1, col) - at(row - 1, col));
                let expected = ((dx * dx + dy * dy).sqrt() * 0.5 + 0.5) as i16 * valid.get(row, col).unwrap();
                assert_eq!(gradient.get(row, col), Some(expected), "{row} {col} of {rows} x {cols}");
            }
        }
    }

    #[test]
    fn each_feature_has_a_value_for_each_pixel() {
        let names = &["blue", "green", "red", "nir"];
        let (before, after) = (window(1, names), window(5, names));
        let sample = CellSample { before: before.clone(), after: after.clone() };
        let (grid, detector) = (Grid { crs: String::new(), resolution_m: 0.5 }, DetectorSpec::default());
        let calibration = calibrate::fit(&[sample], &grid, survey::calibration::Registration::default(), &detector);
        for (name, values) in fine_features(&before, &after, &calibration) {
            let (least, most) = values.iter().fold((f32::MAX, f32::MIN), |(a, b), &value| (a.min(value), b.max(value)));
            assert_eq!(values.len(), before.rect().pixels(), "{name}");
            assert!(least < most, "{name}: {least} everywhere");
        }
    }

    #[test]
    fn means_are_those_of_the_definition_from_whatever_row_on() {
        let names = &["blue", "green", "red", "nir"];
        let whole = Plane::filled(window(1, names).rect(), PixelState::Valid);
        for state in [None, Some(whole)] {
            let [before, after] = [1, 5].map(|seed| {
                let patchy = window(seed, names);
                SceneWindow { state: state.clone().unwrap_or(patchy.state), ..patchy }
            });
            let sample = CellSample { before: before.clone(), after: after.clone() };
            let (grid, detector) = (Grid { crs: String::new(), resolution_m: 0.5 }, DetectorSpec::default());
            let calibration = calibrate::fit(&[sample], &grid, survey::calibration::Registration::default(), &detector);
            let states = pair_state(&before.state, &after.state);
            let base = base_planes(&before, &after, &states, &calibration);
            assert_eq!(base.is_whole, state.is_some());
            let mean = |row: i32, col: i32, radius: i32| {
                let around = PixelRect::new(row - radius, col - radius, row + radius + 1, col + radius + 1);
                let around = around.intersection(&base.rect).unwrap();
                let (score, valid) = (base.score.crop(around), base.valid.crop(around));
                let sum: i32 = score.data().iter().map(|&score| i32::from(score)).sum();
                let count = valid.data().iter().filter(|&&valid| valid == 1).count();
                if count == 0 { 0.0 } else { sum as f32 * (1.0 / count as f32) * (1.0 / base::UNIT) }
            };
            for first in [0, 13, 40, 80] {
                let mut rows = FineRows::new(&base, first);
                for row in first..(first + 30).min(SIDE as usize) {
                    let (at, features) = (base.rect.row0 + row as i32, rows.features_of(row));
                    for (name, radius) in [("score_1", 1), ("score_12", 12), ("score_24", 24)] {
                        for index in [0, 3, 30, 70, SIDE as usize - 1] {
                            let expected = mean(at, base.rect.col0 + index as i32, radius);
                            let found = features[model::index_of(name)][index];
                            assert_eq!(found.to_bits(), expected.to_bits(), "{name} at row {row}, column {index}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_said_of_a_run_is_what_the_planes_say() {
        for names in [&["blue", "green", "red", "nir"][..], &["red", "green", "blue"], &["pan"]] {
            let (before, after) = (window(1, names), window(5, names));
            let sample = CellSample { before: before.clone(), after: after.clone() };
            let (grid, detector) = (Grid { crs: String::new(), resolution_m: 30.0 }, DetectorSpec::default());
            let calibration = calibrate::fit(&[sample], &grid, survey::calibration::Registration::default(), &detector);
            let state = pair_state(&before.state, &after.state);
            let base = base_planes(&before, &after, &state, &calibration);
            let rect = state.rect();
            assert_eq!(base.colours.is_normalised, names.len() == 4);
            let mut covers = Plane::filled(rect, Cover::Unknown);
            for row in 0..rect.rows() {
                let known = BaseRow::of(&base, row);
                known.covers(std::iter::repeat(None), covers.row_mut(rect.row0 + row as i32));
            }
            let looks = PairLooks::new(&before, &after, &calibration);
            let mut described = Described::default();
            for row in rect.row0..rect.row1 {
                // Around the cloud, in runs of any length, which share their memory.
                for (col0, col1) in [(rect.col0 + 41, rect.col1), (rect.col0 + 40, rect.col0 + 41)] {
                    let run = Run { row, col0, col1 };
                    looks.describe(run, base.score.run(run), &mut described);
                    for (channel, plane) in [
                        (EvidenceChannel::Logit, &base.score),
                        (EvidenceChannel::Score, &base.score),
                        (EvidenceChannel::VegetationBefore, &base.before.index),
                        (EvidenceChannel::VegetationAfter, &base.after.index),
                        (EvidenceChannel::BrightnessBefore, &base.before.brightness),
                        (EvidenceChannel::BrightnessAfter, &base.after.brightness),
                    ] {
                        assert_eq!(described.channels[channel as usize], plane.run(run), "{names:?} {run:?}");
                    }
                    assert_eq!(described.channels[EvidenceChannel::Structure as usize], vec![0; run.len() as usize]);
                    assert_eq!(described.cover, covers.run(run), "{names:?} {run:?}");
                }
            }
        }
    }
}

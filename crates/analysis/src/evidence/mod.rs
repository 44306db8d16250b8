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
use survey::findings::{EVIDENCE_CHANNELS, EvidenceChannel};
use survey::grid::PixelRect;
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::result::Cover;

use crate::bands::{BandRoles, Vegetation};
use crate::cloud;
use crate::detect::Detector;
pub(crate) use base::quantise;
use base::{BasePlanes, UNIT, base_planes};
pub(crate) use blocks::in_blocks;
pub(crate) use logarithm::ln;
pub use preset::{Preset, Scale};
pub(crate) use window::slide;

/// Rows that are computed together: windows overlap between chunks, so a chunk is a few windows high.
const CHUNK_ROWS: usize = 64;

/// The evidence of one pair over a rectangle.
#[derive(Clone, Debug, PartialEq)]
pub struct PairEvidence {
    /// By [`EvidenceChannel`], 1/256; 0 where the pair is not valid.
    pub channels: [Plane<i16>; EVIDENCE_CHANNELS],
    /// Cover before.
    pub cover_before: Plane<Cover>,
    /// Valid, or why the pair says nothing here.
    pub state: Plane<PixelState>,
}

/// The evidence of a pair over the common rectangle of its windows.
#[must_use]
pub fn pair_evidence(
    before: &SceneWindow,
    after: &SceneWindow,
    calibration: &Calibration,
    preset: &Preset,
    detector: Detector,
) -> PairEvidence {
    let rect = before.rect().intersection(&after.rect()).unwrap_or(PixelRect::new(0, 0, 0, 0));
    let mut state = pair_state(&before.state.crop(rect), &after.state.crop(rect));
    if preset.block_px > 1 {
        let (before, after) = in_blocks(before, after, preset.block_px);
        let found = pair_evidence(&before, &after, calibration, &preset.of_blocks(), detector);
        return blocks::spread(&found, state, preset.block_px);
    }
    if let Some(reach) = preset.cloud {
        cloud::mask_clouds(before, after, &calibration.statistics, reach, &mut state);
    }
    let base = base_planes(before, after, &state, calibration, detector);
    let is_normalised = matches!(BandRoles::of(&before.bands).vegetation, Vegetation::Normalised { .. });
    let starts: Vec<usize> = (0..rect.rows()).step_by(CHUNK_ROWS).collect();
    let chunks: Vec<Chunk> = starts
        .par_iter()
        .map(|&start| {
            let rows = start..(start + CHUNK_ROWS).min(rect.rows());
            let quantised = |values: Vec<f32>| values.into_iter().map(quantise).collect();
            let (mut chunk, edges) = match (detector, preset.scale) {
                (Detector::IrMad | Detector::Cva, _) => (Chunk::of(base.rows(&base.score, &rows).to_vec()), None),
                (Detector::Default, Scale::Fine) => {
                    let found = fine::fine_rows(&base, rows.clone());
                    let (structure, growth) = (quantised(found.structure), quantised(found.edge_growth));
                    (Chunk { structure, growth, ..Chunk::of(quantised(found.logit)) }, Some(found.edges_before))
                }
                (Detector::Default, scale) => {
                    let irmad = &calibration.irmad;
                    let logit = spectral::spectral_rows(&base, before, after, irmad, scale, rows.clone());
                    (Chunk::of(quantised(logit)), None)
                }
            };
            let valid = base.rows(&base.valid, &rows);
            for values in [&mut chunk.logit, &mut chunk.structure, &mut chunk.growth] {
                values.iter_mut().zip(valid).for_each(|(value, valid)| *value *= valid);
            }
            chunk.cover = covers(&base, &rows, is_normalised, edges.as_deref());
            chunk
        })
        .collect();
    assemble(base, state, &chunks)
}

/// What the rows of a chunk say. `structure` and `growth` are empty where there is no such evidence.
struct Chunk {
    logit: Vec<i16>,
    structure: Vec<i16>,
    growth: Vec<i16>,
    cover: Vec<Cover>,
}

impl Chunk {
    fn of(logit: Vec<i16>) -> Self {
        Self { logit, structure: Vec::new(), growth: Vec::new(), cover: Vec::new() }
    }
}

/// What the ground of `rows` was before.
fn covers(base: &BasePlanes, rows: &Range<usize>, is_normalised: bool, edges: Option<&[f32]>) -> Vec<Cover> {
    let [valid, vegetation, index, brightness] =
        [&base.valid, &base.before.vegetation, &base.before.index, &base.before.brightness]
            .map(|plane| base.rows(plane, rows));
    let real = |value: i16| f32::from(value) / UNIT;
    (0..valid.len())
        .map(|at| match valid[at] {
            0 => Cover::Unknown,
            _ => cover::cover(&cover::Looks {
                vegetation: real(vegetation[at]),
                index: real(index[at]),
                is_normalised,
                has_colour: base.has_colour,
                brightness: real(brightness[at]),
                edges: edges.map(|edges| edges[at]),
            }),
        })
        .collect()
}

fn assemble(base: BasePlanes, state: Plane<PixelState>, chunks: &[Chunk]) -> PairEvidence {
    fn joined<T: Copy>(rect: PixelRect, chunks: &[Chunk], none: T, of: impl Fn(&Chunk) -> &Vec<T>) -> Plane<T> {
        let mut data = Vec::with_capacity(rect.pixels());
        chunks.iter().for_each(|chunk| data.extend_from_slice(of(chunk)));
        Plane::from_vec(rect, data).unwrap_or_else(|| Plane::filled(rect, none))
    }
    let rect = base.rect;
    let mut channels: [Plane<i16>; EVIDENCE_CHANNELS] =
        std::array::from_fn(|_| Plane::filled(PixelRect::new(0, 0, 0, 0), 0));
    for (channel, plane) in [
        (EvidenceChannel::Logit, joined(rect, chunks, 0, |chunk| &chunk.logit)),
        (EvidenceChannel::Score, base.score),
        (EvidenceChannel::Structure, joined(rect, chunks, 0, |chunk| &chunk.structure)),
        (EvidenceChannel::VegetationBefore, base.before.index),
        (EvidenceChannel::VegetationAfter, base.after.index),
        (EvidenceChannel::EdgeGrowth, joined(rect, chunks, 0, |chunk| &chunk.growth)),
        (EvidenceChannel::BrightnessAfter, base.after.brightness),
        (EvidenceChannel::BrightnessBefore, base.before.brightness),
    ] {
        channels[channel as usize] = plane;
    }
    PairEvidence { channels, cover_before: joined(rect, chunks, Cover::Unknown, |chunk| &chunk.cover), state }
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
    let base = base_planes(before, after, &state, calibration, Detector::Default);
    let mut planes = Vec::new();
    fine::features(&base, 0..rect.rows(), |feature, values| planes.push((model::FEATURES[feature], values.to_vec())));
    planes
}

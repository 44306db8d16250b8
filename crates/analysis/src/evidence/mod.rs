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
    let base = base_planes(before, after, &state, calibration);
    let cols = rect.cols();
    let is_normalised = matches!(BandRoles::of(&before.bands).vegetation, Vegetation::Normalised { .. });
    let starts: Vec<usize> = (0..rect.rows()).step_by(CHUNK_ROWS).collect();
    let chunks: Vec<Chunk> = starts
        .par_iter()
        .map(|&start| {
            let rows = start..(start + CHUNK_ROWS).min(rect.rows());
            let size = rows.len() * cols;
            let score = || base.score.data()[rows.start * cols..rows.end * cols].iter();
            let zeros = || vec![0.0; size];
            if detector != Detector::Default {
                return Chunk { logit: score().copied().collect(), structure: zeros(), growth: zeros(), edges: None };
            }
            let quantised = |values: Vec<f32>| values.into_iter().map(quantise).collect();
            match preset.scale {
                Scale::Fine => {
                    let rows = fine::fine_rows(&base, rows);
                    Chunk {
                        logit: quantised(rows.logit),
                        structure: rows.structure,
                        growth: rows.edge_growth,
                        edges: Some(rows.edges_before),
                    }
                }
                scale => Chunk {
                    logit: quantised(spectral::spectral_rows(&base, before, after, &calibration.irmad, scale, rows)),
                    structure: zeros(),
                    growth: zeros(),
                    edges: None,
                },
            }
        })
        .collect();
    assemble(base, state, chunks, is_normalised)
}

struct Chunk {
    logit: Vec<i16>,
    structure: Vec<f32>,
    growth: Vec<f32>,
    edges: Option<Vec<f32>>,
}

fn assemble(base: BasePlanes, state: Plane<PixelState>, chunks: Vec<Chunk>, is_normalised: bool) -> PairEvidence {
    let rect = base.rect;
    let joined = |take: &dyn Fn(&Chunk) -> Vec<i16>| {
        let mut data: Vec<i16> = chunks.iter().flat_map(take).collect();
        data.iter_mut().zip(base.valid.data()).for_each(|(value, valid)| *value *= valid);
        Plane::from_vec(rect, data).unwrap_or_else(|| Plane::filled(rect, 0))
    };
    let logit = joined(&|chunk| chunk.logit.clone());
    let structure = joined(&|chunk| chunk.structure.iter().map(|&value| quantise(value)).collect());
    let growth = joined(&|chunk| chunk.growth.iter().map(|&value| quantise(value)).collect());
    let edges: Vec<Option<f32>> = chunks
        .iter()
        .flat_map(|chunk| match &chunk.edges {
            Some(edges) => edges.iter().map(|&edges| Some(edges)).collect::<Vec<_>>(),
            None => vec![None; chunk.logit.len()],
        })
        .collect();
    let has_colour = base.has_colour;
    let at = |plane: &Plane<i16>, index: usize| f32::from(plane.data()[index]) / UNIT;
    let covers: Vec<Cover> = (0..rect.pixels())
        .into_par_iter()
        .map(|index| {
            if base.valid.data()[index] == 0 {
                return Cover::Unknown;
            }
            cover::cover(&cover::Looks {
                vegetation: at(&base.before.vegetation, index),
                index: at(&base.before.index, index),
                is_normalised,
                has_colour,
                brightness: at(&base.before.brightness, index),
                edges: edges.get(index).copied().flatten(),
            })
        })
        .collect();
    let cover_before = Plane::from_vec(rect, covers).unwrap_or_else(|| Plane::filled(rect, Cover::Unknown));
    let mut channels: [Plane<i16>; EVIDENCE_CHANNELS] =
        std::array::from_fn(|_| Plane::filled(PixelRect::new(0, 0, 0, 0), 0));
    for (channel, plane) in [
        (EvidenceChannel::Logit, logit),
        (EvidenceChannel::Score, base.score),
        (EvidenceChannel::Structure, structure),
        (EvidenceChannel::VegetationBefore, base.before.index),
        (EvidenceChannel::VegetationAfter, base.after.index),
        (EvidenceChannel::EdgeGrowth, growth),
        (EvidenceChannel::BrightnessAfter, base.after.brightness),
        (EvidenceChannel::BrightnessBefore, base.before.brightness),
    ] {
        channels[channel as usize] = plane;
    }
    PairEvidence { channels, cover_before, state }
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
    let mut planes = Vec::new();
    fine::features(&base, 0..rect.rows(), |feature, values| planes.push((model::FEATURES[feature], values.to_vec())));
    planes
}

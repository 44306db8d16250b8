//! From the pixels of a tile to its findings.
//!
//! Per scene pair: evidence on its own masked rasters. Per pixel: the evidence of the first pair, in the order of the
//! pixel's *cell*, that is valid there; pixels are never mosaicked before evidence. Then mask, opening, closing,
//! grouping and labelling, each with a bounded radius, so that a tile with [`halo_px`] pixels around it gives what the
//! whole image would give.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;
use survey::calibration::Calibration;
use survey::county::CountyMap;
use survey::findings::{Coverage, EVIDENCE_CHANNELS, EvidenceChannel, Findings, Run};
use survey::grid::{CELL_PX, Cell, PixelRect};
use survey::plan::SurveyPlan;
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::result::Cover;
use survey::spec::DetectorSpec;

use crate::components::{Ground, LabelInput, Seen, label};
use crate::evidence::{Described, PairEvidence, PairLooks, Preset, pair_evidence, quantise};
use crate::mask::Mask;
use crate::stitch::{SiteLimits, tile_findings};

/// The detectors that `[detector] name` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// Registration, IR-MAD, structure, vegetation and brightness, fused.
    Default,
    /// The IR-MAD score alone, with the choices of the pipelines it is compared to.
    IrMad,
    /// Plain differencing of the bands.
    Cva,
}

impl Detector {
    /// The detector of a spec; names were checked when the spec was read.
    #[must_use]
    pub fn of(spec: &DetectorSpec) -> Self {
        match spec.name.as_str() {
            "irmad" => Self::IrMad,
            "cva" => Self::Cva,
            _ => Self::Default,
        }
    }

    /// The channel above whose 0 a pixel is changed.
    pub(crate) fn decides_by(self) -> EvidenceChannel {
        match self {
            Self::Default => EvidenceChannel::Logit,
            Self::IrMad | Self::Cva => EvidenceChannel::Score,
        }
    }
}

/// Pixels around a tile that its findings depend on: all windows, the opening, the closing and the grouping.
#[must_use]
pub fn halo_px(resolution_m: f64, detector: &DetectorSpec) -> i32 {
    Preset::new(resolution_m, detector).halo_px()
}

/// One pair's pixels over a tile grown by [`halo_px`].
#[derive(Clone, Debug)]
pub struct PairPixels {
    /// Index into the plan's pairs.
    pub pair: u32,
    /// The pair's calibration.
    pub calibration: Calibration,
    /// The earlier scene.
    pub before: SceneWindow,
    /// The later scene, read with the calibration's correction.
    pub after: SceneWindow,
}

/// What is seen of the pixels of a rectangle once every pixel has taken its pair.
struct Composite {
    rect: PixelRect,
    channels: [Plane<i16>; EVIDENCE_CHANNELS],
    cover_before: Plane<Cover>,
    state: Plane<PixelState>,
    pairs: Pairs,
}

/// Which pair each valid pixel has taken.
enum Pairs {
    One(u32),
    Each(Plane<u32>),
}

impl Pairs {
    /// The parts of a run of valid pixels, from west to east, each of which took one pair.
    fn parts(&self, run: Run) -> Vec<(Run, u32)> {
        let plane = match self {
            Self::One(pair) => return vec![(run, *pair)],
            Self::Each(plane) => plane,
        };
        let mut col0 = run.col0;
        let part = |same: &[u32]| {
            let part = Run { col0, col1: col0 + same.len() as i32, ..run };
            col0 = part.col1;
            (part, same[0])
        };
        plane.run(run).chunk_by(|a, b| a == b).map(part).collect()
    }
}

/// All evidence is there.
impl Ground for Composite {
    fn tell(&mut self, run: Run, take: &mut dyn FnMut(&Seen)) {
        for (part, pair) in self.pairs.parts(run) {
            let evidence = self.channels.each_ref().map(|plane| plane.run(part));
            take(&Seen { pair, evidence, cover_before: self.cover_before.run(part) });
        }
    }
}

/// Where the score alone decides, what the ground looks like is asked where it changed.
struct Looking<'a> {
    composite: &'a Composite,
    looks: BTreeMap<u32, PairLooks<'a>>,
    described: Described,
}

impl Ground for Looking<'_> {
    fn tell(&mut self, run: Run, take: &mut dyn FnMut(&Seen)) {
        for (part, pair) in self.composite.pairs.parts(run) {
            let Some(looks) = self.looks.get(&pair) else { continue };
            let score = self.composite.channels[EvidenceChannel::Score as usize].run(part);
            looks.describe(part, score, &mut self.described);
            let evidence = self.described.channels.each_ref().map(Vec::as_slice);
            take(&Seen { pair, evidence, cover_before: &self.described.cover });
        }
    }
}

/// The findings of a tile. `pairs` holds, in any order, the pairs that the plan's cells around the tile name; a pair
/// that is missing counts as one that covers nothing.
#[must_use]
pub fn detect_tile(plan: &SurveyPlan, counties: &CountyMap, tile: PixelRect, pairs: &[PairPixels]) -> Findings {
    let preset = Preset::new(plan.grid.resolution_m, &plan.detector);
    let detector = Detector::of(&plan.detector);
    let around = tile.grown(preset.halo_px());
    let wanted = tile.grown(preset.shape_px());
    let evidence_of =
        |pair: &PairPixels| pair_evidence(&pair.before, &pair.after, &pair.calibration, &preset, detector, wanted);
    let evidence: Vec<(u32, PairEvidence)> = pairs.iter().map(|pair| (pair.pair, evidence_of(pair))).collect();
    let mut composite = compose(plan, around, evidence);
    let change = change_mask(&composite, &preset, detector);
    let group = change.dilate(preset.group_px).and(&planned_mask(plan, around)).crop(tile);
    let change = change.crop(tile);
    let limits = SiteLimits::new(&plan.grid, &plan.detector);
    let input = LabelInput {
        group: &group,
        change: &change,
        counties,
        planned: &|cell| plan.cell(cell).is_some(),
        max_site_px: limits.max_px,
    };
    let components = match detector.decides_by() {
        EvidenceChannel::Score => {
            let looks = pairs.iter();
            let looks = looks.map(|pair| (pair.pair, PairLooks::new(&pair.before, &pair.after, &pair.calibration)));
            let looks = looks.collect();
            label(&input, &mut Looking { composite: &composite, looks, described: Described::default() })
        }
        _ => label(&input, &mut composite),
    };
    let is_root = plan.extent().is_some_and(|extent| extent.root.rect(plan.tile_px) == tile);
    let changed_from: BTreeMap<u32, i16> =
        pairs.iter().map(|pair| (pair.pair, changed_from(&pair.calibration))).collect();
    let coverage = coverage(plan, counties, tile, &composite, &changed_from);
    tile_findings(tile, components, coverage, BTreeMap::new(), &limits, is_root)
}

/// Pixels whose log-odds are above 0, opened and closed; valid ones only.
fn change_mask(composite: &Composite, preset: &Preset, detector: Detector) -> Mask {
    let valid = Mask::from_plane(&composite.state, |state| state == PixelState::Valid);
    let raised = Mask::from_plane(&composite.channels[detector.decides_by() as usize], |value| value > 0);
    clean(&raised, preset, detector).and(&valid)
}

/// Half widths by row of the element that the compared pipelines open and close with: rounder than `dr² + dc² ≤ 9`.
const PEER_DISK: [i32; 4] = [3, 3, 2, 1];

/// Opening, then closing.
fn clean(raised: &Mask, preset: &Preset, detector: Detector) -> Mask {
    match detector {
        Detector::IrMad => raised.open_close_by(&PEER_DISK),
        Detector::Default | Detector::Cva => raised.open(preset.open_px).close(preset.close_px),
    }
}

fn planned_mask(plan: &SurveyPlan, rect: PixelRect) -> Mask {
    let mut mask = Mask::new(rect);
    for cell in rect.cells().filter(|&cell| plan.cell(cell).is_some()) {
        if let Some(part) = cell.rect().intersection(&rect) {
            for row in part.row0..part.row1 {
                mask.set_run(Run { row, col0: part.col0, col1: part.col1 });
            }
        }
    }
    mask
}

/// Gives each pixel the first pair of its cell that is valid there; a pixel of a cell that is not planned has no scene.
fn compose(plan: &SurveyPlan, rect: PixelRect, mut evidence: Vec<(u32, PairEvidence)>) -> Composite {
    if let [(pair, found)] = &evidence[..]
        && found.state.rect() == rect
        && rect.cells().all(|cell| plan.cell(cell).is_some_and(|planned| planned.pairs.contains(pair)))
        && let Some((pair, found)) = evidence.pop()
    {
        return composed_of_one(pair, found);
    }
    // What no pair has is not there; where there is no pair at all, all is nothing known.
    let nothing = PixelRect { row1: rect.row0, ..rect };
    let pairs = || evidence.iter().map(|(_, found)| found).filter(|found| !found.state.data().is_empty());
    let is_known =
        |channel: usize| pairs().next().is_none() || pairs().any(|found| !found.channels[channel].data().is_empty());
    let has_cover = pairs().next().is_none() || pairs().any(|found| !found.cover_before.data().is_empty());
    let mut composite = Composite {
        rect,
        channels: std::array::from_fn(|channel| Plane::filled(if is_known(channel) { rect } else { nothing }, 0)),
        cover_before: Plane::filled(if has_cover { rect } else { nothing }, Cover::Unknown),
        state: Plane::filled(rect, PixelState::NoScene),
        pairs: Pairs::Each(Plane::filled(rect, u32::MAX)),
    };
    let cells: Vec<Cell> = rect.cells().collect();
    for cell in cells {
        let Some(planned) = plan.cell(cell) else { continue };
        let Some(part) = cell.rect().intersection(&rect) else { continue };
        for &index in &planned.pairs {
            if let Some((_, found)) = evidence.iter().find(|(pair, _)| *pair == index) {
                fill(&mut composite, part, index, found);
            }
        }
    }
    composite
}

/// Of a pair that all cells take first, since there is no other: nothing is copied.
fn composed_of_one(pair: u32, found: PairEvidence) -> Composite {
    let PairEvidence { channels, cover_before, state } = found;
    Composite { rect: state.rect(), channels, cover_before, state, pairs: Pairs::One(pair) }
}

/// Fills what no earlier pair was valid for.
fn fill(composite: &mut Composite, part: PixelRect, pair: u32, found: &PairEvidence) {
    let Some(part) = part.intersection(&found.state.rect()) else { return };
    let (from, source) = ((part.col0 - composite.rect.col0) as usize, (part.col0 - found.state.rect().col0) as usize);
    for row in part.row0..part.row1 {
        let theirs = &found.state.row(row)[source..source + part.cols()];
        let states = &mut composite.state.row_mut(row)[from..from + part.cols()];
        // Stretches of pixels that this pair is the first to see.
        let mut taken: Vec<Range<usize>> = Vec::new();
        let is_whole = |states: &[PixelState], valid: bool| {
            states.iter().fold(true, |all, &state| all & ((state == PixelState::Valid) == valid))
        };
        if is_whole(theirs, true) && is_whole(states, false) {
            states.fill(PixelState::Valid);
            taken.push(0..states.len());
        } else {
            for (col, (mine, &theirs)) in states.iter_mut().zip(theirs).enumerate() {
                if *mine == PixelState::Valid {
                    continue;
                }
                if theirs == PixelState::Valid {
                    match taken.last_mut() {
                        Some(last) if last.end == col => last.end += 1,
                        _ => taken.push(col..col + 1),
                    }
                }
                *mine = (*mine).max(theirs);
            }
        }
        for cols in taken {
            let to = from + cols.start..from + cols.end;
            let of = source + cols.start..source + cols.end;
            for (mine, channel) in composite.channels.iter_mut().zip(&found.channels) {
                if !channel.data().is_empty() {
                    mine.row_mut(row)[to.clone()].copy_from_slice(&channel.row(row)[of.clone()]);
                }
            }
            if !found.cover_before.data().is_empty() {
                composite.cover_before.row_mut(row)[to.clone()].copy_from_slice(&found.cover_before.row(row)[of]);
            }
            if let Pairs::Each(plane) = &mut composite.pairs {
                plane.row_mut(row)[to].fill(pair);
            }
        }
    }
}

/// The evidence's score above which ground counts as changed, however it changed.
fn changed_from(calibration: &Calibration) -> i16 {
    quantise((calibration.changed_from - calibration.threshold) as f32).min(0)
}

/// Pixels of each county in the planned cells of the tile, by state, and those that changed: whose score lies above what
/// `changed_from` says of their pair.
fn coverage(
    plan: &SurveyPlan,
    counties: &CountyMap,
    tile: PixelRect,
    composite: &Composite,
    changed_from: &BTreeMap<u32, i16>,
) -> BTreeMap<u32, Coverage> {
    let (state, score) = (&composite.state, &composite.channels[EvidenceChannel::Score as usize]);
    let rows: Vec<BTreeMap<u32, Coverage>> = (tile.row0..tile.row1)
        .into_par_iter()
        .map(|row| {
            let mut counted: BTreeMap<u32, Coverage> = BTreeMap::new();
            for span in counties.spans(row, tile.col0, tile.col1) {
                let mut col = span.col0;
                while col < span.col1 {
                    // To the end of the cell, the span, or the run of one state.
                    let cell = Cell::of(row, col);
                    let end = span.col1.min((cell.col + 1) * CELL_PX);
                    if plan.cell(cell).is_none() {
                        col = end;
                        continue;
                    }
                    let columns = (col - state.rect().col0) as usize..(end - state.rect().col0) as usize;
                    let line = &state.row(row)[columns];
                    let here = line[0];
                    let run = line.iter().take_while(|&&state| state == here).count();
                    let county = counted.entry(span.county).or_default();
                    county.count(here, run as u64);
                    if here == PixelState::Valid {
                        for (part, pair) in composite.pairs.parts(Run { row, col0: col, col1: col + run as i32 }) {
                            let from = changed_from.get(&pair).copied().unwrap_or(i16::MAX);
                            county.changed += score.run(part).iter().filter(|&&score| score > from).count() as u64;
                        }
                    }
                    col += run as i32;
                }
            }
            counted
        })
        .collect();
    let mut total: BTreeMap<u32, Coverage> = BTreeMap::new();
    for row in rows {
        for (county, counted) in row {
            total.entry(county).or_default().absorb(&counted);
        }
    }
    total
}

/// What `evaluate` scores: the change mask of one pair over its whole rectangle, and where it can be trusted.
#[derive(Clone, Debug)]
pub struct PairChange {
    /// Changed pixels.
    pub change: Mask,
    /// Pixels that were compared.
    pub valid: Mask,
    /// The evidence behind it.
    pub evidence: PairEvidence,
}

/// The change of one pair without a plan.
#[must_use]
pub fn detect_pair(
    before: &SceneWindow,
    after: &SceneWindow,
    calibration: &Calibration,
    resolution_m: f64,
    detector: &DetectorSpec,
) -> PairChange {
    let preset = Preset::new(resolution_m, detector);
    let evidence = pair_evidence(before, after, calibration, &preset, Detector::of(detector), before.rect());
    let valid = Mask::from_plane(&evidence.state, |state| state == PixelState::Valid);
    let detector = Detector::of(detector);
    let raised = Mask::from_plane(&evidence.channels[detector.decides_by() as usize], |value| value > 0);
    let change = clean(&raised, &preset, detector).and(&valid);
    PairChange { change, valid, evidence }
}

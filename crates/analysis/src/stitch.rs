//! Components across the borders of blocks: union-find over seam runs, up the merge tree.
//!
//! # Invariants
//! * Children of a block are merged in any order and any grouping with the same outcome: joins are unions of sets,
//!   sums are integer, runs are kept sorted and joined, and whether a component is *extended* depends on its total
//!   number of change pixels alone (a part above the limit makes a whole above the limit).
//! * A component closes in the lowest block whose border it does not touch; a component that touches none of its
//!   block's four edges cannot go on outside. So the set of closed components over the whole tree is that of the
//!   labelled whole image, whatever the tree.
//! * Two components of one block never touch, so every contact of border runs is one across a seam.

use std::collections::BTreeMap;

use survey::county::CountyMap;
use survey::findings::{Component, Coverage, Findings, Run, UnreadableNote};
use survey::grid::{Grid, PixelRect};
use survey::job::ObjectRef;
use survey::spec::DetectorSpec;

use crate::components::{Sets, clip_to_edges, push_joined};

/// Fused log-odds (1/256) that at least one pixel of a site must reach.
pub const SURE_LOGIT: i32 = 384;

/// What makes a closed component a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteLimits {
    /// Smallest number of change pixels of a site.
    pub min_px: u64,
    /// Largest number of change pixels of a site; a component with more is an extended change.
    pub max_px: u64,
    /// Fused log-odds, 1/256, that at least one pixel must reach (hysteresis).
    pub sure_logit: i32,
}

impl SiteLimits {
    /// The limits of a survey, in pixels of nominal area: a function of the spec and the grid alone.
    #[must_use]
    pub fn new(grid: &Grid, detector: &DetectorSpec) -> Self {
        let pixels = |hectares: f64| hectares * 10_000.0 / grid.pixel_area_m2();
        Self {
            min_px: pixels(detector.min_site_ha).ceil().max(1.0) as u64,
            max_px: pixels(detector.max_site_ha).floor().max(1.0) as u64,
            sure_logit: SURE_LOGIT,
        }
    }
}

/// The findings of a tile from its labelled components. `is_root` where the tile is all there is.
#[must_use]
pub fn tile_findings(
    rect: PixelRect,
    components: Vec<Component>,
    coverage: BTreeMap<u32, Coverage>,
    unreadable: BTreeMap<u32, Vec<UnreadableNote>>,
    limits: &SiteLimits,
    is_root: bool,
) -> Findings {
    let mut findings = Findings {
        rect,
        closed: Vec::new(),
        open: Vec::new(),
        coverage,
        closed_at: BTreeMap::new(),
        unreadable,
        small_px: BTreeMap::new(),
        failed: Vec::new(),
    };
    settle(&mut findings, components, limits, is_root);
    findings
}

/// A block below the one that is merged.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its pixels.
    pub rect: PixelRect,
    /// What it found and where that is committed; `None` where its job failed for good.
    pub found: Option<(ObjectRef, Findings)>,
}

/// Merges the blocks below `rect`. Blocks that no scene pair reaches have no job and are not listed: what counties own
/// there is counted as `no scene`, here and once.
///
/// `planned` bounds the planned cells (`SurveyPlan::extent`): where pixels of blocks without findings are counted.
#[must_use]
pub fn merge(
    rect: PixelRect,
    children: Vec<Child>,
    counties: &CountyMap,
    planned: PixelRect,
    limits: &SiteLimits,
    is_root: bool,
) -> Findings {
    let mut merged = Findings {
        rect,
        closed: Vec::new(),
        open: Vec::new(),
        coverage: BTreeMap::new(),
        closed_at: BTreeMap::new(),
        unreadable: BTreeMap::new(),
        small_px: BTreeMap::new(),
        failed: Vec::new(),
    };
    let mut unlisted: Vec<PixelRect> = rect.intersection(&planned).into_iter().collect();
    for child in &children {
        unlisted = unlisted.iter().flat_map(|rest| without(rest, &child.rect)).collect();
    }
    for rest in unlisted {
        for (county, pixels) in counties.pixels(rest) {
            merged.coverage.entry(county).or_default().no_scene += pixels;
        }
    }
    let mut parts: Vec<Component> = Vec::new();
    let mut failed: Vec<PixelRect> = Vec::new();
    for child in children {
        match child.found {
            Some((object, findings)) => {
                failed.extend(&findings.failed);
                note_closed(&mut merged.closed_at, &object, &findings);
                absorb_counts(&mut merged, &findings);
                parts.extend(findings.open);
            }
            None => {
                failed.push(child.rect);
                if let Some(lost) = child.rect.intersection(&planned) {
                    for (county, pixels) in counties.pixels(lost) {
                        merged.coverage.entry(county).or_default().failed_job += pixels;
                    }
                }
            }
        }
    }
    for notes in merged.unreadable.values_mut() {
        notes.sort_unstable();
        notes.dedup();
    }
    for refs in merged.closed_at.values_mut() {
        refs.sort_unstable();
        refs.dedup();
    }
    failed.sort_unstable();
    for part in &mut parts {
        part.sums.truncated |= failed.iter().any(|lost| touches(&part.border, lost));
    }
    let joined = join(parts, rect, limits);
    settle(&mut merged, joined, limits, is_root);
    if !is_root {
        merged.failed = failed;
        merged.failed.retain(|lost| {
            lost.row0 <= rect.row0 || lost.col0 <= rect.col0 || lost.row1 >= rect.row1 || lost.col1 >= rect.col1
        });
    }
    merged
}

/// What is left of a rectangle without another: the parts north, south, west and east of it.
fn without(rect: &PixelRect, hole: &PixelRect) -> Vec<PixelRect> {
    let Some(common) = rect.intersection(hole) else { return vec![*rect] };
    [
        PixelRect { row1: common.row0, ..*rect },
        PixelRect { row0: common.row1, ..*rect },
        PixelRect { row0: common.row0, row1: common.row1, col1: common.col0, ..*rect },
        PixelRect { row0: common.row0, row1: common.row1, col0: common.col1, ..*rect },
    ]
    .into_iter()
    .filter(|part| !part.is_empty())
    .collect()
}

/// Counties whose components closed in the child itself are found in the child's object; those further below where the
/// child says.
fn note_closed(closed_at: &mut BTreeMap<u32, Vec<ObjectRef>>, object: &ObjectRef, findings: &Findings) {
    let mut here: Vec<u32> = findings.closed.iter().filter_map(|component| component.sums.owner()).collect();
    here.sort_unstable();
    here.dedup();
    for county in here {
        closed_at.entry(county).or_default().push(object.clone());
    }
    for (&county, refs) in &findings.closed_at {
        closed_at.entry(county).or_default().extend(refs.iter().cloned());
    }
}

fn absorb_counts(merged: &mut Findings, findings: &Findings) {
    for (&county, coverage) in &findings.coverage {
        merged.coverage.entry(county).or_default().absorb(coverage);
    }
    for (&county, notes) in &findings.unreadable {
        merged.unreadable.entry(county).or_default().extend(notes.iter().cloned());
    }
    for (&county, &pixels) in &findings.small_px {
        *merged.small_px.entry(county).or_default() += pixels;
    }
}

fn touches(border: &[Run], rect: &PixelRect) -> bool {
    let near = rect.grown(1);
    border.iter().any(|run| run.row >= near.row0 && run.row < near.row1 && run.col0 < near.col1 && run.col1 > near.col0)
}

/// Joins parts that touch across seams and cuts their border runs down to the border of `rect`.
fn join(parts: Vec<Component>, rect: PixelRect, limits: &SiteLimits) -> Vec<Component> {
    let labels = seam_labels(&parts);
    let mut joined: Vec<Option<Component>> = Vec::new();
    for (part, label) in parts.into_iter().zip(labels) {
        if joined.len() <= label {
            joined.resize_with(label + 1, || None);
        }
        match &mut joined[label] {
            None => joined[label] = Some(part),
            Some(whole) => absorb(whole, part),
        }
    }
    let mut joined: Vec<Component> = joined.into_iter().flatten().collect();
    for component in &mut joined {
        component.extended |= component.sums.pixels > limits.max_px;
        if component.extended {
            component.runs = Vec::new();
        }
        component.runs = normalised(std::mem::take(&mut component.runs));
        let mut border = Vec::with_capacity(component.border.len());
        for run in normalised(std::mem::take(&mut component.border)) {
            clip_to_edges(rect, run, |part| push_joined(&mut border, part));
        }
        component.border = border;
    }
    joined
}

/// Which parts hang together: parts with 8-adjacent border runs share a label.
fn seam_labels(parts: &[Component]) -> Vec<usize> {
    let mut seams: Vec<(Run, usize)> =
        parts.iter().enumerate().flat_map(|(index, part)| part.border.iter().map(move |&run| (run, index))).collect();
    seams.sort_unstable();
    let mut sets = Sets::new(parts.len());
    let mut rows: Vec<&[(Run, usize)]> = Vec::new();
    rows.extend(seams.chunk_by(|a, b| a.0.row == b.0.row));
    for (index, row) in rows.iter().enumerate() {
        for pair in row.windows(2) {
            if pair[0].0.col1 >= pair[1].0.col0 {
                sets.join(pair[0].1, pair[1].1);
            }
        }
        let Some(below) = rows.get(index + 1).filter(|below| below[0].0.row == row[0].0.row + 1) else { continue };
        let (mut a, mut b) = (0, 0);
        while a < row.len() && b < below.len() {
            let (upper, lower) = (row[a].0, below[b].0);
            if upper.col0 <= lower.col1 && lower.col0 <= upper.col1 {
                sets.join(row[a].1, below[b].1);
            }
            if upper.col1 < lower.col1 {
                a += 1;
            } else {
                b += 1;
            }
        }
    }
    sets.labels()
}

fn absorb(whole: &mut Component, part: Component) {
    whole.sums.absorb(&part.sums);
    whole.first = [whole.first, part.first].into_iter().flatten().min();
    whole.bounds = whole.bounds.union(&part.bounds);
    whole.extended |= part.extended;
    whole.runs.extend(part.runs);
    whole.border.extend(part.border);
}

/// Sorted, with adjoining runs joined.
fn normalised(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_unstable();
    let mut joined = Vec::with_capacity(runs.len());
    for run in runs {
        push_joined(&mut joined, run);
    }
    joined
}

/// Sorts components into open ones, closed ones that a county owns, and small changes.
fn settle(findings: &mut Findings, components: Vec<Component>, limits: &SiteLimits, is_root: bool) {
    for mut component in components {
        if !is_root && !component.border.is_empty() {
            findings.open.push(component);
            continue;
        }
        // Nobody's change, and group pixels whose change lies in no tile, end here.
        let Some(owner) = component.sums.owner() else { continue };
        let is_site = component.sums.pixels >= limits.min_px && component.sums.max_logit >= limits.sure_logit;
        if is_site || component.extended {
            component.border = Vec::new();
            findings.closed.push(component);
        } else {
            *findings.small_px.entry(owner).or_default() += component.sums.pixels;
        }
    }
    findings.closed.sort_unstable_by_key(|component| component.first);
    findings.open.sort_unstable_by(|a, b| a.border.cmp(&b.border));
}

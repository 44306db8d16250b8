//! Run-length labelling of 8-connected components inside one block.
//!
//! The group mask decides what hangs together; the sums and runs of a component count the pixels of the change mask
//! only. What a component says about the ground outside its block stands in its border runs.

use survey::county::CountyMap;
use survey::findings::{Component, EVIDENCE_CHANNELS, EvidenceChannel, Run, Sums};
use survey::grid::{Cell, PixelIndex, PixelRect};
use survey::result::Cover;

use crate::mask::Mask;

/// What is known of the pixels of a run that one scene pair saw.
pub struct Seen<'a> {
    /// Index of the pair.
    pub pair: u32,
    /// Evidence by channel ([`EvidenceChannel`]), quantised to 1/256.
    pub evidence: [&'a [i16]; EVIDENCE_CHANNELS],
    /// Land cover before.
    pub cover_before: &'a [Cover],
}

/// What is known of changed pixels.
pub trait Ground {
    /// Says what is known of a run of changed pixels, in parts from west to east, each of which one pair saw.
    fn tell(&mut self, run: Run, take: &mut dyn FnMut(&Seen));
}

/// The pixels of a block. The masks cover `group.rect()` exactly.
pub struct LabelInput<'a> {
    /// What hangs together: the change mask dilated by the group radius, cut to the planned cells.
    pub group: &'a Mask,
    /// Changed pixels; each is taken to be in the group mask too.
    pub change: &'a Mask,
    /// Which county owns which pixel.
    pub counties: &'a CountyMap,
    /// Whether a cell is planned: a component that touches a pixel of a cell that is not is truncated.
    pub planned: &'a (dyn Fn(Cell) -> bool + Sync),
    /// A component with more change pixels keeps no runs.
    pub max_site_px: u64,
}

/// The components of a block, ordered by their first group pixel.
#[must_use]
pub fn label(input: &LabelInput, ground: &mut dyn Ground) -> Vec<Component> {
    let rect = input.group.rect();
    let group = input.group.or(input.change);
    let (runs, row_starts) = runs_by_row(&group);
    let labels = connect(&runs, &row_starts);
    let mut components: Vec<Component> = Vec::new();
    for (run, &label) in runs.iter().zip(&labels) {
        if label == components.len() {
            components.push(empty_component(*run));
        }
        let Some(component) = components.get_mut(label) else { continue };
        component.bounds = component.bounds.union(&run_rect(*run));
        component.sums.truncated |= touches_unplanned(*run, input.planned);
        push_border(&mut component.border, rect, *run);
    }
    for row in rect.row0..rect.row1 {
        let change = input.change.row_runs(row);
        if change.is_empty() {
            continue;
        }
        let spans = input.counties.spans(row, rect.col0, rect.col1);
        let index = (row - rect.row0) as usize;
        let mut at = row_starts[index];
        for run in change {
            // Change lies in the group mask, so the run lies in exactly one group run of its row.
            while at + 1 < row_starts[index + 1] && runs[at].col1 <= run.col0 {
                at += 1;
            }
            let Some(component) = components.get_mut(labels[at]) else { continue };
            component.first.get_or_insert(PixelIndex { row, col: run.col0 });
            component.runs.push(run);
            count_run(&mut component.sums, run, ground);
            for span in spans.iter().filter(|span| span.col0 < run.col1 && span.col1 > run.col0) {
                let pixels = span.col1.min(run.col1) - span.col0.max(run.col0);
                *component.sums.by_county.entry(span.county).or_default() += u64::from(pixels as u32);
            }
        }
    }
    for component in &mut components {
        if component.sums.pixels > input.max_site_px {
            component.extended = true;
            component.runs = Vec::new();
        }
    }
    components
}

/// The 8-connected pieces of a mask: the runs of each, sorted; ordered by first pixel.
#[must_use]
pub fn pieces(mask: &Mask) -> Vec<Vec<Run>> {
    let (runs, row_starts) = runs_by_row(mask);
    let mut pieces: Vec<Vec<Run>> = Vec::new();
    for (run, label) in runs.iter().zip(connect(&runs, &row_starts)) {
        if label == pieces.len() {
            pieces.push(Vec::new());
        }
        pieces[label].push(*run);
    }
    pieces
}

fn empty_component(run: Run) -> Component {
    Component {
        first: None,
        sums: Sums::default(),
        bounds: run_rect(run),
        runs: Vec::new(),
        extended: false,
        border: Vec::new(),
    }
}

fn run_rect(run: Run) -> PixelRect {
    PixelRect { row0: run.row, col0: run.col0, row1: run.row + 1, col1: run.col1 }
}

/// All runs, and where each row's begin (one entry more than rows).
fn runs_by_row(mask: &Mask) -> (Vec<Run>, Vec<usize>) {
    let rect = mask.rect();
    let mut runs = Vec::new();
    let mut row_starts = Vec::with_capacity(rect.rows() + 1);
    for row in rect.row0..rect.row1 {
        row_starts.push(runs.len());
        runs.extend(mask.row_runs(row));
    }
    row_starts.push(runs.len());
    (runs, row_starts)
}

/// The label of each run: 8-connected runs share one; labels count up from 0 in the order of first pixels.
fn connect(runs: &[Run], row_starts: &[usize]) -> Vec<usize> {
    let mut sets = Sets::new(runs.len());
    for rows in row_starts.windows(3) {
        let (mut above, mut below) = (rows[0], rows[1]);
        while above < rows[1] && below < rows[2] {
            let (a, b) = (runs[above], runs[below]);
            if a.col0 <= b.col1 && b.col0 <= a.col1 {
                sets.join(above, below);
            }
            if a.col1 < b.col1 {
                above += 1;
            } else {
                below += 1;
            }
        }
    }
    sets.labels()
}

/// Disjoint sets of indices; the smallest index stands for its set, so that the order of joining does not show.
pub(crate) struct Sets {
    parent: Vec<usize>,
}

impl Sets {
    pub(crate) fn new(count: usize) -> Self {
        Self { parent: (0..count).collect() }
    }

    pub(crate) fn find(&mut self, mut index: usize) -> usize {
        while self.parent[index] != index {
            self.parent[index] = self.parent[self.parent[index]];
            index = self.parent[index];
        }
        index
    }

    pub(crate) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b)] = a.min(b);
    }

    /// A number for each index, the same within a set, counting up from 0 in the order of the sets' smallest members.
    pub(crate) fn labels(mut self) -> Vec<usize> {
        let mut labels = vec![0; self.parent.len()];
        let mut next = 0;
        for index in 0..labels.len() {
            let root = self.find(index);
            labels[index] = if root == index {
                next += 1;
                next - 1
            } else {
                labels[root]
            };
        }
        labels
    }
}

/// Appends the pixels of a run that lie on the four edges of `rect`; runs must come in sorted order.
fn push_border(border: &mut Vec<Run>, rect: PixelRect, run: Run) {
    clip_to_edges(rect, run, |part| push_joined(border, part));
}

/// Calls `keep` with the parts of a run that lie on the four edges of `rect`, from west to east.
pub(crate) fn clip_to_edges(rect: PixelRect, run: Run, mut keep: impl FnMut(Run)) {
    if run.row == rect.row0 || run.row == rect.row1 - 1 {
        keep(run);
        return;
    }
    if run.col0 == rect.col0 {
        keep(Run { col1: run.col0 + 1, ..run });
    }
    if run.col1 == rect.col1 && !(run.col0 == rect.col0 && rect.cols() == 1) {
        keep(Run { col0: run.col1 - 1, ..run });
    }
}

/// Appends a run to sorted runs and joins it with the last where they adjoin.
pub(crate) fn push_joined(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.row == run.row && last.col1 >= run.col0 => last.col1 = last.col1.max(run.col1),
        _ => runs.push(run),
    }
}

/// Whether a pixel of the run, or one that touches it, lies in a cell that is not planned.
fn touches_unplanned(run: Run, planned: &(dyn Fn(Cell) -> bool + Sync)) -> bool {
    let around = run_rect(run).grown(1);
    let (first, last) = (Cell::of(around.row0, around.col0), Cell::of(around.row1 - 1, around.col1 - 1));
    // Well inside one cell, the run's own pixels show that it is planned.
    first != last && around.cells().any(|cell| !planned(cell))
}

fn count_run(sums: &mut Sums, run: Run, ground: &mut dyn Ground) {
    ground.tell(run, &mut |seen| count_seen(sums, seen));
    let pixels = run.len() as i64;
    sums.rows += i64::from(run.row) * pixels;
    // The columns are col0, …, col1 − 1: their sum is the mean of the ends times the count, and always whole.
    sums.cols += (i64::from(run.col0) + i64::from(run.col1) - 1) * pixels / 2;
}

fn count_seen(sums: &mut Sums, seen: &Seen) {
    let logit = seen.evidence[EvidenceChannel::Logit as usize];
    let largest = logit.iter().copied().max().map_or(0, i32::from);
    sums.max_logit = if sums.pixels == 0 { largest } else { sums.max_logit.max(largest) };
    let pixels = logit.len() as u64;
    sums.pixels += pixels;
    *sums.by_pair.entry(seen.pair).or_default() += pixels;
    for (sum, values) in sums.evidence.iter_mut().zip(seen.evidence) {
        *sum += values.iter().map(|&value| i64::from(value)).sum::<i64>();
    }
    for cover in seen.cover_before {
        match cover {
            Cover::Cropland => sums.crop_before += 1,
            Cover::Woodland => sums.wood_before += 1,
            Cover::Bare => sums.bare_before += 1,
            Cover::Water => sums.water_before += 1,
            Cover::Built => sums.built_before += 1,
            Cover::Unknown => {}
        }
    }
}

//! Findings: components as compact runs, sums, coverage.

use std::collections::BTreeMap;

use survey::findings::{Component, Coverage, Findings, Run, Sums, UnreadableNote};
use survey::grid::PixelRect;

use crate::convert::geometry::{index, index_to_wire, lies_in, rect, rect_to_wire};
use crate::convert::job::{object, object_to_wire};
use crate::error::{ConvertError, Within, each, exactly, required};
use crate::v1;

/// Findings as a message.
///
/// # Errors
/// Runs that are not sorted, disjoint and inside their component's bounds: they cannot be written.
pub fn findings_to_wire(findings: &Findings) -> Result<v1::Findings, ConvertError> {
    let components =
        |field: &str, components: &[Component]| each(field, components.iter().collect(), component_to_wire);
    Ok(v1::Findings {
        rect: Some(rect_to_wire(findings.rect)),
        closed: components("closed", &findings.closed)?,
        open: components("open", &findings.open)?,
        coverage: findings.coverage.iter().map(|(&county, coverage)| (county, coverage_to_wire(coverage))).collect(),
        closed_at: findings
            .closed_at
            .iter()
            .map(|(&county, objects)| (county, v1::ObjectRefs { object: objects.iter().map(object_to_wire).collect() }))
            .collect(),
        unreadable: findings
            .unreadable
            .iter()
            .map(|(&county, notes)| (county, v1::UnreadableNotes { note: notes.iter().map(note_to_wire).collect() }))
            .collect(),
        small_px: findings.small_px.clone(),
        failed: findings.failed.iter().map(|&rect| rect_to_wire(rect)).collect(),
    })
}

/// The findings of a message.
///
/// # Errors
/// A part is missing; a component's runs, bounds and sums contradict each other or the rectangle.
pub fn findings(message: v1::Findings) -> Result<Findings, ConvertError> {
    let outer = rect(required("rect", message.rect)?).within("rect")?;
    let components = |field: &str, components| each(field, components, |message| component(message, &outer));
    Ok(Findings {
        rect: outer,
        closed: components("closed", message.closed)?,
        open: components("open", message.open)?,
        coverage: message.coverage.into_iter().map(|(county, message)| (county, coverage(message))).collect(),
        closed_at: message
            .closed_at
            .into_iter()
            .map(|(county, refs)| Ok((county, each("closed_at", refs.object, object)?)))
            .collect::<Result<_, ConvertError>>()?,
        unreadable: message
            .unreadable
            .into_iter()
            .map(|(county, notes)| (county, notes.note.into_iter().map(note).collect()))
            .collect(),
        small_px: message.small_px,
        failed: each("failed", message.failed, rect)?,
    })
}

fn component_to_wire(component: &Component) -> Result<v1::Component, ConvertError> {
    Ok(v1::Component {
        first: component.first.map(index_to_wire),
        sums: Some(sums_to_wire(&component.sums)),
        bounds: Some(rect_to_wire(component.bounds)),
        runs: if component.extended {
            Vec::new()
        } else {
            runs_to_wire(&component.runs, &component.bounds).within("runs")?
        },
        extended: component.extended,
        border: runs_to_wire(&component.border, &component.bounds).within("border")?,
    })
}

fn component(message: v1::Component, outer: &PixelRect) -> Result<Component, ConvertError> {
    let bounds = rect(required("bounds", message.bounds)?).within("bounds")?;
    if !lies_in(&bounds, outer) {
        return Err(ConvertError::invalid("bounds", "they reach beyond the findings' rectangle"));
    }
    let component = Component {
        first: message.first.map(index).transpose().within("first")?,
        sums: sums(required("sums", message.sums)?).within("sums")?,
        bounds,
        runs: runs(&message.runs, &bounds).within("runs")?,
        extended: message.extended,
        border: runs(&message.border, &bounds).within("border")?,
    };
    if component.first.is_some_and(|first| !bounds.contains(first.row, first.col)) {
        return Err(ConvertError::invalid("first", "it lies outside the component's bounds"));
    }
    if component.first.is_none() && component.sums.pixels != 0 {
        return Err(ConvertError::invalid("first", "it is missing in a component with change pixels"));
    }
    if component.extended {
        if !component.runs.is_empty() {
            return Err(ConvertError::invalid("runs", "an extended change has none"));
        }
    } else {
        let pixels: u64 = component.runs.iter().map(Run::len).sum();
        if pixels != component.sums.pixels {
            let counted = component.sums.pixels;
            return Err(ConvertError::invalid("sums.pixels", format!("{counted}, while the runs have {pixels}")));
        }
    }
    Ok(component)
}

/// Three numbers a run; see `Component.runs` in `stages.proto`.
fn runs_to_wire(runs: &[Run], bounds: &PixelRect) -> Result<Vec<u32>, ConvertError> {
    let mut coded = Vec::with_capacity(runs.len() * 3);
    let (mut row, mut col) = (bounds.row0, bounds.col0);
    for (index, run) in runs.iter().enumerate() {
        if run.row != row {
            col = bounds.col0;
        }
        let lies_well = run.row >= row
            && run.row < bounds.row1
            && run.col0 >= col
            && run.col1 > run.col0
            && run.col1 <= bounds.col1;
        if !lies_well {
            return Err(ConvertError::invalid(
                format!("[{index}]"),
                format!("row {}, columns {}..{} is out of order or out of bounds", run.row, run.col0, run.col1),
            ));
        }
        coded.extend([run.row.abs_diff(row), run.col0.abs_diff(col), run.col1.abs_diff(run.col0)]);
        (row, col) = (run.row, run.col1);
    }
    Ok(coded)
}

fn runs(coded: &[u32], bounds: &PixelRect) -> Result<Vec<Run>, ConvertError> {
    let (triples, rest) = coded.as_chunks::<3>();
    if !rest.is_empty() {
        return Err(ConvertError::invalid("", "not three numbers a run"));
    }
    let (mut row, mut col) = (bounds.row0, bounds.col0);
    let mut runs = Vec::with_capacity(triples.len());
    for (index, &[down, east, length]) in triples.iter().enumerate() {
        let run = (|| {
            let from = if down == 0 { col } else { bounds.col0 };
            let row = row.checked_add_unsigned(down)?;
            let col0 = from.checked_add_unsigned(east)?;
            let col1 = col0.checked_add_unsigned(length)?;
            (length > 0 && row < bounds.row1 && col1 <= bounds.col1).then_some(Run { row, col0, col1 })
        })()
        .ok_or_else(|| ConvertError::invalid(format!("[{index}]"), "it reaches beyond the component's bounds"))?;
        (row, col) = (run.row, run.col1);
        runs.push(run);
    }
    Ok(runs)
}

fn sums_to_wire(sums: &Sums) -> v1::Sums {
    v1::Sums {
        pixels: sums.pixels,
        max_logit: sums.max_logit,
        crop_before: sums.crop_before,
        wood_before: sums.wood_before,
        bare_before: sums.bare_before,
        water_before: sums.water_before,
        built_before: sums.built_before,
        evidence: sums.evidence.to_vec(),
        rows: sums.rows,
        cols: sums.cols,
        by_pair: sums.by_pair.clone(),
        by_county: sums.by_county.clone(),
        truncated: sums.truncated,
    }
}

fn sums(message: v1::Sums) -> Result<Sums, ConvertError> {
    for (field, parts) in [("by_pair", &message.by_pair), ("by_county", &message.by_county)] {
        let sum = parts.values().try_fold(0_u64, |sum, &pixels| sum.checked_add(pixels));
        if sum.is_none_or(|sum| sum > message.pixels) {
            return Err(ConvertError::invalid(field, "more pixels than the component has"));
        }
    }
    Ok(Sums {
        pixels: message.pixels,
        max_logit: message.max_logit,
        crop_before: message.crop_before,
        wood_before: message.wood_before,
        bare_before: message.bare_before,
        water_before: message.water_before,
        built_before: message.built_before,
        evidence: exactly("evidence", message.evidence)?,
        rows: message.rows,
        cols: message.cols,
        by_pair: message.by_pair,
        by_county: message.by_county,
        truncated: message.truncated,
    })
}

pub(crate) fn coverage_to_wire(coverage: &Coverage) -> v1::Coverage {
    let &Coverage { surveyed, changed, no_scene, cloud, nodata, unreadable, failed_job } = coverage;
    v1::Coverage { surveyed, changed, no_scene, cloud, nodata, unreadable, failed_job }
}

pub(crate) fn coverage(message: v1::Coverage) -> Coverage {
    let v1::Coverage { surveyed, changed, no_scene, cloud, nodata, unreadable, failed_job } = message;
    Coverage { surveyed, changed, no_scene, cloud, nodata, unreadable, failed_job }
}

pub(crate) fn note_to_wire(note: &UnreadableNote) -> v1::UnreadableNote {
    v1::UnreadableNote { scene: note.scene.clone(), cause: note.cause.clone() }
}

pub(crate) fn note(message: v1::UnreadableNote) -> UnreadableNote {
    UnreadableNote { scene: message.scene, cause: message.cause }
}

/// Only the references of [`Findings::closed_at`]: what a scheduler needs of a root.
///
/// # Errors
/// A reference is invalid.
pub fn closed_at(message: v1::Findings) -> Result<BTreeMap<u32, Vec<survey::job::ObjectRef>>, ConvertError> {
    message.closed_at.into_iter().map(|(county, refs)| Ok((county, each("closed_at", refs.object, object)?))).collect()
}

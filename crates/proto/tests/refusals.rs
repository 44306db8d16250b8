//! What is wrong is refused, and the error says where and what.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]

use prost::Message;
use proto::objects::{MAX_CALIBRATION_BYTES, decode_calibration, decode_findings, decode_plan, encode_findings};
use proto::{convert, v1};
use survey::findings::{Component, Findings, Run, Sums};
use survey::grid::{PixelIndex, PixelRect};

fn component(runs: &[(i32, i32, i32)]) -> Component {
    let runs: Vec<Run> = runs.iter().map(|&(row, col0, col1)| Run { row, col0, col1 }).collect();
    Component {
        first: runs.first().map(|run| PixelIndex { row: run.row, col: run.col0 }),
        sums: Sums { pixels: runs.iter().map(Run::len).sum(), ..Sums::default() },
        bounds: PixelRect::new(0, 0, 8, 8),
        runs,
        extended: false,
        border: vec![],
    }
}

fn findings(component: Component) -> Findings {
    Findings {
        rect: PixelRect::new(0, 0, 8, 8),
        closed: vec![component],
        open: vec![],
        coverage: Default::default(),
        closed_at: Default::default(),
        unreadable: Default::default(),
        small_px: Default::default(),
        failed: vec![],
    }
}

/// The refusal of findings whose message was changed.
fn refusal(change: impl FnOnce(&mut v1::Component)) -> String {
    let mut message =
        convert::findings::findings_to_wire(&findings(component(&[(1, 2, 5), (1, 6, 7), (3, 0, 8)]))).unwrap();
    change(&mut message.closed[0]);
    decode_findings(&message.encode_to_vec()).unwrap_err().to_string()
}

#[test]
fn runs_are_three_numbers_each_relative_to_the_run_before() {
    let message =
        convert::findings::findings_to_wire(&findings(component(&[(1, 2, 5), (1, 6, 7), (3, 0, 8)]))).unwrap();
    assert_eq!(message.closed[0].runs, [1, 2, 3, 0, 1, 1, 2, 0, 8]);
}

#[test]
fn runs_out_of_order_cannot_be_written() {
    for runs in [&[(3, 0, 1), (1, 0, 1)][..], &[(1, 4, 6), (1, 5, 7)], &[(1, 3, 3)], &[(1, 5, 9)], &[(-1, 0, 1)]] {
        let error = encode_findings(&findings(component(runs))).unwrap_err().to_string();
        assert!(error.starts_with("closed[0].runs["), "{error}");
        assert!(error.contains("out of order or out of bounds"), "{error}");
    }
}

#[test]
fn runs_sums_and_bounds_that_contradict_each_other_are_refused() {
    assert_eq!(refusal(|c| c.runs[8] = 9), "closed[0].runs[2]: it reaches beyond the component's bounds");
    assert_eq!(refusal(|c| c.runs[6] = u32::MAX), "closed[0].runs[2]: it reaches beyond the component's bounds");
    assert_eq!(
        refusal(|c| {
            c.runs.pop();
        }),
        "closed[0].runs: not three numbers a run"
    );
    assert_eq!(refusal(|c| c.runs[2] = 1), "closed[0].sums.pixels: 12, while the runs have 10");
    assert_eq!(refusal(|c| c.extended = true), "closed[0].runs: an extended change has none");
    assert_eq!(
        refusal(|c| c.bounds.as_mut().unwrap().col1 = 9),
        "closed[0].bounds: they reach beyond the findings' rectangle"
    );
    assert_eq!(
        refusal(|c| {
            c.sums.as_mut().unwrap().by_county.insert(1, 13);
        }),
        "closed[0].sums.by_county: more pixels than the component has"
    );
    assert_eq!(
        refusal(|c| {
            c.sums.as_mut().unwrap().evidence.pop();
        }),
        "closed[0].sums.evidence: 7 values where there must be 8"
    );
}

#[test]
fn an_object_reference_cannot_lead_out_of_the_output() {
    for key in ["", "/etc/passwd", "stages/../../x", "a//b", "./a", "a\\b", "a\0"] {
        let message = v1::ObjectRef { key: key.into(), digest: vec![0; 32], length: 1 };
        assert!(convert::job::object(message).unwrap_err().to_string().contains("is not a key"), "{key}");
    }
    let short = v1::ObjectRef { key: "a".into(), digest: vec![0; 31], length: 1 };
    assert_eq!(convert::job::object(short).unwrap_err().to_string(), "digest: 31 values where there must be 32");
}

#[test]
fn a_plan_that_refers_to_what_it_lacks_is_refused() {
    let grid = Some(v1::Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 });
    let plan = v1::Plan {
        grid,
        tile_px: 512,
        detector: Some(v1::Detector::default()),
        context: Some(v1::Context::default()),
        ..v1::Plan::default()
    };
    let refusal = |change: &dyn Fn(&mut v1::Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        decode_plan(&plan.encode_to_vec()).unwrap_err().to_string()
    };
    let cell = |row, pairs: &[u32]| v1::PlannedCell { row, col: 0, pairs: pairs.to_vec() };
    assert!(decode_plan(&plan.encode_to_vec()).is_ok());
    assert_eq!(refusal(&|plan| plan.cells.push(cell(0, &[0]))), "cells[0].pairs: index 0 into a list of 0");
    assert_eq!(
        refusal(&|plan| plan.cells.extend([cell(1, &[]), cell(0, &[])])),
        "cells[0]: the cells are not in row-major order"
    );
    assert_eq!(refusal(&|plan| plan.cells.push(cell(1 << 21, &[]))), "cells[0].row: 2097152 lies outside the grid");
    assert_eq!(refusal(&|plan| plan.tile_px = 0), "tile_px: 0 is not a side of a tile");
    assert_eq!(refusal(&|plan| plan.grid = None), "grid: it is missing");
    let nan = v1::Grid { crs: String::new(), resolution_m: f64::NAN };
    assert_eq!(refusal(&|plan| plan.grid = Some(nan.clone())), "grid.resolution_m: NaN is not a number");
}

#[test]
fn enums_and_sizes_are_checked() {
    assert!(convert::enums::failure_class(0).is_err());
    assert!(convert::enums::failure_class(8).is_err());
    let key = v1::JobKey { kind: Some(v1::job_key::Kind::Merge(v1::Block { level: 0, y: 0, x: 0 })) };
    assert!(convert::job::key(key).is_err(), "a merge of level 0");
    let large = decode_calibration(&vec![0; MAX_CALIBRATION_BYTES + 1]).unwrap_err().to_string();
    assert!(large.contains("larger than the limit"), "{large}");
    assert!(decode_calibration(b"\xff\xff").unwrap_err().to_string().starts_with("not a readable calibration"));
}

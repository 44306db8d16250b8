//! `groundbreak evaluate detect` as a user runs it, on the labelled sets of `../shared/data`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests fail by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const SCENES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/scenes");

fn scenes(test: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(SCENES);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {test}: ../shared is not there");
    None
}

struct Run {
    succeeded: bool,
    output: String,
    errors: String,
    json: Option<Value>,
}

fn evaluate(list: &str, detector: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let (pairs, json) = (folder.path().join("pairs.csv"), folder.path().join("scores.json"));
    std::fs::write(&pairs, list).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_groundbreak"))
        .args(["evaluate", "detect"])
        .arg(&pairs)
        .args(["--detector", detector, "--json"])
        .arg(&json)
        .output()
        .unwrap();
    Run {
        succeeded: run.status.success(),
        output: String::from_utf8_lossy(&run.stdout).into_owned(),
        errors: String::from_utf8_lossy(&run.stderr).into_owned(),
        json: std::fs::read(&json).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap()),
    }
}

/// Rows of the tiles of a set whose names pass.
fn rows(scenes: &Path, set: &str, wanted: impl Fn(&str) -> bool) -> String {
    let mut names: Vec<String> = std::fs::read_dir(scenes.join(set).join("A"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| wanted(name.rsplit_once('.').unwrap().0))
        .collect();
    names.sort();
    let mut rows = String::new();
    for name in names {
        let folder = scenes.join(set);
        let label = format!("{}.png", name.rsplit_once('.').unwrap().0);
        let (a, b) = (folder.join("A").join(&name), folder.join("B").join(&name));
        writeln!(rows, "{set},{},{},{}", a.display(), b.display(), folder.join("label").join(label).display()).unwrap();
    }
    rows
}

fn f1(run: &Run, set: &str) -> f64 {
    run.json.as_ref().unwrap()["sets"][set]["pixel"]["f1"].as_f64().unwrap()
}

#[test]
fn sparse_labels_of_a_landsat_pair_agree_with_the_default_detector() {
    let Some(scenes) = scenes("sparse_labels_of_a_landsat_pair_agree_with_the_default_detector") else { return };
    let at = |name: &str| scenes.join("landsat_cn_taizhou").join(name).display().to_string();
    let list = format!(
        "set,before,after,truth,unchanged\ntaizhou,{},{},{},{}\n",
        at("A.tif"),
        at("B.tif"),
        at("change.tif"),
        at("unchanged.tif")
    );
    let run = evaluate(&list, "default");
    assert!(run.succeeded, "{}", run.errors);
    let json = run.json.unwrap();
    let pixel = &json["sets"]["taizhou"]["pixel"];
    // method.md section 5: two-means reaches 0.920, the best threshold there is 0.939.
    assert!(pixel["kappa"].as_f64().unwrap() >= 0.9, "{pixel}");
    assert!(pixel["accuracy"].as_f64().unwrap() >= 0.97, "{pixel}");
    // 4227 changed and 17163 unchanged pixels are labelled.
    let counts = &json["pooled"]["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(count("true_positive") + count("false_negative"), 4227);
    assert_eq!(count("false_positive") + count("true_negative"), 17163);
    assert!(run.output.contains("taizhou") && run.output.contains("pooled"));
}

#[test]
fn the_default_detector_beats_differencing_and_keeps_quiet_where_nothing_changed() {
    let name = "the_default_detector_beats_differencing_and_keeps_quiet_where_nothing_changed";
    let Some(scenes) = scenes(name) else { return };
    let mut list = "set,before,after,truth\n".to_owned();
    list += &rows(&scenes, "levir_1024", |name| ["test_10", "test_22", "test_7", "test_1"].contains(&name));
    list += &rows(&scenes, "dsifn_256", |_| true);
    list += &rows(&scenes, "whu_256", |name| !["img_1_14", "img_1_103"].contains(&name));
    let (ours, baseline) = (evaluate(&list, "default"), evaluate(&list, "cva"));
    assert!(ours.succeeded && baseline.succeeded, "{} {}", ours.errors, baseline.errors);
    for set in ["levir_1024", "dsifn_256"] {
        let (ours, baseline) = (f1(&ours, set), f1(&baseline, set));
        assert!(ours > baseline * 1.3, "{set}: {ours} against {baseline}");
    }
    let json = ours.json.unwrap();
    let quiet = &json["sets"]["whu_256"];
    assert_eq!(quiet["pairs"], 8);
    assert!(quiet["pixel"]["accuracy"].as_f64().unwrap() > 0.93, "{quiet}");
    assert!(quiet["pixel"]["recall"].is_null(), "there is nothing to recall");
}

#[test]
fn a_row_that_cannot_be_used_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    image::GrayImage::new(40, 30).save(at("small.png")).unwrap();
    image::GrayImage::new(41, 30).save(at("wide.png")).unwrap();
    image::RgbaImage::from_pixel(40, 30, image::Rgba([1, 2, 3, 255])).save(at("rgba.png")).unwrap();
    std::fs::write(at("broken.png"), b"\x89PNG\r\n\x1a\nnothing").unwrap();
    std::fs::write(at("empty.png"), b"").unwrap();
    let path = |name: &str| at(name).display().to_string();
    let refusal = |before: &str, after: &str, truth: &str| {
        let run = evaluate(
            &format!("set,before,after,truth\nx,{},{},{}\n", path(before), path(after), path(truth)),
            "default",
        );
        assert!(!run.succeeded && run.json.is_none());
        assert!(run.errors.contains("row 2"), "{}", run.errors);
        run.errors
    };
    assert!(refusal("small.png", "none.png", "small.png").contains("none.png"));
    assert!(refusal("small.png", "wide.png", "small.png").contains("41 x 30"));
    assert!(refusal("small.png", "small.png", "wide.png").contains("truth"));
    assert!(refusal("broken.png", "small.png", "small.png").contains("broken.png"));
    assert!(refusal("small.png", "empty.png", "small.png").contains("it is empty"));
    // Opacity is no band, so this is red, green and blue: it can be compared, and nothing changed.
    let list = format!("set,before,after,truth\nx,{0},{0},{1}\n", path("rgba.png"), path("small.png"));
    let run = evaluate(&list, "default");
    assert!(run.succeeded, "{}", run.errors);
    assert_eq!(run.json.unwrap()["pooled"]["counts"]["true_negative"], 1200);
    assert!(evaluate(&list, "defualt").errors.contains("take one of default, irmad, cva"));
}

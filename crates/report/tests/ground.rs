//! From the grid to the globe: borders stay where they are, become valid, and are cut at the antimeridian.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

use geo::{Area, BoundingRect, Coord, LineString, MultiPolygon, Polygon, Validation};
use report::ground::{Ground, outline, round};
use survey::grid::Grid;

fn ring(points: &[(f64, f64)]) -> Polygon<f64> {
    Polygon::new(points.iter().map(|&(x, y)| Coord { x, y }).collect::<LineString<f64>>(), vec![])
}

fn zone_1() -> Ground {
    Ground::new(&Grid { crs: "EPSG:32601".to_owned(), resolution_m: 1.0 }).unwrap()
}

#[test]
fn a_county_over_the_antimeridian_becomes_two_valid_parts_that_meet_at_it() {
    // UTM zone 1 begins at 180°: around x = 291 km at 15° south (southern zones aside, northern coordinates are used).
    let ground = zone_1();
    let west = ground.project(179.2, 15.0).unwrap();
    let east = ground.project(-179.4, 15.0).unwrap();
    let (low, high) = (west.y, west.y + 50_000.0);
    let county = ring(&[(west.x, low), (east.x, low), (east.x, high), (west.x, high), (west.x, low)]);
    let parts = ground.border(&MultiPolygon(vec![county]));
    assert_eq!(parts.0.len(), 2);
    assert!(parts.is_valid());
    let mut boxes: Vec<_> = parts.iter().map(|part| part.bounding_rect().unwrap()).collect();
    boxes.sort_by(|a, b| a.min().x.total_cmp(&b.min().x));
    assert_eq!(boxes[0].min().x, -180.0);
    assert_eq!(boxes[1].max().x, 180.0);
    assert!((boxes[0].max().x + 179.4).abs() < 0.01 && (boxes[1].min().x - 179.2).abs() < 0.01);
    // 1.4° wide in all.
    assert!((boxes[0].width() + boxes[1].width() - 1.4).abs() < 0.02);
    // An outline that is on the globe already is cut in the same way.
    let site = ring(&[(179.99, 1.0), (-179.99, 1.0), (-179.99, 1.01), (179.99, 1.01), (179.99, 1.0)]);
    let cut = outline(&MultiPolygon(vec![site]));
    assert_eq!(cut.0.len(), 2);
    assert!((cut.unsigned_area() - 0.02 * 0.01).abs() < 1e-9);
}

#[test]
fn a_bow_tie_becomes_the_two_triangles_that_the_even_odd_rule_sees() {
    let bow_tie = ring(&[(0.0, 0.0), (2.0, 2.0), (2.0, 0.0), (0.0, 2.0), (0.0, 0.0)]);
    let valid = outline(&MultiPolygon(vec![bow_tie]));
    assert!(valid.is_valid());
    assert_eq!(valid.0.len(), 2);
    assert!((valid.unsigned_area() - 2.0).abs() < 1e-9);
}

#[test]
fn an_outline_that_touches_itself_at_corners_becomes_valid_and_keeps_its_area() {
    // Two pixels that meet at a corner, traced as one ring, and a hole that touches the outside.
    let step = 1e-5;
    let at = |points: &[(f64, f64)]| ring(&points.iter().map(|(x, y)| (x * step, y * step)).collect::<Vec<_>>());
    let traced = at(&[(0., 0.), (1., 0.), (1., 1.), (2., 1.), (2., 2.), (1., 2.), (1., 1.), (0., 1.), (0., 0.)]);
    let valid = outline(&MultiPolygon(vec![traced]));
    assert!(valid.is_valid());
    assert!((valid.unsigned_area() / (step * step) - 2.0).abs() < 1e-6);
    let square = at(&[(0., 0.), (4., 0.), (4., 4.), (0., 4.), (0., 0.)]);
    let hole = at(&[(0., 0.), (2., 1.), (1., 2.), (0., 0.)]);
    let holed = Polygon::new(square.exterior().clone(), vec![hole.exterior().clone()]);
    let valid = outline(&MultiPolygon(vec![holed]));
    assert!(valid.is_valid());
    assert!((valid.unsigned_area() / (step * step) - (16.0 - 1.5)).abs() < 1e-5);
}

#[test]
fn coordinates_have_seven_decimals_and_not_a_number_is_left_out() {
    let odd = ring(&[(0.123_456_789, 0.0), (1.0, f64::NAN), (1.0, 0.0), (1.0, 1.0), (0.123_456_789, 0.0)]);
    let valid = outline(&MultiPolygon(vec![odd]));
    assert!(valid.is_valid());
    for at in valid.0[0].exterior().coords() {
        assert_eq!(at.x, round(at.x, 7));
        assert!(at.y.is_finite());
    }
    assert!(valid.0[0].exterior().coords().any(|at| at.x == 0.123_456_8));
    assert!(outline(&MultiPolygon(vec![])).0.is_empty());
}

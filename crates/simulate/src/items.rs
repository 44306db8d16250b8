//! Scenes without pixels: the items of a satellite's archive over whole countries, to plan surveys with.
//!
//! Per UTM zone a grid of square scenes, as satellites deliver them: 109.8 km every 100 km where pixels are 5 m or more
//! (Sentinel-2's tiling), 13 km every 12.5 km where they are finer. A scene is listed where it meets a county.

use std::collections::BTreeSet;

use geo::{BoundingRect, Coord, Intersects, LineString, MultiPolygon, Polygon, Rect};
use serde_json::{Value, json};

use crate::county::round;
use crate::noise::{hash2, mix, unit};
use crate::utm::Zone;

/// The earlier window.
pub const BEFORE: (&str, &str) = ("2023-06-01", "2023-12-31");
/// The later window.
pub const AFTER: (&str, &str) = ("2024-05-01", "2024-06-30");

/// Which scenes to list.
#[derive(Clone, Copy, Debug)]
pub struct ItemsPlan {
    /// Side of an earlier pixel, metres.
    pub before_gsd_m: f64,
    /// Side of a later pixel, metres.
    pub after_gsd_m: f64,
    /// Decides days, clouds and angles.
    pub seed: u64,
}

/// A scene's place in its zone's grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    zone: Zone,
    row: i64,
    col: i64,
}

struct Tiling {
    step_m: f64,
    side_m: f64,
}

impl Tiling {
    fn of(gsd_m: f64) -> Self {
        if gsd_m >= 5.0 {
            Self { step_m: 100_000.0, side_m: 109_800.0 }
        } else {
            Self { step_m: 12_500.0, side_m: 13_000.0 }
        }
    }

    /// The scene's outline in longitude and latitude, counter-clockwise, eight points, closed. Longitudes go on beyond
    /// 180 rather than jump.
    fn outline(&self, place: Place) -> Vec<(f64, f64)> {
        let (x, y) = (place.col as f64 * self.step_m, place.row as f64 * self.step_m);
        let side = self.side_m;
        let ring = [
            (0.0, 0.0),
            (0.5, 0.0),
            (1.0, 0.0),
            (1.0, 0.5),
            (1.0, 1.0),
            (0.5, 1.0),
            (0.0, 1.0),
            (0.0, 0.5),
            (0.0, 0.0),
        ];
        let central = f64::from(place.zone.number) * 6.0 - 183.0;
        ring.iter()
            .map(|(east, north)| {
                let (lon, lat) = place.zone.inverse(x + east * side, y + north * side);
                (central + (lon - central + 540.0).rem_euclid(360.0) - 180.0, lat)
            })
            .collect()
    }
}

/// The items of both dates that meet any of the borders, in a fixed order.
pub fn collection<'a>(borders: impl Iterator<Item = &'a MultiPolygon<f64>> + Clone, plan: &ItemsPlan) -> Vec<Value> {
    let mut items = Vec::new();
    for (which, gsd_m) in [("a", plan.before_gsd_m), ("b", plan.after_gsd_m)] {
        let tiling = Tiling::of(gsd_m);
        let mut places = BTreeSet::new();
        for polygon in borders.clone().flat_map(|border| border.iter()) {
            cover(polygon, &tiling, &mut places);
        }
        items.extend(places.iter().map(|&place| item(place, &tiling, which, gsd_m, plan.seed)));
    }
    items
}

/// Adds the scenes that meet a polygon.
fn cover(polygon: &Polygon<f64>, tiling: &Tiling, places: &mut BTreeSet<Place>) {
    let Some(bounds) = polygon.bounding_rect() else { return };
    let (west, east) = (bounds.min().x.max(-180.0), bounds.max().x.min(180.0));
    let (first, last) = ((west / 6.0).floor() as i64, (east / 6.0).floor() as i64);
    for strip in first..=last {
        let number = (strip + 30).clamp(0, 59) as u8 + 1;
        let (low, high) = ((strip * 6) as f64, (strip * 6 + 6) as f64);
        for south in [false, true] {
            let (bottom, top) = if south {
                (bounds.min().y.max(-80.0), bounds.max().y.min(0.0))
            } else {
                (bounds.min().y.max(0.0), bounds.max().y.min(84.0))
            };
            if bottom > top || (south && bottom == top) {
                continue;
            }
            let zone = Zone { number, south };
            // The polygon's box within the zone, in the zone's metres; its edges bulge, so look at their middle too.
            let (left, right) = (west.max(low), east.min(high));
            let (mut min, mut max) = ((f64::MAX, f64::MAX), (f64::MIN, f64::MIN));
            for step in 0..=4 {
                let lon = left + (right - left) * f64::from(step) / 4.0;
                for lat in [bottom, top] {
                    let (x, y) = zone.forward(lon, lat);
                    min = (min.0.min(x), min.1.min(y));
                    max = (max.0.max(x), max.1.max(y));
                }
            }
            let index = |value: f64, slack: f64| ((value + slack) / tiling.step_m).floor() as i64;
            for row in index(min.1, -tiling.side_m)..=index(max.1, 0.0) {
                for col in index(min.0, -tiling.side_m)..=index(max.0, 0.0) {
                    let place = Place { zone, row, col };
                    if places.contains(&place) {
                        continue;
                    }
                    let outline = tiling.outline(place);
                    let scene =
                        Polygon::new(LineString(outline.iter().map(|&(x, y)| Coord { x, y }).collect()), Vec::new());
                    // Of the scenes that reach over the zone's edge only those that meet it are delivered in it.
                    let zone_box = Rect::new(Coord { x: low, y: -90.0 }, Coord { x: high, y: 90.0 });
                    if scene.intersects(&zone_box) && scene.intersects(polygon) {
                        places.insert(place);
                    }
                }
            }
        }
    }
}

fn item(place: Place, tiling: &Tiling, which: &str, gsd_m: f64, seed: u64) -> Value {
    let before = which == "a";
    let luck = hash2(
        place.row as i32,
        place.col as i32,
        seed as u32 ^ u32::from(place.zone.epsg()) ^ if before { 0xa } else { 0xb },
    );
    let day = |low: u32, count: u32| low + luck % count;
    let (month, day) = if before { (day(7, 5), 1 + mix(luck) % 28) } else { (day(5, 2), 1 + mix(luck) % 28) };
    let date = format!("{}-{month:02}-{day:02}", if before { 2023 } else { 2024 });
    let outline = tiling.outline(place);
    let positions =
        |ring: &[(f64, f64)]| ring.iter().map(|&(lon, lat)| json!([round(lon), round(lat)])).collect::<Vec<_>>();
    let (geometry, bbox) = over_the_antimeridian(&outline).map_or_else(
        || {
            let [w, s, e, n] = crate::catalog::bbox(&outline);
            (json!({"type": "Polygon", "coordinates": [positions(&outline)]}), [w, s, e, n])
        },
        |(west_part, east_part)| {
            let (a, b) = (crate::catalog::bbox(&west_part), crate::catalog::bbox(&east_part));
            // RFC 7946, 5.2: west is larger than east where a box crosses the antimeridian.
            (
                json!({"type": "MultiPolygon", "coordinates": [[positions(&west_part)], [positions(&east_part)]]}),
                [a[0], a[1].min(b[1]), b[2], a[3].max(b[3])],
            )
        },
    );
    let side_px = (tiling.side_m / gsd_m).round() as u64;
    let (x0, y0) = (place.col as f64 * tiling.step_m, place.row as f64 * tiling.step_m + tiling.side_m);
    let hemisphere = if place.zone.south { "s" } else { "n" };
    let id = format!(
        "groundsim-{which}_{}_{:02}{hemisphere}_r{:05}_c{:04}",
        date.replace('-', ""),
        place.zone.number,
        place.row,
        place.col
    );
    let names = if before { ["blue", "green", "red", "nir"] } else { ["nir", "red", "green", "blue"] };
    let bands: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "eo:common_name": name, "data_type": "uint16", "nodata": 0, "raster:scale": 0.0005, "raster:offset": 0.0}))
        .collect();
    json!({
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
            "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/view/v1.0.0/schema.json",
            "https://stac-extensions.github.io/file/v2.1.0/schema.json",
        ],
        "id": id,
        "bbox": bbox.map(round),
        "geometry": geometry,
        "properties": {
            "datetime": format!("{date}T02:{:02}:{:02}Z", mix(luck ^ 1) % 60, mix(luck ^ 2) % 60),
            "platform": format!("groundsim-{which}"),
            "gsd": gsd_m,
            "eo:cloud_cover": (unit(mix(luck ^ 3)) * 120.0).round() / 10.0,
            "view:off_nadir": (unit(mix(luck ^ 4)) * 200.0).round() / 10.0,
            "proj:code": format!("EPSG:{}", place.zone.epsg()),
        },
        "assets": {"analytic": {
            "href": format!("./scenes/{id}.tif"),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "proj:code": format!("EPSG:{}", place.zone.epsg()),
            "proj:shape": [side_px, side_px],
            "proj:transform": [gsd_m, 0.0, x0, 0.0, -gsd_m, y0],
            // What such scenes take: about 9 of 16 bits.
            "file:size": side_px * side_px * 4 * 9 / 8,
            "bands": bands,
        }},
        "links": [],
    })
}

type Ring = Vec<(f64, f64)>;

/// The two parts of a ring that goes over ±180°, the western one (near 180°) first.
fn over_the_antimeridian(ring: &[(f64, f64)]) -> Option<(Ring, Ring)> {
    let (west, east) = ring.iter().fold((f64::MAX, f64::MIN), |(w, e), &(lon, _)| (w.min(lon), e.max(lon)));
    let edge = if east > 180.0 {
        180.0
    } else if west < -180.0 {
        -180.0
    } else {
        return None;
    };
    let part = |keep: &dyn Fn(f64) -> bool, shift: f64| {
        let mut kept: Ring = Vec::new();
        for (&a, &b) in ring.iter().zip(ring.iter().skip(1)) {
            if keep(a.0) {
                kept.push((a.0 + shift, a.1));
            }
            if (a.0 - edge) * (b.0 - edge) < 0.0 {
                let share = (edge - a.0) / (b.0 - a.0);
                kept.push((edge + shift, a.1 + share * (b.1 - a.1)));
            }
        }
        kept.extend(kept.first().copied());
        kept
    };
    let (low, high) = if edge > 0.0 { (0.0, -360.0) } else { (360.0, 0.0) };
    Some((part(&|lon| lon <= edge, low), part(&|lon| lon > edge, high)))
}

//! Counties: read from a file whatever its properties are called, or made up with borders that they share.

use std::path::Path;

use geo::{BoundingRect, Contains, Coord, Distance, Euclidean, Intersects, LineString, MultiPolygon, Point, Polygon};
use serde_json::{Value, json};

use crate::error::SimulateError;
use crate::geometry::{Point as LocalPoint, point};
use crate::noise::Dice;
use crate::sensor::Anchor;

/// A county of a file.
#[derive(Clone, Debug)]
pub struct FileCounty {
    /// Its id.
    pub id: String,
    /// Its name; the id where the file has none.
    pub name: String,
    /// Its border in longitude and latitude.
    pub border: MultiPolygon<f64>,
    /// The feature as it stood in the file.
    pub feature: Value,
}

/// A county file and what its properties are called.
#[derive(Clone, Debug)]
pub struct CountyFile {
    /// Property of the id.
    pub id_property: String,
    /// Property of the name.
    pub name_property: Option<String>,
    /// Property of the province.
    pub parent_property: Option<String>,
    /// All counties with an id and an area.
    pub counties: Vec<FileCounty>,
}

const ID_PROPERTIES: [&str; 14] = [
    "pcode",
    "ocha_pcode",
    "county_id",
    "GEOID",
    "geoid",
    "fips",
    "FIPS",
    "ADM2_PCODE",
    "adm2_pcode",
    "code",
    "id",
    "ID",
    "osm_id",
    "shapeID",
];
const NAME_PROPERTIES: [&str; 9] =
    ["name_en", "name", "NAME", "county_name", "ADM2_EN", "adm2_en", "adm2_name", "shapeName", "name_ko"];
const PARENT_PROPERTIES: [&str; 6] = ["province_en", "province", "ADM1_EN", "adm1_en", "state", "parent"];

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl CountyFile {
    /// Reads a GeoJSON file of counties; properties that are not named are looked for: the id where the counties that
    /// are asked for are found by it, otherwise where every feature has it.
    ///
    /// # Errors
    /// Where the file cannot be read, is no GeoJSON, or has no property that could be an id.
    pub fn read(path: &Path, id: Option<&str>, name: Option<&str>, asked: &[String]) -> Result<Self, SimulateError> {
        let bytes = std::fs::read(path).map_err(|error| SimulateError::file(path, error))?;
        let refuse = |cause: String, mend: &str| SimulateError::Counties {
            path: path.display().to_string(),
            cause,
            mend: mend.to_owned(),
        };
        let document: Value = serde_json::from_slice(&bytes)
            .map_err(|error| refuse(format!("is not JSON ({error})"), "give a GeoJSON file"))?;
        let features = document
            .get("features")
            .and_then(Value::as_array)
            .filter(|features| !features.is_empty())
            .ok_or_else(|| refuse("has no features".into(), "give a GeoJSON FeatureCollection of counties"))?;
        let value = |feature: &Value, property: &str| text(feature.get("properties").and_then(|p| p.get(property)));
        let share = |property: &str| {
            features.iter().filter(|feature| value(feature, property).is_some()).count() as f64 / features.len() as f64
        };
        let find = |wanted: Option<&str>, known: &[&str], least: f64| match wanted {
            Some(wanted) => Some(wanted.to_owned()),
            None => known.iter().find(|property| share(property) >= least).map(|property| (*property).to_owned()),
        };
        let by_what_is_asked = || {
            let first = asked.first()?;
            let fits = |property: &&&str| features.iter().any(|f| value(f, property).as_ref() == Some(first));
            ID_PROPERTIES.iter().find(fits).map(|property| (*property).to_owned())
        };
        let id_property =
            id.map(str::to_owned)
                .or_else(by_what_is_asked)
                .or_else(|| find(None, &ID_PROPERTIES, 1.0))
                .ok_or_else(|| refuse("no property of the features looks like an id".into(), "name it with --id"))?;
        if share(&id_property) == 0.0 {
            return Err(refuse(format!("no feature has the property `{id_property}`"), "name another with --id"));
        }
        let name_property = find(name, &NAME_PROPERTIES, 0.9);
        let mut counties = Vec::new();
        for feature in features {
            let property = |name: &str| text(feature.get("properties").and_then(|p| p.get(name)));
            let Some(id) = property(&id_property) else { continue };
            let border = multi_polygon(feature.get("geometry").unwrap_or(&Value::Null));
            if border.bounding_rect().is_some() {
                let name = name_property.as_deref().and_then(property).unwrap_or_else(|| id.clone());
                counties.push(FileCounty { id, name, border, feature: feature.clone() });
            }
        }
        let parent_property = find(None, &PARENT_PROPERTIES, 0.9);
        Ok(Self { id_property, name_property, parent_property, counties })
    }

    /// The county with an id.
    #[must_use]
    pub fn county(&self, id: &str) -> Option<&FileCounty> {
        self.counties.iter().find(|county| county.id == id)
    }

    /// A county and those that touch it or come within about a kilometre.
    #[must_use]
    pub fn neighbourhood(&self, id: &str) -> Vec<&FileCounty> {
        const NEAR_DEG: f64 = 0.01;
        let Some(chosen) = self.county(id) else { return Vec::new() };
        let Some(mut near) = chosen.border.bounding_rect() else { return Vec::new() };
        near.set_min(Coord { x: near.min().x - NEAR_DEG, y: near.min().y - NEAR_DEG });
        near.set_max(Coord { x: near.max().x + NEAR_DEG, y: near.max().y + NEAR_DEG });
        let touches = |other: &FileCounty| {
            other.border.bounding_rect().is_some_and(|rect| rect.intersects(&near))
                && chosen.border.iter().any(|a| {
                    other
                        .border
                        .iter()
                        .any(|b| a.intersects(b) || Euclidean.distance(a.exterior(), b.exterior()) < NEAR_DEG)
                })
        };
        self.counties.iter().filter(|other| other.id == id || touches(other)).collect()
    }
}

/// The polygons of a GeoJSON geometry; rings of fewer than four points are left out.
fn multi_polygon(geometry: &Value) -> MultiPolygon<f64> {
    let ring = |ring: &Value| -> LineString<f64> {
        let coords = ring
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|position| Some(Coord { x: position.get(0)?.as_f64()?, y: position.get(1)?.as_f64()? }));
        LineString(coords.collect())
    };
    let polygon = |polygon: &Value| -> Option<Polygon<f64>> {
        let mut rings = polygon.as_array()?.iter().map(ring).filter(|ring| ring.0.len() >= 4);
        Some(Polygon::new(rings.next()?, rings.collect()))
    };
    let coordinates = geometry.get("coordinates").unwrap_or(&Value::Null);
    match geometry.get("type").and_then(Value::as_str) {
        Some("Polygon") => MultiPolygon(polygon(coordinates).into_iter().collect()),
        Some("MultiPolygon") => {
            MultiPolygon(coordinates.as_array().into_iter().flatten().filter_map(polygon).collect())
        }
        _ => MultiPolygon(Vec::new()),
    }
}

/// A point well inside a border, as longitude and latitude: the one of a fine lattice that lies furthest from the
/// border, with degrees of longitude shortened as they are there.
#[must_use]
pub fn inner_point(border: &MultiPolygon<f64>) -> Option<(f64, f64)> {
    let bounds = border.bounding_rect()?;
    let shrink = libm::cos(bounds.center().y.to_radians()).max(0.05);
    let flat = MultiPolygon(
        border
            .iter()
            .map(|polygon| {
                let squeeze = |ring: &LineString<f64>| {
                    LineString(ring.0.iter().map(|c| Coord { x: c.x * shrink, y: c.y }).collect())
                };
                Polygon::new(squeeze(polygon.exterior()), polygon.interiors().iter().map(squeeze).collect())
            })
            .collect(),
    );
    let flat_bounds = flat.bounding_rect()?;
    let (mut centre, mut span) = (flat_bounds.center(), (flat_bounds.width(), flat_bounds.height()));
    let mut best: Option<(f64, Coord<f64>)> = None;
    for _ in 0..4 {
        for row in 0..=16 {
            for col in 0..=16 {
                let at = Coord {
                    x: centre.x + (f64::from(col) / 16.0 - 0.5) * span.0,
                    y: centre.y + (f64::from(row) / 16.0 - 0.5) * span.1,
                };
                let p = Point(at);
                if !flat.contains(&p) {
                    continue;
                }
                let lines =
                    flat.iter().flat_map(|polygon| std::iter::once(polygon.exterior()).chain(polygon.interiors()));
                let distance = lines.map(|line| Euclidean.distance(&p, line)).fold(f64::MAX, f64::min);
                if best.is_none_or(|(most, _)| distance > most) {
                    best = Some((distance, at));
                }
            }
        }
        centre = best.map_or(centre, |(_, at)| at);
        span = (span.0 / 6.0, span.1 / 6.0);
    }
    best.map(|(_, at)| (at.x / shrink, at.y))
}

/// A county of the made-up province.
pub struct InventedCounty {
    /// Its id.
    pub id: &'static str,
    /// Its name in Latin letters.
    pub name: &'static str,
    /// Its name in Hangul.
    pub name_ko: &'static str,
    /// Its border, metres of the world, closed.
    pub border: Vec<LocalPoint>,
}

/// The province's name.
pub const PROVINCE: &str = "North Gaon";

/// The five counties of the province: borders that two share are the same points.
#[must_use]
pub fn invented(seed: u64) -> Vec<InventedCounty> {
    let mut dice = Dice::new(seed, 4);
    let mut edge = |from: (f32, f32), to: (f32, f32)| crooked(point(from.0, from.1), point(to.0, to.1), &mut dice);
    // Corners and the nodes where borders meet.
    let (sw, se, ne, nw) = ((90.0, 80.0), (4110.0, 90.0), (4120.0, 3720.0), (80.0, 3710.0));
    let (south_1, south_2, north_1, north_2) = ((1450.0, 70.0), (3190.0, 95.0), (1500.0, 3730.0), (3120.0, 3715.0));
    let (west, node_1, node_2, node_3) = ((75.0, 1500.0), (1400.0, 1660.0), (1430.0, 2080.0), (3150.0, 2090.0));
    let south = [edge(sw, south_1), edge(south_1, south_2), edge(south_2, se)];
    let east = edge(se, ne);
    let north = [edge(ne, north_2), edge(north_2, north_1), edge(north_1, nw)];
    let west_side = [edge(nw, west), edge(west, sw)];
    let first = [edge(south_1, node_1), edge(node_1, node_2), edge(node_2, north_1)];
    let second = [edge(south_2, node_3), edge(node_3, north_2)];
    let (across_west, across_centre) = (edge(west, node_1), edge(node_2, node_3));
    let back = |line: &Vec<LocalPoint>| line.iter().rev().copied().collect::<Vec<_>>();
    let ring = |parts: &[Vec<LocalPoint>]| {
        let mut ring: Vec<LocalPoint> = Vec::new();
        for part in parts {
            ring.extend(part.iter().skip(usize::from(!ring.is_empty())));
        }
        ring
    };
    let county =
        |id, name, name_ko, parts: &[Vec<LocalPoint>]| InventedCounty { id, name, name_ko, border: ring(parts) };
    let [s0, s1, s2] = &south;
    let [n0, n1, n2] = &north;
    let [w0, w1] = &west_side;
    let [f0, f1, f2] = &first;
    let [g0, g1] = &second;
    vec![
        county("NG0101", "Nalgae", "날개군", &[across_west.clone(), f1.clone(), f2.clone(), n2.clone(), w0.clone()]),
        county("NG0102", "Gaon", "가온군", &[s0.clone(), f0.clone(), back(&across_west), w1.clone()]),
        county("NG0103", "Saebyeok", "새벽군", &[across_centre.clone(), g1.clone(), n1.clone(), back(f2)]),
        county("NG0104", "Hanbit", "한빛시", &[s1.clone(), g0.clone(), back(&across_centre), back(f1), back(f0)]),
        county("NG0105", "Duru", "두루군", &[s2.clone(), east, n0.clone(), back(g1), back(g0)]),
    ]
}

/// A line between two points as borders run: displaced midpoints, five times over.
fn crooked(from: LocalPoint, to: LocalPoint, dice: &mut Dice) -> Vec<LocalPoint> {
    let mut line = vec![from, to];
    for round in 0..5 {
        let mut next = vec![from];
        for (&a, &b) in line.iter().zip(line.iter().skip(1)) {
            let across = b.minus(a).left().times(dice.between(-0.09, 0.09) * if round == 0 { 0.35 } else { 1.0 });
            next.push(a.plus(b).times(0.5).plus(across));
            next.push(b);
        }
        line = next;
    }
    line
}

/// The made-up counties as a GeoJSON FeatureCollection.
#[must_use]
pub fn invented_geojson(counties: &[InventedCounty], anchor: &Anchor) -> Value {
    let features: Vec<Value> = counties
        .iter()
        .map(|county| {
            let ring: Vec<Value> = county.border.iter().map(|&p| position(anchor, p)).collect();
            json!({
                "type": "Feature",
                "properties": {"pcode": county.id, "name_en": county.name, "name_ko": county.name_ko, "province_en": PROVINCE},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            })
        })
        .collect();
    json!({"type": "FeatureCollection", "features": features})
}

/// A position in GeoJSON: longitude and latitude to about a millimetre.
#[must_use]
pub fn position(anchor: &Anchor, p: LocalPoint) -> Value {
    let (lon, lat) = anchor.lon_lat(p);
    json!([round(lon), round(lat)])
}

/// Rounded to 8 decimals.
#[must_use]
pub fn round(degrees: f64) -> f64 {
    (degrees * 1e8).round() / 1e8
}

/// The county of a FeatureCollection that holds a place.
#[must_use]
pub fn holding(counties: &[FileCounty], lon: f64, lat: f64) -> Option<&FileCounty> {
    counties.iter().find(|county| county.border.contains(&Point::new(lon, lat)))
}

/// Counties from a FeatureCollection that was made here.
#[must_use]
pub fn from_geojson(collection: &Value, id_property: &str) -> Vec<FileCounty> {
    let features = collection.get("features").and_then(Value::as_array);
    features
        .into_iter()
        .flatten()
        .filter_map(|feature| {
            let id = text(feature.get("properties").and_then(|p| p.get(id_property)))?;
            let border = multi_polygon(feature.get("geometry")?);
            Some(FileCounty { name: id.clone(), id, border, feature: feature.clone() })
        })
        .collect()
}

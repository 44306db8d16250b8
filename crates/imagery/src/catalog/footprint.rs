//! Footprints: GeoJSON and WKB polygons in longitude and latitude, and what lies in what.
//!
//! A footprint over the antimeridian is kept whole: its longitudes run on beyond 180°, so that it stays one polygon.

use geo::{BoundingRect, Coord, Intersects, LineString, MultiPolygon, Polygon, Rect};
use serde_json::Value;

use super::json::text;

/// Vertices that a footprint may have.
const MAX_VERTICES: usize = 200_000;

/// The footprint of a GeoJSON geometry.
pub(super) fn from_geojson(geometry: &Value) -> Result<MultiPolygon<f64>, String> {
    let coordinates = geometry.get("coordinates").and_then(Value::as_array);
    let polygons: Vec<&Value> = match (text(geometry, "type"), coordinates) {
        (Some("Polygon"), Some(_)) => geometry.get("coordinates").into_iter().collect(),
        (Some("MultiPolygon"), Some(polygons)) => polygons.iter().collect(),
        (Some(kind), _) => return Err(format!("its geometry is a {kind}, not a polygon")),
        (None, _) => return Err("it has no geometry".into()),
    };
    let mut vertices = 0;
    let mut read = Vec::with_capacity(polygons.len().min(1024));
    for polygon in polygons {
        let mut rings = Vec::new();
        for ring in polygon.as_array().ok_or("its geometry is malformed")? {
            let points = ring.as_array().ok_or("its geometry is malformed")?;
            vertices += points.len();
            if vertices > MAX_VERTICES {
                return Err(format!("its geometry has more than {MAX_VERTICES} vertices"));
            }
            let ring: Option<Vec<Coord<f64>>> = points
                .iter()
                .map(|point| {
                    let point = point.as_array()?;
                    Some(Coord { x: point.first()?.as_f64()?, y: point.get(1)?.as_f64()? })
                })
                .collect();
            rings.push(ring.ok_or("its geometry is malformed")?);
        }
        read.push(rings);
    }
    build(read)
}

/// The footprint of a well-known binary geometry (2D, or with Z or M, which are left out).
pub(super) fn from_wkb(bytes: &[u8]) -> Result<MultiPolygon<f64>, String> {
    let mut reader = Wkb { bytes, little: true, vertices: 0 };
    let polygons = reader.polygons(0).ok_or("its geometry is malformed")?;
    build(polygons)
}

/// The GeoJSON name of a well-known binary geometry that is no polygon.
pub(super) fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    let mut reader = Wkb { bytes, little: true, vertices: 0 };
    let [order] = reader.take::<1>()?;
    reader.little = order == 1;
    match (reader.u32()? & 0x0fff_ffff) % 1000 {
        1 => Some("Point"),
        2 => Some("LineString"),
        4 => Some("MultiPoint"),
        5 => Some("MultiLineString"),
        7 => Some("GeometryCollection"),
        _ => None,
    }
}

/// A cursor over well-known binary that never reads beyond its bytes.
struct Wkb<'a> {
    bytes: &'a [u8],
    little: bool,
    vertices: usize,
}

impl Wkb<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        let bytes = self.take::<4>()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn f64(&mut self) -> Option<f64> {
        let bytes = self.take::<8>()?;
        Some(if self.little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) })
    }

    fn polygons(&mut self, depth: u8) -> Option<Vec<Vec<Vec<Coord<f64>>>>> {
        let [order] = self.take::<1>()?;
        self.little = order == 1;
        let code = self.u32()?;
        // EWKB flags and ISO thousands say which further ordinates there are.
        if code & 0x2000_0000 != 0 {
            self.u32()?;
        }
        let kind = code & 0x0fff_ffff;
        let dimensions = 2
            + usize::from(code & 0x8000_0000 != 0 || matches!(kind / 1000, 1 | 3))
            + usize::from(code & 0x4000_0000 != 0 || matches!(kind / 1000, 2 | 3));
        match kind % 1000 {
            3 => Some(vec![self.rings(dimensions)?]),
            6 if depth == 0 => {
                let mut all = Vec::new();
                for _ in 0..self.u32()? {
                    all.extend(self.polygons(depth + 1)?);
                }
                Some(all)
            }
            _ => None,
        }
    }

    fn rings(&mut self, dimensions: usize) -> Option<Vec<Vec<Coord<f64>>>> {
        let mut rings = Vec::new();
        for _ in 0..self.u32()? {
            let mut ring = Vec::new();
            for _ in 0..self.u32()? {
                self.vertices += 1;
                if self.vertices > MAX_VERTICES {
                    return None;
                }
                ring.push(Coord { x: self.f64()?, y: self.f64()? });
                for _ in 2..dimensions {
                    self.f64()?;
                }
            }
            rings.push(ring);
        }
        Some(rings)
    }
}

fn build(polygons: Vec<Vec<Vec<Coord<f64>>>>) -> Result<MultiPolygon<f64>, String> {
    let mut built = Vec::with_capacity(polygons.len());
    for rings in polygons {
        let mut rings = rings.into_iter().map(unwrap_ring);
        let Some(outer) = rings.next() else { continue };
        let outer = outer?;
        if outer.0.len() < 4 {
            return Err("its geometry has a ring of fewer than 3 points".into());
        }
        let start = outer.0.first().map_or(0.0, |first| first.x);
        let holes: Result<Vec<LineString<f64>>, String> = rings
            .map(|ring| {
                // A hole lies on the same turn as its polygon.
                ring.map(|mut hole| {
                    let turns = hole.0.first().map_or(0.0, |first| ((start - first.x) / 360.0).round() * 360.0);
                    hole.0.iter_mut().for_each(|point| point.x += turns);
                    hole
                })
            })
            .collect();
        built.push(Polygon::new(outer, holes?));
    }
    if built.is_empty() {
        return Err("its geometry is empty".into());
    }
    Ok(MultiPolygon(built))
}

/// A closed ring whose longitudes never jump by more than half a turn.
pub(super) fn unwrap_ring(points: Vec<Coord<f64>>) -> Result<LineString<f64>, String> {
    let mut ring: Vec<Coord<f64>> = Vec::with_capacity(points.len() + 1);
    for mut point in points {
        if !(point.x.abs() <= 540.0 && point.y.abs() <= 90.000_001) {
            return Err(format!("its geometry is not in longitude and latitude ({}, {})", point.x, point.y));
        }
        if let Some(last) = ring.last() {
            point.x += ((last.x - point.x) / 360.0).round() * 360.0;
        }
        ring.push(point);
    }
    let mut ring = LineString(ring);
    // A ring around a pole does not close once it is unwrapped; it is closed as it is.
    ring.close();
    Ok(ring)
}

/// Whether a footprint meets a box of (west, south, east, north); west may lie east of east: a box over the antimeridian.
pub(super) fn meets(footprint: &MultiPolygon<f64>, bbox: [f64; 4]) -> bool {
    let [west, south, mut east, north] = bbox;
    if east < west {
        east += 360.0;
    }
    if east - west >= 360.0 && south <= -90.0 && north >= 90.0 {
        return true;
    }
    [-720.0, -360.0, 0.0, 360.0, 720.0].into_iter().any(|turn| {
        let rect = Rect::new(Coord { x: west + turn, y: south }, Coord { x: east + turn, y: north });
        footprint.bounding_rect().is_some_and(|bounds| bounds.intersects(&rect)) && footprint.intersects(&rect)
    })
}

/// The share of the common bounding box in the joint one: 1 for footprints that are nearly the same.
pub(super) fn likeness(a: &MultiPolygon<f64>, b: &MultiPolygon<f64>) -> f64 {
    let (Some(a), Some(b)) = (a.bounding_rect(), b.bounding_rect()) else { return 0.0 };
    let width = a.max().x.min(b.max().x) - a.min().x.max(b.min().x);
    let height = a.max().y.min(b.max().y) - a.min().y.max(b.min().y);
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let common = width * height;
    common / (a.width() * a.height() + b.width() * b.height() - common)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn square(west: f64, south: f64) -> Value {
        let (east, north) = (west + 1.0, south + 1.0);
        json!([[[west, south], [east, south], [east, north], [west, north], [west, south]]])
    }

    #[test]
    fn a_footprint_over_the_antimeridian_stays_in_one_piece_and_meets_both_sides() {
        let ring = json!([[[179.5, 0], [-179.5, 0], [-179.5, 1], [179.5, 1], [179.5, 0]]]);
        let footprint = from_geojson(&json!({"type": "Polygon", "coordinates": ring})).unwrap();
        assert_eq!(footprint.bounding_rect().unwrap().width(), 1.0);
        assert!(meets(&footprint, [179.6, 0.2, 179.9, 0.4]));
        assert!(meets(&footprint, [-179.9, 0.2, -179.6, 0.4]));
        assert!(meets(&footprint, [179.9, 0.2, -179.9, 0.4]));
        assert!(!meets(&footprint, [0.0, 0.0, 1.0, 1.0]));
    }

    #[test]
    fn wkb_of_both_byte_orders_and_with_z_is_read_and_a_cut_one_is_refused() {
        let mut wkb = vec![1, 6, 0, 0, 0, 1, 0, 0, 0];
        wkb.extend([0, 0, 0, 0x03, 0xeb, 0, 0, 0, 1, 0, 0, 0, 4]);
        for (x, y) in [(0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (0.0, 0.0f64)] {
            for value in [x, y, 77.0f64] {
                wkb.extend(value.to_be_bytes());
            }
        }
        let footprint = from_wkb(&wkb).unwrap();
        assert_eq!(footprint.bounding_rect().unwrap().max(), Coord { x: 2.0, y: 1.0 });
        for end in 0..wkb.len() {
            assert!(from_wkb(&wkb[..end]).is_err());
        }
        // Four billion rings in nine bytes.
        assert!(from_wkb(&[1, 3, 0, 0, 0, 255, 255, 255, 255]).is_err());
    }

    #[test]
    fn what_is_no_footprint_is_refused_with_its_cause() {
        for (geometry, cause) in [
            (json!(null), "no geometry"),
            (json!({"type": "Point", "coordinates": [1, 2]}), "Point"),
            (json!({"type": "Polygon", "coordinates": [[[1, 2], ["x", 3]]]}), "malformed"),
            (
                json!({"type": "Polygon", "coordinates": [[[500000, 4000000], [500001, 4000000], [5, 4], [1, 2]]]}),
                "longitude",
            ),
            (json!({"type": "MultiPolygon", "coordinates": []}), "empty"),
        ] {
            let error = from_geojson(&geometry).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }

    #[test]
    fn likeness_is_the_share_of_the_common_box() {
        let multi = |west: f64| from_geojson(&json!({"type": "Polygon", "coordinates": square(west, 0.0)})).unwrap();
        assert_eq!(likeness(&multi(0.0), &multi(0.0)), 1.0);
        assert_eq!(likeness(&multi(0.0), &multi(0.5)), 0.5 / 1.5);
        assert_eq!(likeness(&multi(0.0), &multi(2.0)), 0.0);
    }
}

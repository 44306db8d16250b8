//! Counties from their source: whose borders, valid or repaired or refused by name, never dropped in silence.

use std::collections::{BTreeMap, BTreeSet};

use geo::{BooleanOps, BoundingRect, Coord, Geometry, LineString, MultiPolygon, Polygon, Validation};
use imagery::crs::{Crs, Transformer};
use imagery::store::Stores;
use survey::county::County;
use survey::ids::CountyId;
use survey::spec::{CountiesSection, InvalidPolygons};

use super::error::PlanError;
use super::vector::{self, Layer};

/// Vertices of one border.
const MAX_VERTICES: usize = 20_000_000;

/// An edge longer than this is given more vertices before it is projected, so that neighbours whose vertices differ still
/// share the line that the source draws. Degrees for geographic sources.
const MAX_EDGE_DEG: f64 = 0.05;
/// The same for projected sources, in their units (metres).
const MAX_EDGE_M: f64 = 5_000.0;

/// A county source, read: every county in longitude and latitude.
pub struct CountySource {
    /// Counties to survey, by id.
    pub selected: Vec<SourceCounty>,
    /// Bounding box of the whole source, selected or not.
    pub whole: LonLatBox,
    /// Bounding box of the selected counties.
    pub extent: LonLatBox,
}

/// A county as its source draws it.
pub struct SourceCounty {
    /// Its id.
    pub id: CountyId,
    /// Its name.
    pub name: String,
    /// Its province.
    pub parent: Option<String>,
    /// Its border, longitude and latitude, densified.
    pub border: MultiPolygon<f64>,
    /// Remarks.
    pub notes: Vec<String>,
}

/// A box in longitude and latitude; `west > east` where it crosses the antimeridian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LonLatBox {
    /// Western edge, −180 to 180.
    pub west: f64,
    /// Southern edge.
    pub south: f64,
    /// Eastern edge, −180 to 180.
    pub east: f64,
    /// Northern edge.
    pub north: f64,
}

impl LonLatBox {
    /// The smallest box around points, across the antimeridian where that is smaller; `None` without points.
    fn around(points: impl Iterator<Item = Coord<f64>>) -> Option<Self> {
        let (mut south, mut north) = (f64::INFINITY, f64::NEG_INFINITY);
        // The widest gap between neighbouring longitudes is what the box leaves out. A tenth of a degree is fine enough.
        let mut seen = BTreeMap::<i32, (f64, f64)>::new();
        for point in points {
            south = south.min(point.y);
            north = north.max(point.y);
            let lon = wrap(point.x);
            let (low, high) = seen.entry((lon * 10.0).floor() as i32).or_insert((lon, lon));
            *low = low.min(lon);
            *high = high.max(lon);
        }
        let ranges: Vec<(f64, f64)> = seen.into_values().collect();
        let (first, last) = (ranges.first()?.0, ranges.last()?.1);
        let mut widest = (360.0 - (last - first), first, last);
        for pair in ranges.windows(2) {
            let gap = pair[1].0 - pair[0].1;
            if gap > widest.0 {
                widest = (gap, pair[1].0, pair[0].1);
            }
        }
        Some(Self { west: widest.1, south, east: widest.2, north })
    }

    /// Centre: longitude, latitude.
    pub fn centre(&self) -> (f64, f64) {
        (wrap(self.west + self.width() / 2.0), (self.south + self.north) / 2.0)
    }

    /// Width in degrees.
    pub fn width(&self) -> f64 {
        if self.east >= self.west { self.east - self.west } else { self.east + 360.0 - self.west }
    }
}

fn wrap(lon: f64) -> f64 {
    let wrapped = (lon + 180.0).rem_euclid(360.0) - 180.0;
    // 180 itself stays 180 where it is written so, as the eastern edge of a border.
    if wrapped == -180.0 && lon > 0.0 { 180.0 } else { wrapped }
}

/// Reads the county source.
///
/// # Errors
/// Names the file or key, the county, and the mend.
pub async fn read(stores: &Stores, section: &CountiesSection) -> Result<CountySource, PlanError> {
    let layer = vector::read(stores, &section.source, section.crs.as_deref())
        .await
        .map_err(PlanError::input("counties.source"))?;
    let section = section.clone();
    // Millions of vertices are checked, repaired and projected: not on the threads that serve the network.
    tokio::task::spawn_blocking(move || from_layer(&layer, &section)).await.map_err(|error| {
        PlanError::unfit("counties.source", format!("its borders cannot be checked ({error})"), "simplify the borders")
    })?
}

fn from_layer(layer: &Layer, section: &CountiesSection) -> Result<CountySource, PlanError> {
    let source = &section.source;
    if layer.features.is_empty() {
        return Err(PlanError::unfit(
            "counties.source",
            format!("{source} holds no county"),
            "name a file with at least one polygon",
        ));
    }
    let to_lonlat = Transformer::new(&layer.crs, &Crs::parse("EPSG:4326").map_err(PlanError::input("counties.crs"))?)
        .map_err(PlanError::input("counties.crs"))?;
    let only: Option<BTreeSet<&str>> = section.only.as_ref().map(|only| only.iter().map(String::as_str).collect());
    if layer.features.iter().all(|feature| feature.text(&section.id).is_none()) {
        let known: BTreeSet<&str> =
            layer.features.iter().flat_map(|feature| feature.properties.keys()).map(String::as_str).collect();
        return Err(PlanError::unfit(
            "counties.id",
            format!("no county of {source} has a property `{}`", section.id),
            format!("name one of: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        ));
    }
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    for name in layer.features.iter().filter_map(|feature| feature.text(section.name.as_ref()?)) {
        *names.entry(name).or_default() += 1;
    }
    let mut ids = BTreeSet::new();
    let mut whole = Vec::new();
    let mut selected = Vec::new();
    let mut empty = Vec::new();
    let mut invalid = Vec::new();
    for (index, feature) in layer.features.iter().enumerate() {
        let name = section.name.as_ref().and_then(|property| feature.text(property));
        let mut notes = Vec::new();
        let id = match feature.text(&section.id) {
            Some(id) => id,
            None => {
                notes.push(format!("it has no `{}` and is called by its name or its place in the file", section.id));
                name.clone().filter(|name| names.get(name) == Some(&1)).unwrap_or_else(|| format!("feature-{index}"))
            }
        };
        if !ids.insert(id.clone()) {
            return Err(PlanError::unfit(
                "counties.id",
                format!("two counties of {source} are called `{id}`"),
                "name a property that is unique",
            ));
        }
        let wanted = only.as_ref().is_none_or(|only| only.contains(id.as_str()));
        let border = match feature.geometry.as_ref().map(|geometry| polygons(geometry)).transpose() {
            Ok(border) => border.unwrap_or_else(|| MultiPolygon(vec![])),
            Err(kind) => {
                return Err(PlanError::unfit(
                    "counties.source",
                    format!("county {id} of {source} is a {kind}, not a polygon"),
                    "leave it out, or draw its border",
                ));
            }
        };
        if border.0.iter().map(|polygon| polygon.exterior().0.len()).sum::<usize>() > MAX_VERTICES {
            return Err(PlanError::unfit(
                "counties.source",
                format!("county {id} has more than {MAX_VERTICES} vertices"),
                "simplify its border",
            ));
        }
        let border = to_geographic(&border, layer, &to_lonlat).map_err(|problem| {
            PlanError::unfit(
                "counties.source",
                format!("county {id} of {source}: {problem}"),
                "declare the file's CRS with counties.crs",
            )
        })?;
        whole.extend(border.bounding_rect().into_iter().flat_map(|rect| [rect.min(), rect.max()]));
        whole.extend(border.0.iter().flat_map(|polygon| polygon.exterior().0.iter().copied()));
        if !wanted {
            continue;
        }
        let name = name.unwrap_or_else(|| id.clone());
        let parent = section.parent.as_ref().and_then(|property| feature.text(property));
        if !has_area(&border) {
            empty.push(label(&id, &name));
            continue;
        }
        let border = match border.check_validation() {
            Ok(()) => border,
            Err(problem) => {
                invalid.push(label(&id, &name));
                notes.push(format!("border repaired by the even-odd rule: {problem}"));
                // The even-odd union with nothing takes the rings apart at their crossings.
                border.union(&MultiPolygon(vec![]))
            }
        };
        selected.push(SourceCounty { id: CountyId(id), name, parent, border, notes });
    }
    if !empty.is_empty() {
        return Err(PlanError::unfit(
            "counties.source",
            format!("{} of {source} has an empty border", list(&empty)),
            "draw the border, or leave the county out with counties.only",
        ));
    }
    if section.invalid == InvalidPolygons::Refuse && !invalid.is_empty() {
        return Err(PlanError::unfit(
            "counties.source",
            format!("{} of {source} has a border that is not a valid polygon", list(&invalid)),
            "mend it, or set counties.invalid = \"repair\"",
        ));
    }
    if let Some(unknown) = only.iter().flatten().find(|only| !ids.contains(**only)) {
        let nearest = ids.iter().min_by_key(|id| (strsim::damerau_levenshtein(id, unknown), (*id).clone()));
        return Err(PlanError::unfit(
            "counties.only",
            format!("{source} has no county `{unknown}` by its property `{}`", section.id),
            nearest.map_or_else(|| "correct it".to_owned(), |nearest| format!("did you mean `{nearest}`?")),
        ));
    }
    selected.sort_by(|a, b| a.id.cmp(&b.id));
    let extent = LonLatBox::around(
        selected
            .iter()
            .flat_map(|county| county.border.0.iter())
            .flat_map(|polygon| polygon.exterior().0.iter().copied()),
    );
    match (LonLatBox::around(whole.into_iter()), extent) {
        (Some(whole), Some(extent)) => Ok(CountySource { selected, whole, extent }),
        _ => Err(PlanError::unfit(
            "counties.source",
            format!("{source} holds no county"),
            "name a file with at least one polygon",
        )),
    }
}

fn label(id: &str, name: &str) -> String {
    if id == name { format!("county {id}") } else { format!("county {id} ({name})") }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 30;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

fn polygons(geometry: &Geometry<f64>) -> Result<MultiPolygon<f64>, &'static str> {
    match geometry {
        Geometry::Polygon(polygon) => Ok(MultiPolygon(vec![polygon.clone()])),
        Geometry::MultiPolygon(polygons) => Ok(polygons.clone()),
        Geometry::GeometryCollection(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(polygons(part)?.0);
            }
            Ok(MultiPolygon(all))
        }
        Geometry::Point(_) | Geometry::MultiPoint(_) => Err("point"),
        _ => Err("line"),
    }
}

fn has_area(border: &MultiPolygon<f64>) -> bool {
    border.0.iter().any(|polygon| {
        let ring = &polygon.exterior().0;
        ring.len() >= 4
            && ring.iter().any(|point| point.x != ring[0].x)
            && ring.iter().any(|point| point.y != ring[0].y)
    })
}

/// Densifies the rings along the source's own straight lines and takes them to longitude and latitude.
fn to_geographic(
    border: &MultiPolygon<f64>,
    layer: &Layer,
    to_lonlat: &Transformer,
) -> Result<MultiPolygon<f64>, String> {
    let geographic = layer.crs.is_geographic();
    let limit = if geographic { MAX_EDGE_DEG } else { MAX_EDGE_M };
    let ring = |ring: &LineString<f64>| -> Result<LineString<f64>, String> {
        densified(ring, limit, geographic)
            .into_iter()
            .map(|point| {
                if geographic && !(point.x.abs() <= 540.0 && point.y.abs() <= 90.0) {
                    return Err(format!("({}, {}) is not a longitude and latitude", point.x, point.y));
                }
                to_lonlat
                    .apply(point.x, point.y)
                    .filter(|(lon, lat)| lon.is_finite() && lat.is_finite())
                    .map(|(x, y)| Coord { x, y })
                    .ok_or_else(|| format!("({}, {}) cannot be projected", point.x, point.y))
            })
            .collect()
    };
    border
        .0
        .iter()
        .map(|polygon| {
            Ok(Polygon::new(ring(polygon.exterior())?, polygon.interiors().iter().map(ring).collect::<Result<_, _>>()?))
        })
        .collect()
}

/// The ring with no edge longer than `limit`. An edge that jumps over the antimeridian goes the short way.
fn densified(ring: &LineString<f64>, limit: f64, geographic: bool) -> Vec<Coord<f64>> {
    let mut points = Vec::with_capacity(ring.0.len());
    for line in ring.lines() {
        points.push(line.start);
        let mut dx = line.end.x - line.start.x;
        if geographic && dx.abs() > 180.0 {
            dx -= 360.0 * dx.signum();
        }
        let dy = line.end.y - line.start.y;
        let steps = (dx.abs().max(dy.abs()) / limit).ceil().clamp(1.0, 100_000.0);
        // From the smaller end, so that both neighbours of an edge put their new vertices on the same bits.
        let forward = (line.start.x, line.start.y) <= (line.end.x, line.end.y);
        let (from, dx, dy) = if forward { (line.start, dx, dy) } else { (line.end, -dx, -dy) };
        let mut inner: Vec<Coord<f64>> = (1..steps as u32)
            .map(|step| f64::from(step) / steps)
            .map(|share| Coord { x: from.x + dx * share, y: from.y + dy * share })
            .collect();
        if !forward {
            inner.reverse();
        }
        points.extend(inner);
    }
    points.extend(ring.0.last());
    points
}

/// The counties on the survey's grid.
///
/// # Errors
/// Names the county that cannot be projected.
pub fn on_grid(
    source: &CountySource,
    crs: &Crs,
    designated: &BTreeMap<String, Vec<i32>>,
) -> Result<Vec<County>, PlanError> {
    let transformer = Crs::parse("EPSG:4326")
        .and_then(|geographic| Transformer::new(&geographic, crs))
        .map_err(PlanError::input("grid.crs"))?;
    source
        .selected
        .iter()
        .map(|county| {
            let border = project(&county.border, &transformer).ok_or_else(|| {
                PlanError::unfit(
                    "grid.crs",
                    format!("{} cannot be projected to it", label(&county.id.0, &county.name)),
                    "choose a CRS that holds all counties",
                )
            })?;
            Ok(County {
                id: county.id.clone(),
                name: county.name.clone(),
                parent: county.parent.clone(),
                designated: designated.get(&county.id.0).cloned().unwrap_or_default(),
                border,
                notes: county.notes.clone(),
            })
        })
        .collect()
}

fn project(border: &MultiPolygon<f64>, transformer: &Transformer) -> Option<MultiPolygon<f64>> {
    let ring = |ring: &LineString<f64>| -> Option<LineString<f64>> {
        ring.0
            .iter()
            .map(|point| {
                let (x, y) = transformer.apply(point.x, point.y)?;
                // Whole millimetres: the last bits of a projection are no business of a result's.
                let rounded = Coord { x: (x * 1000.0).round() / 1000.0, y: (y * 1000.0).round() / 1000.0 };
                (rounded.x.is_finite() && rounded.y.is_finite()).then_some(rounded)
            })
            .collect()
    };
    border
        .0
        .iter()
        .map(|polygon| {
            Some(Polygon::new(ring(polygon.exterior())?, polygon.interiors().iter().map(ring).collect::<Option<_>>()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use geo::polygon;

    #[test]
    fn a_box_across_the_antimeridian_is_the_narrow_one() {
        let points = [179.0_f64, -179.5, 178.0].map(|x| Coord { x, y: x.abs() / 10.0 });
        let found = LonLatBox::around(points.into_iter()).unwrap();
        assert_eq!((found.west, found.east), (178.0, -179.5));
        assert!((found.width() - 2.5).abs() < 1e-9 && (found.centre().0 - 179.25).abs() < 1e-9);
    }

    #[test]
    fn neighbours_that_draw_a_common_edge_in_opposite_directions_densify_it_alike() {
        let there = LineString::from(vec![(10.0, 50.0), (11.3, 50.7)]);
        let back = LineString::from(vec![(11.3, 50.7), (10.0, 50.0)]);
        let mut reversed = densified(&back, 0.05, true);
        reversed.reverse();
        assert_eq!(densified(&there, 0.05, true), reversed);
    }

    #[test]
    fn an_edge_over_the_antimeridian_goes_the_short_way() {
        let edge = densified(&LineString::from(vec![(179.9, 0.0), (-179.9, 0.0)]), 0.05, true);
        assert!(edge.iter().all(|point| wrap(point.x).abs() > 179.8), "{edge:?}");
    }

    #[test]
    fn a_bow_tie_is_repaired_to_its_two_triangles() {
        let bow_tie: MultiPolygon<f64> =
            polygon![(x: 0.0, y: 0.0), (x: 2.0, y: 2.0), (x: 2.0, y: 0.0), (x: 0.0, y: 2.0)].into();
        assert!(bow_tie.check_validation().is_err());
        let repaired = bow_tie.union(&MultiPolygon(vec![]));
        assert!(repaired.check_validation().is_ok());
        use geo::Area;
        assert!((repaired.unsigned_area() - 2.0).abs() < 1e-9);
    }
}

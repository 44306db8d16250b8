//! Context layers and designations.

use std::collections::BTreeMap;

use geo::{Centroid, Geometry, LineString};
use imagery::crs::{Crs, Transformer};
use imagery::store::Stores;
use survey::grid::Grid;
use survey::plan::{Context, Place, Way};
use survey::spec::{ContextSection, DesignationsSection};

use super::error::PlanError;
use super::vector;

/// The largest designations file.
const MAX_CSV_BYTES: u64 = 256 << 20;

/// Properties that may hold a place's name, in order of preference: romanised before local.
const NAMES: [&str; 6] = ["name", "name_en", "name:en", "Name", "NAME", "id"];

/// Reads the context layers onto the grid.
///
/// # Errors
/// Names the key and the file.
pub async fn context(stores: &Stores, section: &ContextSection, grid: &Grid) -> Result<Context, PlanError> {
    Ok(Context {
        stations: places(stores, "context.stations", section.stations.as_deref(), grid).await?,
        roads: ways(stores, "context.roads", section.roads.as_deref(), grid).await?,
        towns: places(stores, "context.towns", section.towns.as_deref(), grid).await?,
        facilities: places(stores, "context.facilities", section.facilities.as_deref(), grid).await?,
        greenhouses: places(stores, "context.greenhouses", section.greenhouses.as_deref(), grid).await?,
    })
}

/// Named geometries in metres of the grid's CRS.
async fn named(
    stores: &Stores,
    key: &str,
    href: Option<&str>,
    grid: &Grid,
) -> Result<Vec<(Option<String>, Geometry<f64>)>, PlanError> {
    let Some(href) = href else { return Ok(Vec::new()) };
    let layer = vector::read(stores, href, None).await.map_err(PlanError::input(key))?;
    let to_grid =
        Crs::parse(&grid.crs).and_then(|crs| Transformer::new(&layer.crs, &crs)).map_err(PlanError::input(key))?;
    let mut named = Vec::with_capacity(layer.features.len());
    for (index, feature) in layer.features.iter().enumerate() {
        let Some(geometry) = &feature.geometry else { continue };
        let name = NAMES.iter().find_map(|property| feature.text(property));
        let projected = project(geometry, &to_grid).ok_or_else(|| {
            PlanError::unfit(
                key,
                format!("feature {index} of {href} cannot be projected to {}", grid.crs),
                "check the file's CRS and coordinates",
            )
        })?;
        named.push((name, projected));
    }
    Ok(named)
}

fn project(geometry: &Geometry<f64>, to_grid: &Transformer) -> Option<Geometry<f64>> {
    use geo::MapCoords;
    geometry
        .try_map_coords(|point| {
            let (x, y) = to_grid.apply(point.x, point.y).filter(|(x, y)| x.is_finite() && y.is_finite()).ok_or(())?;
            Ok::<_, ()>(geo::Coord { x: (x * 1000.0).round() / 1000.0, y: (y * 1000.0).round() / 1000.0 })
        })
        .ok()
}

async fn places(stores: &Stores, key: &str, href: Option<&str>, grid: &Grid) -> Result<Vec<Place>, PlanError> {
    let mut places: Vec<Place> = named(stores, key, href, grid)
        .await?
        .into_iter()
        .filter_map(|(name, geometry)| geometry.centroid().map(|point| Place { name, x: point.x(), y: point.y() }))
        .collect();
    places.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)).then_with(|| a.name.cmp(&b.name)));
    Ok(places)
}

async fn ways(stores: &Stores, key: &str, href: Option<&str>, grid: &Grid) -> Result<Vec<Way>, PlanError> {
    let mut ways = Vec::new();
    for (name, geometry) in named(stores, key, href, grid).await? {
        let mut add = |line: &LineString<f64>| {
            ways.push(Way { name: name.clone(), points: line.0.iter().map(|point| (point.x, point.y)).collect() });
        };
        match &geometry {
            Geometry::LineString(line) => add(line),
            Geometry::MultiLineString(lines) => lines.iter().for_each(add),
            Geometry::Polygon(polygon) => add(polygon.exterior()),
            _ => {}
        }
    }
    Ok(ways)
}

/// Years of designation by county id, ascending.
///
/// # Errors
/// Names the file, the line and the column.
pub async fn designations(
    stores: &Stores,
    section: Option<&DesignationsSection>,
) -> Result<BTreeMap<String, Vec<i32>>, PlanError> {
    let Some(section) = section else { return Ok(BTreeMap::new()) };
    let url = stores.resolve(&section.source).map_err(PlanError::input("designations.source"))?;
    let file = stores.file(&url).map_err(PlanError::input("designations.source"))?;
    let bytes = file.all(MAX_CSV_BYTES).await.map_err(PlanError::input("designations.source"))?;
    parse_designations(section, &bytes)
}

fn parse_designations(section: &DesignationsSection, bytes: &[u8]) -> Result<BTreeMap<String, Vec<i32>>, PlanError> {
    let source = &section.source;
    let unreadable = |error: csv::Error| {
        PlanError::unfit("designations.source", format!("{source}: {error}"), "give a CSV file with a header line")
    };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().flexible(false).trim(csv::Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(unreadable)?.clone();
    let column = |key: &str, given: Option<&String>, usual: &[&str]| {
        let wanted: Vec<&str> = given.map_or_else(|| usual.to_vec(), |name| vec![name.as_str()]);
        wanted.iter().find_map(|name| header.iter().position(|column| column == *name)).ok_or_else(|| {
            PlanError::unfit(
                key,
                format!("{source} has no column {}", wanted.join(" or ")),
                format!("name one of: {}", header.iter().collect::<Vec<_>>().join(", ")),
            )
        })
    };
    let id = column("designations.id", section.id.as_ref(), &["county_id", "id", "pcode", "ocha_pcode"])?;
    let year = column("designations.year", section.year.as_ref(), &["year", "designated_year"])?;
    let mut designated: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for row in reader.records() {
        let row = row.map_err(unreadable)?;
        let (county, text) = (row.get(id).unwrap_or_default(), row.get(year).unwrap_or_default());
        if county.is_empty() {
            continue;
        }
        let year: i32 = text.parse().map_err(|_| {
            let line = row.position().map_or(0, csv::Position::line);
            PlanError::unfit(
                "designations.year",
                format!("line {line} of {source}: `{text}` is not a year"),
                "write it as 2024",
            )
        })?;
        designated.entry(county.to_owned()).or_default().push(year);
    }
    for years in designated.values_mut() {
        years.sort_unstable();
        years.dedup();
    }
    Ok(designated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> DesignationsSection {
        DesignationsSection { source: "d.csv".into(), id: None, year: None }
    }

    #[test]
    fn years_are_collected_by_county() {
        let parsed = parse_designations(&section(), b"year,ocha_pcode\n2025,KP1\n2024,KP1\n2024,KP2\n2026,\n").unwrap();
        assert_eq!(parsed, BTreeMap::from([("KP1".into(), vec![2024, 2025]), ("KP2".into(), vec![2024])]));
    }

    #[test]
    fn a_bad_year_and_a_missing_column_are_named() {
        let error = parse_designations(&section(), b"year,pcode\nsoon,KP1\n").unwrap_err().to_string();
        assert_eq!(error, "designations.year: line 2 of d.csv: `soon` is not a year; write it as 2024");
        assert!(parse_designations(&section(), b"year,x\n").unwrap_err().to_string().contains("name one of: year, x"));
    }
}

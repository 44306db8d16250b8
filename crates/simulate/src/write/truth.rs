//! `truth.geojson`: every lot and every building of a world, what it is, and what of it is new.

use serde_json::{Value, json};

use crate::catalog::ring;
use crate::county::{FileCounty, holding};
use crate::geometry::{Convex, Point};
use crate::scenario::Scenario;
use crate::world::{Outline, Present, World};

/// The border of an outline as a polygon: rays from the centre for a blob.
fn polygon(outline: &Outline, world: &World) -> Convex {
    match outline {
        Outline::Polygon(polygon) => polygon.clone(),
        Outline::Blob(centre, radius, ragged) => Convex(
            (0..96)
                .map(|index| {
                    let direction = Point::of_bearing(360.0 - f64::from(index) * 3.75);
                    let (mut inside, mut outside) = (0.0, radius * (1.0 + 2.0 * ragged));
                    for _ in 0..24 {
                        let middle = 0.5 * (inside + outside);
                        if outline.depth(centre.plus(direction.times(middle)), world.seed) >= 0.0 {
                            inside = middle;
                        } else {
                            outside = middle;
                        }
                    }
                    centre.plus(direction.times(inside))
                })
                .collect(),
        ),
    }
}

/// Ground area over grid area where the world lies (Snyder 1987, eq. 8-11, to second order).
fn area_factor(scenario: &Scenario, p: Point) -> f64 {
    let east = (scenario.anchor.easting + f64::from(p.x) - 500_000.0) / 6_378_137.0;
    let scale = 0.9996 * (1.0 + east * east / 2.0);
    1.0 / (scale * scale)
}

/// The features of a world.
#[must_use]
pub fn features(scenario: &Scenario, counties: &[FileCounty]) -> Vec<Value> {
    let world = &scenario.world;
    let feature = |polygon: &Convex, mut properties: Value| {
        let centre = polygon.centre();
        let (lon, lat) = scenario.anchor.lon_lat(centre);
        let area_ha = polygon.area() * area_factor(scenario, centre) / 1e4;
        properties["county_id"] = json!(holding(counties, lon, lat).map(|county| county.id.clone()));
        properties["area_ha"] = json!((area_ha * 1e5).round() / 1e5);
        let ring = ring(&scenario.anchor, &polygon.0);
        let ring: Vec<Value> = ring.into_iter().map(|(lon, lat)| json!([lon, lat])).collect();
        json!({"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}})
    };
    let mut features = Vec::new();
    for site in &world.sites {
        let properties = json!({
            "kind": "lot",
            "name": site.name,
            "class": site.class.name(),
            "phase": site.phase.map(|phase| phase.name()),
            "change": site.present == Present::After,
        });
        features.push(feature(&polygon(&site.outline, world), properties));
    }
    for solid in &world.solids {
        let Some(site) = solid.site.and_then(|index| world.sites.get(usize::from(index))) else { continue };
        let properties = json!({
            "kind": "building",
            "lot": site.name,
            "class": site.class.name(),
            "change": solid.present == Present::After,
            "height_m": solid.height_m,
            "length_m": 2.0 * solid.rect.half_length,
            "width_m": 2.0 * solid.rect.half_width,
            "roofed": solid.top != crate::world::Top::Frame,
        });
        features.push(feature(&Convex(solid.rect.corners().to_vec()), properties));
    }
    features
}

//! The survey's one grid: its CRS from the county source, its resolution from the scenes.

use imagery::crs;
use survey::grid::Grid;
use survey::scene::Scene;
use survey::spec::GridSection;

use super::counties::LonLatBox;
use super::error::PlanError;

/// GSDs that differ by less than this share count as the same.
const SAME_GSD: f64 = 0.1;

/// The CRS: as given, or the UTM zone that holds the whole county source, or an equal-area CRS centred on it.
///
/// # Errors
/// Where the given CRS is unknown or geographic.
pub fn choose_crs(section: &GridSection, whole: &LonLatBox) -> Result<String, PlanError> {
    if let Some(given) = &section.crs {
        let crs = crs::Crs::parse(given).map_err(PlanError::input("grid.crs"))?;
        if crs.is_geographic() {
            return Err(PlanError::unfit(
                "grid.crs",
                format!("{given} is geographic, its unit is the degree"),
                "choose a projected CRS in metres, or leave the key out",
            ));
        }
        return Ok(given.clone());
    }
    let zone = |lon: f64| ((lon + 180.0) / 6.0).floor().rem_euclid(60.0);
    // A border on the zone's eastern limit still lies in the zone.
    let east = if whole.width() > 0.0 { whole.east - 1e-9 } else { whole.east };
    let one_zone = whole.east >= whole.west && zone(whole.west) == zone(east);
    let (lon, lat) = whole.centre();
    if one_zone && whole.south >= -80.0 && whole.north <= 84.0 {
        return Ok(crs::utm_for(lon, lat));
    }
    Ok(crs::laea(lon, lat))
}

/// The resolution: as given, or the coarser of the two dates' GSD.
///
/// # Errors
/// Where it is not given and the scenes of one date differ in GSD.
pub fn choose_resolution(section: &GridSection, before: &[Scene], after: &[Scene]) -> Result<f64, PlanError> {
    if let Some(given) = section.resolution_m {
        return Ok(given);
    }
    let mut coarsest: f64 = 0.0;
    for (key, scenes) in [("before", before), ("after", after)] {
        let finest = scenes.iter().min_by(|a, b| a.gsd_m.total_cmp(&b.gsd_m));
        let widest = scenes.iter().max_by(|a, b| a.gsd_m.total_cmp(&b.gsd_m));
        if let (Some(finest), Some(widest)) = (finest, widest) {
            if widest.gsd_m > finest.gsd_m * (1.0 + SAME_GSD) {
                return Err(PlanError::unfit(
                    "grid.resolution_m",
                    format!(
                        "the scenes of [{key}] have different resolutions ({} m in {}, {} m in {})",
                        finest.gsd_m, finest.id, widest.gsd_m, widest.id
                    ),
                    format!("set it, for instance to {}", round(widest.gsd_m)),
                ));
            }
            coarsest = coarsest.max(widest.gsd_m);
        }
    }
    if !(coarsest.is_finite() && coarsest > 0.0) {
        return Err(PlanError::unfit("grid.resolution_m", "no scene says its resolution", "set it"));
    }
    Ok(round(coarsest))
}

/// Three significant digits: a pixel of 0.29987 m makes a grid of 0.3 m.
fn round(metres: f64) -> f64 {
    format!("{metres:.2e}").parse().unwrap_or(metres)
}

/// The grid.
///
/// # Errors
/// See [`choose_crs`] and [`choose_resolution`].
pub fn choose(section: &GridSection, whole: &LonLatBox, before: &[Scene], after: &[Scene]) -> Result<Grid, PlanError> {
    Ok(Grid { crs: choose_crs(section, whole)?, resolution_m: choose_resolution(section, before, after)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(west: f64, south: f64, east: f64, north: f64) -> LonLatBox {
        LonLatBox { west, south, east, north }
    }

    #[test]
    fn one_zone_gives_utm_and_two_zones_give_equal_area() {
        let section = GridSection::default();
        assert_eq!(choose_crs(&section, &whole(126.0, 41.0, 131.9, 42.0)).unwrap(), "EPSG:32652");
        assert_eq!(choose_crs(&section, &whole(-75.0, -9.0, -74.0, -8.0)).unwrap(), "EPSG:32718");
        for two in [whole(125.0, 41.0, 127.0, 42.0), whole(179.0, -20.0, -179.0, -15.0)] {
            assert!(choose_crs(&section, &two).unwrap().starts_with("+proj=laea"));
        }
    }

    #[test]
    fn a_geographic_grid_is_refused() {
        let section = GridSection { crs: Some("EPSG:4326".into()), ..GridSection::default() };
        assert!(choose_crs(&section, &whole(0.0, 0.0, 1.0, 1.0)).unwrap_err().to_string().contains("geographic"));
    }

    #[test]
    fn a_resolution_keeps_three_digits() {
        assert_eq!((round(0.299_87), round(89.93), round(10.0), round(1.000_4)), (0.3, 89.9, 10.0, 1.0));
    }
}

//! Where a site lies in relation to known places.

use survey::plan::{Context, Place, Way};
use survey::result::NearbyPlace;

/// Semi-major axis and squared eccentricity of WGS 84.
const AXIS_M: f64 = 6_378_137.0;
const ECCENTRICITY2: f64 = 0.006_694_379_990_141_317;

/// The nearest place of each kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nearby {
    /// Railway station.
    pub station: Option<NearbyPlace>,
    /// Road: its nearest point.
    pub road: Option<NearbyPlace>,
    /// Town.
    pub town: Option<NearbyPlace>,
    /// Known facility.
    pub facility: Option<NearbyPlace>,
    /// Known greenhouse farm.
    pub greenhouse: Option<NearbyPlace>,
}

/// The nearest places to a point of the grid's CRS (a site's centroid); `project` maps CRS coordinates to longitude and
/// latitude. Of places equally far, the first by name, then by coordinates.
#[must_use]
pub fn nearby(context: &Context, x: f64, y: f64, project: &dyn Fn(f64, f64) -> (f64, f64)) -> Nearby {
    let place = |places: &[Place]| nearest(places.iter().map(|place| (&place.name, place.x, place.y)), x, y, project);
    Nearby {
        station: place(&context.stations),
        road: nearest(context.roads.iter().filter_map(|way| nearest_on(way, x, y)), x, y, project),
        town: place(&context.towns),
        facility: place(&context.facilities),
        greenhouse: place(&context.greenhouses),
    }
}

fn nearest<'a>(
    places: impl Iterator<Item = (&'a Option<String>, f64, f64)>,
    x: f64,
    y: f64,
    project: &dyn Fn(f64, f64) -> (f64, f64),
) -> Option<NearbyPlace> {
    let distance2 = |place: &(&Option<String>, f64, f64)| (place.1 - x) * (place.1 - x) + (place.2 - y) * (place.2 - y);
    let (name, px, py) = places.filter(|place| distance2(place).is_finite()).min_by(|a, b| {
        distance2(a)
            .total_cmp(&distance2(b))
            .then_with(|| a.0.cmp(b.0))
            .then_with(|| a.1.total_cmp(&b.1))
            .then_with(|| a.2.total_cmp(&b.2))
    })?;
    let (east, north) = offset_m(project(px, py), project(x, y));
    Some(NearbyPlace {
        name: name.clone(),
        distance_km: (east * east + north * north).sqrt() / 1000.0,
        bearing: bearing(east, north).to_owned(),
    })
}

/// The point of a way nearest to (x, y).
fn nearest_on(way: &Way, x: f64, y: f64) -> Option<(&Option<String>, f64, f64)> {
    let distance2 = |p: &(f64, f64)| (p.0 - x) * (p.0 - x) + (p.1 - y) * (p.1 - y);
    let feet = way.points.windows(2).map(|pair| {
        let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
        let (dx, dy) = (bx - ax, by - ay);
        let length2 = dx * dx + dy * dy;
        let along = if length2 > 0.0 { (((x - ax) * dx + (y - ay) * dy) / length2).clamp(0.0, 1.0) } else { 0.0 };
        (ax + along * dx, ay + along * dy)
    });
    let (px, py) = feet.chain(way.points.first().copied()).min_by(|a, b| distance2(a).total_cmp(&distance2(b)))?;
    Some((&way.name, px, py))
}

/// Metres to the east and to the north from one point to another (longitude, latitude, degrees), by the radii of
/// curvature of the ellipsoid at the mean latitude (Bowring 1981's mid-latitude rule; 10⁻⁵ of the distance below
/// 100 km).
#[must_use]
pub fn offset_m(from: (f64, f64), to: (f64, f64)) -> (f64, f64) {
    let middle = ((from.1 + to.1) / 2.0).to_radians();
    let sin = libm::sin(middle);
    let w2 = 1.0 - ECCENTRICITY2 * sin * sin;
    let prime_vertical = AXIS_M / w2.sqrt();
    let meridian = AXIS_M * (1.0 - ECCENTRICITY2) / (w2 * w2.sqrt());
    // Across the antimeridian the short way round.
    let turned = to.0 - from.0;
    let turned = if turned > 180.0 {
        turned - 360.0
    } else if turned < -180.0 {
        turned + 360.0
    } else {
        turned
    };
    (prime_vertical * libm::cos(middle) * turned.to_radians(), meridian * (to.1 - from.1).to_radians())
}

/// The nearest of eight compass points of a direction (metres to the east, to the north).
#[must_use]
pub fn bearing(east: f64, north: f64) -> &'static str {
    const POINTS: [&str; 8] = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];
    let degrees = libm::atan2(east, north).to_degrees();
    POINTS[((degrees / 45.0).round() as i64).rem_euclid(8) as usize]
}

/// Degrees clockwise from north, 0 ≤ d < 180, of a line through two points (longitude, latitude).
#[must_use]
pub fn azimuth_deg(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (east, north) = offset_m(from, to);
    let degrees = libm::atan2(east, north).to_degrees();
    let degrees = if degrees < 0.0 { degrees + 180.0 } else { degrees };
    if degrees >= 180.0 { 0.0 } else { degrees }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A toy CRS: metres around 41.6° N, 129.7° E.
    fn project(x: f64, y: f64) -> (f64, f64) {
        (129.7 + x / 83_378.0, 41.6 + y / 111_067.0)
    }

    fn place(name: &str, x: f64, y: f64) -> Place {
        Place { name: Some(name.into()), x, y }
    }

    #[test]
    fn a_site_south_west_of_the_station_says_so() {
        let context = Context {
            stations: vec![place("Far", 9000.0, 0.0), place("Kyongsong Station", 354.0, 354.0)],
            greenhouses: vec![place("Jungphyong", 1770.0, -1770.0)],
            ..Context::default()
        };
        let near = nearby(&context, 0.0, 0.0, &project);
        let station = near.station.unwrap();
        assert_eq!(station.name.as_deref(), Some("Kyongsong Station"));
        assert_eq!(station.bearing, "SW");
        assert!((station.distance_km - 0.5).abs() < 0.002, "{}", station.distance_km);
        let farm = near.greenhouse.unwrap();
        assert_eq!((farm.bearing.as_str(), format!("{:.1}", farm.distance_km)), ("NW", "2.5".to_owned()));
        assert_eq!((near.road, near.town), (None, None));
    }

    #[test]
    fn distances_are_those_of_the_ellipsoid() {
        // pyproj 3.7.2 Geod(ellps="WGS84").inv: (129.7, 41.6) to (129.8, 41.65) is 10014.34 m; one degree of longitude at
        // the equator 111319.49 m; one of latitude at 60° N (59.5 to 60.5) 111412.27 m.
        let length = |from, to| {
            let (east, north) = offset_m(from, to);
            east.hypot(north)
        };
        assert!((length((129.7, 41.6), (129.8, 41.65)) - 10_014.341).abs() < 0.2);
        assert!((length((10.0, 0.0), (11.0, 0.0)) - 111_319.49).abs() < 0.1);
        assert!((length((10.0, 59.5), (10.0, 60.5)) - 111_412.273).abs() < 1.0);
        assert!((length((179.9, 0.0), (-179.9, 0.0)) - 22_263.9).abs() < 0.1);
    }

    #[test]
    fn the_eight_points_of_the_compass() {
        let said: Vec<&str> = (0..8)
            .map(|k| bearing((f64::from(k) * 45.0).to_radians().sin(), (f64::from(k) * 45.0).to_radians().cos()))
            .collect();
        assert_eq!(said, ["N", "NE", "E", "SE", "S", "SW", "W", "NW"]);
        assert_eq!((bearing(0.4, 1.0), bearing(0.5, 1.0)), ("N", "NE"));
    }

    #[test]
    fn a_road_is_as_far_as_its_nearest_point_and_equal_places_have_an_order() {
        let road = Way { name: None, points: vec![(-1000.0, 120.0), (1000.0, 120.0), (1000.0, 900.0)] };
        let context = Context {
            roads: vec![Way { name: None, points: vec![] }, road],
            towns: vec![place("B", 100.0, 0.0), place("A", -100.0, 0.0)],
            ..Context::default()
        };
        let near = nearby(&context, 0.0, 0.0, &project);
        let road = near.road.unwrap();
        assert!((road.distance_km - 0.12).abs() < 0.001 && road.bearing == "S");
        assert_eq!(near.town.unwrap().name.as_deref(), Some("A"));
    }

    #[test]
    fn a_line_has_one_azimuth_whichever_way_it_is_drawn() {
        let (a, b) = ((129.7, 41.6), (129.71, 41.6));
        assert!((azimuth_deg(a, b) - 90.0).abs() < 1e-9 && (azimuth_deg(b, a) - 90.0).abs() < 1e-9);
        assert_eq!(azimuth_deg((1.0, 1.0), (1.0, 2.0)), 0.0);
        assert_eq!(azimuth_deg((1.0, 2.0), (1.0, 1.0)), 0.0);
    }
}

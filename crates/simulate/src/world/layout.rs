//! Two maps: the invented province that `make demo` surveys, and the land around a station in a county of a file.

use super::build::FactoryPlan;
use super::parcels::Parcels;
use super::{Ground, Hill, Patch, Phase, Place, Present, Way, WayKind, World};
use crate::covers::Crop;
use crate::geometry::{Bounds, Point, Rect, point, smooth, to_line};
use crate::noise::Dice;

/// Width of the province, metres.
pub const PROVINCE_WIDTH_M: f32 = 4200.0;
/// Height of the province, metres.
pub const PROVINCE_HEIGHT_M: f32 = 3800.0;

fn line(points: &[(f32, f32)]) -> Vec<Point> {
    smooth(&points.iter().map(|&(x, y)| point(x, y)).collect::<Vec<_>>())
}

fn way(kind: WayKind, line: Vec<Point>, half_width: f32) -> Way {
    Way { kind, line, half_width, present: Present::Always }
}

/// A world with ways and hills and nothing built.
fn land(seed: u64, bounds: Bounds, heading: Point, hills: Vec<Hill>, ways: Vec<Way>) -> World {
    let rivers: Vec<Vec<Point>> =
        ways.iter().filter(|way| way.kind == WayKind::River).map(|way| way.line.clone()).collect();
    let wetness = |p: Point| {
        let distance = rivers.iter().map(|river| to_line(p, river)).fold(f32::MAX, f32::min);
        (1.0 - (distance - 150.0) / 450.0).clamp(0.0, 1.0)
    };
    World {
        seed: Dice::new(seed, 1).bits(),
        bounds,
        parcels: Parcels::new(bounds.grown(600.0), heading, seed, &wetness),
        hills,
        patches: Vec::<Patch>::new(),
        ways,
        solids: Vec::new(),
        trees: Vec::new(),
        sites: Vec::new(),
        places: Vec::new(),
    }
}

/// The nearest point of a line and the direction of the line there.
fn nearest_on(line: &[Point], p: Point) -> (Point, Point) {
    let mut best = (f32::MAX, p, point(1.0, 0.0));
    for (&a, &b) in line.iter().zip(line.iter().skip(1)) {
        let (distance, along) = crate::geometry::to_segment(p, a, b);
        if distance < best.0 {
            let direction = b.minus(a).unit();
            best = (distance, a.plus(direction.times(along)), direction);
        }
    }
    (best.1, best.2)
}

/// The province: about 4 × 4 km with a river, a railway with two stations, a town, villages, old and new factories.
#[must_use]
pub fn province(seed: u64) -> World {
    let mut dice = Dice::new(seed, 2);
    let bounds = Bounds { min: point(0.0, 0.0), max: point(PROVINCE_WIDTH_M, PROVINCE_HEIGHT_M) };
    let mut wander = |x: f32, y: f32| (x + dice.between(-40.0, 40.0), y + dice.between(-40.0, 40.0));
    let river = line(&[
        (-400.0, 2700.0),
        wander(300.0, 2500.0),
        wander(900.0, 2330.0),
        wander(1600.0, 2520.0),
        wander(2300.0, 2180.0),
        wander(3000.0, 2300.0),
        wander(3600.0, 1880.0),
        (4700.0, 1650.0),
    ]);
    let rail = line(&[
        (-400.0, 820.0),
        wander(300.0, 960.0),
        wander(900.0, 1120.0),
        wander(1900.0, 1360.0),
        wander(2800.0, 1330.0),
        wander(3600.0, 1060.0),
        (4700.0, 900.0),
    ]);
    let ways = vec![
        way(WayKind::River, river.clone(), 17.0),
        way(WayKind::Ditch, line(&[(1050.0, 2330.0), (1150.0, 1900.0), (1000.0, 1500.0), (1060.0, 1190.0)]), 1.8),
        way(WayKind::Ditch, line(&[(3050.0, 2280.0), (3150.0, 2700.0), (3500.0, 3000.0)]), 1.8),
        way(
            WayKind::Road,
            line(&[
                (-400.0, 1010.0),
                (300.0, 1150.0),
                (900.0, 1310.0),
                (1900.0, 1560.0),
                (2900.0, 1520.0),
                (3700.0, 1240.0),
                (4700.0, 1080.0),
            ]),
            3.6,
        ),
        way(
            WayKind::Road,
            line(&[
                (1480.0, -400.0),
                (1560.0, 700.0),
                (1500.0, 1460.0),
                (1450.0, 2450.0),
                (1600.0, 3200.0),
                (1500.0, 4200.0),
            ]),
            3.2,
        ),
        way(WayKind::Road, line(&[(2900.0, 1520.0), (3060.0, 2300.0), (3000.0, 3000.0), (2600.0, 4200.0)]), 2.8),
        way(WayKind::Road, line(&[(2250.0, 1560.0), (2420.0, 800.0), (2250.0, 200.0), (2300.0, -400.0)]), 2.8),
        way(WayKind::Road, line(&[(-400.0, 2150.0), (500.0, 2050.0), (1470.0, 1960.0)]), 2.6),
        way(WayKind::Rail, rail.clone(), 2.4),
    ];
    let hills = [
        (420.0, 3560.0, 900.0),
        (2250.0, 3700.0, 760.0),
        (3900.0, 260.0, 820.0),
        (1950.0, -80.0, 560.0),
        (300.0, 130.0, 520.0),
        (4150.0, 3300.0, 620.0),
    ];
    let hills = hills.map(|(x, y, radius_m)| Hill { at: point(x, y), radius_m }).to_vec();
    let mut world = land(seed, bounds, Point::of_bearing(74.0), hills, ways);

    let (west, west_rail) = nearest_on(&rail, point(880.0, 1120.0));
    let (south, south_rail) = nearest_on(&rail, point(2720.0, 1330.0));
    world.station("Gaon Station", west, west_rail);
    world.station("Byeolmoru Station", south, south_rail);

    // What changes. The lots come first, so that trees keep off them.
    let factory = |name: &str, lot: Rect, halls, phase, present, before| FactoryPlan {
        name: name.into(),
        lot,
        halls,
        phase,
        present,
        before,
    };
    let near = |station: Point, bearing: f64, distance: f32| station.plus(Point::of_bearing(bearing).times(distance));
    let lot = Rect::new(near(west, 225.0, 500.0), west_rail, 212.0, 155.0);
    world.factory(
        &factory("Gaon light-industry factory", lot, 4, Phase::Frames, Present::After, Crop::Vegetables),
        &mut dice,
    );
    let lot = Rect::new(near(south, 160.0, 430.0), south_rail, 176.0, 122.0);
    world.factory(&factory("Byeolmoru food factory", lot, 3, Phase::Roofed, Present::After, Crop::Maize), &mut dice);
    let lot = Rect::new(point(640.0, 2860.0), Point::of_bearing(70.0), 158.0, 108.0);
    world.factory(
        &factory("Nalgae garment factory", lot, 3, Phase::GroundWorks, Present::After, Crop::Vegetables),
        &mut dice,
    );
    let lot = Rect::new(point(3700.0, 2550.0), Point::of_bearing(100.0), 180.0, 130.0);
    world.factory(&factory("Duru factory", lot, 4, Phase::Frames, Present::After, Crop::Maize), &mut dice);
    let lot = Rect::new(point(1980.0, 1230.0), Point::of_bearing(80.0), 190.0, 130.0);
    world.factory(&factory("Hanbit machine works", lot, 4, Phase::Roofed, Present::Always, Crop::Maize), &mut dice);
    let axis = Point::of_bearing(98.0);
    world.settlement("Saebyeok estate", point(2560.0, 2760.0), axis, (12, 7), (15.5, 21.0), Present::After, &mut dice);
    world.greenhouses(
        "Nalgae greenhouse farm",
        Rect::new(point(1010.0, 2840.0), Point::of_bearing(76.0), 190.0, 150.0),
        Present::After,
        &mut dice,
    );
    world.greenhouses(
        "Hanbit greenhouse farm",
        Rect::new(point(2480.0, 1840.0), Point::of_bearing(84.0), 170.0, 92.0),
        Present::Always,
        &mut dice,
    );
    world.blob(
        "flood",
        nearest_on(&river, point(2080.0, 2260.0)).0.plus(point(-40.0, 150.0)),
        105.0,
        Ground::Flood,
        Present::After,
    );
    world.blob("stubble fire", point(330.0, 1660.0), 95.0, Ground::Burnt, Present::After);
    world.blob("pond", point(1250.0, 640.0), 62.0, Ground::Pond, Present::Always);
    world.blob("reservoir", point(3420.0, 560.0), 120.0, Ground::Pond, Present::Always);

    world.town("Hanbit", point(2010.0, 1760.0), Point::of_bearing(78.0), &mut dice);
    for (name, x, y, bearing, size) in [
        ("Dolmaru", 560.0, 1960.0, 85.0, (9, 5)),
        ("Araetmaul", 540.0, 490.0, 66.0, (8, 5)),
        ("Neulpum", 3320.0, 2680.0, 110.0, (8, 6)),
        ("Haetsal", 2620.0, 640.0, 82.0, (9, 4)),
        ("Solgol", 1300.0, 3050.0, 75.0, (7, 5)),
        ("Morae", 3700.0, 1480.0, 100.0, (9, 6)),
    ] {
        world.settlement(name, point(x, y), Point::of_bearing(bearing), size, (16.5, 24.0), Present::Always, &mut dice);
        world.places.push(Place { name: name.into(), at: point(x, y), kind: "town" });
    }
    world.places.push(Place { name: "Hanbit".into(), at: point(2010.0, 1760.0), kind: "town" });
    world.places.push(Place { name: "Hanbit greenhouse farm".into(), at: point(2480.0, 1840.0), kind: "greenhouse" });
    world.places.push(Place { name: "Hanbit machine works".into(), at: point(1980.0, 1230.0), kind: "factory" });
    world.roadside_trees(&mut dice);
    world
}

/// What lies around a station.
#[derive(Clone, Debug)]
pub struct StationPlan {
    /// The station's name.
    pub station: String,
    /// Half the side of the world, metres; the station is its centre.
    pub half_m: f32,
    /// Bearing from the station to the new factory, degrees.
    pub lot_bearing: f64,
    /// Distance from the station to the factory's centre, metres.
    pub lot_distance_m: f32,
    /// Area of its lot, hectares.
    pub lot_ha: f32,
    /// How far it is.
    pub phase: Phase,
}

/// The land around a station, with a new factory near it; the rest is as a county is.
#[must_use]
pub fn around_station(seed: u64, plan: &StationPlan) -> World {
    let mut dice = Dice::new(seed, 3);
    let half = plan.half_m;
    let centre = point(half, half);
    let bounds = Bounds { min: point(0.0, 0.0), max: point(2.0 * half, 2.0 * half) };
    // The railway passes the lot at a distance: 25° off the direction to the lot.
    let rail_axis = Point::of_bearing(plan.lot_bearing - 205.0);
    let side = rail_axis.left();
    let at = |along: f32, across: f32| centre.plus(rail_axis.times(along)).plus(side.times(across));
    let lot_at = centre.plus(Point::of_bearing(plan.lot_bearing).times(plan.lot_distance_m));
    // The side of the railway that the lot lies on.
    let lot_side = if lot_at.minus(centre).dot(side) >= 0.0 { 1.0 } else { -1.0 };
    let far = 1.7 * half;
    let bent = |along: f32, across: f32| at(along, across * lot_side);
    let rail =
        smooth(&[at(-far, 120.0 * lot_side), at(-0.5 * half, 0.0), at(0.4 * half, 0.0), at(far, -90.0 * lot_side)]);
    let river = smooth(&[
        bent(-far, 0.66 * half),
        bent(-0.4 * half, 0.52 * half),
        bent(0.1 * half, 0.64 * half),
        bent(0.6 * half, 0.5 * half),
        bent(far, 0.72 * half),
    ]);
    let ways = vec![
        way(WayKind::River, river, 13.0),
        way(
            WayKind::Ditch,
            smooth(&[bent(-0.2 * half, -0.1 * half), bent(-0.3 * half, -0.5 * half), bent(-0.2 * half, -far)]),
            1.6,
        ),
        way(
            WayKind::Road,
            smooth(&[bent(-far, 30.0), bent(-0.5 * half, -70.0), bent(0.4 * half, -64.0), bent(far, -190.0)]),
            3.4,
        ),
        way(
            WayKind::Road,
            smooth(&[
                bent(0.32 * half, -far),
                bent(0.24 * half, -70.0),
                bent(0.3 * half, 0.5 * half),
                bent(0.2 * half, far),
            ]),
            2.8,
        ),
        way(WayKind::Rail, rail, 2.4),
    ];
    let hills = vec![
        Hill { at: bent(-0.75 * half, -0.95 * half), radius_m: 0.75 * half },
        Hill { at: bent(0.9 * half, 1.15 * half), radius_m: 0.7 * half },
        Hill { at: bent(1.0 * half, -0.9 * half), radius_m: 0.5 * half },
    ];
    let mut world = land(seed, bounds, rail_axis, hills, ways);
    world.station(&plan.station, centre, rail_axis.times(lot_side));

    let area = plan.lot_ha * 1e4;
    let length = (area * 1.45).sqrt();
    let lot = Rect::new(lot_at, rail_axis, length, area / length);
    let name = format!("factory near {}", plan.station);
    world.factory(
        &FactoryPlan {
            name,
            lot,
            halls: if plan.lot_ha > 2.2 { 4 } else { 3 },
            phase: plan.phase,
            present: Present::After,
            before: Crop::Vegetables,
        },
        &mut dice,
    );
    let old = Rect::new(bent(0.14 * half, -210.0), rail_axis, 150.0, 100.0);
    world.factory(
        &FactoryPlan {
            name: "old works".into(),
            lot: old,
            halls: 3,
            phase: Phase::Roofed,
            present: Present::Always,
            before: Crop::Maize,
        },
        &mut dice,
    );
    world.places.push(Place { name: "Old works".into(), at: old.centre, kind: "factory" });
    world.settlement(
        "new houses",
        bent(0.62 * half, 0.22 * half),
        rail_axis,
        (7, 4),
        (15.5, 21.0),
        Present::After,
        &mut dice,
    );
    world.blob("stubble fire", bent(-0.62 * half, -0.3 * half), 62.0, Ground::Burnt, Present::After);
    world.blob("pond", bent(0.75 * half, -0.45 * half), 55.0, Ground::Pond, Present::Always);
    world.town(&plan.station, bent(0.46 * half, -0.28 * half), rail_axis, &mut dice);
    for (name, along, across, size) in
        [("Utmaul", -0.72, 0.3, (7, 5)), ("Saemaul", 0.05, -0.62, (8, 4)), ("Ganggae", 0.35, 0.86, (7, 4))]
    {
        let p = bent(along * half, across * half);
        world.settlement(name, p, rail_axis, size, (16.5, 24.0), Present::Always, &mut dice);
        world.places.push(Place { name: name.into(), at: p, kind: "town" });
    }
    world.roadside_trees(&mut dice);
    world
}

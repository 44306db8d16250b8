//! Sensors, scenes and whole scenarios: which satellites look at a world when, and small worlds for tests.

use chrono::{DateTime, Utc};
use survey::grid::{Grid, PixelRect};
use survey::raster::{BandPlane, PixelState, Plane, SceneWindow};
use survey::scene::BandName;

use crate::covers::Crop;
use crate::geometry::{Bounds, Convex, Point, Rect, point};
use crate::noise::{Dice, fractal};
use crate::sensor::{Anchor, Band, Camera, Clouds, Dtype, PixelWindow, SceneSpec, Sensor};
use crate::utm::Zone;
use crate::world::build::FactoryPlan;
use crate::world::layout::{self, StationPlan};
use crate::world::parcels::Parcels;
use crate::world::{Epoch, Phase, Present, World};

/// What may be asked of a date's sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SensorChoice {
    /// Side of a pixel, metres.
    pub gsd_m: Option<f64>,
    /// Type of samples; 8 bits are red, green, blue without calibration, 16 bits four calibrated bands.
    pub dtype: Option<Dtype>,
}

/// A world, where it lies, and the scenes of it.
pub struct Scenario {
    /// A name for the survey.
    pub name: String,
    /// The world.
    pub world: World,
    /// Where it lies.
    pub anchor: Anchor,
    /// The scenes.
    pub scenes: Vec<SceneSpec>,
}

fn bands(names: &[&'static str], gains: [f32; 4], haze: [f32; 4], dice: &mut Dice) -> Vec<Band> {
    const ORDER: [&str; 4] = ["blue", "green", "red", "nir"];
    names
        .iter()
        .filter_map(|&name| {
            let index = ORDER.iter().position(|known| *known == name)?;
            // The true calibration is a few percent off the nominal one.
            let off = dice.between(0.95, 1.05);
            Some(Band { name, index, gain: gains.get(index)? * off, haze: *haze.get(index)? })
        })
        .collect()
}

/// Larger pixels need more samples.
fn supersampling(gsd_m: f64) -> usize {
    match gsd_m {
        gsd if gsd < 0.75 => 1,
        gsd if gsd < 1.5 => 2,
        _ => 3,
    }
}

/// The sensor of the earlier date: about 1 m.
#[must_use]
pub fn before_sensor(choice: SensorChoice, seed: u64) -> Sensor {
    let mut dice = Dice::new(seed, 5);
    let gsd_m = choice.gsd_m.unwrap_or(1.0);
    let dtype = choice.dtype.unwrap_or(Dtype::Uint16);
    let bands = match dtype {
        Dtype::Uint16 => bands(
            &["blue", "green", "red", "nir"],
            [1850.0, 1900.0, 1950.0, 1800.0],
            [86.0, 58.0, 38.0, 16.0],
            &mut dice,
        ),
        Dtype::Uint8 => {
            bands(&["red", "green", "blue"], [640.0, 620.0, 600.0, 0.0], [26.0, 17.0, 12.0, 0.0], &mut dice)
        }
    };
    Sensor {
        platform: "groundsim-a",
        gsd_m,
        supersampling: supersampling(gsd_m),
        psf_px: 0.62,
        noise_dn: if dtype == Dtype::Uint8 { 1.0 } else { 2.4 },
        dtype,
        bands,
        misregistration_m: (f64::from(dice.between(0.25, 0.45)) * gsd_m, -f64::from(dice.between(0.2, 0.4)) * gsd_m),
        distortion: 2e-5,
    }
}

/// The sensor of the later date: about half a metre.
#[must_use]
pub fn after_sensor(choice: SensorChoice, names: &[&'static str], seed: u64) -> Sensor {
    let mut dice = Dice::new(seed, 6);
    let gsd_m = choice.gsd_m.unwrap_or(0.5);
    let dtype = choice.dtype.unwrap_or(Dtype::Uint16);
    let bands = match dtype {
        Dtype::Uint16 => bands(names, [2050.0, 2150.0, 2250.0, 2300.0], [58.0, 38.0, 24.0, 10.0], &mut dice),
        Dtype::Uint8 => bands(&["red", "green", "blue"], [700.0, 690.0, 680.0, 0.0], [18.0, 12.0, 8.0, 0.0], &mut dice),
    };
    Sensor {
        platform: "groundsim-b",
        gsd_m,
        supersampling: supersampling(gsd_m),
        psf_px: 0.55,
        noise_dn: if dtype == Dtype::Uint8 { 0.8 } else { 1.8 },
        dtype,
        bands,
        misregistration_m: (-f64::from(dice.between(0.1, 0.2)), f64::from(dice.between(0.1, 0.2))),
        distortion: -1e-5,
    }
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_default()
}

/// A scene over a box of the world, its corner on a whole number of pixels of its zone's grid.
fn over(anchor: &Anchor, zone: Zone, bounds: Bounds, scene: SceneSpec) -> SceneSpec {
    let gsd = scene.sensor.gsd_m;
    let corners =
        [bounds.min, bounds.max, point(bounds.min.x, bounds.max.y), point(bounds.max.x, bounds.min.y)].map(|p| {
            if zone == anchor.zone {
                (anchor.easting + f64::from(p.x), anchor.northing + f64::from(p.y))
            } else {
                let (lon, lat) = anchor.lon_lat(p);
                zone.forward(lon, lat)
            }
        });
    let west = corners.iter().map(|c| c.0).fold(f64::MAX, f64::min);
    let east = corners.iter().map(|c| c.0).fold(f64::MIN, f64::max);
    let south = corners.iter().map(|c| c.1).fold(f64::MAX, f64::min);
    let north = corners.iter().map(|c| c.1).fold(f64::MIN, f64::max);
    let (x0, y0) = ((west / gsd).floor() * gsd, (north / gsd).ceil() * gsd);
    // A multiple of 8, so that masks and overviews divide it.
    let count = |length: f64| ((length / gsd).ceil().clamp(8.0, 1e6) as u32).next_multiple_of(8);
    SceneSpec { zone, x0, y0, width: count(east - x0), height: count(y0 - south), ..scene }
}

/// Default side of a later pixel in the province, metres.
const PROVINCE_AFTER_GSD_M: f64 = 0.6;

/// The province's scenes: two per date that overlap, clouds in one, none of the later ones over the eastern county.
///
/// With `other_zone` the second scene of each date comes in the coordinates of the next UTM zone.
#[must_use]
pub fn province(seed: u64, before: SensorChoice, after: SensorChoice, clouds: bool, other_zone: bool) -> Scenario {
    let world = layout::province(seed);
    // In the East Sea, so that it is nowhere in particular.
    let zone = Zone::of(129.2, 39.4);
    let (easting, northing) = zone.forward(129.2, 39.4);
    let anchor = Anchor { zone, easting: easting.round(), northing: northing.round() };
    let top = layout::PROVINCE_HEIGHT_M;
    let bounds = |x0: f32, x1: f32| Bounds { min: point(x0, 0.0), max: point(x1, top) };
    let swath = |a: f32, b: f32, c: f32, d: f32| {
        Some(Convex(vec![point(a, -9.0), point(b, -9.0), point(d, top + 9.0), point(c, top + 9.0)]))
    };
    let second = if other_zone { zone.east() } else { zone };
    let early = SceneSpec {
        id: "groundsim-a_20230914T022109_w".into(),
        acquired: time("2023-09-14T02:21:09Z"),
        epoch: Epoch::Before,
        sensor: before_sensor(before, seed),
        sun: (152.0, 47.5),
        view: (96.0, 8.0),
        zone,
        x0: 0.0,
        y0: 0.0,
        width: 0,
        height: 0,
        valid: swath(-20.0, 2320.0, -60.0, 2280.0),
        clouds: None,
    };
    let early_east = SceneSpec {
        id: "groundsim-a_20230921T021544_e".into(),
        acquired: time("2023-09-21T02:15:44Z"),
        sun: (150.0, 45.0),
        view: (278.0, 11.5),
        valid: swath(2060.0, 4290.0, 2010.0, 4260.0),
        sensor: Sensor { misregistration_m: (-0.3, -0.35), ..before_sensor(before, seed.wrapping_add(1)) },
        ..early.clone()
    };
    let names = ["nir", "red", "green", "blue"];
    let after = SensorChoice { gsd_m: Some(after.gsd_m.unwrap_or(PROVINCE_AFTER_GSD_M)), ..after };
    let late = SceneSpec {
        id: "groundsim-b_20240529T020731_w".into(),
        acquired: time("2024-05-29T02:07:31Z"),
        epoch: Epoch::After,
        sensor: after_sensor(after, &names, seed),
        sun: (136.0, 66.0),
        view: (104.0, 14.0),
        valid: swath(-30.0, 2080.0, -70.0, 2010.0),
        clouds: clouds.then_some(Clouds {
            centre: point(1290.0, 1990.0),
            radius_m: 330.0,
            height_m: 900.0,
            seed: Dice::new(seed, 7).bits(),
        }),
        ..early.clone()
    };
    let late_centre = SceneSpec {
        id: "groundsim-b_20240606T021210_c".into(),
        acquired: time("2024-06-06T02:12:10Z"),
        sun: (139.0, 67.5),
        view: (284.0, 18.5),
        sensor: Sensor { misregistration_m: (0.16, 0.1), ..after_sensor(after, &names, seed.wrapping_add(1)) },
        valid: swath(1730.0, 3120.0, 1690.0, 3070.0),
        clouds: None,
        ..late.clone()
    };
    let scenes = vec![
        over(&anchor, zone, bounds(0.0, 2330.0), early),
        over(&anchor, second, bounds(2000.0, layout::PROVINCE_WIDTH_M), early_east),
        over(&anchor, zone, bounds(0.0, 2090.0), late),
        over(&anchor, second, bounds(1680.0, 3130.0), late_centre),
    ];
    Scenario { name: "north-gaon".into(), world, anchor, scenes }
}

/// What is known of a county where a station with a new factory is to be laid out.
#[derive(Clone, Debug)]
pub struct CountySite {
    /// Name for the survey and the scenes.
    pub name: String,
    /// Longitude and latitude of the station.
    pub station: (f64, f64),
    /// What lies around it.
    pub plan: StationPlan,
    /// Days of the two scenes, `2023-10-02`.
    pub days: (&'static str, &'static str),
}

/// One scene per date around a station.
#[must_use]
pub fn county(seed: u64, site: &CountySite, before: SensorChoice, after: SensorChoice) -> Scenario {
    let world = layout::around_station(seed, &site.plan);
    let zone = Zone::of(site.station.0, site.station.1);
    let (easting, northing) = zone.forward(site.station.0, site.station.1);
    let half = f64::from(site.plan.half_m);
    let anchor = Anchor { zone, easting: easting - half, northing: northing - half };
    let compact = |day: &str| day.replace('-', "");
    let safe: String =
        site.name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let early = SceneSpec {
        id: format!("groundsim-a_{}_{safe}", compact(site.days.0)),
        acquired: time(&format!("{}T02:21:09Z", site.days.0)),
        epoch: Epoch::Before,
        sensor: before_sensor(before, seed),
        sun: (158.0, 42.0),
        view: (101.0, 12.0),
        zone,
        x0: 0.0,
        y0: 0.0,
        width: 0,
        height: 0,
        valid: None,
        clouds: None,
    };
    let late = SceneSpec {
        id: format!("groundsim-b_{}_{safe}", compact(site.days.1)),
        acquired: time(&format!("{}T02:07:31Z", site.days.1)),
        epoch: Epoch::After,
        sensor: after_sensor(after, &["blue", "green", "red", "nir"], seed),
        sun: (138.0, 65.0),
        view: (283.0, 17.0),
        ..early.clone()
    };
    let scenes = vec![over(&anchor, zone, world.bounds, early), over(&anchor, zone, world.bounds, late)];
    Scenario { name: safe, world, anchor, scenes }
}

/// A world of fields and nothing else, for tests that build on it what they need.
#[must_use]
pub fn fields(seed: u64, side_m: f32) -> World {
    let bounds = Bounds { min: point(0.0, 0.0), max: point(side_m, side_m) };
    World {
        seed: Dice::new(seed, 1).bits(),
        bounds,
        parcels: Parcels::new(bounds.grown(300.0), Point::of_bearing(75.0), seed, &|p| {
            fractal(p.x / 300.0, p.y / 300.0, 5, 2) - 0.2
        }),
        hills: Vec::new(),
        patches: Vec::new(),
        ways: Vec::new(),
        solids: Vec::new(),
        trees: Vec::new(),
        sites: Vec::new(),
        places: Vec::new(),
    }
}

/// A small scenario: fields with one new factory lot of `lot_ha` in the middle, a scene per date; 512 m a side make
/// 512 pixels before and 1024 after.
#[must_use]
pub fn small(seed: u64, side_m: f32, lot_ha: f32, phase: Phase) -> Scenario {
    let mut world = fields(seed, side_m);
    let centre = point(side_m / 2.0, side_m / 2.0);
    let length = (lot_ha * 1e4 * 1.4).sqrt();
    let lot = Rect::new(centre, Point::of_bearing(70.0), length, lot_ha * 1e4 / length);
    let plan =
        FactoryPlan { name: "lot".into(), lot, halls: 3, phase, present: Present::After, before: Crop::Vegetables };
    world.factory(&plan, &mut Dice::new(seed, 8));
    let site = CountySite {
        name: "small".into(),
        station: (129.2, 39.4),
        plan: StationPlan {
            station: String::new(),
            half_m: side_m / 2.0,
            lot_bearing: 0.0,
            lot_distance_m: 0.0,
            lot_ha,
            phase,
        },
        days: ("2023-09-14", "2024-05-29"),
    };
    let scenario = county(seed, &site, SensorChoice::default(), SensorChoice::default());
    Scenario { world, ..scenario }
}

/// A scene as it looks on a survey's grid, as if it had been warped there without error: its values × scale, its gaps
/// and its clouds. The grid must be in the scene's zone.
#[must_use]
pub fn scene_window(scenario: &Scenario, scene: &SceneSpec, grid: &Grid, rect: PixelRect) -> SceneWindow {
    let (x0, y0) = grid.corner(rect.row0, rect.col0);
    let on_grid = SceneSpec {
        x0,
        y0,
        width: rect.cols() as u32,
        height: rect.rows() as u32,
        sensor: Sensor {
            gsd_m: grid.resolution_m,
            supersampling: supersampling(grid.resolution_m),
            ..scene.sensor.clone()
        },
        ..scene.clone()
    };
    let camera = Camera::new(&on_grid, &scenario.world, scenario.anchor);
    let window = PixelWindow { col0: 0, row0: 0, cols: on_grid.width, rows: on_grid.height };
    let count = on_grid.sensor.bands.len();
    let mut samples = vec![0.0f32; rect.pixels() * count];
    camera.expose(window, &mut samples, |value| value.round());
    let mut clouds = vec![0u8; rect.pixels()];
    camera.cloud_mask(window, 1, &mut clouds);
    let scale = if scene.sensor.dtype == Dtype::Uint16 { (1.0 / crate::catalog::NOMINAL_GAIN) as f32 } else { 1.0 };
    let state = samples.chunks_exact(count).zip(&clouds).map(|(pixel, &cloud)| {
        if pixel.iter().all(|&value| value == 0.0) {
            PixelState::Nodata
        } else if cloud != 0 {
            PixelState::Cloud
        } else {
            PixelState::Valid
        }
    });
    let state: Vec<PixelState> = state.collect();
    let planes =
        (0..count).map(|band| samples.chunks_exact(count).map(|pixel| pixel[band] * scale).collect::<Vec<f32>>());
    SceneWindow {
        bands: on_grid.sensor.bands.iter().map(|band| BandName::new(band.name)).collect(),
        planes: planes.filter_map(|data| Plane::from_vec(rect, data)).map(BandPlane::Values).collect(),
        state: Plane::from_vec(rect, state).unwrap_or_else(|| Plane::filled(rect, PixelState::NoScene)),
    }
}

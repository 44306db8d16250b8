//! Arbitrary plans, calibrations, findings and results.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use geo::{Coord, LineString, MultiPolygon, Polygon};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use survey::calibration::{BandGain, Calibration, IrMad, PairStatistics, QualityFlag, Registration};
use survey::county::County;
use survey::findings::{Component, Coverage, Findings, Run, Sums, UnreadableNote};
use survey::grid::{Cell, GeoTransform, Grid, PixelIndex, PixelRect};
use survey::ids::{CountyId, Digest, SceneId, SurveyId};
use survey::job::ObjectRef;
use survey::plan::{Context, Place, PlannedCell, SurveyPlan, Way};
use survey::result::{
    ChipRef, ClassProbabilities, CountyResult, Cover, DateRange, ExtendedChange, Footprint, NearbyPlace, Phase, Reason,
    Site, SiteClass,
};
use survey::scene::{Asset, BandName, MaskMeaning, Scene, SceneBand, SceneMask, ScenePair};
use survey::spec::DetectorSpec;

fn number() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        4 => proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        1 => Just(0.1 + 0.2),
        1 => Just(-0.0),
    ]
}

fn text() -> impl Strategy<Value = String> + Clone {
    prop_oneof!["[a-zA-Z0-9 _~-]{0,12}", Just("경성군 – Kyŏngsŏng".to_owned())]
}

fn polygon() -> impl Strategy<Value = Polygon<f64>> {
    let ring = vec((number(), number()), 3..7).prop_map(|points| {
        let mut coords: Vec<Coord<f64>> = points.into_iter().map(|(x, y)| Coord { x, y }).collect();
        coords.extend(coords.first().copied());
        LineString(coords)
    });
    vec(ring, 1..3).prop_map(|mut rings| {
        let exterior = rings.remove(0);
        Polygon::new(exterior, rings)
    })
}

fn multi_polygon() -> impl Strategy<Value = MultiPolygon<f64>> {
    vec(polygon(), 0..3).prop_map(MultiPolygon)
}

fn object() -> impl Strategy<Value = ObjectRef> {
    (0_u32..1000, any::<u64>()).prop_map(|(name, length)| ObjectRef {
        key: format!("stages/findings/{name}/-7.pb"),
        digest: Digest::of(&name.to_le_bytes()),
        length,
    })
}

fn bands() -> impl Strategy<Value = Vec<BandName>> {
    proptest::sample::subsequence(vec!["blue", "green", "red", "nir", "swir16", "thermal"], 1..5)
        .prop_map(|names| names.into_iter().map(BandName::new).collect())
}

fn scene() -> impl Strategy<Value = Scene> {
    let asset = (text(), number(), any::<u32>(), any::<u16>(), option::of(any::<u64>()), option::of(text())).prop_map(
        |(href, x0, width, bits_per_sample, size, etag)| Asset {
            checksum: etag.clone(),
            href,
            crs: "EPSG:32652".into(),
            transform: GeoTransform { x0, x_per_col: 0.3, x_per_row: 0.0, y0: -x0, y_per_col: 0.0, y_per_row: -0.3 },
            width,
            height: width / 3,
            bits_per_sample,
            band_count: bits_per_sample / 5,
            size,
            etag,
        },
    );
    let nodata = option::of(number());
    let meaning = proptest::sample::select(vec![
        MaskMeaning::DataMask,
        MaskMeaning::SceneClassification,
        MaskMeaning::LandsatQa,
        MaskMeaning::CloudMask,
    ]);
    (
        text(),
        (-1_i64 << 33..1 << 33, 0_u32..1_000_000_000),
        option::of(text()),
        (number(), option::of(number()), option::of(number())),
        multi_polygon(),
        vec(asset, 1..4),
        bands(),
        nodata,
        option::of(meaning),
    )
        .prop_map(
            |(id, (seconds, nanos), platform, (gsd_m, off_nadir, cloud), footprint, assets, bands, nodata, mask)| {
                let last = (assets.len() - 1) as u16;
                Scene {
                    id: SceneId(id),
                    acquired: DateTime::from_timestamp(seconds, nanos).unwrap(),
                    platform,
                    gsd_m,
                    off_nadir_deg: off_nadir,
                    cloud_cover: cloud,
                    footprint,
                    assets,
                    bands: bands
                        .into_iter()
                        .map(|name| SceneBand { name, asset: last, index: 7, scale: gsd_m, offset: -1.5, nodata })
                        .collect(),
                    masks: mask.into_iter().map(|meaning| SceneMask { asset: last, index: 0, meaning }).collect(),
                }
            },
        )
}

pub fn plan() -> impl Strategy<Value = SurveyPlan> {
    let county = (multi_polygon(), text(), option::of(text()), vec(1900_i32..2100, 0..3), vec(text(), 0..2));
    let place = (option::of(text()), number(), number()).prop_map(|(name, x, y)| Place { name, x, y });
    let way = (option::of(text()), vec((number(), number()), 0..4)).prop_map(|(name, points)| Way { name, points });
    let detector = (text(), option::of(vec(text(), 0..3)), number(), number(), 1_u32..9, any::<bool>()).prop_map(
        |(name, bands, min_site_ha, group_radius_m, max_pairs_per_cell, second_look)| DetectorSpec {
            name,
            bands,
            min_site_ha,
            max_site_ha: min_site_ha + 1.0,
            group_radius_m,
            max_pairs_per_cell,
            second_look,
        },
    );
    let cells =
        btree_map((-3000_i32..3000, -3000_i32..3000), proptest::sample::subsequence(vec![0_u32, 1, 2], 0..3), 0..9);
    (
        text(),
        (1e-3..1e4_f64, 1_i32..9000),
        detector,
        btree_map("[A-Z0-9]{3,6}", county, 0..4),
        vec(scene(), 1..3),
        vec((bands(), bands()), 3),
        cells,
        (vec(place.clone(), 0..3), vec(way, 0..3), vec(place, 0..2)),
    )
        .prop_map(
            |(name, (resolution_m, tile_px), detector, counties, scenes, pairs, cells, (stations, roads, towns))| {
                let last = (scenes.len() - 1) as u32;
                SurveyPlan {
                    survey: SurveyId(format!("{name}-1")),
                    name,
                    spec_hash: "ab".repeat(32),
                    grid: Grid { crs: "EPSG:32652".into(), resolution_m },
                    tile_px,
                    detector,
                    counties: counties
                        .into_iter()
                        .map(|(id, (border, name, parent, designated, notes))| County {
                            id: CountyId(id),
                            name,
                            parent,
                            designated,
                            border,
                            notes,
                        })
                        .collect(),
                    scenes,
                    pairs: pairs
                        .into_iter()
                        .map(|(before_bands, after_bands)| ScenePair {
                            before: 0,
                            after: last,
                            before_bands,
                            after_bands,
                            key: "a~b".into(),
                        })
                        .collect(),
                    cells: cells
                        .into_iter()
                        .map(|((row, col), pairs)| PlannedCell { cell: Cell { row, col }, pairs })
                        .collect(),
                    context: Context { stations, roads, towns: towns.clone(), facilities: towns, greenhouses: vec![] },
                }
            },
        )
}

pub fn calibration() -> impl Strategy<Value = Calibration> {
    let registration = (any::<[i32; 5]>(), any::<[i32; 4]>(), any::<u32>()).prop_map(|(values, linear, tie_points)| {
        let [centre_row, centre_col, shift_row, shift_col, residual] = values;
        Registration { centre_row, centre_col, shift_row, shift_col, linear, tie_points, residual }
    });
    let irmad = (1_usize..5, 1_usize..5)
        .prop_flat_map(|(before, after)| {
            let variates = before.min(after);
            (
                vec(number(), before),
                vec(number(), after),
                vec(vec(number(), before), variates),
                vec(vec(number(), after), variates),
                (vec(number(), variates), vec(number(), variates)),
            )
        })
        .prop_map(|(mean_before, mean_after, a, b, (rho, variance))| IrMad {
            mean_before,
            mean_after,
            a,
            b,
            rho,
            variance,
            rounds: 17,
        });
    let flags = proptest::sample::subsequence(
        vec![
            QualityFlag::RegistrationUnknown,
            QualityFlag::RegistrationPoor,
            QualityFlag::WeightCollapse,
            QualityFlag::ThresholdFlagsLittle,
            QualityFlag::ThresholdFlagsMuch,
            QualityFlag::RadiometryImplausible,
            QualityFlag::SmallSample,
        ],
        0..=7,
    );
    let threshold = prop_oneof![3 => number(), 1 => Just(f64::INFINITY)];
    (registration, irmad, bands(), number(), threshold, vec(number(), 6), any::<u64>(), flags).prop_map(
        |(registration, irmad, bands, gain, threshold, six, sample_px, quality)| {
            let (six, two): ([f64; 6], [f64; 2]) = (six.clone().try_into().unwrap(), [six[1], six[4]]);
            Calibration {
                registration,
                irmad,
                radiometry: bands.into_iter().map(|band| BandGain { band, gain, offset: -gain }).collect(),
                threshold,
                flagged_share: gain,
                changed_from: threshold,
                statistics: PairStatistics {
                    brightness_median: two,
                    brightness_sd: [two[1], two[0]],
                    vegetation_before: six,
                    vegetation_after: six,
                    gradient_noise: two,
                    brightness_p90: two,
                },
                sample_px,
                quality,
            }
        },
    )
}

/// Sorted, disjoint runs in `bounds`.
fn runs(bounds: PixelRect) -> impl Strategy<Value = Vec<Run>> {
    vec((0_u32..3, 0_i32..4, 1_i32..9), 0..30).prop_map(move |steps| {
        let mut runs: Vec<Run> = Vec::new();
        let (mut row, mut col) = (bounds.row0, bounds.col0);
        for (down, gap, length) in steps {
            if down > 0 {
                (row, col) = (row + down as i32, bounds.col0);
            }
            let run = Run { row, col0: col + gap, col1: col + gap + length };
            if run.row < bounds.row1 && run.col1 <= bounds.col1 {
                runs.push(run);
                col = run.col1;
            }
        }
        runs
    })
}

fn component(rect: PixelRect) -> impl Strategy<Value = Component> {
    let counts = (any::<i32>(), any::<[i64; 8]>(), any::<[u32; 5]>(), any::<bool>());
    (runs(rect), runs(rect), counts, any::<bool>(), 0_u64..1 << 40).prop_map(
        move |(runs, border, (max_logit, evidence, before, truncated), extended, many)| {
            let pixels = if extended { many } else { runs.iter().map(Run::len).sum() };
            let [crop, wood, bare, water, built] = before.map(u64::from);
            Component {
                first: (pixels > 0).then_some(PixelIndex { row: rect.row0, col: rect.col0 }),
                sums: Sums {
                    pixels,
                    max_logit,
                    crop_before: crop,
                    wood_before: wood,
                    bare_before: bare,
                    water_before: water,
                    built_before: built,
                    evidence,
                    rows: evidence[3],
                    cols: evidence[4],
                    by_pair: BTreeMap::from([(3, pixels / 2), (0, pixels - pixels / 2)]),
                    by_county: BTreeMap::from([(7, pixels / 3)]),
                    truncated,
                },
                bounds: rect,
                runs: if extended { vec![] } else { runs },
                extended,
                border,
            }
        },
    )
}

fn coverage() -> impl Strategy<Value = Coverage> {
    any::<[u64; 7]>().prop_map(|[surveyed, changed, no_scene, cloud, nodata, unreadable, failed_job]| Coverage {
        changed,
        surveyed,
        no_scene,
        cloud,
        nodata,
        unreadable,
        failed_job,
    })
}

fn note() -> impl Strategy<Value = UnreadableNote> {
    (text(), text()).prop_map(|(scene, cause)| UnreadableNote { scene, cause })
}

pub fn findings() -> impl Strategy<Value = Findings> {
    let rect = (-(1_i32 << 30)..(1 << 30) - 64, -(1_i32 << 30)..(1 << 30) - 64).prop_map(|(row0, col0)| PixelRect {
        row0,
        col0,
        row1: row0 + 64,
        col1: col0 + 64,
    });
    rect.prop_flat_map(|rect| {
        (
            vec(component(rect), 0..4),
            vec(component(rect), 0..4),
            btree_map(0_u32..9, coverage(), 0..4),
            btree_map(0_u32..9, vec(object(), 0..3), 0..3),
            btree_map(0_u32..9, vec(note(), 0..3), 0..3),
            btree_map(0_u32..9, any::<u64>(), 0..3),
            any::<bool>(),
        )
            .prop_map(move |(closed, open, coverage, closed_at, unreadable, small_px, has_failed)| Findings {
                rect,
                closed,
                open,
                coverage,
                closed_at,
                unreadable,
                small_px,
                failed: if has_failed { vec![rect] } else { vec![] },
            })
    })
}

fn site() -> impl Strategy<Value = Site> {
    let footprint = (polygon(), number()).prop_map(|(outline, area_m2)| Footprint {
        id: "K-1-2-b1".into(),
        outline,
        area_m2,
        length_m: 77.5,
        width_m: 25.0,
        azimuth_deg: 179.9,
        rectangularity: 0.97,
    });
    let nearby = option::of((option::of(text()), number()).prop_map(|(name, distance_km)| NearbyPlace {
        name,
        distance_km,
        bearing: "SW".into(),
    }));
    let class = proptest::sample::select(SiteClass::ALL.to_vec());
    let cover = proptest::sample::select(vec![
        Cover::Cropland,
        Cover::Woodland,
        Cover::Bare,
        Cover::Water,
        Cover::Built,
        Cover::Unknown,
    ]);
    let phase = proptest::sample::select(vec![Phase::GroundWorks, Phase::Frames, Phase::Roofed, Phase::None]);
    let day = (-100_000_i32..100_000).prop_map(|days| NaiveDate::from_epoch_days(days).unwrap());
    let dates = (day.clone(), day).prop_map(|(from, to)| DateRange { from, to });
    (
        (text(), any::<u64>(), number(), multi_polygon()),
        (class, cover.clone(), cover, phase, any::<bool>()),
        (0.0..=1.0_f64, 0.0..=1.0_f64),
        (vec(footprint, 0..3), btree_map("[a-z_]{1,8}", number(), 0..5)),
        (nearby.clone(), nearby),
        (dates.clone(), dates),
        vec(text(), 0..3),
    )
        .prop_map(
            |(
                (id, pixels, area_ha, outline),
                (class, before_cover, after_cover, phase, truncated),
                (factory, low),
                (footprints, features),
                (station, road),
                (before, after),
                notes,
            )| Site {
                id,
                county: CountyId::from("KP0216"),
                pixels,
                area_ha,
                outline,
                lon: 129.6,
                lat: area_ha.clamp(-90.0, 90.0),
                class,
                probabilities: ClassProbabilities { factory, residential: 1.0 - factory, greenhouse: 0.0, other: 0.0 },
                factory_interval: (low, 1.0),
                reasons: notes.iter().map(|text| Reason { text: text.clone(), log_odds: -area_ha }).collect(),
                summary: notes.join("; "),
                before_cover,
                before_cover_share: low,
                after_cover,
                phase,
                footprints,
                elongation: 3.1,
                building_elongation: area_ha,
                features,
                town: station.clone(),
                station,
                facility: None,
                greenhouse: road.clone(),
                road,
                before,
                after,
                scenes: notes.iter().cloned().map(SceneId).collect(),
                truncated,
                notes,
            },
        )
}

pub fn county_result() -> impl Strategy<Value = CountyResult> {
    let change = (text(), number()).prop_map(|(id, area_ha)| ExtendedChange { id, area_ha, lon: 129.0, lat: 41.5 });
    (
        coverage(),
        number(),
        vec(site(), 0..3),
        vec(change, 0..3),
        vec(note(), 0..3),
        vec(object(), 0..3),
        vec(text(), 0..3),
    )
        .prop_map(|(coverage, pixel_area_m2, sites, extended, unreadable, chips, quality)| CountyResult {
            county: CountyId::from("KP0216"),
            coverage,
            pixel_area_m2,
            construction_px: coverage.surveyed,
            sites,
            extended,
            unreadable,
            chips: chips
                .into_iter()
                .map(|object| ChipRef { name: format!("site-{}.png", object.length), object })
                .collect(),
            quality,
        })
}

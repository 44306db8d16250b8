use survey::grid::PixelRect;
use survey::raster::Plane;
use survey::scene::BandName;

use super::*;

/// SplitMix64 and Box-Muller: noise with a known distribution.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }
}

const NAMES: [&str; 4] = ["blue", "green", "red", "nir"];

fn window(rect: PixelRect, bands: &[Vec<f64>]) -> SceneWindow {
    SceneWindow {
        bands: NAMES[..bands.len()].iter().map(|name| BandName::new(name)).collect(),
        planes: bands
            .iter()
            .map(|band| Plane::from_vec(rect, band.iter().map(|&value| value as f32).collect()).unwrap().into())
            .collect(),
        state: Plane::filled(rect, PixelState::Valid),
    }
}

fn grid() -> Grid {
    Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 }
}

/// A pair whose canonical correlations are `rho`: independent standard normals, the later scene
/// `ρ x + √(1 − ρ²) n` by band.
fn gaussian_pair(rho: &[f64], rect: PixelRect, seed: u64) -> CellSample {
    let mut noise = Noise(seed);
    let (mut before, mut after) = (vec![Vec::new(); rho.len()], vec![Vec::new(); rho.len()]);
    for _ in 0..rect.pixels() {
        for (band, rho) in rho.iter().enumerate() {
            let x = noise.normal();
            before[band].push(x);
            after[band].push(rho * x + (1.0 - rho * rho).sqrt() * noise.normal());
        }
    }
    CellSample { before: window(rect, &before), after: window(rect, &after) }
}

fn scores(sample: &[CellSample], irmad: &IrMad) -> Vec<f64> {
    let scorer = Scorer::new(irmad);
    let pair = PairSample::new(sample);
    let rows = pair.by_strip(Vec::new, |all, row| {
        let mut scores = vec![0.0; row.cols.len()];
        scorer.score_row(&row.bands, &mut scores);
        all.extend(scores);
    });
    rows.into_iter().flatten().collect()
}

#[test]
fn a_gaussian_pair_without_change_scores_as_chi_squared() {
    let rho = [0.95, 0.8, 0.5];
    let sample = [gaussian_pair(&rho, PixelRect::new(0, 0, 512, 1024), 1)];
    let unweighted = Rounds { max: 0, variance_floor: 0.0, ..Rounds::DEFAULT };
    let fit = irmad::fit(&PairSample::new(&sample), unweighted);
    for (found, expected) in fit.irmad.rho.iter().zip(rho) {
        assert!((found - expected).abs() < 0.005, "{found} {expected}");
    }
    for (variance, rho) in fit.irmad.variance.iter().zip(rho) {
        assert!((variance - 2.0 * (1.0 - rho)).abs() < 0.01);
    }
    // Kolmogorov-Smirnov against the distribution with three degrees of freedom.
    let mut scores = scores(&sample, &fit.irmad);
    scores.sort_unstable_by(f64::total_cmp);
    let (count, mut tails) = (scores.len() as f64, scores.clone());
    upper_tails(3, &mut tails);
    let furthest = scores
        .iter()
        .enumerate()
        .zip(&tails)
        .map(|((rank, _), tail)| ((rank as f64 + 0.5) / count - (1.0 - tail)).abs())
        .fold(0.0, f64::max);
    assert!(furthest < 0.01, "{furthest}");
}

#[test]
fn an_invertible_mix_of_the_later_bands_changes_no_score() {
    let rect = PixelRect::new(0, 0, 200, 200);
    let sample = [gaussian_pair(&[0.9, 0.7, 0.4], rect, 2)];
    let mut mixed = sample[0].clone();
    let bands: Vec<Vec<f64>> = sample[0]
        .after
        .planes
        .iter()
        .map(|plane| plane.values().data().iter().map(|&value| f64::from(value)).collect())
        .collect();
    let mix = [[2.0, 0.5, -0.3], [0.1, -1.5, 0.2], [0.4, 0.3, 0.8]];
    let turned: Vec<Vec<f64>> = mix
        .iter()
        .map(|row| {
            (0..rect.pixels()).map(|at| 40.0 + (0..3).map(|band| row[band] * bands[band][at]).sum::<f64>()).collect()
        })
        .collect();
    mixed.after = window(rect, &turned);
    let mixed = [mixed];
    let rounds = Rounds { ridge: 0.0, ..Rounds::DEFAULT };
    let (plain, other) =
        (irmad::fit(&PairSample::new(&sample), rounds).irmad, irmad::fit(&PairSample::new(&mixed), rounds).irmad);
    for (a, b) in scores(&sample, &plain).iter().zip(scores(&mixed, &other)) {
        // The bands are single precision: 1e-7 of 40 in the mixed values.
        assert!((a - b).abs() < 1e-3 * (1.0 + a), "{a} {b}");
    }
}

#[test]
fn a_scene_that_differs_by_gain_and_offset_alone_scores_nought_and_never_nan() {
    let rect = PixelRect::new(0, 0, 128, 128);
    let mut sample = gaussian_pair(&[0.5, 0.5], rect, 3);
    let bands: Vec<Vec<f64>> = sample
        .before
        .planes
        .iter()
        .map(|plane| plane.values().data().iter().map(|&value| 2.0 * f64::from(value) + 8.0).collect())
        .collect();
    sample.after = window(rect, &bands);
    let fit = fit(&[sample.clone()], &grid(), Registration::default(), &DetectorSpec::default());
    assert!(fit.irmad.rho.iter().all(|&rho| rho > 0.999_99));
    assert!(scores(&[sample], &fit.irmad).iter().all(|&t| t < 1e-3));
    for gain in &fit.radiometry {
        assert!((gain.gain - 2.0).abs() < 1e-4 && (gain.offset - 8.0).abs() < 1e-4);
    }
}

#[test]
fn constant_and_empty_scenes_have_a_calibration_that_says_so() {
    let rect = PixelRect::new(0, 0, 64, 64);
    let flat = window(rect, &[vec![7.0; rect.pixels()], vec![9.0; rect.pixels()]]);
    let constant = CellSample { before: flat.clone(), after: flat };
    let mut empty = constant.clone();
    empty.before.state = Plane::filled(rect, PixelState::Nodata);
    for (sample, pixels) in [(constant, 4096), (empty, 0)] {
        for name in ["default", "irmad", "cva"] {
            let detector = DetectorSpec { name: name.into(), ..DetectorSpec::default() };
            let calibration = fit(std::slice::from_ref(&sample), &grid(), Registration::default(), &detector);
            assert_eq!(calibration.sample_px, pixels);
            assert!(calibration.quality.contains(&QualityFlag::ThresholdFlagsLittle), "{name}");
            assert!(calibration.quality.contains(&QualityFlag::SmallSample));
            assert!(calibration.threshold.is_finite() && calibration.flagged_share == 0.0);
        }
    }
}

#[test]
fn large_numbers_with_one_bit_of_noise_keep_their_variance() {
    let rect = PixelRect::new(0, 0, 64, 64);
    let values: Vec<f64> = (0..rect.pixels()).map(|at| 9999.0 + (at % 2) as f64).collect();
    let scene = window(rect, &[values]);
    let sample = [CellSample { before: scene.clone(), after: scene }];
    let found = moments::moments(&PairSample::new(&sample), |_, weights| weights.fill(1.0));
    assert_eq!(found.mean, [9999.5, 9999.5]);
    assert_eq!(found.covariance.at(0, 0), 0.25);
    assert_eq!(found.covariance.at(0, 1), 0.25);
}

#[test]
fn moments_are_those_of_the_definition_however_many_bands() {
    let rect = PixelRect::new(0, 0, 9, 21);
    for bands in 1..=4 {
        for others in 1..=4 {
            let (mut before, mut after) =
                (gaussian_pair(&vec![0.5; bands], rect, 7).before, gaussian_pair(&vec![0.7; others], rect, 8).after);
            before.state.row_mut(3)[2..7].fill(PixelState::Cloud);
            after.state.row_mut(5).fill(PixelState::Nodata);
            let sample = [CellSample { before, after }];
            let weight_of = |bands: &[f32]| 0.5 + f64::from(bands[0]).abs();
            let found = moments::moments(&PairSample::new(&sample), |bands, weights| {
                weights.iter_mut().zip(&bands[0]).for_each(|(weight, value)| *weight = weight_of(&[*value]));
            });
            let rows = PairSample::new(&sample).by_strip(Vec::new, |pixels: &mut Vec<Vec<f64>>, row| {
                pixels.extend((0..row.cols.len()).map(|at| row.bands.iter().map(|band| f64::from(band[at])).collect()));
            });
            let pixels = rows.concat();
            let weights: Vec<f64> = pixels.iter().map(|pixel| weight_of(&[pixel[0] as f32])).collect();
            let total: f64 = weights.iter().sum();
            let mean = |of: &dyn Fn(&[f64]) -> f64| {
                pixels.iter().zip(&weights).map(|(pixel, weight)| weight * of(pixel)).sum::<f64>() / total
            };
            assert_eq!(found.pixels, pixels.len() as u64);
            assert_eq!(found.pixels, 9 * 21 - 5 - 21);
            for i in 0..bands + others {
                let mean_i = mean(&|pixel| pixel[i]);
                assert!((found.mean[i] - mean_i).abs() < 1e-9);
                for j in 0..bands + others {
                    let mean_j = mean(&|pixel| pixel[j]);
                    let covariance = mean(&|pixel| (pixel[i] - mean_i) * (pixel[j] - mean_j));
                    assert!((found.covariance.at(i, j) - covariance).abs() < 1e-9, "{bands} + {others}: {i} {j}");
                }
            }
        }
    }
}

#[test]
fn a_fit_to_a_large_sample_takes_half_of_it() {
    let whole = [gaussian_pair(&[0.9], PixelRect::new(-10, 0, 1490, 1500), 4)];
    let [fitted, all] = [super::fit, super::fit_to_all]
        .map(|fit| fit(&whole, &grid(), Registration::default(), &DetectorSpec::default()));
    assert_eq!((fitted.sample_px, all.sample_px), (1500 * 1500 / 2, 1500 * 1500));
    assert!((fitted.irmad.rho[0] - all.irmad.rho[0]).abs() < 2e-3);
}

#[test]
fn of_a_large_sample_every_few_rows_of_the_grid_count_whatever_the_cells() {
    let whole = [gaussian_pair(&[0.9, 0.6], PixelRect::new(-67, 0, 190, 40), 4)];
    let sample = || PairSample::new(&whole);
    let all = sample().pixels();
    for (most, step) in [(all, 1), (all - 1, 2), (all / 3, 4), (1, all)] {
        let thinned = sample().thinned(most);
        let rows: Vec<i32> = thinned.by_strip(Vec::new, |rows, row| rows.push(row.row)).concat();
        let expected = (-67..190).filter(|row| i64::from(*row).rem_euclid(step as i64) == 0);
        assert_eq!(rows, expected.collect::<Vec<_>>(), "at most {most}");
        assert_eq!(thinned.pixels(), 40 * rows.len() as u64);
        assert!(thinned.first_pixel().is_some());
    }
    let [fitted, all] = [super::fit, super::fit_to_all]
        .map(|fit| fit(&whole, &grid(), Registration::default(), &DetectorSpec::default()));
    assert_eq!(fitted, all, "a small sample is taken whole");
}

#[test]
fn moments_of_cells_are_those_of_the_whole() {
    let whole = gaussian_pair(&[0.9, 0.6], PixelRect::new(-64, 0, 192, 300), 4);
    let pieces: Vec<CellSample> = [(100, 192, 0, 300), (-64, 100, 0, 150), (-64, 100, 150, 300)]
        .into_iter()
        .map(|(row0, row1, col0, col1)| {
            let rect = PixelRect::new(row0, col0, row1, col1);
            let cut = |window: &SceneWindow| SceneWindow {
                bands: window.bands.clone(),
                planes: window.planes.iter().map(|plane| plane.values().crop(rect).into()).collect(),
                state: window.state.crop(rect),
            };
            CellSample { before: cut(&whole.before), after: cut(&whole.after) }
        })
        .collect();
    let ones = |_: &[Vec<f32>], weights: &mut [f64]| weights.fill(1.0);
    let (a, b) = (
        moments::moments(&PairSample::new(std::slice::from_ref(&whole)), ones),
        moments::moments(&PairSample::new(&pieces), ones),
    );
    assert_eq!(a.pixels, b.pixels);
    for row in 0..4 {
        assert!((a.mean[row] - b.mean[row]).abs() < 1e-12);
        for col in 0..4 {
            assert!((a.covariance.at(row, col) - b.covariance.at(row, col)).abs() < 1e-12);
        }
    }
}

#[test]
fn a_calibration_depends_neither_on_threads_nor_on_the_order_of_the_cells() {
    let cells = |order: [i32; 3]| -> Vec<CellSample> {
        order
            .into_iter()
            .map(|index| {
                gaussian_pair(&[0.9, 0.7, 0.5], PixelRect::new(0, 512 * index, 200, 512 * index + 300), index as u64)
            })
            .collect()
    };
    let calibrate = |threads: usize, order: [i32; 3]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let samples = cells(order);
            let registration = register(&samples, &grid());
            fit(&samples, &grid(), registration, &DetectorSpec::default())
        })
    };
    let one = calibrate(1, [0, 1, 2]);
    assert_eq!(one, calibrate(4, [0, 1, 2]));
    assert_eq!(one, calibrate(3, [2, 0, 1]));
}

/// A scene with a known spectrum: waves of random direction and phase below half of the highest frequency. Evaluated at
/// any place, so that a shifted scene is exact.
struct Waves(Vec<[f64; 4]>);

impl Waves {
    fn new(seed: u64) -> Self {
        let mut noise = Noise(seed);
        Self(
            (0..160)
                .map(|_| {
                    let (frequency, direction) =
                        (0.02 + 0.2 * noise.uniform(), std::f64::consts::TAU * noise.uniform());
                    let phase = std::f64::consts::TAU * noise.uniform();
                    [frequency * direction.cos(), frequency * direction.sin(), phase, 1.0 / (1.0 + 20.0 * frequency)]
                })
                .collect(),
        )
    }

    fn at(&self, row: f64, col: f64) -> f64 {
        self.0
            .iter()
            .map(|[fr, fc, phase, size]| size * (std::f64::consts::TAU * (fr * row + fc * col) + phase).cos())
            .sum()
    }
}

fn shifted_pair(shift: (f64, f64), noise_sd: f64) -> Vec<CellSample> {
    let waves = Waves::new(11);
    let mut noise = Noise(12);
    let rect = PixelRect::new(0, 0, 512, 512);
    let mut scene = |shift: (f64, f64)| {
        let values: Vec<f64> = (0..rect.pixels())
            .map(|at| {
                let (row, col) = ((at / 512) as f64 - shift.0, (at % 512) as f64 - shift.1);
                1000.0 + 20.0 * (waves.at(row, col) + noise_sd * noise.normal())
            })
            .collect();
        window(rect, &[values])
    };
    vec![CellSample { before: scene((0.0, 0.0)), after: scene(shift) }]
}

#[test]
fn phase_correlation_finds_a_shift_between_pixels() {
    // The waves' standard deviation is about 2.2.
    for (noise, tolerance) in [(0.0, 0.02), (2.2 / 5.0, 0.1)] {
        let found = register(&shifted_pair((-0.21, 0.37), noise), &grid());
        let (row, col) = (f64::from(found.shift_row) / 1024.0, f64::from(found.shift_col) / 1024.0);
        assert!(found.tie_points >= 3);
        assert!((row + 0.21).abs() < tolerance && (col - 0.37).abs() < tolerance, "{row} {col} with noise {noise}");
    }
}

#[test]
fn scenes_that_have_nothing_in_common_are_compared_as_they_lie() {
    let rect = PixelRect::new(0, 0, 512, 512);
    let scene = |seed: u64| {
        let mut noise = Noise(seed);
        window(rect, &[(0..rect.pixels()).map(|_| 1000.0 + 50.0 * noise.normal()).collect()])
    };
    let samples = [CellSample { before: scene(1), after: scene(2) }];
    let found = register(&samples, &grid());
    assert!(found.is_identity());
    let calibration = fit(&samples, &grid(), found, &DetectorSpec::default());
    let is_said = calibration.quality.contains(&QualityFlag::RegistrationUnknown)
        || calibration.quality.contains(&QualityFlag::RegistrationPoor);
    assert!(is_said);
}

#[test]
fn gains_and_offsets_are_found_under_noise_on_both_dates() {
    // method.md 4.6: gains 1.12, 1.07, 1.05, 0.93, offsets 60, 40, 25, −30, the same noise on both dates, a tenth of the
    // pixels changed.
    let rect = PixelRect::new(0, 0, 400, 400);
    let (gains, offsets) = ([1.12, 1.07, 1.05, 0.93], [60.0, 40.0, 25.0, -30.0]);
    let mut noise = Noise(5);
    let (mut before, mut after) = (vec![Vec::new(); 4], vec![Vec::new(); 4]);
    for at in 0..rect.pixels() {
        let changed = at % 10 == 0;
        let shade = noise.normal();
        for band in 0..4 {
            let truth = 1000.0 + 200.0 * shade + 150.0 * noise.normal();
            let later = if changed { 2500.0 + 300.0 * noise.normal() } else { gains[band] * truth + offsets[band] };
            before[band].push(truth + 10.0 * noise.normal());
            after[band].push(later + 10.0 * noise.normal());
        }
    }
    let sample = CellSample { before: window(rect, &before), after: window(rect, &after) };
    let calibration = fit(&[sample], &grid(), Registration::default(), &DetectorSpec::default());
    for (found, expected) in calibration.radiometry.iter().zip(gains) {
        assert!((found.gain / expected - 1.0).abs() < 0.005, "{found:?}");
    }
    for (found, expected) in calibration.radiometry.iter().zip(offsets) {
        assert!((found.offset - expected).abs() < 6.0, "{found:?}");
    }
    assert!(!calibration.quality.contains(&QualityFlag::RadiometryImplausible));
    assert!((calibration.flagged_share - 0.1).abs() < 0.01, "{}", calibration.flagged_share);
}

/// A scene of two bands and the same at twice the level with 2 % of noise; the first `burnt` of 100 rows kept 40 % of it.
fn burnt_pair(burnt: usize) -> CellSample {
    let rect = PixelRect::new(0, 0, 100, 200);
    let mut noise = Noise(11);
    let (mut before, mut after) = (vec![Vec::new(); 2], vec![Vec::new(); 2]);
    for row in 0..rect.rows() {
        for _ in 0..rect.cols() {
            let ground = 1000.0 + 400.0 * noise.uniform();
            let share = if row < burnt { 0.4 } else { 1.0 };
            for band in 0..2 {
                let value = ground * (1.0 + 0.05 * noise.normal());
                before[band].push(value);
                after[band].push(2.0 * share * value * (1.0 + 0.02 * noise.normal()));
            }
        }
    }
    CellSample { before: window(rect, &before), after: window(rect, &after) }
}

#[test]
fn the_steady_half_holds_half_of_the_pixels_and_none_that_burned() {
    let sample = [burnt_pair(35)];
    let pair = PairSample::new(&sample);
    let half = start::steady_half(&pair).unwrap();
    let by_row = pair.by_strip(Vec::new, |all, row| {
        let mut weights = vec![0.0; row.cols.len()];
        half.weigh(&row.bands, &mut weights);
        all.push((row.row, weights.iter().sum::<f64>()));
    });
    let by_row: Vec<(i32, f64)> = by_row.into_iter().flatten().collect();
    assert!(by_row.iter().all(|&(row, weight)| row >= 35 || weight == 0.0));
    let share = by_row.iter().map(|(_, weight)| weight).sum::<f64>() / 20_000.0;
    // Bins of 0.001 hold up to 2 % of the pixels here.
    assert!((0.5..0.53).contains(&share), "{share}");
}

#[test]
fn scenes_without_a_common_band_or_without_logarithms_have_no_steady_half() {
    let rect = PixelRect::new(0, 0, 64, 64);
    let mut other = burnt_pair(0);
    other.after.bands = vec![BandName::new("swir16"), BandName::new("swir22")];
    assert_eq!(start::steady_half(&PairSample::new(&[other])), None);
    assert_eq!(start::steady_half(&PairSample::new(&[gaussian_pair(&[0.9], rect, 4)])), None);
}

#[test]
fn a_third_of_a_scene_that_burned_is_changed_ground() {
    let coarse = Grid { crs: "EPSG:32652".into(), resolution_m: 10.0 };
    let calibration = fit(&[burnt_pair(33)], &coarse, Registration::default(), &DetectorSpec::default());
    let scores = scores(&[burnt_pair(33)], &calibration.irmad);
    let limit = libm::expm1(calibration.changed_from).powi(2);
    let changed = |rows: std::ops::Range<usize>| {
        scores[rows.start * 200..rows.end * 200].iter().filter(|&&t| t > limit).count() as f64
            / (200 * rows.len()) as f64
    };
    assert!(calibration.changed_from <= calibration.threshold);
    assert!(changed(0..33) > 0.95 && changed(33..100) < 0.1, "{} {}", changed(0..33), changed(33..100));
}

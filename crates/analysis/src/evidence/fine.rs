//! Evidence where buildings have a shape: window means of score, brightness, vegetation, hue and structure of both
//! dates, and a small network over them.

use survey::raster::Plane;
use survey::wide::wide;

use super::base::{BasePlanes, UNIT};
use super::logarithm::Logarithm;
use super::model::{FEATURES, Network, index_of};
use super::window::Table;

/// Radius of the windows of the gradients' correlation.
const CORRELATION_RADIUS: usize = 5;
/// Radius of the windows of the brightness' deviation.
const CONTRAST_RADIUS: usize = 4;
/// Radius of the largest windows.
const LARGEST_RADIUS: usize = 24;
/// A lot is bright stripped ground, subsoil or concrete, before its halls stand: brighter than fields get (robust z) ...
const BRIGHT: f32 = 2.5;
/// ... where ground was smooth before (edge density, logarithm) ...
const SMOOTH: f32 = -1.1;
/// ... and scores. Log-odds per unit beyond each of these.
const STRIPPED: f32 = 4.0;
/// Floor of a mean gradient and of a standard deviation, so that a smooth field has a logarithm.
const FLOOR: f32 = 0.05;

/// Radii of the windows of which means are taken: those of [`FEATURES`] and the two above.
const RADII: [usize; 8] = [1, 2, CONTRAST_RADIUS, CORRELATION_RADIUS, 6, 8, 12, LARGEST_RADIUS];

/// Features that are looked at one by one.
const SCORE: usize = index_of("score_4");
const BRIGHT_AFTER: usize = index_of("brightness_8_after");
const SMOOTH_BEFORE: usize = index_of("edges_12_before");
const EDGES: [usize; 2] = [index_of("edges_6_before"), index_of("edges_6_after")];
const CONTRAST: [usize; 2] = [index_of("contrast_4_before"), index_of("contrast_4_after")];
const CORRELATION: usize = index_of("correlation");

/// What a row says.
pub struct FineRow<'a> {
    /// Log-odds of change.
    pub logit: &'a [f32],
    /// Normalised cross-correlation of the gradients, −1 to 1: high where structure stays.
    pub correlation: &'a [f32],
    /// Edge density before and after, logarithm.
    pub edges: [&'a [f32]; 2],
}

/// What window sums are taken of.
#[derive(Clone, Copy)]
enum Quantity<'a> {
    Plane(&'a Plane<i16>),
    Product(&'a Plane<i16>, &'a Plane<i16>),
}

/// The planes of a pair from a row on downwards, row by row: what a row needs stays in the cache from quantity to quantity and up
/// to the network.
pub struct FineRows<'a> {
    base: &'a BasePlanes,
    valid: Table,
    /// Whether all pixels are valid and [`FineRows::inverse`] was taken for a row whose windows are cut neither above nor below.
    counted: bool,
    quantities: Vec<(Quantity<'a>, Table, Vec<Mean>)>,
    network: Network,
    /// By index into [`RADII`]: 1 / number of valid pixels; 0 where there is none.
    inverse: [Vec<f32>; RADII.len()],
    sums: Vec<i32>,
    /// By feature, and then what features are made of.
    values: Vec<Vec<f32>>,
    logit: Vec<f32>,
}

/// A mean over windows that a quantity is asked for.
#[derive(Clone, Copy)]
struct Mean {
    /// Index into [`RADII`].
    radius: usize,
    /// Which of [`FineRows::values`] it is.
    value: usize,
    /// Whether its logarithm is taken.
    is_logarithm: bool,
}

/// What features are made of, behind the features: means, of squares and of the product too.
const BRIGHTNESS: [usize; 2] = [FEATURES.len(), FEATURES.len() + 1];
const BRIGHTNESS_SQUARES: [usize; 2] = [FEATURES.len() + 2, FEATURES.len() + 3];
const GRADIENT: [usize; 2] = [FEATURES.len() + 4, FEATURES.len() + 5];
const GRADIENT_SQUARES: [usize; 2] = [FEATURES.len() + 6, FEATURES.len() + 7];
const GRADIENT_PRODUCT: usize = FEATURES.len() + 8;
const VALUES: usize = FEATURES.len() + 9;

impl<'a> FineRows<'a> {
    /// From a row (counted from the first of the planes) on.
    #[must_use]
    pub fn new(base: &'a BasePlanes, row: usize) -> Self {
        let cols = base.rect.cols();
        let table = |radius: usize| Table::new(cols, radius, row.saturating_sub(radius));
        let mean = |radius: usize, value: usize| {
            let radius = RADII.iter().position(|&other| other == radius).unwrap_or_default();
            Mean { radius, value, is_logarithm: value < FEATURES.len() && FEATURES[value].starts_with("edges") }
        };
        let (before, after) = (&base.before, &base.after);
        let planes = [
            ("score", "", &base.score, None),
            ("brightness", "_before", &before.brightness, Some(mean(CONTRAST_RADIUS, BRIGHTNESS[0]))),
            ("brightness", "_after", &after.brightness, Some(mean(CONTRAST_RADIUS, BRIGHTNESS[1]))),
            ("vegetation", "_before", &before.vegetation, None),
            ("vegetation", "_after", &after.vegetation, None),
            ("hue", "_before", &before.hue, None),
            ("hue", "_after", &after.hue, None),
            ("edges", "_before", &before.gradient, Some(mean(CORRELATION_RADIUS, GRADIENT[0]))),
            ("edges", "_after", &after.gradient, Some(mean(CORRELATION_RADIUS, GRADIENT[1]))),
        ];
        let products = [
            (&before.brightness, &before.brightness, mean(CONTRAST_RADIUS, BRIGHTNESS_SQUARES[0])),
            (&after.brightness, &after.brightness, mean(CONTRAST_RADIUS, BRIGHTNESS_SQUARES[1])),
            (&before.gradient, &before.gradient, mean(CORRELATION_RADIUS, GRADIENT_SQUARES[0])),
            (&after.gradient, &after.gradient, mean(CORRELATION_RADIUS, GRADIENT_SQUARES[1])),
            (&before.gradient, &after.gradient, mean(CORRELATION_RADIUS, GRADIENT_PRODUCT)),
        ];
        let of_planes = planes.into_iter().map(|(name, suffix, plane, part)| {
            let radius_of = |feature: &str| -> Option<usize> {
                feature.strip_suffix(suffix)?.strip_prefix(name)?.strip_prefix('_')?.parse().ok()
            };
            let features = FEATURES.iter().enumerate();
            let means = features.filter_map(|(value, feature)| Some(mean(radius_of(feature)?, value))).chain(part);
            (Quantity::Plane(plane), table(LARGEST_RADIUS), means.collect())
        });
        let of_products =
            products.into_iter().map(|(a, b, mean)| (Quantity::Product(a, b), table(RADII[mean.radius]), vec![mean]));
        let line = || vec![0.0; cols];
        Self {
            base,
            valid: table(LARGEST_RADIUS),
            counted: false,
            quantities: of_planes.chain(of_products).collect(),
            network: Network::of(base.colours.has_colour),
            inverse: std::array::from_fn(|_| line()),
            sums: vec![0; cols],
            values: (0..VALUES).map(|_| line()).collect(),
            logit: line(),
        }
    }

    /// What a row says: the first, or the one below the last.
    pub fn row(&mut self, row: usize) -> FineRow<'_> {
        self.means(row);
        self.shapes();
        let features = &self.values[..FEATURES.len()];
        self.network.logits(features, &mut self.logit);
        let logits = self.logit.iter_mut();
        let looks = features[BRIGHT_AFTER].iter().zip(&features[SCORE]).zip(&features[SMOOTH_BEFORE]);
        wide(|| {
            for (logit, ((bright, score), smooth)) in logits.zip(looks) {
                *logit = logit.max(STRIPPED * (bright - BRIGHT).min(*score).min(SMOOTH - smooth));
            }
        });
        let edges = EDGES.map(|edges| &features[edges][..]);
        FineRow { logit: &self.logit, correlation: &features[CORRELATION], edges }
    }

    /// The features of a row, by their place in [`FEATURES`]: of the first, or of the one below the last.
    pub fn features_of(&mut self, row: usize) -> &[Vec<f32>] {
        self.means(row);
        self.shapes();
        &self.values[..FEATURES.len()]
    }

    /// Means over the windows around the pixels of a row.
    fn means(&mut self, row: usize) {
        let Self { base, valid, quantities, counted, inverse, sums, values, .. } = self;
        let height = base.rect.rows();
        // Where all pixels are valid, rows that no window leaves by an end have the counts of the row above.
        let counts = base.is_whole && row >= LARGEST_RADIUS && row + LARGEST_RADIUS < height;
        if !(counts && *counted) {
            valid.roll(row, height, |row, out| Quantity::Plane(&base.valid).read(row, out));
            for (radius, inverse) in RADII.into_iter().zip(inverse.iter_mut()) {
                valid.window_sums(row, radius, sums);
                let pixels = inverse.iter_mut().zip(sums.iter());
                wide(|| {
                    pixels.for_each(|(inverse, &count)| *inverse = if count > 0 { 1.0 / count as f32 } else { 0.0 });
                });
            }
        }
        *counted = counts;
        let ln = Logarithm::new();
        for (quantity, table, means) in quantities {
            table.roll(row, height, |row, out| quantity.read(row, out));
            let unit = quantity.unit();
            for &Mean { radius, value, is_logarithm } in means.iter() {
                table.window_sums(row, RADII[radius], sums);
                let means = &mut values[value];
                let pixels = means.iter_mut().zip(sums.iter()).zip(&inverse[radius]);
                wide(|| pixels.for_each(|((mean, &sum), inverse)| *mean = sum as f32 * inverse * unit));
                if is_logarithm {
                    wide(|| means.iter_mut().for_each(|mean| *mean = ln.of(*mean + FLOOR)));
                }
            }
        }
    }

    /// Contrast, the logarithm of brightness' deviation, and the correlation of the gradients.
    fn shapes(&mut self) {
        let (features, parts) = self.values.split_at_mut(FEATURES.len());
        let part = |value: usize| &parts[value - FEATURES.len()][..];
        let ln = Logarithm::new();
        for date in 0..2 {
            let (means, squares) = (part(BRIGHTNESS[date]), part(BRIGHTNESS_SQUARES[date]));
            let pixels = features[CONTRAST[date]].iter_mut().zip(means).zip(squares);
            wide(|| {
                for ((out, mean), squares) in pixels {
                    *out = ln.of((squares - mean * mean).max(0.0).sqrt() + FLOOR);
                }
            });
        }
        let means = part(GRADIENT[0]).iter().zip(part(GRADIENT[1]));
        let squares = part(GRADIENT_SQUARES[0]).iter().zip(part(GRADIENT_SQUARES[1]));
        let pixels = features[CORRELATION].iter_mut().zip(part(GRADIENT_PRODUCT)).zip(means.zip(squares));
        wide(|| {
            for ((out, product), ((mean_a, mean_b), (squares_a, squares_b))) in pixels {
                let variance_a = (squares_a - mean_a * mean_a).max(0.0);
                let variance_b = (squares_b - mean_b * mean_b).max(0.0);
                let covariance = product - mean_a * mean_b;
                // 1 where both are smooth: there is nothing to compare.
                *out = ((covariance + 0.01) / ((variance_a * variance_b).sqrt() + 0.01)).clamp(-1.0, 1.0);
            }
        });
    }
}

/// The values of each feature over the planes, in the order of [`FEATURES`].
#[must_use]
pub fn features(base: &BasePlanes) -> Vec<Vec<f32>> {
    let mut planes: Vec<Vec<f32>> = FEATURES.iter().map(|_| Vec::new()).collect();
    let mut rows = FineRows::new(base, 0);
    for row in 0..base.rect.rows() {
        planes.iter_mut().zip(rows.features_of(row)).for_each(|(plane, values)| plane.extend_from_slice(values));
    }
    planes
}

impl Quantity<'_> {
    /// The values of a row.
    fn read(self, row: usize, out: &mut [i32]) {
        let line = |plane: &'_ Plane<i16>| plane.rect().row0 + row as i32;
        match self {
            Self::Plane(plane) => {
                let pixels = out.iter_mut().zip(plane.row(line(plane)));
                wide(|| pixels.for_each(|(out, &value)| *out = i32::from(value)));
            }
            Self::Product(a, b) => {
                let pixels = out.iter_mut().zip(a.row(line(a)).iter().zip(b.row(line(b))));
                wide(|| pixels.for_each(|(out, (&a, &b))| *out = i32::from(a) * i32::from(b)));
            }
        }
    }

    /// What one is worth.
    fn unit(self) -> f32 {
        match self {
            Self::Plane(_) => 1.0 / UNIT,
            Self::Product(..) => 1.0 / (UNIT * UNIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use survey::grid::PixelRect;

    use super::super::base::DatePlanes;
    use super::super::cover::Colours;
    use super::*;

    #[test]
    fn each_feature_is_some_mean_or_one_of_the_shapes() {
        let plane = || Plane::filled(PixelRect::new(0, 0, 1, 1), 0);
        let date =
            || DatePlanes { brightness: plane(), vegetation: plane(), index: plane(), hue: plane(), gradient: plane() };
        let base = BasePlanes {
            rect: plane().rect(),
            valid: plane(),
            is_whole: false,
            score: plane(),
            before: date(),
            after: date(),
            colours: Colours { is_normalised: true, has_colour: true },
        };
        let rows = FineRows::new(&base, 0);
        let means: Vec<Mean> = rows.quantities.iter().flat_map(|(_, _, means)| means.clone()).collect();
        for (at, feature) in FEATURES.iter().enumerate() {
            let of_feature: Vec<&Mean> = means.iter().filter(|mean| mean.value == at).collect();
            if at == CORRELATION || CONTRAST.contains(&at) {
                assert!(of_feature.is_empty(), "{feature}");
                continue;
            }
            let radius = feature.split('_').nth(1).and_then(|radius| radius.parse().ok());
            assert_eq!(
                of_feature.iter().map(|mean| Some(RADII[mean.radius])).collect::<Vec<_>>(),
                [radius],
                "{feature}"
            );
        }
    }
}

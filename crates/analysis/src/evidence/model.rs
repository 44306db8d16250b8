//! The networks of the fine evidence: one layer of hidden units over window means. How they were fitted, on what, and how
//! they do on tiles that the fit did not see stands in `docs/decisions/0004-threshold-and-evidence.md`.

// A weight that looks like a part of π is a weight.
#[allow(clippy::approx_constant)]
mod colour;
#[allow(clippy::approx_constant)]
mod grey;

use pulp::{Simd, WithSimd};

/// Features in the order of the weights: what, window radius in pixels, date.
pub const FEATURES: [&str; 31] = [
    "score_1",
    "score_4",
    "correlation",
    "brightness_1_before",
    "brightness_8_before",
    "vegetation_1_before",
    "vegetation_8_before",
    "hue_1_before",
    "edges_2_before",
    "edges_6_before",
    "edges_12_before",
    "contrast_4_before",
    "brightness_1_after",
    "brightness_8_after",
    "vegetation_1_after",
    "vegetation_8_after",
    "hue_1_after",
    "edges_2_after",
    "edges_6_after",
    "edges_12_after",
    "contrast_4_after",
    "score_12",
    "score_24",
    "brightness_24_before",
    "vegetation_24_before",
    "hue_8_before",
    "edges_24_before",
    "brightness_24_after",
    "vegetation_24_after",
    "hue_8_after",
    "edges_24_after",
];

/// Hidden units.
pub const UNITS: usize = 24;

/// Pixels whose features are standardised together, so that these stay in the cache.
const BLOCK: usize = 128;

/// Units that are computed together, each of as many pixels as a register holds: with the pixels' feature and a weight they fit
/// into the sixteen registers of any 64-bit processor.
const GROUP: usize = 8;
const _: () = assert!(BLOCK.is_multiple_of(16) && UNITS.is_multiple_of(GROUP));

/// A network: features are standardised and clamped to ±3, hidden units are `max(0, ·)`, the sum of them is the log-odds.
pub struct Model {
    /// Mean of each feature over the training tiles.
    pub centre: [f32; FEATURES.len()],
    /// 1 / standard deviation over the training tiles; 0 where the network doesn't take the feature.
    pub inverse: [f32; FEATURES.len()],
    /// By feature, the weight in each unit.
    pub first: [[f32; UNITS]; FEATURES.len()],
    /// Constant of each unit.
    pub first_bias: [f32; UNITS],
    /// Weight of each unit.
    pub second: [f32; UNITS],
    /// Constant, the operating point included.
    pub bias: f32,
}

/// The place of a feature in [`FEATURES`].
pub const fn index_of(name: &str) -> usize {
    let mut index = 0;
    while index < FEATURES.len() {
        let (feature, name) = (FEATURES[index].as_bytes(), name.as_bytes());
        let mut same = 0;
        while same < feature.len() && same < name.len() && feature[same] == name[same] {
            same += 1;
        }
        if same == feature.len() && same == name.len() {
            return index;
        }
        index += 1;
    }
    panic!("no such feature");
}

/// A model, laid out to be asked.
pub struct Network {
    model: &'static Model,
    /// Features that it takes.
    taken: Vec<usize>,
    /// Of a few units, the weights in all features beside each other: one look at the features for each such group.
    weights: Vec<Vec<[f32; GROUP]>>,
    /// Standardised features of some pixels.
    scaled: Vec<[f32; BLOCK]>,
}

impl Network {
    /// The network for pairs with colour on both dates, or for those without.
    #[must_use]
    pub fn of(has_colour: bool) -> Self {
        let model = if has_colour { &colour::NETWORK } else { &grey::NETWORK };
        let taken: Vec<usize> = (0..FEATURES.len()).filter(|&feature| model.inverse[feature] != 0.0).collect();
        let weights_of = |unit: usize| {
            taken.iter().map(|&feature| std::array::from_fn(|at| model.first[feature][unit + at])).collect()
        };
        let weights = (0..UNITS).step_by(GROUP).map(weights_of).collect();
        let scaled = vec![[0.0; BLOCK]; taken.len()];
        Self { model, taken, weights, scaled }
    }

    /// The log-odds of pixels from their features, one row of values per feature.
    pub fn logits(&mut self, features: &[Vec<f32>], out: &mut [f32]) {
        pulp::Arch::new().dispatch(Logits { network: self, features, out });
    }
}

struct Logits<'a> {
    network: &'a mut Network,
    features: &'a [Vec<f32>],
    out: &'a mut [f32],
}

impl WithSimd for Logits<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { network: Network { model, taken, weights, scaled }, features, out } = self;
        let mut logits = [0.0; BLOCK];
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            for (scaled, &feature) in scaled.iter_mut().zip(taken.iter()) {
                let (centre, inverse) = (model.centre[feature], model.inverse[feature]);
                for (scaled, &value) in scaled.iter_mut().zip(&features[feature][block * BLOCK..]) {
                    *scaled = ((value - centre) * inverse).clamp(-3.0, 3.0);
                }
            }
            for (at, logits) in S::as_mut_simd_f32s(&mut logits).0.iter_mut().enumerate() {
                *logits = simd.splat_f32s(model.bias);
                for (weights, unit) in weights.iter().zip((0..UNITS).step_by(GROUP)) {
                    // A few units of a few pixels stay in registers while the features pass by.
                    let mut hidden: [S::f32s; GROUP] =
                        std::array::from_fn(|index| simd.splat_f32s(model.first_bias[unit + index]));
                    for (scaled, weights) in scaled.iter().zip(weights) {
                        let pixels = S::as_simd_f32s(scaled).0[at];
                        for (hidden, &weight) in hidden.iter_mut().zip(weights) {
                            *hidden = simd.add_f32s(*hidden, simd.mul_f32s(simd.splat_f32s(weight), pixels));
                        }
                    }
                    for (hidden, &weight) in hidden.iter().zip(&model.second[unit..unit + GROUP]) {
                        let raised = simd.max_f32s(*hidden, simd.splat_f32s(0.0));
                        *logits = simd.add_f32s(*logits, simd.mul_f32s(simd.splat_f32s(weight), raised));
                    }
                }
            }
            out.copy_from_slice(&logits[..out.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The network as it is defined.
    fn defined(model: &Model, features: &[Vec<f32>], pixel: usize) -> f32 {
        let taken = || (0..FEATURES.len()).filter(|&feature| model.inverse[feature] != 0.0);
        (0..UNITS).fold(model.bias, |sum, unit| {
            let hidden = taken().fold(model.first_bias[unit], |sum, feature| {
                let scaled = (features[feature][pixel] - model.centre[feature]) * model.inverse[feature];
                sum + model.first[feature][unit] * scaled.clamp(-3.0, 3.0)
            });
            sum + model.second[unit] * hidden.max(0.0)
        })
    }

    #[test]
    fn registers_of_any_width_give_the_bits_of_the_definition() {
        for (has_colour, pixels) in [(true, 300), (true, 128), (false, 127), (false, 1), (true, 0)] {
            let noise = |at: usize| ((at as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32;
            let feature = |feature: usize| (0..pixels).map(|pixel| 8.0 * noise(feature * 977 + pixel) - 4.0).collect();
            let features: Vec<Vec<f32>> = (0..FEATURES.len()).map(feature).collect();
            let mut network = Network::of(has_colour);
            let expected: Vec<u32> =
                (0..pixels).map(|pixel| defined(network.model, &features, pixel).to_bits()).collect();
            let (mut narrow, mut wide) = (vec![0.0; pixels], vec![0.0; pixels]);
            Logits { network: &mut network, features: &features, out: &mut narrow }.with_simd(pulp::Scalar::new());
            network.logits(&features, &mut wide);
            for found in [narrow, wide] {
                assert_eq!(found.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>(), expected);
            }
        }
    }
}

//! The networks of the fine evidence: one layer of hidden units over window means. How they were fitted, on what, and how
//! they do on tiles that the fit did not see stands in `docs/decisions/0004-threshold-and-evidence.md`.

// A weight that looks like a part of π is a weight.
#[allow(clippy::approx_constant)]
mod colour;
#[allow(clippy::approx_constant)]
mod grey;

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

/// Pixels that go through the network together: their hidden units stay in the cache.
const BLOCK: usize = 128;

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

impl Model {
    /// The network for pairs with colour on both dates, or for those without.
    #[must_use]
    pub fn of(has_colour: bool) -> &'static Self {
        if has_colour { &colour::NETWORK } else { &grey::NETWORK }
    }

    /// The log-odds of pixels from the planes of their features.
    pub fn logits(&self, planes: &[Vec<f32>], out: &mut [f32]) {
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let mut hidden = [[0.0_f32; BLOCK]; UNITS];
            for (hidden, &bias) in hidden.iter_mut().zip(&self.first_bias) {
                hidden.fill(bias);
            }
            for (((plane, weights), &centre), &inverse) in
                planes.iter().zip(&self.first).zip(&self.centre).zip(&self.inverse)
            {
                let mut scaled = [0.0_f32; BLOCK];
                if inverse == 0.0 {
                    continue;
                }
                for (scaled, &value) in scaled.iter_mut().zip(plane.iter().skip(block * BLOCK)) {
                    *scaled = ((value - centre) * inverse).clamp(-3.0, 3.0);
                }
                for (hidden, &weight) in hidden.iter_mut().zip(weights) {
                    for (hidden, &scaled) in hidden.iter_mut().zip(&scaled) {
                        *hidden += weight * scaled;
                    }
                }
            }
            out.fill(self.bias);
            for (hidden, &weight) in hidden.iter().zip(&self.second) {
                for (out, &hidden) in out.iter_mut().zip(hidden) {
                    *out += weight * hidden.max(0.0);
                }
            }
        }
    }
}

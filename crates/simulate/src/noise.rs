//! Randomness that is a function of a place: the same point of the same world looks the same whichever block, thread or
//! scene asks. Only integer hashes and + − × ÷, so that every machine gives the same pixels.

/// Bits that look random (MurmurHash3's finaliser).
#[must_use]
pub fn mix(mut z: u32) -> u32 {
    z = (z ^ (z >> 16)).wrapping_mul(0x85eb_ca6b);
    z = (z ^ (z >> 13)).wrapping_mul(0xc2b2_ae35);
    z ^ (z >> 16)
}

/// A hash of a lattice point.
#[must_use]
pub fn hash2(x: i32, y: i32, seed: u32) -> u32 {
    mix(mix((x as u32).wrapping_mul(0x9e37_79b1) ^ seed) ^ (y as u32).wrapping_mul(0x85eb_ca77))
}

/// A hash as a number in `[0, 1)`.
#[must_use]
pub fn unit(hash: u32) -> f32 {
    (hash >> 8) as f32 * (1.0 / 16_777_216.0)
}

fn ease(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// Smooth noise in `[0, 1)` with features of size 1.
#[must_use]
pub fn value(x: f32, y: f32, seed: u32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let (ix, iy) = (fx as i32, fy as i32);
    let (tx, ty) = (ease(x - fx), ease(y - fy));
    let at = |dx: i32, dy: i32| unit(hash2(ix.wrapping_add(dx), iy.wrapping_add(dy), seed));
    let (a, b, c, d) = (at(0, 0), at(1, 0), at(0, 1), at(1, 1));
    let low = a + (b - a) * tx;
    let high = c + (d - c) * tx;
    low + (high - low) * ty
}

/// Noise in `[0, 1)` whose largest features have size 1, with `octaves` finer ones.
#[must_use]
pub fn fractal(x: f32, y: f32, seed: u32, octaves: u32) -> f32 {
    let (mut sum, mut weight, mut total, mut scale) = (0.0, 1.0, 0.0, 1.0);
    for octave in 0..octaves {
        sum += weight * value(x * scale, y * scale, seed.wrapping_add(octave.wrapping_mul(0x68bc_21eb)));
        total += weight;
        weight *= 0.5;
        scale *= 2.03;
    }
    sum / total
}

/// The nearest of the points that are scattered one per unit cell.
#[derive(Clone, Copy, Debug)]
pub struct Nearest {
    /// From the point to the place asked about.
    pub dx: f32,
    /// See `dx`.
    pub dy: f32,
    /// Distance squared.
    pub distance2: f32,
    /// The point's own hash.
    pub hash: u32,
}

/// Looks for the nearest scattered point; `jitter` 0 puts the points on a regular lattice, 1 anywhere in their cells.
#[must_use]
pub fn nearest(x: f32, y: f32, seed: u32, jitter: f32) -> Nearest {
    let (ix, iy) = (x.floor() as i32, y.floor() as i32);
    let mut best = Nearest { dx: 0.0, dy: 0.0, distance2: f32::MAX, hash: 0 };
    for cy in iy - 1..=iy + 1 {
        for cx in ix - 1..=ix + 1 {
            let hash = hash2(cx, cy, seed);
            let px = cx as f32 + 0.5 + jitter * (unit(hash) - 0.5);
            let py = cy as f32 + 0.5 + jitter * (unit(mix(hash ^ 0x5bd1_e995)) - 0.5);
            let (dx, dy) = (x - px, y - py);
            let distance2 = dx * dx + dy * dy;
            if distance2 < best.distance2 {
                best = Nearest { dx, dy, distance2, hash };
            }
        }
    }
    best
}

/// Nearly Gaussian noise of mean 0 and variance 1: the sum of the four bytes of two hashes.
#[must_use]
pub fn gaussian(hash: u32) -> f32 {
    let other = mix(hash ^ 0x2545_f491);
    let bytes = |h: u32| (h & 255) + (h >> 8 & 255) + (h >> 16 & 255) + (h >> 24);
    // Eight uniform bytes: mean 1020, variance 8 · (256² − 1)/12.
    (f64::from(bytes(hash) + bytes(other)) as f32 - 1020.0) * (1.0 / 209.02)
}

/// Draws one after another, for laying out a world.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice for a purpose.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next 32 bits (SplitMix64).
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }

    /// A number between `low` and `high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * unit(self.bits())
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        unit(self.bits()) < probability
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, choices: &[T], fallback: T) -> T {
        choices.get(self.bits() as usize % choices.len().max(1)).copied().unwrap_or(fallback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaussian_noise_has_mean_0_and_variance_1() {
        let samples: Vec<f64> = (0..200_000).map(|i| f64::from(gaussian(hash2(i, i / 7, 3)))).collect();
        let mean = samples.iter().sum::<f64>() / samples.len() as f64;
        let variance = samples.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / samples.len() as f64;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn value_noise_is_continuous_over_cell_borders() {
        for i in 0..200 {
            let (x, y) = ((i % 13) as f32 - 5.0, i as f32 * 0.37);
            assert!((value(x - 1e-4, y, 9) - value(x + 1e-4, y, 9)).abs() < 1e-2);
        }
    }
}

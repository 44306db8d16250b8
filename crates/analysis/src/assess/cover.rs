//! What covered a site before, and what covers it now.

use survey::findings::Sums;
use survey::result::{Cover, Phase};

use crate::features::Features;

/// The cover that most of the site had, and its share; of equals the first.
pub(super) fn cover_before(sums: &Sums) -> (Cover, f64) {
    let known = [
        (Cover::Cropland, sums.crop_before),
        (Cover::Woodland, sums.wood_before),
        (Cover::Bare, sums.bare_before),
        (Cover::Water, sums.water_before),
        (Cover::Built, sums.built_before),
    ];
    let counted: u64 = known.iter().map(|(_, pixels)| pixels).sum();
    let unknown = (Cover::Unknown, sums.pixels.saturating_sub(counted));
    let (cover, pixels) = known
        .into_iter()
        .chain(std::iter::once(unknown))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .unwrap_or(unknown);
    (cover, pixels as f64 / sums.pixels.max(1) as f64)
}

pub(super) fn cover_after(features: &Features, phase: Phase) -> Cover {
    let coverage = features.buildings.as_ref().map_or(0.0, |buildings| buildings.coverage);
    let [vegetation_before, vegetation_after] = features.vegetation;
    if phase == Phase::Roofed || coverage > 0.15 {
        Cover::Built
    } else if features.green > 0.5 {
        if features.cover_before[1] > 0.5 { Cover::Woodland } else { Cover::Cropland }
    } else if vegetation_after < -0.05 && features.brightness[1] < -0.5 && vegetation_after < vegetation_before {
        Cover::Water
    } else {
        Cover::Bare
    }
}

//! What the ground was before.

use survey::result::Cover;

use super::base::UNIT;

/// What colours say of the ground.
#[derive(Clone, Copy, Debug)]
pub struct Colours {
    /// Whether the index is the normalised difference with near infrared, whose values mean the same everywhere.
    pub is_normalised: bool,
    /// Whether there is an index at all, on both dates.
    pub has_colour: bool,
}

/// What a pixel of the earlier scene looks like.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// Vegetation index, robust z over the pair's sample, and −1 to 1.
    pub vegetation: f32,
    /// Vegetation index, −1 to 1.
    pub index: f32,
    /// What its colours can say.
    pub colours: Colours,
    /// Brightness, robust z over the pair's sample.
    pub brightness: f32,
    /// Logarithm of the mean gradient around the pixel (robust sd of brightness per pixel, + 0.05); `None` where pixels
    /// are too coarse for it.
    pub edges: Option<f32>,
}

impl Looks {
    /// From what the planes hold: vegetation index, standardised and as it is, and brightness.
    pub fn of(vegetation: i16, index: i16, brightness: i16, colours: Colours, edges: Option<f32>) -> Self {
        let real = |value: i16| f32::from(value) / UNIT;
        let (vegetation, index, brightness) = (real(vegetation), real(index), real(brightness));
        Self { vegetation, index, colours, brightness, edges }
    }
}

/// The cover, by thresholds on what is there. Fields between crops are bare: only their surroundings or an earlier date
/// could say that they are fields.
#[must_use]
pub fn cover(looks: &Looks) -> Cover {
    if !looks.colours.has_colour {
        return Cover::Unknown;
    }
    // Gradients of 0.15, 0.2 and 0.55 sd per pixel.
    const SMOOTH: f32 = -1.609;
    const TEXTURED: f32 = -1.386;
    const EDGED: f32 = -0.511;
    let edges = looks.edges.unwrap_or(SMOOTH - 1.0);
    let (is_green, is_dense) = if looks.colours.is_normalised {
        (looks.index > 0.25 || (looks.index > 0.18 && looks.vegetation > 0.5), looks.index > 0.35)
    } else {
        (looks.vegetation > -0.6, looks.vegetation > 0.3)
    };
    let is_water = if looks.colours.is_normalised { looks.index < -0.05 } else { looks.vegetation < -0.5 };
    if is_water && looks.brightness < -0.8 && edges < SMOOTH {
        Cover::Water
    } else if is_dense && looks.brightness < -0.7 && looks.edges.is_none_or(|edges| edges > TEXTURED) {
        Cover::Woodland
    } else if is_green {
        Cover::Cropland
    } else if looks.brightness > 2.0 || edges > EDGED {
        Cover::Built
    } else {
        Cover::Bare
    }
}

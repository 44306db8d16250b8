//! What things reflect: blue, green, red and near infrared, as reflectance (0 to 1), and what grows in which season.

use chrono::{Datelike, NaiveDate};

/// Reflectance in blue, green, red and near infrared.
pub type Spectrum = [f32; 4];

/// `a` towards `b`.
#[must_use]
pub fn blend(a: Spectrum, b: Spectrum, share: f32) -> Spectrum {
    std::array::from_fn(|band| a[band] + (b[band] - a[band]) * share)
}

/// Brighter or darker.
#[must_use]
pub fn scaled(a: Spectrum, factor: f32) -> Spectrum {
    a.map(|value| value * factor)
}

/// Ploughed, dry.
pub const SOIL: Spectrum = [0.080, 0.115, 0.153, 0.212];
/// Ploughed, moist.
pub const WET_SOIL: Spectrum = [0.052, 0.072, 0.098, 0.135];
/// Stripped subsoil and fill, as on a building site.
pub const SUBSOIL: Spectrum = [0.150, 0.198, 0.255, 0.315];
/// Sand and gravel of a river bank.
pub const SAND: Spectrum = [0.190, 0.228, 0.262, 0.305];
/// A dense green crop.
pub const GREEN: Spectrum = [0.030, 0.072, 0.038, 0.430];
/// A crop that ripens.
pub const RIPE: Spectrum = [0.060, 0.128, 0.146, 0.330];
/// Stubble and straw.
pub const STUBBLE: Spectrum = [0.098, 0.140, 0.180, 0.262];
/// Grass and weeds.
pub const GRASS: Spectrum = [0.042, 0.082, 0.064, 0.315];
/// Broad-leaved canopy.
pub const CANOPY: Spectrum = [0.024, 0.052, 0.030, 0.330];
/// The same in autumn.
pub const AUTUMN_CANOPY: Spectrum = [0.030, 0.062, 0.066, 0.300];
/// Needles.
pub const NEEDLES: Spectrum = [0.020, 0.036, 0.024, 0.225];
/// Open water.
pub const WATER: Spectrum = [0.052, 0.062, 0.044, 0.020];
/// Muddy water.
pub const MUD_WATER: Spectrum = [0.078, 0.102, 0.104, 0.052];
/// Asphalt.
pub const ASPHALT: Spectrum = [0.088, 0.096, 0.102, 0.122];
/// A dirt road.
pub const DIRT: Spectrum = [0.122, 0.160, 0.205, 0.262];
/// Ballast.
pub const BALLAST: Spectrum = [0.112, 0.118, 0.126, 0.148];
/// Concrete.
pub const CONCRETE: Spectrum = [0.240, 0.262, 0.278, 0.302];
/// Rusty or painted steel.
pub const STEEL: Spectrum = [0.135, 0.128, 0.150, 0.190];
/// Plastic film over a greenhouse.
pub const FILM: Spectrum = [0.330, 0.352, 0.352, 0.440];
/// Ash and charred straw.
pub const ASH: Spectrum = [0.034, 0.036, 0.040, 0.066];
/// A blue steel roof.
pub const BLUE_ROOF: Spectrum = [0.300, 0.215, 0.128, 0.255];
/// A galvanised roof.
pub const GREY_ROOF: Spectrum = [0.222, 0.232, 0.238, 0.262];
/// A white roof.
pub const WHITE_ROOF: Spectrum = [0.400, 0.418, 0.425, 0.440];
/// Red tiles.
pub const RED_TILES: Spectrum = [0.078, 0.094, 0.190, 0.260];
/// Grey tiles.
pub const GREY_TILES: Spectrum = [0.112, 0.122, 0.132, 0.162];
/// A concrete roof with felt.
pub const FELT: Spectrum = [0.150, 0.162, 0.172, 0.198];
/// Yellow paint of machines.
pub const MACHINE: Spectrum = [0.060, 0.220, 0.330, 0.380];
/// Sawn timber.
pub const TIMBER: Spectrum = [0.145, 0.225, 0.300, 0.400];
/// A cloud's top.
pub const CLOUD: Spectrum = [0.720, 0.715, 0.710, 0.740];

/// A season of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Season {
    /// March, April: ploughed.
    EarlySpring,
    /// May, June: planted.
    Spring,
    /// July, August: green.
    Summer,
    /// September, October: ripe, harvested.
    Autumn,
    /// November to February: bare.
    Winter,
}

impl Season {
    /// The season of a day in the north.
    #[must_use]
    pub fn of(date: NaiveDate) -> Self {
        match date.month() {
            3 | 4 => Self::EarlySpring,
            5 | 6 => Self::Spring,
            7 | 8 => Self::Summer,
            9 | 10 => Self::Autumn,
            _ => Self::Winter,
        }
    }
}

/// What grows on a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crop {
    /// Flooded in spring, yellow in autumn.
    Rice,
    /// Wide rows.
    Maize,
    /// Lush late in the year.
    Vegetables,
    /// Brown in autumn.
    Soy,
    /// Green in spring, bare in autumn.
    Wheat,
    /// Weeds and grass.
    Fallow,
    /// Trees in rows.
    Orchard,
    /// Just ploughed.
    Ploughed,
}

/// How a field looks: a canopy over a floor.
#[derive(Clone, Copy, Debug)]
pub struct Stand {
    /// Share of the ground under the canopy.
    pub cover: f32,
    /// The canopy.
    pub canopy: Spectrum,
    /// What lies below.
    pub floor: Spectrum,
    /// Distance of the rows that show, metres.
    pub rows_m: f32,
    /// How much they show.
    pub row_contrast: f32,
}

/// How a crop looks in a season; `luck` in `[0, 1)` is the field's own (early or late, good or poor).
#[must_use]
pub fn stand(crop: Crop, season: Season, luck: f32) -> Stand {
    use Crop::{Fallow, Maize, Orchard, Ploughed, Rice, Soy, Vegetables, Wheat};
    use Season::{Autumn, EarlySpring, Spring, Summer, Winter};
    let soil = blend(SOIL, WET_SOIL, luck);
    let late = blend(GREEN, RIPE, 0.35 + 0.65 * luck);
    let (cover, canopy, floor) = match (crop, season) {
        (Ploughed, _) => (0.02, GREEN, soil),
        (Fallow, EarlySpring | Winter) => (0.35, STUBBLE, soil),
        (Fallow, Autumn) => (0.75, blend(GRASS, STUBBLE, 0.45 * luck), soil),
        (Fallow, _) => (0.80, GRASS, soil),
        (Orchard, Winter | EarlySpring) => (0.40, STUBBLE, soil),
        (Orchard, _) => (0.60, GRASS, soil),
        (Rice, Spring) => (0.16 + 0.16 * luck, GREEN, blend(MUD_WATER, WATER, luck)),
        (Rice, Summer) => (0.95, GREEN, WATER),
        (Rice, Autumn) if luck < 0.22 => (0.75, STUBBLE, soil),
        (Rice, Autumn) => (0.95, blend(GREEN, RIPE, luck), soil),
        (Maize, Spring) => (0.30 + 0.25 * luck, GREEN, soil),
        (Maize | Soy, Summer) => (0.92, GREEN, soil),
        (Maize, Autumn) if luck < 0.2 => (0.45, STUBBLE, soil),
        (Maize, Autumn) => (0.86, late, soil),
        (Soy, Spring) => (0.26 + 0.2 * luck, GREEN, soil),
        (Soy, Autumn) => (0.80, blend(late, RIPE, 0.4), soil),
        (Vegetables, Spring) => (0.45 + 0.3 * luck, GREEN, soil),
        (Vegetables, Summer) => (0.70, GREEN, soil),
        (Vegetables, Autumn) => (0.72 + 0.2 * luck, blend(GREEN, GRASS, 0.3), soil),
        (Wheat, EarlySpring) => (0.50, GREEN, soil),
        (Wheat, Spring) => (0.93, blend(GREEN, RIPE, 0.5 * luck), soil),
        (Wheat, Summer) => (0.70, STUBBLE, soil),
        (Wheat, Autumn) => (0.20 + 0.25 * luck, GREEN, soil),
        (Rice | Maize | Soy | Vegetables | Wheat, EarlySpring | Winter) => (0.06 + 0.1 * luck, STUBBLE, soil),
    };
    let (rows_m, row_contrast) = match crop {
        Maize => (2.4, 0.16),
        Vegetables => (1.6, 0.20),
        Soy => (1.8, 0.12),
        Ploughed => (2.8, 0.10),
        Rice => (2.0, 0.06),
        Wheat => (3.2, 0.06),
        Fallow => (4.0, 0.03),
        Orchard => (5.0, 0.05),
    };
    Stand { cover, canopy, floor, rows_m, row_contrast }
}

//! What the bands of a scene say about brightness and vegetation.

use survey::scene::BandName;

const VISIBLE: [&str; 3] = ["red", "green", "blue"];

/// Where a scene's bands let brightness and vegetation be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BandRoles {
    /// Bands whose mean is brightness: those of red, green and blue that are there, else pan, else all.
    pub bright: Vec<usize>,
    /// How vegetation shows, if it does.
    pub vegetation: Vegetation,
}

/// A vegetation index, as places in the list of bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vegetation {
    /// `(nir − red) / (nir + red)`: the normalised difference vegetation index.
    Normalised {
        /// Near infrared.
        nir: usize,
        /// Red.
        red: usize,
    },
    /// `(2 green − red − blue) / (2 green + red + blue)`: the green leaf index (Louhaichi et al. 2001), where there is
    /// no near infrared.
    Green {
        /// Red.
        red: usize,
        /// Green.
        green: usize,
        /// Blue.
        blue: usize,
    },
    /// One band, or none that tells leaves from soil.
    None,
}

impl BandRoles {
    /// The roles of a scene's bands.
    #[must_use]
    pub fn of(bands: &[BandName]) -> Self {
        let find = |name: &str| bands.iter().position(|band| band.as_str() == name);
        let mut bright: Vec<usize> = VISIBLE.iter().filter_map(|name| find(name)).collect();
        if bright.is_empty() {
            bright = find("pan").map_or_else(|| (0..bands.len()).collect(), |pan| vec![pan]);
        }
        let nir = find("nir").or_else(|| find("nir08"));
        let vegetation = match (nir, find("red"), find("green"), find("blue")) {
            (Some(nir), Some(red), _, _) => Vegetation::Normalised { nir, red },
            (None, Some(red), Some(green), Some(blue)) => Vegetation::Green { red, green, blue },
            _ => Vegetation::None,
        };
        Self { bright, vegetation }
    }
}

impl Vegetation {
    /// The index of a pixel, −1 to 1; 0 where there is no light.
    #[must_use]
    #[inline]
    pub fn index(self, value: impl Fn(usize) -> f32) -> f32 {
        match self {
            Self::Normalised { nir, red } => Self::normalised(value(nir), value(red)),
            Self::Green { red, green, blue } => {
                let twice = 2.0 * value(green);
                ratio(twice - value(red) - value(blue), twice + value(red) + value(blue))
            }
            Self::None => 0.0,
        }
    }

    /// The normalised difference.
    #[inline(always)]
    pub(crate) fn normalised(nir: f32, red: f32) -> f32 {
        ratio(nir - red, nir + red)
    }
}

#[inline(always)]
fn ratio(over: f32, under: f32) -> f32 {
    if under > 0.0 { (over / under).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> BandRoles {
        BandRoles::of(&names.iter().map(|name| BandName::new(name)).collect::<Vec<_>>())
    }

    #[test]
    fn bands_get_the_roles_of_their_names() {
        assert_eq!(roles(&["pan"]), BandRoles { bright: vec![0], vegetation: Vegetation::None });
        assert_eq!(roles(&["swir16", "nir", "red", "green"]).bright, [2, 3]);
        assert_eq!(roles(&["swir16", "nir", "red", "green"]).vegetation, Vegetation::Normalised { nir: 1, red: 2 });
        assert_eq!(roles(&["blue", "green", "red"]).vegetation, Vegetation::Green { red: 2, green: 1, blue: 0 });
        assert_eq!(roles(&["swir16", "swir22"]).bright, [0, 1]);
    }

    #[test]
    fn the_normalised_difference_of_a_leaf_and_of_darkness() {
        let index = |values: [f32; 2]| Vegetation::Normalised { nir: 0, red: 1 }.index(|band| values[band]);
        assert!((index([0.5, 0.05]) - 0.818_181_8).abs() < 1e-6);
        assert_eq!(index([0.0, 0.0]), 0.0);
        assert_eq!(index([1.0, -0.9]), 1.0);
    }
}

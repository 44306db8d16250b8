//! What users read: sites, footprints, counties.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use geo::{MultiPolygon, Polygon};
use serde::{Deserialize, Serialize};

use crate::findings::{Coverage, UnreadableNote};
use crate::ids::{CountyId, SceneId};
use crate::job::ObjectRef;

/// The result of one county.
#[derive(Clone, Debug, PartialEq)]
pub struct CountyResult {
    /// The county.
    pub county: CountyId,
    /// Pixels by state.
    pub coverage: Coverage,
    /// Area of a pixel of the county on the ground, m² (grid pixel area corrected for the CRS's scale there).
    pub pixel_area_m2: f64,
    /// Change pixels of all components of the county, sites or not.
    pub construction_px: u64,
    /// Sites, by id.
    pub sites: Vec<Site>,
    /// Changed areas too large to be a site (floods, burn scars), by first pixel: pixel counts.
    pub extended: Vec<ExtendedChange>,
    /// What could not be read.
    pub unreadable: Vec<UnreadableNote>,
    /// Objects (chips) that go with the sites.
    pub chips: Vec<ChipRef>,
    /// Quality flags of the pairs in use, as words.
    pub quality: Vec<String>,
}

/// A changed area above `max_site_ha`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtendedChange {
    /// Its id, made like a site's.
    pub id: String,
    /// Area on the ground.
    pub area_ha: f64,
    /// Centroid, longitude.
    pub lon: f64,
    /// Centroid, latitude.
    pub lat: f64,
}

/// A chip: an image of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct ChipRef {
    /// File name under `results/chips/`.
    pub name: String,
    /// The committed PNG.
    pub object: ObjectRef,
}

/// What a site is taken to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteClass {
    /// Elongated halls.
    Factory,
    /// Many small buildings.
    Residential,
    /// Rows of narrow bright or transparent halls.
    Greenhouse,
    /// Anything else.
    Other,
}

impl SiteClass {
    /// All classes, in the order of [`ClassProbabilities`].
    pub const ALL: [Self; 4] = [Self::Factory, Self::Residential, Self::Greenhouse, Self::Other];

    /// As results spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Factory => "factory",
            Self::Residential => "residential",
            Self::Greenhouse => "greenhouse",
            Self::Other => "other",
        }
    }
}

/// Probabilities of the classes; they sum to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassProbabilities {
    /// Factory.
    pub factory: f64,
    /// Residential.
    pub residential: f64,
    /// Greenhouse.
    pub greenhouse: f64,
    /// Other.
    pub other: f64,
}

/// Land cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cover {
    /// Fields.
    Cropland,
    /// Woods.
    Woodland,
    /// Bare ground.
    Bare,
    /// Water.
    Water,
    /// Buildings and paved ground.
    Built,
    /// Cannot be said.
    Unknown,
}

impl Cover {
    /// As results spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cropland => "cropland",
            Self::Woodland => "woodland",
            Self::Bare => "bare",
            Self::Water => "water",
            Self::Built => "built",
            Self::Unknown => "unknown",
        }
    }
}

/// How far construction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Cleared ground, no building.
    GroundWorks,
    /// Frames, walls without roofs.
    Frames,
    /// Roofs.
    Roofed,
    /// Nothing is being built, or it cannot be said.
    None,
}

impl Phase {
    /// As results spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GroundWorks => "ground_works",
            Self::Frames => "frames",
            Self::Roofed => "roofed",
            Self::None => "none",
        }
    }
}

/// A place near a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearbyPlace {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Distance from the site's nearest edge or centroid (as `docs/results.md` says), km on the ground.
    pub distance_km: f64,
    /// Where the site lies as seen from the place: `SW` means the site is south-west of the place.
    pub bearing: String,
}

/// A site: one construction lot, or another change of that size.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// `<county>-<row>-<col>` of its first pixel on the survey's grid.
    pub id: String,
    /// The county.
    pub county: CountyId,
    /// Change pixels.
    pub pixels: u64,
    /// Area on the ground, ha.
    pub area_ha: f64,
    /// Outline, longitude and latitude.
    pub outline: MultiPolygon<f64>,
    /// Representative point (centroid of the change pixels), longitude.
    pub lon: f64,
    /// Latitude.
    pub lat: f64,
    /// The most probable class.
    pub class: SiteClass,
    /// Probabilities.
    pub probabilities: ClassProbabilities,
    /// 90 % interval of the factory probability: what the uncertainty of the features makes of it.
    pub factory_interval: (f64, f64),
    /// Contributions to the factory log-odds, largest first: name, value in words, contribution.
    pub reasons: Vec<Reason>,
    /// The analyst's sentence.
    pub summary: String,
    /// Land cover before.
    pub before_cover: Cover,
    /// Share of the site that had it.
    pub before_cover_share: f64,
    /// Land cover after.
    pub after_cover: Cover,
    /// Phase of construction.
    pub phase: Phase,
    /// Footprints of buildings, largest first.
    pub footprints: Vec<Footprint>,
    /// Length / width of the site's smallest enclosing rectangle.
    pub elongation: f64,
    /// Median length / width of its buildings, weighted by area; NaN-free: 0 without buildings.
    pub building_elongation: f64,
    /// Further features, by name.
    pub features: BTreeMap<String, f64>,
    /// Nearest railway station.
    pub station: Option<NearbyPlace>,
    /// Nearest road.
    pub road: Option<NearbyPlace>,
    /// Nearest town.
    pub town: Option<NearbyPlace>,
    /// Nearest known facility.
    pub facility: Option<NearbyPlace>,
    /// Nearest known greenhouse farm.
    pub greenhouse: Option<NearbyPlace>,
    /// Acquisition of the earlier scenes that saw it.
    pub before: DateRange,
    /// Acquisition of the later scenes that saw it.
    pub after: DateRange,
    /// The scenes that saw it, earlier then later.
    pub scenes: Vec<SceneId>,
    /// It touches the edge of the planned area or a failed tile: it may go on there.
    pub truncated: bool,
    /// Where the footprints' scale came from, and other remarks.
    pub notes: Vec<String>,
}

/// First and last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DateRange {
    /// First.
    pub from: NaiveDate,
    /// Last.
    pub to: NaiveDate,
}

/// One term of a class score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What was looked at, in words with its value: `largest building 2,310 m²`.
    pub text: String,
    /// Contribution to the log-odds of `factory`.
    pub log_odds: f64,
}

/// A building.
#[derive(Clone, Debug, PartialEq)]
pub struct Footprint {
    /// `<site>-b<n>`, n from 1, largest first.
    pub id: String,
    /// Outline, longitude and latitude.
    pub outline: Polygon<f64>,
    /// Area on the ground, m².
    pub area_m2: f64,
    /// Side of the smallest enclosing rectangle, m.
    pub length_m: f64,
    /// Other side, m.
    pub width_m: f64,
    /// Direction of the long side, degrees clockwise from north, 0 ≤ d < 180.
    pub azimuth_deg: f64,
    /// Area / (length × width).
    pub rectangularity: f64,
}

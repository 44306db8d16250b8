//! Site cards: what was seen, how sure it is, and why.

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use geo::{BoundingRect, Coord, MultiPolygon};
use serde::Serialize;
use survey::county::County;
use survey::result::{ChipRef, CountyResult, Phase, Site, SiteClass};

use super::{map, words};
use crate::chips::{self, SiteChips};
use crate::error::ReportError;
use crate::ground::{Ground, round};

/// A card.
#[derive(Debug, Serialize)]
pub struct Card {
    id: String,
    county_id: String,
    county_name: String,
    parent: Option<String>,
    designated: Option<String>,
    class: &'static str,
    area_ha: String,
    summary: String,
    p_factory: f64,
    p_factory_text: String,
    interval: (f64, f64),
    interval_text: String,
    probabilities: Vec<(&'static str, f64, String)>,
    reasons: Vec<Bar>,
    context: Vec<String>,
    facts: Vec<(&'static str, String)>,
    position: String,
    before_days: String,
    after_days: String,
    before: Option<Chip>,
    after: Option<Chip>,
    sketch: Option<Sketch>,
    truncated: bool,
    notes: Vec<String>,
    scenes: Vec<String>,
}

/// A reason with its bar, in percent of the track.
#[derive(Debug, Serialize)]
struct Bar {
    text: String,
    value: String,
    left: f64,
    width: f64,
    against: bool,
}

#[derive(Debug, Serialize)]
struct Chip {
    src: String,
    width: u32,
    height: u32,
}

/// Outline and buildings, north up.
#[derive(Debug, Serialize)]
struct Sketch {
    width: f64,
    height: f64,
    outline: String,
    buildings: String,
    scale: f64,
    scale_label: String,
}

/// The card of a site.
///
/// # Errors
/// A chip that the page carries and whose bytes are missing.
pub(crate) fn card(
    county: &County,
    result: &CountyResult,
    site: &Site,
    ground: &Ground,
    images: &Images<'_>,
) -> Result<Card, ReportError> {
    let site_chips = SiteChips::of(result, site);
    let chip = |chip: Option<&ChipRef>| chip.map(|chip| images.image(chip)).transpose();
    let p = site.probabilities;
    let (low, high) = site.factory_interval;
    let clamp = |p: f64| round(p.clamp(0.0, 1.0) * 100.0, 1);
    Ok(Card {
        id: site.id.clone(),
        county_id: county.id.0.clone(),
        county_name: county.name.clone(),
        parent: county.parent.clone(),
        designated: county.designated.first().map(i32::to_string),
        class: site.class.as_str(),
        area_ha: words::hectares(site.area_ha),
        summary: site.summary.clone(),
        p_factory: clamp(p.factory),
        p_factory_text: words::number(p.factory, 2),
        interval: (clamp(low), round(clamp(high) - clamp(low), 1)),
        interval_text: format!("{}–{}", words::number(low, 2), words::number(high, 2)),
        probabilities: SiteClass::ALL
            .iter()
            .zip([p.factory, p.residential, p.greenhouse, p.other])
            .map(|(class, p)| (class.as_str(), clamp(p), words::number(p, 2)))
            .collect(),
        reasons: bars(site),
        context: context(site),
        facts: facts(site),
        position: format!("{}, {}", position(site.lat, "N", "S"), position(site.lon, "E", "W")),
        before_days: words::days(site.before),
        after_days: words::days(site.after),
        before: chip(site_chips.before)?,
        after: chip(site_chips.after)?,
        sketch: sketch(site, ground),
        truncated: site.truncated,
        notes: site.notes.clone(),
        scenes: site.scenes.iter().map(|scene| scene.0.clone()).collect(),
    })
}

fn position(degrees: f64, positive: &str, negative: &str) -> String {
    format!("{}° {}", words::number(degrees.abs(), 5), if degrees < 0.0 { negative } else { positive })
}

/// Where the page's chips are.
pub(crate) struct Images<'a> {
    /// What a path under `results/` is relative to, as a URL that ends in a slash; empty for the page's own folder.
    pub base: &'a str,
    /// Those that the page carries inside.
    pub embedded: &'a [&'a ChipRef],
    /// The bytes of these, by name.
    pub bytes: &'a BTreeMap<String, Bytes>,
}

impl Images<'_> {
    fn image(&self, chip: &ChipRef) -> Result<Chip, ReportError> {
        if !self.embedded.iter().any(|other| other.name == chip.name) {
            return Ok(Chip { src: format!("{}{}", self.base, chips::path(chip)), width: 1, height: 1 });
        }
        let png = self.bytes.get(&chip.name).ok_or_else(|| ReportError::ChipMissing(chip.name.clone()))?;
        let (width, height) = chips::png_size(png).unwrap_or((1, 1));
        let src = format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png));
        Ok(Chip { src, width, height })
    }
}

/// Contributions to the log-odds on a common track around nought.
fn bars(site: &Site) -> Vec<Bar> {
    let longest = site.reasons.iter().map(|reason| reason.log_odds.abs()).fold(0.5, f64::max);
    site.reasons
        .iter()
        .filter(|reason| reason.log_odds.is_finite())
        .map(|reason| {
            let width = round(reason.log_odds.abs() / longest * 50.0, 1);
            let against = reason.log_odds < 0.0;
            let sign = if against { "" } else { "+" };
            Bar {
                text: reason.text.clone(),
                value: format!("{sign}{}", words::number(reason.log_odds, 1)),
                left: if against { round(50.0 - width, 1) } else { 50.0 },
                width,
                against,
            }
        })
        .collect()
}

fn context(site: &Site) -> Vec<String> {
    let near = [
        (&site.station, "a railway station"),
        (&site.town, "a town"),
        (&site.facility, "a known facility"),
        (&site.greenhouse, "a greenhouse farm"),
    ];
    let mut context: Vec<String> =
        near.iter().filter_map(|(place, kind)| place.as_ref().map(|place| words::nearby(place, kind))).collect();
    if let Some(road) = &site.road {
        context.push(match &road.name {
            Some(name) => format!("{} km from the road {name}", words::number(road.distance_km, 1)),
            None => format!("{} km from a road", words::number(road.distance_km, 1)),
        });
    }
    context
}

fn facts(site: &Site) -> Vec<(&'static str, String)> {
    let before = format!("{} ({} %)", site.before_cover.as_str(), words::number(site.before_cover_share * 100.0, 0));
    let phase = match site.phase {
        Phase::GroundWorks => "ground works, no building yet",
        Phase::Frames => "frames, no roofs yet",
        Phase::Roofed => "roofed",
        Phase::None => "not under construction, or can't be said",
    };
    let mut facts = vec![("Cover", format!("{before} → {}", site.after_cover.as_str())), ("Phase", phase.to_owned())];
    let largest = site.footprints.iter().map(|footprint| footprint.area_m2).reduce(f64::max);
    facts.push((
        "Buildings",
        match largest {
            Some(largest) => format!(
                "{}; the largest {} m², L/W {}",
                words::grouped(site.footprints.len() as u64),
                words::number(largest, 0),
                words::number(site.building_elongation, 1)
            ),
            None => "none seen".to_owned(),
        },
    ));
    facts
}

fn sketch(site: &Site, ground: &Ground) -> Option<Sketch> {
    const SIDE: f64 = 240.0;
    const MARGIN: f64 = 16.0;
    /// Room for the north arrow above the outline.
    const TOP: f64 = 30.0;
    let outline = map::project(&site.outline, ground);
    let buildings: MultiPolygon<f64> =
        map::project(&site.footprints.iter().map(|footprint| footprint.outline.clone()).collect(), ground);
    let bounds = outline.bounding_rect()?;
    let metres_per_unit = bounds.width().max(bounds.height()).max(1.0) / (SIDE - 2.0 * MARGIN);
    let height = bounds.height() / metres_per_unit + TOP + MARGIN + 14.0;
    let west = bounds.center().x - SIDE / 2.0 * metres_per_unit;
    let north = bounds.max().y + TOP * metres_per_unit;
    let path = |polygons: &MultiPolygon<f64>| {
        let mut path = String::new();
        for polygon in polygons {
            for ring in std::iter::once(polygon.exterior()).chain(polygon.interiors()) {
                for (index, at) in ring.coords().enumerate() {
                    let Coord { x, y } = *at;
                    let (x, y) = ((x - west) / metres_per_unit, (north - y) / metres_per_unit);
                    path.push_str(&format!("{}{} {}", if index == 0 { "M" } else { "L" }, round(x, 1), round(y, 1)));
                }
                path.push('Z');
            }
        }
        path
    };
    let scale = map::round_length(SIDE / 3.0 * metres_per_unit);
    Some(Sketch {
        width: SIDE,
        height: round(height, 0),
        outline: path(&outline),
        buildings: path(&buildings),
        scale: round(scale / metres_per_unit, 1),
        scale_label: words::length(scale),
    })
}

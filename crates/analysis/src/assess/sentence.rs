//! What is said of a site in words: the analyst's sentence, and notes on how it was seen.

use survey::county::County;
use survey::result::{Cover, NearbyPlace, Phase, Site, SiteClass};

use super::SiteInput;
use crate::context::Nearby;
use crate::footprint::{COARSEST_M, Seen};

pub(super) fn notes(input: &SiteInput, seen: Option<&Seen>) -> Vec<String> {
    let mut notes = Vec::new();
    match seen {
        None if !input.plan.detector.second_look => {
            notes.push("the survey looked at no site again: no footprints".to_owned())
        }
        None => notes.push("the later scene could not be read again at its own resolution: no footprints".to_owned()),
        Some(seen) if !seen.resolved => notes.push(format!(
            "footprints cannot be resolved at {:.1} m pixels (needs {COARSEST_M} m or finer)",
            seen.gsd_m
        )),
        Some(seen) => {
            notes.push(format!("footprints from the later scene at {:.2} m pixels", seen.gsd_m));
            if seen.visible < 0.95 {
                notes.push(format!("{:.0} % of the site is visible in the later scene", 100.0 * seen.visible));
            }
        }
    }
    if input.component.sums.truncated {
        notes.push("it touches the edge of the surveyed area and may go on there".to_owned());
    }
    notes
}

/// The analyst's sentence.
pub(super) fn summary(site: &Site, near: &Nearby, county: &County) -> String {
    let mut parts = vec![format!(
        "{:.1} ha of {} → {} between {} and {}",
        site.area_ha,
        match site.before_cover {
            Cover::Bare => "bare ground",
            Cover::Built => "built ground",
            Cover::Unknown => "ground",
            cover => cover.as_str(),
        },
        became(site),
        site.before.to,
        site.after.from,
    )];
    let shown = site.footprints.len();
    if shown > 0 && site.class != SiteClass::Other {
        let elongated = if site.building_elongation >= 1.5 { "elongated " } else { "" };
        let plural = if shown == 1 { "" } else { "s" };
        let mut said = format!("{shown} {elongated}building{plural} (L/W {:.1})", site.building_elongation);
        said.push_str(match site.phase {
            Phase::GroundWorks => ", ground works",
            Phase::Frames => ", frames",
            Phase::Roofed => ", roofed",
            Phase::None => "",
        });
        parts.push(said);
    } else if site.phase == Phase::GroundWorks {
        parts.push("ground works, no building yet".to_owned());
    }
    let place = near.station.as_ref().map(|place| (place, "a railway station"));
    if let Some((place, kind)) = place.or_else(|| near.town.as_ref().map(|place| (place, "a town"))) {
        parts.push(lies(place, kind));
    }
    if let Some(farm) = near.greenhouse.as_ref().filter(|farm| farm.distance_km <= 5.0) {
        parts.push(lies(farm, "a greenhouse farm"));
    }
    if !county.designated.is_empty() {
        let years: Vec<String> = county.designated.iter().map(ToString::to_string).collect();
        parts.push(format!("county designated {}", years.join(", ")));
    }
    let (low, high) = site.factory_interval;
    parts.push(format!("factory {:.2} [{low:.2}–{high:.2}]", site.probabilities.factory));
    format!("{}.", parts.join("; "))
}

fn became(site: &Site) -> &'static str {
    match (site.class, site.phase) {
        (SiteClass::Factory, Phase::Roofed) => "factory buildings",
        (SiteClass::Residential, _) => "housing",
        (SiteClass::Greenhouse, _) => "greenhouses",
        (SiteClass::Factory, _) | (SiteClass::Other, Phase::GroundWorks) => "construction site",
        (SiteClass::Other, _) => match site.after_cover {
            Cover::Water => "water",
            Cover::Cropland | Cover::Woodland => "vegetation",
            Cover::Built => "built ground",
            Cover::Bare | Cover::Unknown => "bare ground",
        },
    }
}

/// `0.5 km SW of Kyongsong Station`.
fn lies(place: &NearbyPlace, kind: &str) -> String {
    let name = place.name.as_deref().unwrap_or(kind);
    let digits = if place.distance_km < 0.1 { 2 } else { 1 };
    format!("{:.digits$} km {} of {name}", place.distance_km, place.bearing)
}

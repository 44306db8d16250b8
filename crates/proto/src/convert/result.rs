//! County results.

use chrono::NaiveDate;
use survey::ids::{CountyId, SceneId};
use survey::result::{
    ChipRef, ClassProbabilities, CountyResult, DateRange, ExtendedChange, Footprint, NearbyPlace, Reason, Site,
};

use crate::convert::enums::{cover, cover_to_wire, phase, phase_to_wire, site_class, site_class_to_wire};
use crate::convert::findings::{coverage, coverage_to_wire, note, note_to_wire};
use crate::convert::geometry::{multi_polygon, multi_polygon_to_wire, polygon, polygon_to_wire};
use crate::convert::job::{object, object_to_wire};
use crate::error::{ConvertError, Within, each, finite, required};
use crate::v1;

/// A county's result as a message.
#[must_use]
pub fn county_result_to_wire(result: &CountyResult) -> v1::CountyResult {
    v1::CountyResult {
        county: result.county.0.clone(),
        coverage: Some(coverage_to_wire(&result.coverage)),
        pixel_area_m2: result.pixel_area_m2,
        construction_px: result.construction_px,
        sites: result.sites.iter().map(site_to_wire).collect(),
        extended: result
            .extended
            .iter()
            .map(|change| v1::ExtendedChange {
                id: change.id.clone(),
                area_ha: change.area_ha,
                lon: change.lon,
                lat: change.lat,
            })
            .collect(),
        unreadable: result.unreadable.iter().map(note_to_wire).collect(),
        chips: result
            .chips
            .iter()
            .map(|chip| v1::ChipRef { name: chip.name.clone(), object: Some(object_to_wire(&chip.object)) })
            .collect(),
        quality: result.quality.clone(),
    }
}

/// The county's result of a message.
///
/// # Errors
/// A part is missing or invalid.
pub fn county_result(message: v1::CountyResult) -> Result<CountyResult, ConvertError> {
    Ok(CountyResult {
        county: CountyId(message.county),
        coverage: coverage(required("coverage", message.coverage)?),
        pixel_area_m2: finite("pixel_area_m2", message.pixel_area_m2)?,
        construction_px: message.construction_px,
        sites: each("sites", message.sites, site)?,
        extended: each("extended", message.extended, |change| {
            Ok(ExtendedChange {
                id: change.id,
                area_ha: finite("area_ha", change.area_ha)?,
                lon: finite("lon", change.lon)?,
                lat: finite("lat", change.lat)?,
            })
        })?,
        unreadable: message.unreadable.into_iter().map(note).collect(),
        chips: each("chips", message.chips, |chip| {
            if chip.name.is_empty() || chip.name.starts_with('.') || chip.name.contains(['/', '\\', '\0']) {
                return Err(ConvertError::invalid("name", format!("{:?} is not a file name", chip.name)));
            }
            Ok(ChipRef { name: chip.name, object: object(required("object", chip.object)?).within("object")? })
        })?,
        quality: message.quality,
    })
}

fn nearby_to_wire(place: &Option<NearbyPlace>) -> Option<v1::NearbyPlace> {
    place.as_ref().map(|place| v1::NearbyPlace {
        name: place.name.clone(),
        distance_km: place.distance_km,
        bearing: place.bearing.clone(),
    })
}

fn nearby(field: &str, place: Option<v1::NearbyPlace>) -> Result<Option<NearbyPlace>, ConvertError> {
    place
        .map(|place| {
            Ok(NearbyPlace {
                name: place.name,
                distance_km: finite("distance_km", place.distance_km).within(field)?,
                bearing: place.bearing,
            })
        })
        .transpose()
}

fn dates_to_wire(range: DateRange) -> v1::DateRange {
    v1::DateRange { from: range.from.to_epoch_days(), to: range.to.to_epoch_days() }
}

fn dates(field: &str, range: Option<v1::DateRange>) -> Result<DateRange, ConvertError> {
    let range = required(field, range)?;
    let day = |days: i32| {
        NaiveDate::from_epoch_days(days).ok_or_else(|| ConvertError::invalid(field, format!("{days} is not a day")))
    };
    Ok(DateRange { from: day(range.from)?, to: day(range.to)? })
}

fn site_to_wire(site: &Site) -> v1::Site {
    let &ClassProbabilities { factory, residential, greenhouse, other } = &site.probabilities;
    v1::Site {
        id: site.id.clone(),
        county: site.county.0.clone(),
        pixels: site.pixels,
        area_ha: site.area_ha,
        outline: Some(multi_polygon_to_wire(&site.outline)),
        lon: site.lon,
        lat: site.lat,
        class: site_class_to_wire(site.class),
        probabilities: Some(v1::ClassProbabilities { factory, residential, greenhouse, other }),
        factory_low: site.factory_interval.0,
        factory_high: site.factory_interval.1,
        reasons: site
            .reasons
            .iter()
            .map(|reason| v1::Reason { text: reason.text.clone(), log_odds: reason.log_odds })
            .collect(),
        summary: site.summary.clone(),
        before_cover: cover_to_wire(site.before_cover),
        before_cover_share: site.before_cover_share,
        after_cover: cover_to_wire(site.after_cover),
        phase: phase_to_wire(site.phase),
        footprints: site.footprints.iter().map(footprint_to_wire).collect(),
        elongation: site.elongation,
        building_elongation: site.building_elongation,
        features: site.features.clone(),
        station: nearby_to_wire(&site.station),
        road: nearby_to_wire(&site.road),
        town: nearby_to_wire(&site.town),
        facility: nearby_to_wire(&site.facility),
        greenhouse: nearby_to_wire(&site.greenhouse),
        before: Some(dates_to_wire(site.before)),
        after: Some(dates_to_wire(site.after)),
        scenes: site.scenes.iter().map(|scene| scene.0.clone()).collect(),
        truncated: site.truncated,
        notes: site.notes.clone(),
    }
}

fn site(message: v1::Site) -> Result<Site, ConvertError> {
    let v1::ClassProbabilities { factory, residential, greenhouse, other } =
        required("probabilities", message.probabilities)?;
    for (field, value) in [
        ("factory", factory),
        ("residential", residential),
        ("greenhouse", greenhouse),
        ("other", other),
        ("factory_low", message.factory_low),
        ("factory_high", message.factory_high),
    ] {
        if !(0.0..=1.0).contains(&value) {
            return Err(ConvertError::invalid(field, format!("{value} is not a probability")));
        }
    }
    Ok(Site {
        id: message.id,
        county: CountyId(message.county),
        pixels: message.pixels,
        area_ha: finite("area_ha", message.area_ha)?,
        outline: multi_polygon(required("outline", message.outline)?).within("outline")?,
        lon: finite("lon", message.lon)?,
        lat: finite("lat", message.lat)?,
        class: site_class(message.class).within("class")?,
        probabilities: ClassProbabilities { factory, residential, greenhouse, other },
        factory_interval: (message.factory_low, message.factory_high),
        reasons: each("reasons", message.reasons, |reason| {
            Ok(Reason { text: reason.text, log_odds: finite("log_odds", reason.log_odds)? })
        })?,
        summary: message.summary,
        before_cover: cover(message.before_cover).within("before_cover")?,
        before_cover_share: finite("before_cover_share", message.before_cover_share)?,
        after_cover: cover(message.after_cover).within("after_cover")?,
        phase: phase(message.phase).within("phase")?,
        footprints: each("footprints", message.footprints, footprint)?,
        elongation: finite("elongation", message.elongation)?,
        building_elongation: finite("building_elongation", message.building_elongation)?,
        features: message.features,
        station: nearby("station", message.station)?,
        road: nearby("road", message.road)?,
        town: nearby("town", message.town)?,
        facility: nearby("facility", message.facility)?,
        greenhouse: nearby("greenhouse", message.greenhouse)?,
        before: dates("before", message.before)?,
        after: dates("after", message.after)?,
        scenes: message.scenes.into_iter().map(SceneId).collect(),
        truncated: message.truncated,
        notes: message.notes,
    })
}

fn footprint_to_wire(footprint: &Footprint) -> v1::Footprint {
    v1::Footprint {
        id: footprint.id.clone(),
        outline: Some(polygon_to_wire(&footprint.outline)),
        area_m2: footprint.area_m2,
        length_m: footprint.length_m,
        width_m: footprint.width_m,
        azimuth_deg: footprint.azimuth_deg,
        rectangularity: footprint.rectangularity,
    }
}

fn footprint(message: v1::Footprint) -> Result<Footprint, ConvertError> {
    Ok(Footprint {
        id: message.id,
        outline: polygon(required("outline", message.outline)?).within("outline")?,
        area_m2: finite("area_m2", message.area_m2)?,
        length_m: finite("length_m", message.length_m)?,
        width_m: finite("width_m", message.width_m)?,
        azimuth_deg: finite("azimuth_deg", message.azimuth_deg)?,
        rectangularity: finite("rectangularity", message.rectangularity)?,
    })
}

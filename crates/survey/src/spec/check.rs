//! What can be checked of a survey file without looking at another file.

use std::collections::BTreeSet;

use super::sections::{DetectorSpec, Hrefs, SurveySpec, WindowSection};
use super::{DETECTORS, SpecError};
use crate::scene::BandName;

fn invalid(key: &str, problem: impl Into<String>, mend: impl Into<String>) -> SpecError {
    SpecError::Invalid { key: key.into(), problem: problem.into(), mend: mend.into() }
}

impl SurveySpec {
    /// # Errors
    /// [`SpecError::Invalid`] for the first value that makes no sense.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        if self.survey.name.trim().is_empty() {
            return Err(invalid("survey.name", "it is empty", "give the survey a name"));
        }
        if self.survey.output.trim().is_empty() {
            return Err(invalid("survey.output", "it is empty", "name a folder or an object-store URL"));
        }
        for (key, window) in [("before", &self.before), ("after", &self.after)] {
            window.check(key)?;
        }
        if let (Some(before), Some(after)) = (self.before.range(), self.after.range())
            && before.0 > after.0
        {
            return Err(invalid(
                "before.from",
                format!(
                    "the window before ({} to {}) begins later than the window after ({} to {})",
                    before.0, before.1, after.0, after.1
                ),
                "swap [before] and [after]",
            ));
        }
        if let Some(only) = &self.counties.only
            && only.is_empty()
        {
            return Err(invalid(
                "counties.only",
                "it is empty, so no county would be surveyed",
                "name counties, or leave the key out",
            ));
        }
        if let Some(resolution) = self.grid.resolution_m
            && !(resolution.is_finite() && (0.05..=10_000.0).contains(&resolution))
        {
            return Err(invalid(
                "grid.resolution_m",
                format!("{resolution} is not a resolution"),
                "give metres between 0.05 and 10000",
            ));
        }
        if let Some(tile_px) = self.grid.tile_px
            && !(64..=8192).contains(&tile_px)
        {
            return Err(invalid(
                "grid.tile_px",
                format!("{tile_px} is not a usable tile"),
                "give pixels between 64 and 8192",
            ));
        }
        self.detector.check()
    }
}

impl WindowSection {
    fn check(&self, key: &str) -> Result<(), SpecError> {
        match (&self.catalog, &self.scenes) {
            (None, None) => {
                return Err(invalid(
                    key,
                    "it names neither a catalog nor scenes",
                    format!(
                        "add {key}.catalog = \"…\" or {key}.scenes = [{{ href = \"…\", date = 2024-05-29, bands = [\"red\", \"green\", \"blue\"] }}]"
                    ),
                ));
            }
            (Some(_), Some(_)) => return Err(invalid(key, "it names both a catalog and scenes", "keep one of them")),
            (Some(_), None) if self.range().is_none() => {
                return Err(invalid(key, "a catalog needs a time window", format!("add {key}.from and {key}.to")));
            }
            _ => {}
        }
        if let Some((from, to)) = self.range()
            && from > to
        {
            return Err(invalid(
                &format!("{key}.from"),
                format!("{from} is later than {key}.to = {to}"),
                "swap the two dates",
            ));
        }
        let mut ids = BTreeSet::new();
        for (index, scene) in self.scenes.iter().flatten().enumerate() {
            let name = format!("{key}.scenes[{index}]");
            let hrefs = scene.href.all();
            if hrefs.is_empty() || hrefs.iter().any(|href| href.trim().is_empty()) {
                return Err(invalid(&format!("{name}.href"), "it is empty", "name the scene's file or files"));
            }
            if scene.bands.iter().all(|band| band.is_empty()) {
                return Err(invalid(
                    &format!("{name}.bands"),
                    "it names no band",
                    "give STAC common names, such as [\"red\", \"green\", \"blue\"]",
                ));
            }
            let mut named: Vec<_> =
                scene.bands.iter().filter(|band| !band.is_empty()).map(|band| BandName::new(band)).collect();
            let count = named.len();
            named.sort();
            named.dedup();
            if named.len() != count {
                return Err(invalid(
                    &format!("{name}.bands"),
                    "it names a band twice",
                    "name each band once, and write \"\" for a band to leave out",
                ));
            }
            if let Hrefs::PerBand(hrefs) = &scene.href
                && hrefs.len() != scene.bands.len()
            {
                return Err(invalid(
                    &format!("{name}.bands"),
                    format!("{} bands for {} files", scene.bands.len(), hrefs.len()),
                    "give one band name per file",
                ));
            }
            if !ids.insert(scene.id()) {
                return Err(invalid(
                    &format!("{name}.id"),
                    format!("another scene is called `{}` too", scene.id()),
                    "give each scene an id of its own",
                ));
            }
            if let Some((from, to)) = self.range()
                && !(from..=to).contains(&scene.date.0)
            {
                return Err(invalid(
                    &format!("{name}.date"),
                    format!("{} lies outside {key}.from = {from} to {key}.to = {to}", scene.date.0),
                    "correct the date, or widen the window",
                ));
            }
        }
        if self.scenes.as_ref().is_some_and(Vec::is_empty) {
            return Err(invalid(&format!("{key}.scenes"), "it is empty", "name at least one scene"));
        }
        Ok(())
    }
}

impl DetectorSpec {
    fn check(&self) -> Result<(), SpecError> {
        if !DETECTORS.contains(&self.name.as_str()) {
            return Err(invalid(
                "detector.name",
                format!("there is no detector `{}`", self.name),
                format!("take one of {}", DETECTORS.join(", ")),
            ));
        }
        if !(self.min_site_ha.is_finite() && self.min_site_ha >= 0.0) {
            return Err(invalid(
                "detector.min_site_ha",
                format!("{} is not an area", self.min_site_ha),
                "give hectares",
            ));
        }
        if !(self.max_site_ha.is_finite() && self.max_site_ha > self.min_site_ha) {
            return Err(invalid("detector.max_site_ha", "it is not larger than min_site_ha", "give hectares"));
        }
        if !(self.group_radius_m.is_finite() && (0.0..=200.0).contains(&self.group_radius_m)) {
            return Err(invalid(
                "detector.group_radius_m",
                format!("{} is not a radius", self.group_radius_m),
                "give metres between 0 and 200",
            ));
        }
        if !(1..=16).contains(&self.max_pairs_per_cell) {
            return Err(invalid("detector.max_pairs_per_cell", "it is out of range", "give a number from 1 to 16"));
        }
        if self.bands.as_ref().is_some_and(Vec::is_empty) {
            return Err(invalid("detector.bands", "it is empty", "name bands, or leave the key out"));
        }
        Ok(())
    }
}

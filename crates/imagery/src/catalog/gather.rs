//! Scenes as they are found: read, filtered, and what was left out counted.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde_json::Value;
use survey::ids::SceneId;
use survey::scene::Scene;
use survey::spec::WindowSection;
use url::Url;

use super::footprint;
use super::item::{self, Candidate};
use super::json::text;

/// Refusals that are kept by name; the rest is counted.
const MAX_REFUSED: usize = 1000;

/// How many scenes were left out, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Acquired before `from` or after `to`.
    pub other_dates: usize,
    /// Beside the counties.
    pub elsewhere: usize,
    /// More cloud than `max_cloud_cover`.
    pub cloudy: usize,
    /// Further off nadir than `max_off_nadir_deg`.
    pub oblique: usize,
    /// Of a collection that is not asked for.
    pub other_collections: usize,
    /// Copies of an acquisition that is there.
    pub duplicates: usize,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Query<'a> {
    pub window: &'a WindowSection,
    /// West, south, east, north.
    pub bbox: [f64; 4],
}

impl Query<'_> {
    pub(super) fn from(&self) -> Option<NaiveDate> {
        self.window.from.map(|date| date.0)
    }

    pub(super) fn to(&self) -> Option<NaiveDate> {
        self.window.to.map(|date| date.0)
    }

    /// Days between a date and the window; 0 inside it.
    fn days_outside(&self, date: NaiveDate) -> i64 {
        let before = self.from().map_or(0, |from| (from - date).num_days());
        let after = self.to().map_or(0, |to| (date - to).num_days());
        before.max(after).max(0)
    }
}

/// Scenes as they are found.
#[derive(Debug)]
pub(super) struct Gathering<'a> {
    pub query: Query<'a>,
    pub found: Vec<Candidate>,
    pub refused: Vec<(String, String)>,
    pub more_refused: usize,
    pub warnings: Vec<String>,
    pub left_out: LeftOut,
    /// The scene over the counties that is nearest to the window in time, though outside it.
    nearest: Option<(i64, NaiveDate, SceneId)>,
    /// (collection, id, time) of the items that were seen: pages may repeat.
    seen: BTreeSet<(String, String, String)>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(query: Query<'a>) -> Self {
        Self {
            query,
            found: Vec::new(),
            refused: Vec::new(),
            more_refused: 0,
            warnings: Vec::new(),
            left_out: LeftOut::default(),
            nearest: None,
            seen: BTreeSet::new(),
        }
    }

    /// Takes an item. `inherited` is the collection it is found under, where it names none itself. Returns whether it is
    /// new.
    pub(super) fn item(&mut self, item: &Value, base: &Url, inherited: Option<&str>) -> bool {
        let collection = text(item, "collection").or(inherited).unwrap_or_default().to_owned();
        let time = item.get("properties").and_then(|properties| text(properties, "datetime")).unwrap_or_default();
        if let Some(id) = text(item, "id")
            && !self.seen.insert((collection.clone(), id.to_owned(), time.to_owned()))
        {
            return false;
        }
        if let Some(asked) = &self.query.window.collections
            && !asked.contains(&collection)
        {
            self.left_out.other_collections += 1;
            return true;
        }
        match item::read(item, base) {
            Ok(candidate) => self.candidate(candidate),
            Err((id, cause)) => self.refuse(id, cause),
        }
        true
    }

    pub(super) fn refuse(&mut self, what: String, cause: String) {
        if self.refused.len() < MAX_REFUSED {
            self.refused.push((what, cause));
        } else {
            self.more_refused += 1;
        }
    }

    /// Takes a scene, if it is asked for.
    pub(super) fn candidate(&mut self, candidate: Candidate) {
        let scene = &candidate.scene;
        if !footprint::meets(&scene.footprint, self.query.bbox) {
            self.left_out.elsewhere += 1;
            return;
        }
        let too_much =
            |value: Option<f64>, limit: Option<f64>| value.zip(limit).is_some_and(|(value, limit)| value > limit);
        if too_much(scene.cloud_cover, self.query.window.max_cloud_cover) {
            self.left_out.cloudy += 1;
            return;
        }
        if too_much(scene.off_nadir_deg, self.query.window.max_off_nadir_deg) {
            self.left_out.oblique += 1;
            return;
        }
        let days = self.query.days_outside(scene.date());
        if days > 0 {
            self.left_out.other_dates += 1;
            let this = (days, scene.date(), scene.id.clone());
            if self.nearest.as_ref().is_none_or(|nearest| this < *nearest) {
                self.nearest = Some(this);
            }
            return;
        }
        self.found.push(candidate);
    }

    pub(super) fn nearest(&self) -> Option<(SceneId, NaiveDate)> {
        self.nearest.clone().map(|(_, date, id)| (id, date))
    }

    /// The scenes, each acquisition once, by time and id.
    pub(super) fn scenes(&mut self) -> Vec<Scene> {
        let mut found = std::mem::take(&mut self.found);
        let before = found.len();
        // The best copy of an acquisition comes first, whatever the order in which they were found.
        found.sort_by(|a, b| {
            let time = |candidate: &Candidate| candidate.scene.acquired.timestamp();
            time(a)
                .cmp(&time(b))
                .then_with(|| b.processed.cmp(&a.processed))
                .then_with(|| b.scene.id.cmp(&a.scene.id))
                .then_with(|| b.scene.platform.cmp(&a.scene.platform))
        });
        let mut kept: Vec<Candidate> = Vec::with_capacity(found.len());
        for candidate in found {
            let same = kept
                .iter()
                .rev()
                .take_while(|other| other.scene.acquired.timestamp() == candidate.scene.acquired.timestamp())
                .any(|other| is_same_acquisition(other, &candidate));
            if !same {
                kept.push(candidate);
            }
        }
        self.left_out.duplicates += before - kept.len();
        let mut scenes: Vec<Scene> = kept.into_iter().map(|candidate| candidate.scene).collect();
        scenes.sort_by(|a, b| (a.acquired, &a.id).cmp(&(b.acquired, &b.id)));
        // Two acquisitions under one id: the later ones get their time, since ids name scenes in results.
        let mut ids = BTreeSet::new();
        for scene in &mut scenes {
            if !ids.insert(scene.id.clone()) {
                scene.id = SceneId(format!("{}@{}", scene.id, scene.acquired.format("%Y-%m-%dT%H%M%SZ")));
            }
        }
        scenes
    }
}

/// Whether two scenes of one second are copies of one acquisition: the same id, or the same platform and the same tile,
/// or nearly the same footprint where one of them names no tile.
fn is_same_acquisition(a: &Candidate, b: &Candidate) -> bool {
    let platform = |candidate: &Candidate| candidate.scene.platform.as_deref().map(str::to_ascii_lowercase);
    if a.scene.id == b.scene.id && a.tile == b.tile {
        return true;
    }
    if platform(a) != platform(b) {
        return false;
    }
    match (&a.tile, &b.tile) {
        (Some(a), Some(b)) => a == b,
        _ => footprint::likeness(&a.scene.footprint, &b.scene.footprint) > 0.95,
    }
}

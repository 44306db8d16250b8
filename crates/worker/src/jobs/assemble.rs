//! Assemble: the result of a county from the components that it owns.
//!
//! Each site is looked at again: the scenes of the pair that saw most of it, over its ground and a margin, the later one
//! at its own resolution. What is read again only adds (footprints, class, images): the area of a site comes from the
//! survey's pixels.

use std::collections::BTreeMap;
use std::sync::Arc;

use analysis::assess::{SiteInput, assess_site, extended_change, principal_pair, site_id};
use futures::{StreamExt, TryStreamExt};
use imagery::crs::{Crs, Transformer, area_scale};
use survey::calibration::{Calibration, QualityFlag, Registration};
use survey::findings::{Component, Findings};
use survey::grid::{Grid, PixelRect};
use survey::job::{Job, JobKey, ObjectRef};
use survey::raster::SceneWindow;
use survey::result::{ChipRef, CountyResult, Site};
use survey::scene::{BandName, Scene};
use tokio::sync::Semaphore;
use tracing::Instrument;

use super::detect::calibrations;
use super::{Committed, JobContext, JobStats, LoadedPlan, safe_key};
use crate::chips::{Caption, ChipGrid, MAX_SIDE_PX, render};
use crate::error::JobError;

/// Where longitude and latitude come from.
const LONLAT: &str = "EPSG:4326";

/// Sites that are looked at together, as far as there is room: so many windows as hold the pixels of the largest one, for
/// which the job's memory is declared.
const SITES_AT_ONCE: usize = 8;
const ROOM: usize = (MAX_SIDE_PX as usize + 1) * (MAX_SIDE_PX as usize + 1);

/// Assembles the result of a county of the plan.
pub(super) async fn run(
    context: &JobContext,
    loaded: &Arc<LoadedPlan>,
    job: &Job,
    index: u32,
) -> Result<Committed, JobError> {
    let plan = &loaded.plan;
    let wrong = |cause: String| JobError::Plan { key: job.key.to_string(), cause };
    let county = plan.counties.get(index as usize).ok_or_else(|| wrong(format!("the plan has no county {index}")))?;
    let calibrations = calibrations(context, job).await?;
    let (mut root, holders) = findings(context, job).await?;
    let ground = Ground::new(&plan.grid)?;

    let closed = std::mem::take(&mut root.closed).into_iter().chain(holders.into_iter().flat_map(|held| held.closed));
    let mut components: Vec<Component> = closed.filter(|component| component.sums.owner() == Some(index)).collect();
    components.sort_by_key(|component| component.first);
    components.dedup_by_key(|component| component.first);

    let small = root.small_px.get(&index).copied().unwrap_or(0);
    let mut result = CountyResult {
        county: county.id.clone(),
        coverage: root.coverage.get(&index).copied().unwrap_or_default(),
        pixel_area_m2: plan.grid.pixel_area_m2() * ground.scale(&plan.grid, loaded.counties.bounds(index)),
        construction_px: small + components.iter().map(|component| component.sums.pixels).sum::<u64>(),
        sites: Vec::new(),
        extended: Vec::new(),
        unreadable: root.unreadable.get(&index).cloned().unwrap_or_default(),
        chips: Vec::new(),
        quality: quality(loaded, &calibrations),
    };
    let mut stats = JobStats::default();
    let (calibrations, ground) = (&calibrations, &ground);
    let room = &Semaphore::new(ROOM);
    let mut assessed = futures::stream::iter(components.into_iter().map(|component| {
        let name = site_id(&component, county);
        let component = Arc::new(component);
        let assessment = Assessment { context, loaded, job, index, calibrations, ground, room, component };
        assessment.run().instrument(tracing::info_span!("site", site = %name))
    }))
    .buffered(SITES_AT_ONCE);
    while let Some(found) = assessed.try_next().await? {
        match found {
            Assessed::Extended(extended) => result.extended.push(extended),
            Assessed::Site(site, chips, read) => {
                result.sites.push(*site);
                result.chips.extend(chips);
                stats.add(read);
            }
        }
    }
    drop(assessed);
    let bytes = proto::objects::encode_county_result(&result);
    context.commit(&format!("stages/counties/{index}-{}", safe_key(&county.id.0)), bytes, stats).await
}

/// The root's findings, and those of the blocks that hold components of the county.
async fn findings(context: &JobContext, job: &Job) -> Result<(Findings, Vec<Findings>), JobError> {
    let inputs = job.inputs.iter().filter(|input| !matches!(input.from, JobKey::Calibrate(_)));
    let objects: Vec<(JobKey, Option<ObjectRef>)> = inputs.map(|input| (input.from, input.object.clone())).collect();
    let missing = |from: Option<JobKey>| JobError::Missing {
        key: job.key.to_string(),
        from: from.map_or_else(|| "the findings of the survey".to_owned(), |from| from.to_string()),
    };
    if objects.is_empty() {
        return Err(missing(None));
    }
    if let Some((from, _)) = objects.iter().find(|(_, object)| object.is_none()) {
        return Err(missing(Some(*from)));
    }
    let mut wanted: Vec<Option<ObjectRef>> = Vec::new();
    for (_, object) in objects {
        // The root may be named again as the holder of its own components.
        if !wanted.contains(&object) {
            wanted.push(object);
        }
    }
    let decoded = context.objects(wanted, proto::objects::decode_findings).await?;
    let mut decoded = decoded.into_iter().flatten();
    let root = decoded.next().ok_or_else(|| missing(None))?;
    Ok((root, decoded.collect()))
}

/// What is odd about the pairs that may have seen the county, in words.
fn quality(loaded: &LoadedPlan, calibrations: &BTreeMap<u32, Option<Calibration>>) -> Vec<String> {
    let mut words = Vec::new();
    for (&pair, calibration) in calibrations {
        let key = loaded.plan.pairs.get(pair as usize).map_or("?", |pair| pair.key.as_str());
        match calibration {
            Some(calibration) => {
                words.extend(calibration.quality.iter().map(|&flag| format!("{key}: {}", quality_in_words(flag))));
            }
            None => words.push(format!("{key}: the scenes could not be compared")),
        }
    }
    words
}

fn quality_in_words(flag: QualityFlag) -> &'static str {
    match flag {
        QualityFlag::RegistrationUnknown => "too few tie points, the scenes are compared as they lie",
        QualityFlag::RegistrationPoor => "the scenes fit to each other to more than a pixel only",
        QualityFlag::WeightCollapse => "little of the ground is unchanged, the comparison stopped early",
        QualityFlag::ThresholdFlagsLittle => "next to nothing is above the change threshold",
        QualityFlag::ThresholdFlagsMuch => "a large part of the ground is above the change threshold",
        QualityFlag::RadiometryImplausible => "the bands' gains disagree wildly, an offset may have been missed",
        QualityFlag::SmallSample => "the scenes have little valid ground in common",
    }
}

/// The way from the grid to the globe.
#[derive(Clone)]
struct Ground {
    crs: Arc<Crs>,
    to_lonlat: Arc<Transformer>,
}

impl Ground {
    fn new(grid: &Grid) -> Result<Self, JobError> {
        let crs = Crs::parse(&grid.crs)?;
        let to_lonlat = Transformer::new(&crs, &Crs::parse(LONLAT)?)?;
        Ok(Self { crs: Arc::new(crs), to_lonlat: Arc::new(to_lonlat) })
    }

    /// Ground area / grid area in the middle of a rectangle; 1 where the projection has no answer.
    fn scale(&self, grid: &Grid, rect: Option<PixelRect>) -> f64 {
        let Some(rect) = rect else { return 1.0 };
        let middle = |from: i32, to: i32| f64::from(from) + (f64::from(to) - f64::from(from)) / 2.0;
        let (row, col) = (middle(rect.row0, rect.row1), middle(rect.col0, rect.col1));
        area_scale(&self.crs, col * grid.resolution_m, -row * grid.resolution_m).unwrap_or(1.0)
    }

    fn project(&self, x: f64, y: f64) -> (f64, f64) {
        self.to_lonlat.apply(x, y).unwrap_or_default()
    }
}

/// What a component turned out to be.
enum Assessed {
    Extended(survey::result::ExtendedChange),
    Site(Box<Site>, Vec<ChipRef>, JobStats),
}

/// One component on its way to becoming a site.
struct Assessment<'a> {
    context: &'a JobContext,
    loaded: &'a Arc<LoadedPlan>,
    job: &'a Job,
    index: u32,
    calibrations: &'a BTreeMap<u32, Option<Calibration>>,
    ground: &'a Ground,
    /// Pixels of windows that may still be read.
    room: &'a Semaphore,
    component: Arc<Component>,
}

impl Assessment<'_> {
    async fn run(self) -> Result<Assessed, JobError> {
        if self.component.extended {
            return Ok(Assessed::Extended(self.assess(None, extended_change).await?));
        }
        let mut stats = JobStats::default();
        let (site, chips) = self.site(&mut stats).await?;
        Ok(Assessed::Site(Box::new(site), chips, stats))
    }

    /// The site and its chips, before and after.
    async fn site(&self, stats: &mut JobStats) -> Result<(Site, Vec<ChipRef>), JobError> {
        let plan = &self.loaded.plan;
        let Some(pair) = principal_pair(&self.component.sums).filter(|_| plan.detector.second_look) else {
            return Ok((self.assess(None, assess_site).await?, Vec::new()));
        };
        let (scene_pair, before, after) = self.loaded.pair(self.job.key, pair)?;
        let calibration = self.calibrations.get(&pair).and_then(Option::as_ref);
        let correction = calibration.map(|calibration| calibration.registration).unwrap_or_default();
        let chip = ChipGrid::new(&plan.grid, self.component.bounds, after.gsd_m);
        let pixels = u32::try_from(chip.rect.pixels().min(ROOM)).unwrap_or(u32::MAX);
        let _room = self.room.acquire_many(pixels).await;

        let later = self.read(after, &scene_pair.after_bands, &chip, &chip.correction(&correction), stats).await?;
        let (later, later_png) = self.render(later, &chip, after).await?;
        let site = self.assess(Some((later, chip.grid.clone())), assess_site).await?;
        let earlier = self.read(before, &scene_pair.before_bands, &chip, &Registration::default(), stats).await?;
        let (_, earlier_png) = self.render(earlier, &chip, before).await?;

        let mut chips = Vec::with_capacity(2);
        for (when, png) in [("before", earlier_png), ("after", later_png)] {
            let stem = format!("{}-{when}", chip_stem(&site.id));
            let folder = safe_key(&site.county.0);
            let key = format!("stages/chips/{folder}/{stem}");
            let object = self.context.output.commit(&key, "png", png.into()).await?;
            chips.push(ChipRef { name: format!("{stem}.png"), object });
        }
        Ok((site, chips))
    }

    async fn read(
        &self,
        scene: &Scene,
        bands: &[BandName],
        chip: &ChipGrid,
        correction: &Registration,
        stats: &mut JobStats,
    ) -> Result<SceneWindow, JobError> {
        let bands = bands_to_look_at(scene, bands);
        let read = self.context.reader.read(&chip.grid, scene, &bands, chip.rect, correction);
        let read = read.instrument(tracing::info_span!("fetch", scene = %scene.id)).await?;
        stats.add(read.fetched.into());
        Ok(read.window)
    }

    async fn render(
        &self,
        window: SceneWindow,
        chip: &ChipGrid,
        scene: &Scene,
    ) -> Result<(SceneWindow, Vec<u8>), JobError> {
        let (chip, component, label) = (chip.clone(), Arc::clone(&self.component), scene.date().to_string());
        let key = self.job.key.to_string();
        self.context
            .compute(move || {
                let caption = Caption { site: &component.runs, label: &label };
                match render(&window, &chip, &caption) {
                    Ok(png) => Ok((window, png)),
                    Err(error) => Err(JobError::Panicked { key, what: format!("a chip was not encoded: {error}") }),
                }
            })
            .await
    }

    async fn assess<T: Send + 'static>(
        &self,
        after: Option<(SceneWindow, Grid)>,
        judge: fn(&SiteInput) -> T,
    ) -> Result<T, JobError> {
        let (loaded, component) = (Arc::clone(self.loaded), Arc::clone(&self.component));
        let (ground, index, key) = (self.ground.clone(), self.index, self.job.key);
        self.context
            .compute(move || {
                let _span = tracing::info_span!("assess").entered();
                let county = loaded.plan.counties.get(index as usize).ok_or_else(|| JobError::Plan {
                    key: key.to_string(),
                    cause: format!("the plan has no county {index}"),
                })?;
                Ok(judge(&SiteInput {
                    component: &component,
                    plan: &loaded.plan,
                    county,
                    after: after.as_ref().map(|(window, grid)| (window, grid)),
                    project: &|x, y| ground.project(x, y),
                    area_scale: ground.scale(&loaded.plan.grid, Some(component.bounds)),
                }))
            })
            .await
    }
}

/// The bands of a pair, and the other reflective bands of the same files: what shows buildings and colours.
fn bands_to_look_at(scene: &Scene, compared: &[BandName]) -> Vec<BandName> {
    let assets: Vec<u16> = compared.iter().filter_map(|name| scene.band(name)).map(|band| band.asset).collect();
    let others = scene
        .bands
        .iter()
        .filter(|band| band.name.is_spectral() && assets.contains(&band.asset) && !compared.contains(&band.name));
    compared.iter().cloned().chain(others.map(|band| band.name.clone())).collect()
}

/// A site's id as the stem of a file name, as the report expects it: what may not stand in one becomes `_`.
fn chip_stem(site_id: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    site_id.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect()
}

//! The four jobs on a survey of a square kilometre that the test makes: two scenes, two counties, one new lot.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests may")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{TimeZone, Utc};
use geo::{MultiPolygon, polygon};
use imagery::cog::write::{CogCrs, CogSpec, Overviews, write_cog};
use imagery::{Output, SceneReader, Stores};
use survey::county::{County, CountyMap};
use survey::failure::FailureClass;
use survey::findings::{Component, Coverage, EvidenceChannel, Findings};
use survey::grid::{Block, Cell, GeoTransform, Grid, PixelRect};
use survey::job::{Job, JobInput, JobKey, ObjectRef};
use survey::plan::{Context, PlannedCell, SurveyPlan};
use survey::scene::{Asset, BandName, Scene, SceneBand, ScenePair};
use survey::spec::DetectorSpec;
use worker::{JobContext, JobError, JobRunner, Progress, Surveys, Work};

/// The survey's pixels: two by two cells.
const SIDE: i32 = 1024;
const ROW0: i32 = -4_428_800;
const COL0: i32 = 400_384;

/// The new lot, relative to the survey's corner: over the corner of four tiles of 512 and over the counties' border.
const LOT: PixelRect = PixelRect { row0: 430, col0: 440, row1: 580, col1: 660 };

/// What the later scene's georeference is off by, pixels.
const OFF: (i32, i32) = (2, -3);

const BANDS: [&str; 4] = ["blue", "green", "red", "nir"];

fn noise(x: i32, y: i32, seed: u64) -> f64 {
    let mut z =
        (u64::from(x as u32) << 32 | u64::from(y as u32)).wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 40) as f64 / (1 << 24) as f64
}

/// Reflectance × 10000 of a place: fields of 40 to 90 pixels, each with its own green, ditches between them.
fn fields(row: i32, col: i32) -> [f64; 4] {
    let (field_row, field_col) = (row.div_euclid(70), (col + 20 * row.div_euclid(70)).div_euclid(55));
    let is_ditch = row.rem_euclid(70) < 3 || (col + 20 * row.div_euclid(70)).rem_euclid(55) < 3;
    let green = noise(field_col, field_row, 1);
    if is_ditch {
        [500.0, 600.0, 700.0, 1500.0]
    } else {
        [400.0 + 150.0 * green, 650.0 + 200.0 * green, 500.0 + 500.0 * green, 2600.0 + 1400.0 * (1.0 - green)]
    }
}

/// A yard of bare ground with four long roofs on it.
fn lot(row: i32, col: i32) -> [f64; 4] {
    let (row, col) = (row - LOT.row0, col - LOT.col0);
    let is_roof = (20..200).contains(&col) && (15..135).contains(&row) && (row - 15) % 32 < 22;
    if is_roof { [3300.0, 3100.0, 2900.0, 3000.0] } else { [1500.0, 1750.0, 2000.0, 2300.0] }
}

fn picture(is_after: bool) -> Vec<Vec<u16>> {
    (0..4)
        .map(|band| {
            (0..SIDE)
                .flat_map(|row| (0..SIDE).map(move |col| (row, col)))
                .map(|(row, col)| {
                    let (place, seed) = if is_after { ((row + OFF.0, col + OFF.1), 7) } else { ((row, col), 3) };
                    let is_lot = is_after && LOT.contains(place.0, place.1);
                    let value = if is_lot { lot(place.0, place.1) } else { fields(place.0, place.1) }[band];
                    let value = if is_after { value * 1.06 + 30.0 } else { value };
                    (value + 40.0 * (noise(col, row, seed * 10 + band as u64) - 0.5)).round() as u16
                })
                .collect()
        })
        .collect()
}

fn scene(folder: &Path, id: &str, day: u32, is_after: bool) -> Scene {
    let transform = GeoTransform {
        x0: f64::from(COL0),
        x_per_col: 1.0,
        x_per_row: 0.0,
        y0: f64::from(-ROW0),
        y_per_col: 0.0,
        y_per_row: -1.0,
    };
    let path = folder.join(format!("{id}.tif"));
    let spec = CogSpec {
        width: SIDE as u32,
        height: SIDE as u32,
        band_names: BANDS.map(str::to_owned).to_vec(),
        georeference: Some((CogCrs::Projected(32652), transform)),
        nodata: Some(0.0),
        block_px: 256,
        overviews: Overviews::None,
        predictor: true,
        deflate_level: 1,
    };
    let bands = picture(is_after);
    let slices: Vec<&[u16]> = bands.iter().map(Vec::as_slice).collect();
    std::fs::write(&path, write_cog(&spec, &slices).unwrap()).unwrap();
    let asset = Asset {
        href: format!("file://{}", path.display()),
        crs: "EPSG:32652".into(),
        transform,
        width: SIDE as u32,
        height: SIDE as u32,
        bits_per_sample: 16,
        band_count: 4,
        size: None,
        etag: None,
        checksum: None,
    };
    let band = |(index, name): (usize, &&str)| SceneBand {
        name: BandName::new(name),
        asset: 0,
        index: index as u16,
        scale: 1e-4,
        offset: 0.0,
        nodata: None,
    };
    Scene {
        id: id.into(),
        acquired: Utc.with_ymd_and_hms(2024, 5, day, 2, 0, 0).unwrap(),
        platform: None,
        gsd_m: 1.0,
        off_nadir_deg: None,
        cloud_cover: None,
        footprint: MultiPolygon(vec![]),
        assets: vec![asset],
        bands: BANDS.iter().enumerate().map(band).collect(),
        masks: vec![],
    }
}

fn county(id: &str, col0: i32, col1: i32) -> County {
    let (x0, x1) = (f64::from(COL0 + col0), f64::from(COL0 + col1));
    let (y0, y1) = (f64::from(-ROW0) - 10.0, f64::from(-ROW0) - 1000.0);
    let border = polygon![(x: x0, y: y0), (x: x1, y: y0), (x: x1, y: y1), (x: x0, y: y1)].into();
    County { id: id.into(), name: id.into(), parent: None, designated: vec![], border, notes: vec![] }
}

fn plan(folder: &Path, tile_px: i32) -> SurveyPlan {
    let names = || BANDS.iter().map(|name| BandName::new(name)).collect::<Vec<_>>();
    let corner = Cell::of(ROW0, COL0);
    let cells = [(0, 0), (0, 1), (1, 0), (1, 1)]
        .map(|(row, col)| PlannedCell { cell: Cell { row: corner.row + row, col: corner.col + col }, pairs: vec![0] });
    SurveyPlan {
        survey: "test".into(),
        name: "test".into(),
        spec_hash: String::new(),
        grid: Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 },
        tile_px,
        detector: DetectorSpec::default(),
        // The lot lies mostly in the second county: 660 − 520 of its 220 columns.
        counties: vec![county("K 1/a", 5, 520), county("K2", 520, 1010)],
        scenes: vec![scene(folder, "before", 1, false), scene(folder, "after", 29, true)],
        pairs: vec![ScenePair {
            before: 0,
            after: 1,
            before_bands: names(),
            after_bands: names(),
            key: "before~after".into(),
        }],
        cells: cells.to_vec(),
        context: Context::default(),
    }
}

/// A mini-coordinator: does all jobs in order and keeps what they leave.
struct Survey {
    context: JobContext,
    plan: SurveyPlan,
    plan_object: ObjectRef,
    done: BTreeMap<JobKey, ObjectRef>,
    fails: Vec<JobKey>,
}

impl Survey {
    async fn new(folder: &Path, plan: SurveyPlan, threads: usize) -> Self {
        let stores = Stores::new(&[], &folder.display().to_string()).unwrap();
        let output = Output::open(&format!("out-{}-{threads}", plan.tile_px), &stores).unwrap();
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
        let reader = SceneReader::with_pool(stores, 64 << 20, Arc::clone(&pool));
        let context = JobContext::new(output, reader, pool);
        let bytes = Bytes::from(proto::objects::encode_plan(&plan));
        let plan_object = context.output.commit("plan", "pb", bytes).await.unwrap();
        Self { context, plan, plan_object, done: BTreeMap::new(), fails: vec![] }
    }

    async fn attempt(&self, key: JobKey, inputs: &[JobKey]) -> Result<ObjectRef, JobError> {
        self.attempt_with(key, inputs, 1 << 30, &Progress::default()).await
    }

    async fn attempt_with(
        &self,
        key: JobKey,
        inputs: &[JobKey],
        memory: u64,
        progress: &Progress,
    ) -> Result<ObjectRef, JobError> {
        let inputs = inputs.iter().map(|&from| JobInput { from, object: self.done.get(&from).cloned() }).collect();
        let job = Job { key, plan: self.plan_object.clone(), inputs, memory };
        worker::jobs::run(&self.context, &job, progress).await.map(|committed| committed.object)
    }

    async fn job(&mut self, key: JobKey, inputs: &[JobKey]) {
        if !self.fails.contains(&key) {
            let object = self.attempt(key, inputs).await.unwrap();
            self.done.insert(key, object);
        }
    }

    /// Calibration, tiles and merges; returns the root's key.
    async fn find(&mut self) -> JobKey {
        self.job(JobKey::Calibrate(0), &[]).await;
        let tiles = self.plan.tiles();
        for &tile in &tiles {
            self.job(JobKey::Detect(tile), &[JobKey::Calibrate(0)]).await;
        }
        let root = self.plan.extent().unwrap().root;
        let holder = |block: Block| if block.level == 0 { JobKey::Detect(block) } else { JobKey::Merge(block) };
        let mut level = tiles;
        while level != [root] {
            let mut above: BTreeMap<Block, Vec<JobKey>> = BTreeMap::new();
            for block in level {
                above.entry(block.parent()).or_default().push(holder(block));
            }
            for (block, below) in &above {
                self.job(JobKey::Merge(*block), below).await;
            }
            level = above.into_keys().collect();
        }
        holder(root)
    }

    async fn findings(&self, key: JobKey) -> Findings {
        let bytes = self.context.output.fetch(&self.done[&key]).await.unwrap();
        proto::objects::decode_findings(&bytes).unwrap()
    }

    /// All closed components, by place.
    async fn closed(&self) -> Vec<Component> {
        let mut closed = Vec::new();
        for &key in self.done.keys().filter(|key| matches!(key, JobKey::Detect(_) | JobKey::Merge(_))) {
            closed.extend(self.findings(key).await.closed);
        }
        closed.sort_by_key(|component| component.first);
        closed
    }

    fn key_of(&self, object: &ObjectRef) -> JobKey {
        *self.done.iter().find(|(_, done)| *done == object).unwrap().0
    }

    async fn assemble(&mut self, root: JobKey, county: u32) -> survey::result::CountyResult {
        let found = self.findings(root).await;
        let mut inputs = vec![root];
        inputs.extend(found.closed_at.get(&county).into_iter().flatten().map(|object| self.key_of(object)));
        inputs.push(JobKey::Calibrate(0));
        let object = self.attempt(JobKey::Assemble(county), &inputs).await.unwrap();
        let bytes = self.context.output.fetch(&object).await.unwrap();
        proto::objects::decode_county_result(&bytes).unwrap()
    }
}

fn county_px(plan: &SurveyPlan) -> BTreeMap<u32, u64> {
    let whole = PixelRect::new(ROW0, COL0, ROW0 + SIDE, COL0 + SIDE);
    CountyMap::new(&plan.grid, &plan.counties).pixels(whole)
}

#[tokio::test]
async fn a_new_lot_is_found_once_whatever_the_tiles_and_threads_and_its_county_tells_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut survey = Survey::new(folder.path(), plan(folder.path(), 512), 2).await;
    let root = survey.find().await;
    let closed = survey.closed().await;
    let coverage = survey.findings(root).await.coverage;
    for (county, pixels) in county_px(&survey.plan) {
        assert_eq!(coverage[&county].total(), pixels);
        // The later scene ends 3 columns before the survey does: that is all that may be missing.
        assert!(coverage[&county].surveyed > pixels * 98 / 100, "{:?}", coverage[&county]);
    }

    let mut other = Survey::new(folder.path(), plan(folder.path(), 777), 1).await;
    let other_root = other.find().await;
    assert_eq!(other.done[&JobKey::Calibrate(0)].digest, survey.done[&JobKey::Calibrate(0)].digest);
    assert_eq!(other.findings(other_root).await.coverage, coverage);
    assert_eq!(other.closed().await, closed);

    let (mut sites, mut others) = (Vec::new(), Vec::new());
    for county in 0..2 {
        let result = survey.assemble(root, county).await;
        assert_eq!(result, other.assemble(other_root, county).await);
        assert_eq!(result.coverage, coverage[&county]);
        if county == 1 { sites.push(result) } else { others.push(result) }
    }
    assert!(others[0].sites.is_empty(), "{:?}", others[0].sites.iter().map(|site| &site.id).collect::<Vec<_>>());
    let result = &sites[0];
    assert_eq!(result.sites.len(), 1);
    let site = &result.sites[0];
    let truth = LOT.pixels() as f64 / 10_000.0;
    assert!((site.area_ha / truth - 1.0).abs() < 0.1, "{} ha of {truth}", site.area_ha);
    assert_eq!(result.chips.len(), 2);
    for chip in &result.chips {
        let bytes = survey.context.output.fetch(&chip.object).await.unwrap();
        assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        assert!(chip.object.key.starts_with("stages/chips/K2/"), "{}", chip.object.key);
    }
    assert_eq!(result.chips[0].name, format!("{}-before.png", site.id));
}

#[tokio::test]
async fn a_tile_finds_what_was_fetched_ahead_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut survey = Survey::new(folder.path(), plan(folder.path(), 512), 2).await;
    survey.job(JobKey::Calibrate(0), &[]).await;
    let tile = JobKey::Detect(survey.plan.tiles()[0]);
    let calibration = JobInput { from: JobKey::Calibrate(0), object: survey.done.get(&JobKey::Calibrate(0)).cloned() };
    let job = Job { key: tile, plan: survey.plan_object.clone(), inputs: vec![calibration], memory: 1 << 30 };
    let work = Work { survey: "test".into(), output: "out-512-2".into(), job, progress: Progress::default() };
    let runner = || {
        let stores = Stores::new(&[], &folder.path().display().to_string()).unwrap();
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
        Surveys::new(stores.clone(), SceneReader::with_pool(stores, 1 << 30, Arc::clone(&pool)), pool)
    };
    let alone = runner().run(work.clone()).await.unwrap();
    let worker = runner();
    let ahead = worker.fetch_ahead(&work).await;
    let done = worker.run(work.clone()).await.unwrap();
    assert!(alone.stats.blocks_decoded > 0 && ahead.blocks_decoded >= alone.stats.blocks_decoded, "{ahead:?}");
    assert_eq!((done.stats.blocks_decoded, done.stats.bytes_fetched, done.object), (0, 0, alone.object));
    // Other jobs have nothing to fetch ahead, and what cannot be fetched is left to the job.
    let calibrate = Work { job: Job { key: JobKey::Calibrate(0), ..work.job.clone() }, ..work.clone() };
    let lost = Work { output: "nowhere".into(), ..work };
    for other in [calibrate, lost] {
        assert_eq!(runner().fetch_ahead(&other).await, Default::default());
    }
}

#[tokio::test]
async fn without_a_second_look_a_site_is_the_same_outline_and_no_scene_is_read_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut looking = Survey::new(folder.path(), plan(folder.path(), 512), 2).await;
    let root = looking.find().await;
    let looked_at = looking.assemble(root, 1).await.sites.remove(0);
    let mut screening = plan(folder.path(), 777);
    screening.detector.second_look = false;
    let mut survey = Survey::new(folder.path(), screening, 2).await;
    let root = survey.find().await;
    for name in ["before.tif", "after.tif"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    let result = survey.assemble(root, 1).await;
    let site = &result.sites[0];
    assert_eq!((result.sites.len(), &site.id, site.area_ha), (1, &looked_at.id, looked_at.area_ha));
    assert_eq!((&site.outline, &site.scenes), (&looked_at.outline, &looked_at.scenes));
    assert!(site.footprints.is_empty() && result.chips.is_empty());
    assert!(looked_at.notes[0].contains("footprints from the later scene"), "{:?}", looked_at.notes);
    assert!(site.notes[0].contains("looked at no site again"), "{:?}", site.notes);
}

#[tokio::test]
async fn a_scene_of_two_pairs_is_decoded_once() {
    let folder = tempfile::tempdir().unwrap();
    for (tile_px, looks_again) in [(512, false), (300, false), (512, true)] {
        let mut plan = plan(folder.path(), tile_px);
        plan.detector.second_look = looks_again;
        plan.scenes.push(scene(folder.path(), "last", 30, true));
        let pair = plan.pairs[0].clone();
        plan.pairs.push(ScenePair { after: 2, key: "before~last".into(), ..pair });
        plan.cells.iter_mut().for_each(|cell| cell.pairs.push(1));
        let mut survey = Survey::new(folder.path(), plan, 2).await;
        let pairs = [JobKey::Calibrate(0), JobKey::Calibrate(1)];
        for pair in pairs {
            survey.job(pair, &[]).await;
        }
        for tile in survey.plan.tiles() {
            survey.job(JobKey::Detect(tile), &pairs).await;
        }
        assert_eq!(survey.context.reader.blocks_decoded(), 3 * 16, "tiles of {tile_px} pixels");
    }
}

#[tokio::test]
async fn what_the_score_alone_finds_is_the_same_whatever_the_tiles_and_tells_what_the_ground_looks_like() {
    let folder = tempfile::tempdir().unwrap();
    let mut closed = Vec::new();
    for (tile_px, threads) in [(512, 2), (777, 1)] {
        let mut plan = plan(folder.path(), tile_px);
        plan.detector.name = "irmad".into();
        let mut survey = Survey::new(folder.path(), plan, threads).await;
        survey.find().await;
        closed.push(survey.closed().await);
    }
    assert_eq!(closed[0], closed[1]);
    let largest = closed[0].iter().max_by_key(|component| component.sums.pixels).unwrap();
    let mean = |channel: EvidenceChannel| {
        largest.sums.evidence[channel as usize] as f64 / (256.0 * largest.sums.pixels as f64)
    };
    assert_eq!(largest.sums.crop_before + largest.sums.wood_before, largest.sums.pixels, "{:?}", largest.sums);
    assert!(mean(EvidenceChannel::VegetationBefore) > 0.5 && mean(EvidenceChannel::VegetationAfter) < 0.15);
    assert!(mean(EvidenceChannel::BrightnessAfter) > mean(EvidenceChannel::BrightnessBefore) + 2.0);
    assert_eq!(
        largest.sums.evidence[EvidenceChannel::Logit as usize],
        largest.sums.evidence[EvidenceChannel::Score as usize]
    );
}

#[tokio::test]
async fn what_fails_for_good_is_a_counted_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut survey = Survey::new(folder.path(), plan(folder.path(), 512), 2).await;
    let failed = survey.plan.tiles()[3];
    survey.fails.push(JobKey::Detect(failed));
    let root = survey.find().await;
    let coverage = survey.findings(root).await.coverage;
    let lost = CountyMap::new(&survey.plan.grid, &survey.plan.counties).pixels(failed.rect(512));
    for (county, pixels) in county_px(&survey.plan) {
        assert_eq!(coverage[&county].total(), pixels);
        assert_eq!(coverage[&county].failed_job, lost.get(&county).copied().unwrap_or(0));
    }
    // The lot went on into the failed tile.
    let closed = survey.closed().await;
    assert!(closed.iter().any(|component| component.sums.truncated && component.sums.pixels > 5000));

    let mut survey = Survey::new(folder.path(), plan(folder.path(), 600), 2).await;
    survey.fails.push(JobKey::Calibrate(0));
    let root = survey.find().await;
    let found = survey.findings(root).await;
    for (county, pixels) in county_px(&survey.plan) {
        assert_eq!(found.coverage[&county], Coverage { unreadable: pixels, ..Coverage::default() });
        assert_eq!(found.unreadable[&county].len(), 1);
        assert_eq!(found.unreadable[&county][0].scene, "after");
    }
    assert!(survey.closed().await.is_empty());
}

#[tokio::test]
async fn errors_have_the_class_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(folder.path(), 512);
    // A second pair, whose later scene lies elsewhere.
    let mut away = plan.scenes[1].clone();
    away.id = "away".into();
    away.assets[0].transform.x0 += 50_000.0;
    plan.scenes.push(away);
    plan.pairs.push(ScenePair { after: 2, key: "before~away".into(), ..plan.pairs[0].clone() });
    let mut pinned = plan.scenes[1].clone();
    pinned.id = "pinned".into();
    pinned.assets[0].size = Some(5);
    plan.scenes.push(pinned);
    plan.pairs.push(ScenePair { after: 3, key: "before~pinned".into(), ..plan.pairs[0].clone() });
    let survey = Survey::new(folder.path(), plan, 1).await;
    let error = survey.attempt(JobKey::Calibrate(1), &[]).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::BadInput);
    assert!(error.to_string().contains("before~away"), "{error}");
    let error = survey.attempt(JobKey::Calibrate(2), &[]).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::InputChanged);
    let error = survey.attempt(JobKey::Calibrate(9), &[]).await.unwrap_err();
    assert!(error.to_string().contains("no scene pair 9"), "{error}");
    // The root of an assembly failed: there is nothing to assemble.
    let error =
        survey.attempt(JobKey::Assemble(0), &[JobKey::Merge(Block { level: 1, y: 0, x: 0 })]).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::BadInput);
}

#[tokio::test]
async fn a_job_says_that_it_gets_on_at_each_step_and_stands_still_where_nothing_comes() {
    let folder = tempfile::tempdir().unwrap();
    let survey = Survey::new(folder.path(), plan(folder.path(), 512), 2).await;
    let progress = Progress::default();
    survey.attempt_with(JobKey::Calibrate(0), &[], 1 << 30, &progress).await.unwrap();
    // At least each sampled cell of both scenes is a step: 3 × 3 cells.
    assert!(progress.get() >= 18, "{}", progress.get());

    // A server that takes the call and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let called = Arc::new(tokio::sync::Notify::new());
    let notify = Arc::clone(&called);
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            open.push(socket);
            notify.notify_one();
        }
    });
    let mut hanging = survey.plan.clone();
    hanging.scenes[0].assets[0].href = format!("http://{address}/before.tif");
    hanging.scenes[1].assets[0].href = format!("http://{address}/after.tif");
    let survey = Survey::new(folder.path(), hanging, 1).await;
    let progress = Progress::default();
    let attempt = survey.attempt_with(JobKey::Calibrate(0), &[], 1 << 30, &progress);
    tokio::select! {
        ended = attempt => panic!("it ended: {ended:?}"),
        () = called.notified() => {}
    }
    // The plan was fetched and decoded; of the scenes nothing came.
    assert!(progress.get() <= 2, "{}", progress.get());
    server.abort();
}

#[tokio::test]
async fn a_merge_whose_findings_would_take_more_than_its_bytes_asks_for_more_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let mut survey = Survey::new(folder.path(), plan(folder.path(), 512), 2).await;
    let root = survey.find().await;
    let below: Vec<JobKey> = survey.done.keys().copied().filter(|key| matches!(key, JobKey::Detect(_))).collect();
    let encoded: u64 = below.iter().map(|key| survey.done[key].length).sum();
    let JobKey::Merge(block) = root else { panic!("{root}") };
    let merge = JobKey::Merge(block);
    let (base, progress) = (survey::job::BASE_BYTES, Progress::default());
    let error = survey.attempt_with(merge, &below, base + encoded, &progress).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::OutOfMemory);
    assert_eq!(progress.get(), 0);
    survey.attempt_with(merge, &below, base + 16 * encoded, &progress).await.unwrap();
}

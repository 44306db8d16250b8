//! The four kinds of job: what each reads, computes and commits.
//!
//! Bytes are fetched on tokio and pixels computed on rayon. A panic anywhere in a job fails that job as
//! [`FailureClass::Poison`](survey::failure::FailureClass::Poison) and nothing else.

mod assemble;
mod calibrate;
mod detect;
mod merge;
mod notes;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use imagery::scene_reader::Then;
use imagery::store::address;
use imagery::{Fetched, Output, SceneReader};
use survey::county::CountyMap;
use survey::ids::Digest;
use survey::job::{BASE_BYTES, Job, JobKey, ObjectRef};
use survey::plan::SurveyPlan;
use survey::scene::{Scene, ScenePair};
use survey::swath::Swaths;
use tokio::sync::OnceCell;
use tracing::Instrument;

use crate::error::JobError;
use crate::runner::Progress;

/// Plans that a worker keeps decoded: those of the surveys that it works for.
const PLANS_KEPT: usize = 4;

/// Objects that a job fetches at the same time.
const OBJECTS_AT_ONCE: usize = 8;

/// Findings take this many times their encoded length, at most: runs of three bytes become twelve in the message and
/// twelve in the domain, and small components more.
const DECODED: u64 = 16;

/// What a worker's jobs share. Cheap to clone; clones share everything but whom they tell that they get on.
#[derive(Clone)]
pub struct JobContext {
    /// The survey's output: where committed objects are.
    pub output: Output,
    /// Scenes.
    pub reader: SceneReader,
    pool: Arc<rayon::ThreadPool>,
    plans: Arc<Mutex<Vec<(Digest, PlanCell)>>>,
    progress: Progress,
}

/// A plan that is here or on its way.
type PlanCell = Arc<OnceCell<Arc<LoadedPlan>>>;

/// A plan, prepared.
pub struct LoadedPlan {
    /// The plan.
    pub plan: SurveyPlan,
    /// Its counties on the grid.
    pub counties: CountyMap,
    /// In which order its tiles come.
    pub(crate) swaths: Swaths,
    /// Whether any of its scenes lies beyond a network.
    is_far: bool,
}

/// What a job committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The object.
    pub object: ObjectRef,
    /// What it cost. For estimates and for people, never for results.
    pub stats: JobStats,
}

/// What a job used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobStats {
    /// Encoded bytes of scenes that were fetched.
    pub bytes_fetched: u64,
    /// Blocks of scenes that were decoded.
    pub blocks_decoded: u64,
    /// Pixels of the grid that were compared: those of the tile, without its halo.
    pub pixels: u64,
}

impl JobStats {
    /// Adds what something else used.
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes_fetched += other.bytes_fetched;
        self.blocks_decoded += other.blocks_decoded;
        self.pixels += other.pixels;
    }
}

impl From<Fetched> for JobStats {
    fn from(fetched: Fetched) -> Self {
        Self { bytes_fetched: fetched.bytes, blocks_decoded: fetched.blocks, pixels: 0 }
    }
}

/// Does a job and commits its object. `progress` advances with each batch of blocks that is read, each object that is
/// fetched or committed and each piece of pixel work that is done, and with nothing else: a job that hangs stands still.
///
/// # Errors
/// Why it failed; [`JobError::class`] says what that means. A panic is an error, too.
pub async fn run(context: &JobContext, job: &Job, progress: &Progress) -> Result<Committed, JobError> {
    let span = tracing::info_span!("job", key = %job.key);
    let context = &context.telling(progress);
    let work = async {
        holds_its_inputs(job)?;
        let plan = context.plan(&job.plan).await?;
        match job.key {
            JobKey::Calibrate(pair) => calibrate::run(context, &plan, job, pair).await,
            JobKey::Detect(tile) => detect::run(context, &plan, job, tile).await,
            JobKey::Merge(block) => merge::run(context, &plan, job, block).await,
            JobKey::Assemble(county) => assemble::run(context, &plan, job, county).await,
        }
    };
    match AssertUnwindSafe(work.instrument(span)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => Err(JobError::of_panic(&job.key.to_string(), panic.as_ref())),
    }
}

/// Fetches and decodes the blocks that a job will read first, as far as they are kept, and says what that cost. What fails is left
/// to the job.
pub async fn fetch_ahead(context: &JobContext, job: &Job) -> JobStats {
    let JobKey::Detect(tile) = job.key else { return JobStats::default() };
    let span = tracing::info_span!("ahead", key = %job.key);
    let fetched = async {
        let plan = context.plan(&job.plan).await?;
        detect::fetch_ahead(context, &plan, job, tile).await
    };
    fetched.instrument(span).await.unwrap_or_default()
}

/// Whether a job's scenes lie beyond a network. A plan that cannot be read is left to the job.
pub async fn is_far(context: &JobContext, job: &Job) -> bool {
    context.plan(&job.plan).await.is_ok_and(|plan| plan.is_far)
}

/// What findings take is known when they are there, and not when the survey is planned. A job whose inputs would take
/// more than its bytes does not begin: it is given more, up to what a worker has.
///
/// # Errors
/// [`JobError::TooLarge`].
fn holds_its_inputs(job: &Job) -> Result<(), JobError> {
    if !matches!(job.key, JobKey::Merge(_) | JobKey::Assemble(_)) {
        return Ok(());
    }
    let objects = job.inputs.iter().filter(|input| !matches!(input.from, JobKey::Calibrate(_)));
    let encoded: u64 = objects.filter_map(|input| input.object.as_ref()).map(|object| object.length).sum();
    let needed = BASE_BYTES.saturating_add(encoded.saturating_mul(DECODED));
    if needed > job.memory {
        return Err(JobError::TooLarge { key: job.key.to_string(), needed, limit: job.memory });
    }
    Ok(())
}

impl JobContext {
    /// The context of the jobs of one output. Pixels are computed on `pool`.
    #[must_use]
    pub fn new(output: Output, reader: SceneReader, pool: Arc<rayon::ThreadPool>) -> Self {
        Self { output, reader, pool, plans: Arc::default(), progress: Progress::default() }
    }

    /// The same context for one job, which tells `progress` that it gets on.
    fn telling(&self, progress: &Progress) -> Self {
        let told = progress.clone();
        Self { reader: self.reader.watched(move || told.advance()), progress: progress.clone(), ..self.clone() }
    }

    /// The decoded plan; fetched once.
    ///
    /// # Errors
    /// What the store says; [`JobError::Object`] where it is no plan.
    pub async fn plan(&self, object: &ObjectRef) -> Result<Arc<LoadedPlan>, JobError> {
        let cell = {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            match plans.iter().find(|(digest, _)| *digest == object.digest) {
                Some((_, cell)) => Arc::clone(cell),
                None => {
                    if plans.len() >= PLANS_KEPT {
                        plans.remove(0);
                    }
                    let cell = Arc::new(OnceCell::new());
                    plans.push((object.digest, Arc::clone(&cell)));
                    cell
                }
            }
        };
        let loaded = cell
            .get_or_try_init(|| async {
                let bytes = self.output.fetch(object).await?;
                let key = object.key.clone();
                self.compute(move || {
                    let plan = proto::objects::decode_plan(&bytes).map_err(|error| bad_object(&key, &error))?;
                    let counties = CountyMap::new(&plan.grid, &plan.counties);
                    let is_far =
                        plan.scenes.iter().flat_map(|scene| &scene.assets).any(|asset| address::is_far(&asset.href));
                    let swaths = plan.swaths();
                    Ok::<_, JobError>(Arc::new(LoadedPlan { plan, counties, swaths, is_far }))
                })
                .await
            })
            .await?;
        Ok(Arc::clone(loaded))
    }

    /// Runs `work` on rayon's threads, so that tokio's stay free. A panic goes on in the caller, where [`run`] ends it.
    pub(crate) async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let span = tracing::Span::current();
        self.pool.spawn(move || {
            let outcome = span.in_scope(|| catch_unwind(AssertUnwindSafe(work)));
            // Who asked may have been cancelled.
            let _ = sender.send(outcome);
        });
        let outcome = receiver.await;
        self.progress.advance();
        match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => resume_unwind(Box::new("the pool of threads has ended")),
        }
    }

    pub(crate) async fn commit(&self, stem: &str, bytes: Vec<u8>, stats: JobStats) -> Result<Committed, JobError> {
        let span = tracing::info_span!("commit", stem);
        let object = self.output.commit(stem, "pb", Bytes::from(bytes)).instrument(span).await?;
        self.progress.advance();
        Ok(Committed { object, stats })
    }

    /// Committed objects, decoded, in the order asked for; `None` stays `None`.
    pub(crate) async fn objects<T: Send + 'static>(
        &self,
        objects: Vec<Option<ObjectRef>>,
        decode: fn(&[u8]) -> Result<T, proto::ConvertError>,
    ) -> Result<Vec<Option<T>>, JobError> {
        let span = tracing::info_span!("fetch", objects = objects.len());
        let fetches = objects.into_iter().map(|object| async move {
            let Some(object) = object else { return Ok(None) };
            let bytes = self.output.fetch(&object).await?;
            self.progress.advance();
            let decoded = self.compute(move || decode(&bytes)).await;
            decoded.map(Some).map_err(|error| bad_object(&object.key, &error))
        });
        futures::stream::iter(fetches).buffered(OBJECTS_AT_ONCE).try_collect().instrument(span).await
    }
}

impl LoadedPlan {
    /// What becomes of blocks that all tiles have read: sites are looked at again in both scenes, unless that is not wanted.
    pub(crate) fn then(&self) -> Then {
        if self.plan.detector.second_look { Then::Stays } else { Then::Leaves }
    }

    /// A pair with its scenes, the earlier first.
    pub(crate) fn pair(&self, key: JobKey, pair: u32) -> Result<(&ScenePair, &Scene, &Scene), JobError> {
        let lacks = |what: &str| JobError::Plan { key: key.to_string(), cause: format!("the plan has no {what}") };
        let pair = self.plan.pairs.get(pair as usize).ok_or_else(|| lacks(&format!("scene pair {pair}")))?;
        let scene = |index: u32| self.plan.scenes.get(index as usize).ok_or_else(|| lacks(&format!("scene {index}")));
        Ok((pair, scene(pair.before)?, scene(pair.after)?))
    }
}

fn bad_object(key: &str, error: &proto::ConvertError) -> JobError {
    JobError::Object { key: key.to_owned(), cause: error.to_string() }
}

/// A name as a part of an object key: ids of counties and scenes are what users wrote.
pub(crate) fn safe_key(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '~');
    let safe: String = name.chars().map(|letter| if plain(letter) { letter } else { '_' }).take(120).collect();
    // A name of dots alone would be a path.
    if safe.chars().all(|letter| letter == '.') { format!("_{safe}") } else { safe }
}

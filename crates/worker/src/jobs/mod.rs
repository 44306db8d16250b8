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
use imagery::{Output, ReadScene, SceneReader};
use survey::county::CountyMap;
use survey::ids::Digest;
use survey::job::{Job, JobKey, ObjectRef};
use survey::plan::SurveyPlan;
use survey::scene::{Scene, ScenePair};
use tokio::sync::OnceCell;
use tracing::Instrument;

use crate::error::JobError;

/// Plans that a worker keeps decoded: those of the surveys that it works for.
const PLANS_KEPT: usize = 4;

/// Objects that a job fetches at the same time.
const OBJECTS_AT_ONCE: usize = 8;

/// What a worker's jobs share.
pub struct JobContext {
    /// The survey's output: where committed objects are.
    pub output: Output,
    /// Scenes.
    pub reader: SceneReader,
    pool: Arc<rayon::ThreadPool>,
    plans: Mutex<Vec<(Digest, PlanCell)>>,
}

/// A plan that is here or on its way.
type PlanCell = Arc<OnceCell<Arc<LoadedPlan>>>;

/// A plan, prepared.
pub struct LoadedPlan {
    /// The plan.
    pub plan: SurveyPlan,
    /// Its counties on the grid.
    pub counties: CountyMap,
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
}

impl JobStats {
    fn add(&mut self, read: &ReadScene) {
        self.bytes_fetched += read.bytes_fetched;
        self.blocks_decoded += read.blocks_decoded;
    }
}

/// Does a job and commits its object.
///
/// # Errors
/// Why it failed; [`JobError::class`] says what that means. A panic is an error, too.
pub async fn run(context: &JobContext, job: &Job) -> Result<Committed, JobError> {
    let span = tracing::info_span!("job", key = %job.key);
    let work = async {
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

impl JobContext {
    /// The context of the jobs of one output. Pixels are computed on `pool`.
    #[must_use]
    pub fn new(output: Output, reader: SceneReader, pool: Arc<rayon::ThreadPool>) -> Self {
        Self { output, reader, pool, plans: Mutex::default() }
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
                    Ok::<_, JobError>(Arc::new(LoadedPlan { plan, counties }))
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
        match receiver.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => resume_unwind(Box::new("the pool of threads has ended")),
        }
    }

    pub(crate) async fn commit(&self, stem: &str, bytes: Vec<u8>, stats: JobStats) -> Result<Committed, JobError> {
        let span = tracing::info_span!("commit", stem);
        let object = self.output.commit(stem, "pb", Bytes::from(bytes)).instrument(span).await?;
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
            let decoded = self.compute(move || decode(&bytes)).await;
            decoded.map(Some).map_err(|error| bad_object(&object.key, &error))
        });
        futures::stream::iter(fetches).buffered(OBJECTS_AT_ONCE).try_collect().instrument(span).await
    }
}

impl LoadedPlan {
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

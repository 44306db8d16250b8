//! Jobs of any survey: each goes to the output that its assignment names.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use imagery::store::Stores;
use imagery::{Output, SceneReader};
use survey::failure::FailureClass;

use crate::jobs::{self, Committed, JobContext, JobStats};
use crate::runner::{JobFailure, JobRunner, Work};

/// Outputs that a worker keeps open: those of the surveys that it works for.
const OUTPUTS_KEPT: usize = 16;

/// Does jobs of any survey. All share scenes that were read, and the threads that compute.
pub struct Surveys {
    stores: Stores,
    reader: SceneReader,
    pool: Arc<rayon::ThreadPool>,
    /// By URL of the output, the latest last.
    contexts: Mutex<Vec<(String, Arc<JobContext>)>>,
}

impl Surveys {
    /// Opens outputs through `stores`, reads scenes with `reader` and computes on `pool`.
    #[must_use]
    pub fn new(stores: Stores, reader: SceneReader, pool: Arc<rayon::ThreadPool>) -> Self {
        Self { stores, reader, pool, contexts: Mutex::default() }
    }

    fn context(&self, output: &str) -> Result<Arc<JobContext>, JobFailure> {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = contexts.iter().position(|(url, _)| url == output) {
            let found = contexts.remove(at);
            let context = Arc::clone(&found.1);
            contexts.push(found);
            return Ok(context);
        }
        // Another worker may have the credentials that this one lacks.
        let opened = Output::open(output, &self.stores)
            .map_err(|error| JobFailure { class: FailureClass::Retryable, message: error.to_string() })?;
        let context = Arc::new(JobContext::new(opened, self.reader.clone(), Arc::clone(&self.pool)));
        if contexts.len() >= OUTPUTS_KEPT {
            contexts.remove(0);
        }
        contexts.push((output.to_owned(), Arc::clone(&context)));
        Ok(context)
    }
}

impl JobRunner for Surveys {
    fn run(&self, work: Work) -> BoxFuture<'_, Result<Committed, JobFailure>> {
        async move {
            let context = self.context(&work.output)?;
            Ok(jobs::run(&context, &work.job, &work.progress).await?)
        }
        .boxed()
    }

    fn fetch_ahead<'a>(&'a self, work: &'a Work) -> BoxFuture<'a, JobStats> {
        async move {
            match self.context(&work.output) {
                Ok(context) => jobs::fetch_ahead(&context, &work.job).await,
                Err(_) => JobStats::default(),
            }
        }
        .boxed()
    }

    fn is_far<'a>(&'a self, work: &'a Work) -> BoxFuture<'a, bool> {
        async move {
            match self.context(&work.output) {
                Ok(context) => jobs::is_far(&context, &work.job).await,
                Err(_) => false,
            }
        }
        .boxed()
    }
}

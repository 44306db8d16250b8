//! What was fetched and decoded for the pages: plans and counties' results, by digest, within bounds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imagery::commit::Output;
use prost::Message;
use proto::{ConvertError, v1};
use survey::ids::Digest;
use survey::job::ObjectRef;
use survey::plan::{Context, SurveyPlan};
use survey::result::CountyResult;

/// The most that is kept, by the length of the objects: decoded, they take about three times as much.
const RESULT_BYTES: u64 = 256 << 20;
const PLAN_BYTES: u64 = 256 << 20;

/// Values by digest; what was not asked for the longest goes first.
#[derive(Debug)]
struct Bounded<T> {
    values: BTreeMap<Digest, (u64, u64, Arc<T>)>,
    bytes: u64,
    most: u64,
    turn: u64,
}

impl<T> Bounded<T> {
    fn new(most: u64) -> Self {
        Self { values: BTreeMap::new(), bytes: 0, most, turn: 0 }
    }

    fn get(&mut self, digest: &Digest) -> Option<Arc<T>> {
        self.turn += 1;
        let (asked, _, value) = self.values.get_mut(digest)?;
        *asked = self.turn;
        Some(Arc::clone(value))
    }

    fn put(&mut self, digest: Digest, bytes: u64, value: Arc<T>) {
        self.turn += 1;
        if let Some((_, old, _)) = self.values.insert(digest, (self.turn, bytes, value)) {
            self.bytes -= old;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        while self.bytes > self.most && self.values.len() > 1 {
            let oldest = self.values.iter().min_by_key(|(_, (asked, ..))| *asked).map(|(digest, _)| *digest);
            let Some((_, bytes, _)) = oldest.and_then(|oldest| self.values.remove(&oldest)) else { break };
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }
}

/// Plans and results that were looked at lately.
#[derive(Debug)]
pub struct Known {
    plans: Mutex<Bounded<SurveyPlan>>,
    results: Mutex<Bounded<CountyResult>>,
}

impl Default for Known {
    fn default() -> Self {
        Self { plans: Mutex::new(Bounded::new(PLAN_BYTES)), results: Mutex::new(Bounded::new(RESULT_BYTES)) }
    }
}

fn lock<T>(bounded: &Mutex<Bounded<T>>) -> MutexGuard<'_, Bounded<T>> {
    bounded.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// A plan without its cells and its context, which no page shows.
    ///
    /// # Errors
    /// It cannot be fetched, or it is no plan.
    pub async fn plan(&self, output: &Output, object: &ObjectRef) -> Result<Arc<SurveyPlan>, String> {
        let decode = |bytes: &[u8]| {
            let mut plan = proto::objects::decode_plan(bytes)?;
            plan.cells = Vec::new();
            plan.context = Context::default();
            Ok(plan)
        };
        find(&self.plans, output, object, decode).await
    }

    /// The result of a county.
    ///
    /// # Errors
    /// It cannot be fetched, or it is none.
    pub async fn result(&self, output: &Output, object: &ObjectRef) -> Result<Arc<CountyResult>, String> {
        find(&self.results, output, object, proto::objects::decode_county_result).await
    }
}

/// The planner's remarks; none where they cannot be read.
pub async fn notes(output: &Output, object: Option<&ObjectRef>) -> Vec<String> {
    let Some(object) = object else { return Vec::new() };
    match output.fetch(object).await.map(v1::SurveyNotes::decode) {
        Ok(Ok(notes)) => notes.note,
        _ => Vec::new(),
    }
}

async fn find<T: Send + Sync + 'static>(
    kept: &Mutex<Bounded<T>>,
    output: &Output,
    object: &ObjectRef,
    decode: impl FnOnce(&[u8]) -> Result<T, ConvertError> + Send + 'static,
) -> Result<Arc<T>, String> {
    if let Some(value) = lock(kept).get(&object.digest) {
        return Ok(value);
    }
    let bytes = output.fetch(object).await.map_err(|error| error.to_string())?;
    let decoded = tokio::task::spawn_blocking(move || decode(&bytes)).await.map_err(|error| error.to_string())?;
    let value = Arc::new(decoded.map_err(|error| format!("{}: {error}", object.key))?);
    lock(kept).put(object.digest, object.length, Arc::clone(&value));
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first_and_the_bound_holds() {
        let digest = |byte: u8| Digest::of(&[byte]);
        let mut kept: Bounded<u8> = Bounded::new(30);
        for byte in 0..3 {
            kept.put(digest(byte), 10, Arc::new(byte));
        }
        assert!(kept.get(&digest(0)).is_some());
        kept.put(digest(3), 10, Arc::new(3));
        let here: Vec<bool> = (0..4).map(|byte| kept.get(&digest(byte)).is_some()).collect();
        assert_eq!(here, [true, false, true, true]);
        assert_eq!(kept.bytes, 30);
        kept.put(digest(9), 1000, Arc::new(9));
        assert_eq!(kept.values.len(), 1, "one that is larger than the bound is kept alone");
    }
}

//! The books of a survey: where each job stands, and what the done ones committed.
//!
//! 44 bytes a job, so that ten million fit beside everything else: four for the status, and digest and length of the
//! object. An object's key is worked out from the job where it is the usual one, and kept where it is not.
//!
//! # Invariant
//! Every change of a status goes through [`Books::set`], which knows the changes that make sense. So a job that is done
//! cannot be done again, and none can get lost between two places: the first change that makes no sense is kept in
//! [`Books::broken`], and the scheduler stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use survey::failure::FailureClass;
use survey::ids::Digest;
use survey::job::{JobKey, ObjectRef};

/// Failed jobs whose own words are kept; what fails beyond says that it did.
const MAX_MESSAGES: usize = 10_000;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Inputs are missing: how many.
    Waiting(u32),
    /// It can be given out.
    Ready,
    /// It pauses before its next attempt.
    Delayed,
    /// Attempts run.
    Leased,
    /// Its object is in the books.
    Done,
    /// It failed for good.
    Failed,
}

const KINDS: u32 = 8;

impl Status {
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }

    /// Its place in [`Books::counts`].
    pub fn index(self) -> usize {
        match self {
            Self::Waiting(_) => 0,
            Self::Ready => 1,
            Self::Delayed => 2,
            Self::Leased => 3,
            Self::Done => 4,
            Self::Failed => 5,
        }
    }

    fn pack(self) -> u32 {
        let missing = if let Self::Waiting(missing) = self { missing.min(u32::MAX / KINDS) } else { 0 };
        missing * KINDS + self.index() as u32
    }

    fn unpack(packed: u32) -> Self {
        match packed % KINDS {
            0 => Self::Waiting(packed / KINDS),
            1 => Self::Ready,
            2 => Self::Delayed,
            3 => Self::Leased,
            4 => Self::Done,
            _ => Self::Failed,
        }
    }

    /// Whether a job that stands here may stand there next.
    fn may_become(self, next: Self) -> bool {
        use Status::{Delayed, Done, Failed, Leased, Ready, Waiting};
        match (self, next) {
            (Waiting(_), Waiting(_)) | (Waiting(0), Ready | Delayed | Failed) => true,
            // Back to `Waiting` where what it reads is lost and done again.
            (Ready, Leased | Done | Failed | Waiting(_)) => true,
            (Delayed, Ready | Done | Failed | Waiting(_)) => true,
            (Leased, Waiting(0)) => true,
            // Only where its object is lost or damaged.
            (Done, Waiting(0)) => true,
            _ => false,
        }
    }
}

/// The books of a survey.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    status: Vec<u32>,
    digests: Vec<[u8; 32]>,
    lengths: Vec<u64>,
    /// Keys of objects that are not the usual ones.
    keys: BTreeMap<u32, Box<str>>,
    failed: BTreeMap<u32, (FailureClass, Arc<str>)>,
    /// How many jobs stand where.
    counts: [u64; 6],
    broken: Option<String>,
}

impl Books {
    /// Books of so many jobs, all of them waiting for nothing.
    pub fn new(jobs: usize) -> Self {
        let mut counts = [0; 6];
        counts[0] = jobs as u64;
        Self {
            status: vec![Status::Waiting(0).pack(); jobs],
            digests: vec![[0; 32]; jobs],
            lengths: vec![0; jobs],
            keys: BTreeMap::new(),
            failed: BTreeMap::new(),
            counts,
            broken: None,
        }
    }

    /// Where a job stands.
    pub fn status(&self, number: u32) -> Option<Status> {
        self.status.get(number as usize).copied().map(Status::unpack)
    }

    /// How many jobs stand at a status, by [`Status::index`].
    pub fn counts(&self) -> [u64; 6] {
        self.counts
    }

    /// Jobs that are neither done nor failed.
    pub fn open(&self) -> u64 {
        self.counts.iter().take(4).sum()
    }

    /// The first change that made no sense.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Moves a job. False where that makes no sense: then it stays.
    pub fn set(&mut self, number: u32, next: Status) -> bool {
        let Some(now) = self.status(number) else { return false };
        if !now.may_become(next) {
            self.broken.get_or_insert_with(|| format!("job {number} is {now:?} and was to become {next:?}"));
            return false;
        }
        self.put(number, now, next);
        true
    }

    fn put(&mut self, number: u32, now: Status, next: Status) {
        if let Some(place) = self.status.get_mut(number as usize) {
            *place = next.pack();
            self.counts[now.index()] -= 1;
            self.counts[next.index()] += 1;
        }
    }

    /// Books an object, however the job stands: for what an earlier run left. False where the job is settled.
    pub fn restore_done(&mut self, number: u32, key: JobKey, object: &ObjectRef) -> bool {
        match self.status(number) {
            Some(status) if !status.is_settled() => {
                self.put(number, status, Status::Done);
                self.note_object(number, key, object);
                true
            }
            _ => false,
        }
    }

    /// Books a failure, however the job stands: for what an earlier run left. False where the job is settled.
    pub fn restore_failed(&mut self, number: u32, class: FailureClass, message: &str) -> bool {
        match self.status(number) {
            Some(status) if !status.is_settled() => {
                self.put(number, status, Status::Failed);
                self.note_failure(number, class, message);
                true
            }
            _ => false,
        }
    }

    /// Books the object of a job. False where the job is not open for it.
    pub fn set_done(&mut self, number: u32, key: JobKey, object: &ObjectRef) -> bool {
        let is_set = self.set(number, Status::Done);
        if is_set {
            self.note_object(number, key, object);
        }
        is_set
    }

    /// Books that a job failed for good. False where the job is not open for it.
    pub fn set_failed(&mut self, number: u32, class: FailureClass, message: &str) -> bool {
        let is_set = self.set(number, Status::Failed);
        if is_set {
            self.note_failure(number, class, message);
        }
        is_set
    }

    fn note_object(&mut self, number: u32, key: JobKey, object: &ObjectRef) {
        let at = number as usize;
        if let (Some(digest), Some(length)) = (self.digests.get_mut(at), self.lengths.get_mut(at)) {
            *digest = object.digest.0;
            *length = object.length;
        }
        if usual_key(key, &object.digest).is_some_and(|usual| usual == object.key) {
            self.keys.remove(&number);
        } else {
            self.keys.insert(number, object.key.as_str().into());
        }
    }

    fn note_failure(&mut self, number: u32, class: FailureClass, message: &str) {
        let words = if self.failed.len() < MAX_MESSAGES {
            message
        } else {
            "it failed, as did more than 10,000 others; the journal has the words"
        };
        self.failed.insert(number, (class, words.into()));
    }

    /// The digest of what a job committed.
    pub fn digest(&self, number: u32) -> Option<Digest> {
        self.digests.get(number as usize).filter(|_| self.status(number) == Some(Status::Done)).copied().map(Digest)
    }

    /// What a job committed.
    pub fn object(&self, number: u32, key: JobKey) -> Option<ObjectRef> {
        let digest = self.digest(number)?;
        let length = *self.lengths.get(number as usize)?;
        let key = match self.keys.get(&number) {
            Some(key) => key.to_string(),
            None => usual_key(key, &digest)?,
        };
        Some(ObjectRef { key, digest, length })
    }

    /// Why a job failed for good.
    pub fn failure(&self, number: u32) -> Option<(FailureClass, &str)> {
        self.failed.get(&number).map(|(class, message)| (*class, message.as_ref()))
    }

    /// The jobs that failed for good, by number.
    pub fn failures(&self) -> impl Iterator<Item = (u32, FailureClass, &str)> {
        self.failed.iter().map(|(&number, (class, message))| (number, *class, message.as_ref()))
    }

    /// The objects whose key is not the usual one, by key.
    pub fn unusual_keys(&self) -> BTreeMap<&str, u32> {
        self.keys
            .iter()
            .filter(|&(&number, _)| self.status(number) == Some(Status::Done))
            .map(|(&number, key)| (key.as_ref(), number))
            .collect()
    }
}

/// The key under which workers commit what a job about a block leaves. `None` for jobs about a pair or a county: their
/// keys name these.
fn usual_key(key: JobKey, digest: &Digest) -> Option<String> {
    let digest = digest.short();
    match key {
        JobKey::Detect(tile) => Some(format!("stages/findings/{}/{}.{digest}.pb", tile.x, tile.y)),
        JobKey::Merge(block) => Some(format!("stages/merged/{}/{}/{}.{digest}.pb", block.level, block.x, block.y)),
        JobKey::Calibrate(_) | JobKey::Assemble(_) => None,
    }
}

/// The job whose usual key this is.
pub(crate) fn job_of_usual_key(object: &ObjectRef) -> Option<JobKey> {
    let stem = object.key.strip_prefix("stages/")?.strip_suffix(".pb")?;
    let (stem, _) = stem.rsplit_once('.')?;
    let mut parts = stem.split('/');
    let kind = parts.next()?;
    let level = if kind == "merged" { parts.next()?.parse().ok()? } else { 0 };
    let (x, y) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let block = survey::grid::Block { level, y, x };
    let key = match kind {
        "findings" => JobKey::Detect(block),
        "merged" => JobKey::Merge(block),
        _ => return None,
    };
    usual_key(key, &object.digest).filter(|usual| *usual == object.key).map(|_| key)
}

#[cfg(test)]
mod tests {
    use survey::grid::Block;

    use super::*;

    fn object(key: &str) -> ObjectRef {
        ObjectRef { key: key.into(), digest: Digest::of(b"bytes"), length: 5 }
    }

    #[test]
    fn objects_come_back_as_they_were_booked_whatever_their_key() {
        let short = Digest::of(b"bytes").short();
        let (tile, block) = (Block { level: 0, y: -7, x: 3 }, Block { level: 2, y: 1, x: -1 });
        let cases = [
            (JobKey::Detect(tile), format!("stages/findings/3/-7.{short}.pb"), true),
            (JobKey::Detect(tile), "stages/findings/3/-7.pb".to_owned(), false),
            (JobKey::Merge(block), format!("stages/merged/2/-1/1.{short}.pb"), true),
            (JobKey::Calibrate(4), format!("stages/calibrations/a-b.{short}.pb"), false),
        ];
        for (key, name, is_usual) in cases {
            let mut books = Books::new(1);
            books.set(0, Status::Ready);
            assert!(books.set_done(0, key, &object(&name)));
            assert_eq!(books.object(0, key), Some(object(&name)));
            assert_eq!(books.keys.is_empty(), is_usual);
            assert_eq!(job_of_usual_key(&object(&name)), is_usual.then_some(key));
        }
    }

    #[test]
    fn a_job_is_done_once() {
        let mut books = Books::new(2);
        books.set(0, Status::Ready);
        assert!(books.set_done(0, JobKey::Calibrate(0), &object("a")) && books.broken().is_none());
        assert!(!books.set_done(0, JobKey::Calibrate(0), &object("b")));
        assert!(books.broken().unwrap().contains("job 0 is Done and was to become Done"));
        assert_eq!(books.object(0, JobKey::Calibrate(0)), Some(object("a")));
        assert_eq!(books.counts(), [1, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_status_is_four_bytes() {
        for status in [Status::Waiting(0), Status::Waiting(70_000), Status::Ready, Status::Delayed, Status::Failed] {
            assert_eq!(Status::unpack(status.pack()), status);
        }
    }
}

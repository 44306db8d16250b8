//! Admission: a worker takes a job only while its declared bytes fit beside those that run.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::JobError;

/// Memory is given out in pieces of this many bytes.
const UNIT: u64 = 1 << 20;

/// Share of the process's limit that jobs may declare: the rest is for what no job declares (the runtime, the cache's
/// bookkeeping, the allocator's slack).
const SHARE_FOR_JOBS: (u64, u64) = (3, 4);

/// Where nothing says how much memory there is.
const ASSUMED_LIMIT: u64 = 2 << 30;

/// A limit above this is none: cgroup v1 writes a page-rounded `i64::MAX`.
const NO_LIMIT: u64 = 1 << 60;

/// The bytes that a worker's jobs may use together. Cheap to clone; clones share the budget.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    limit: u64,
    units: Arc<Semaphore>,
}

/// Memory that a job holds; dropped, it goes back.
#[derive(Debug)]
#[must_use = "dropped, the memory goes back"]
pub struct Admission {
    bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    /// Bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl MemoryBudget {
    /// A budget of `limit` bytes (rounded down to mebibytes, at least one).
    #[must_use]
    pub fn new(limit: u64) -> Self {
        let units = (limit / UNIT).clamp(1, u64::from(u32::MAX) / 2);
        let permits = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { limit: units * UNIT, units: Arc::new(Semaphore::new(permits)) }
    }

    /// All bytes of the budget.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that nobody holds.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.units.available_permits() as u64 * UNIT
    }

    /// Whether `bytes` fit where nothing else runs.
    ///
    /// # Errors
    /// [`JobError::TooLarge`] for what can never fit.
    pub fn can_hold(&self, key: &str, bytes: u64) -> Result<(), JobError> {
        self.units_of(key, bytes).map(|_| ())
    }

    /// Waits until `bytes` are free and takes them. First come, first served: a large job is not overtaken for ever.
    ///
    /// # Errors
    /// [`JobError::TooLarge`] for what can never fit.
    pub async fn admit(&self, key: &str, bytes: u64) -> Result<Admission, JobError> {
        let units = self.units_of(key, bytes)?;
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await;
        let permit = permit.map_err(|_| self.too_large(key, bytes))?;
        Ok(Admission { bytes, _permit: permit })
    }

    /// Takes `bytes` if they are free now.
    ///
    /// # Errors
    /// [`JobError::TooLarge`] for what can never fit.
    pub fn try_admit(&self, key: &str, bytes: u64) -> Result<Option<Admission>, JobError> {
        let units = self.units_of(key, bytes)?;
        let permit = Arc::clone(&self.units).try_acquire_many_owned(units).ok();
        Ok(permit.map(|permit| Admission { bytes, _permit: permit }))
    }

    fn units_of(&self, key: &str, bytes: u64) -> Result<u32, JobError> {
        if bytes > self.limit {
            return Err(self.too_large(key, bytes));
        }
        u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| self.too_large(key, bytes))
    }

    fn too_large(&self, key: &str, needed: u64) -> JobError {
        JobError::TooLarge { key: key.to_owned(), needed, limit: self.limit }
    }
}

/// The bytes that jobs may use together where nobody says how many: three quarters of what the process is allowed by
/// its cgroup (v2, then v1), or of the machine's memory where that is less.
#[must_use]
pub fn default_limit() -> u64 {
    limit_from(|path| std::fs::read_to_string(path).ok())
}

/// As [`default_limit`], from the contents of the system's files.
fn limit_from(read: impl Fn(&str) -> Option<String>) -> u64 {
    let number = |text: String| text.trim().parse::<u64>().ok().filter(|&bytes| bytes > 0 && bytes < NO_LIMIT);
    let mut limits: Vec<u64> = Vec::new();
    for line in read("/proc/self/cgroup").unwrap_or_default().lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(hierarchy), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = if hierarchy == "0" && controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        // Each ancestor's limit holds, too. Inside a container its own group is mounted as the root.
        let mut group = path.trim_end_matches('/');
        loop {
            limits.extend(read(&format!("{root}{group}/{file}")).and_then(number));
            match group.rfind('/') {
                Some(at) => group = &group[..at],
                None => break,
            }
        }
    }
    let total = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    limits.extend(total);
    let limit = limits.into_iter().min().unwrap_or(ASSUMED_LIMIT);
    limit / SHARE_FOR_JOBS.1 * SHARE_FOR_JOBS.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use survey::failure::FailureClass;

    fn limit(files: &[(&str, &str)]) -> u64 {
        let files: BTreeMap<&str, &str> = files.iter().copied().collect();
        limit_from(|path| files.get(path).map(|text| (*text).to_owned()))
    }

    #[test]
    fn the_smallest_limit_of_the_cgroup_and_its_ancestors_holds() {
        let meminfo = ("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
        let v2 = [
            meminfo,
            ("/proc/self/cgroup", "0::/kubepods/pod1\n"),
            ("/sys/fs/cgroup/kubepods/pod1/memory.max", "max\n"),
            ("/sys/fs/cgroup/kubepods/memory.max", "4294967296\n"),
        ];
        assert_eq!(limit(&v2), 3 << 30);
        let v1 = [
            meminfo,
            ("/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n"),
            ("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"),
        ];
        assert_eq!(limit(&v1), 3 << 29);
        assert_eq!(limit(&[meminfo]), 12 << 30);
        assert_eq!(limit(&[]), 3 << 29);
    }

    #[tokio::test]
    async fn a_job_that_can_never_fit_is_refused_and_one_that_fits_later_waits() {
        let budget = MemoryBudget::new(10 << 20);
        let error = budget.admit("detect/3/4", 11 << 20).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::OutOfMemory);
        assert_eq!(
            error.to_string(),
            "job detect/3/4 needs 11 MiB and this worker may use 10 MiB; give it more memory (--memory), or set a \
             smaller grid.tile_px"
        );
        let first = budget.admit("a", 6 << 20).await.unwrap();
        assert_eq!(budget.available(), 4 << 20);
        assert!(budget.try_admit("b", 5 << 20).unwrap().is_none());
        let mut waiting = Box::pin(budget.admit("b", 5 << 20));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(first);
        assert_eq!(waiting.await.unwrap().bytes(), 5 << 20);
    }
}

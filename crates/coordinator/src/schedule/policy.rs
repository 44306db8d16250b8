//! How long, how often, how many.

use std::time::Duration;

use survey::job::JobKey;

/// What the scheduler holds jobs and workers to. `docs/decisions/0007-schedule.md` says why these.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// A lease ends where its worker has not listed the attempt for this long.
    pub lease: Duration,
    /// A lease ends where the attempt's progress has stood still for this long: liveness is progress.
    pub stall: Duration,
    /// A lease ends after this long whatever its progress: a job that never ends is given up.
    pub longest_attempt: Duration,
    /// The longest that a poll is held.
    pub longest_wait: Duration,
    /// How often a busy worker is asked to call.
    pub heartbeat: Duration,
    /// First pause before a retry; doubles, with jitter.
    pub backoff: Duration,
    /// The longest pause before a retry.
    pub longest_backoff: Duration,
    /// Attempts that may fail as retryable before the job fails for good.
    pub retries: u32,
    /// Different workers on which a job may panic, stall or break before it is quarantined. Where there are fewer
    /// workers: attempts. Never more than twice as many attempts.
    pub poisonings: u32,
    /// Workers that may fall silent over a job before it is quarantined, beside those that fall silent over others.
    pub losses: u32,
    /// As `losses`, whatever becomes of others.
    pub most_losses: u32,
    /// Times that workers may hand a job back, as they leave or have no turn for it, before that counts as a retry.
    pub hand_backs: u32,
    /// How long a job is kept from workers that it failed on, while there are others.
    pub avoidance: Duration,
    /// Failures without a success between them after which a worker is made to pause, while others do well.
    pub worker_failures: u32,
    /// Times that an unreadable root is computed again.
    pub root_repairs: u32,
    /// How long the root's findings may take to be read before they are asked for again.
    pub root_patience: Duration,
    /// A worker that was not heard of for this long is forgotten.
    pub forget_worker: Duration,
    /// A job that no worker has memory for fails after this long.
    pub unfit: Duration,
    /// Surveys fail after this long without any worker.
    pub deserted: Duration,
    /// Work that one slot is given at once, where jobs are short.
    pub batch: Duration,
    /// Most jobs that one slot is given at once.
    pub batch_jobs: u32,
    /// An attempt that takes this many times the median of its stage is a straggler.
    pub straggling: u32,
    /// No attempt is a straggler before this.
    pub shortest_straggler: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            stall: Duration::from_secs(15 * 60),
            longest_attempt: Duration::from_secs(6 * 3600),
            longest_wait: Duration::from_secs(5),
            heartbeat: Duration::from_secs(2),
            backoff: Duration::from_millis(250),
            longest_backoff: Duration::from_secs(60),
            retries: 12,
            poisonings: 3,
            losses: 5,
            most_losses: 12,
            hand_backs: 20,
            avoidance: Duration::from_secs(60),
            worker_failures: 3,
            root_repairs: 2,
            root_patience: Duration::from_secs(10 * 60),
            forget_worker: Duration::from_secs(5 * 60),
            unfit: Duration::from_secs(15 * 60),
            deserted: Duration::from_secs(24 * 3600),
            batch: Duration::from_secs(2),
            batch_jobs: 64,
            straggling: 3,
            shortest_straggler: Duration::from_secs(5),
        }
    }
}

impl Policy {
    /// The same with another lease. A worker has to be heard of several times within it, so where it is short calls are held
    /// for less long and asked for more often.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        let pause = lease / 4;
        Self { lease, heartbeat: self.heartbeat.min(pause), longest_wait: self.longest_wait.min(pause), ..self }
    }

    /// The pause before the `n`th retry, n from 1: doubled each time, and spread by up to a half so that jobs that
    /// failed together do not come back together. `seed` names what is to be retried.
    #[must_use]
    pub fn pause(&self, n: u32, seed: u64) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << n.saturating_sub(1).min(16)).min(self.longest_backoff);
        let spread = u32::try_from(mix(seed ^ u64::from(n)) % 1024).unwrap_or(0);
        doubled - doubled / 2 * spread / 1024
    }
}

/// The finaliser of SplitMix64: a number that looks random and is the same in each run.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The seed of a job's pauses: its key, mixed.
pub(crate) fn seed(key: JobKey) -> u64 {
    let (stage, a, b) = match key {
        JobKey::Calibrate(index) => (0, u64::from(index), 0),
        JobKey::Detect(block) => (1, u64::from(block.y as u32), u64::from(block.x as u32)),
        JobKey::Merge(block) => (2 + u64::from(block.level), u64::from(block.y as u32), u64::from(block.x as u32)),
        JobKey::Assemble(index) => (1000, u64::from(index), 0),
    };
    mix(mix(stage) ^ mix(a << 32 | b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_heard_of_several_times_within_a_lease_however_short_it_is() {
        assert_eq!(Policy::default().with_lease(Duration::from_secs(30)), Policy::default());
        for seconds in [1, 2, 5, 10, 3600] {
            let policy = Policy::default().with_lease(Duration::from_secs(seconds));
            assert!(policy.heartbeat * 4 <= policy.lease && policy.longest_wait * 4 <= policy.lease, "{policy:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_lie_in_the_upper_half() {
        let policy = Policy::default();
        for (n, full_ms) in [(1, 250), (2, 500), (4, 2000), (30, 60_000)] {
            for seed in 0..50 {
                let pause = policy.pause(n, seed);
                assert!(pause <= Duration::from_millis(full_ms) && pause >= Duration::from_millis(full_ms / 2));
            }
        }
        assert_ne!(policy.pause(1, 1), policy.pause(1, 2));
    }

    #[test]
    fn jobs_that_failed_together_come_back_apart_and_always_at_the_same_time() {
        let policy = Policy::default();
        let pauses = |n| (0..100).map(|pair| policy.pause(n, seed(JobKey::Calibrate(pair)))).collect::<Vec<_>>();
        assert_eq!(pauses(3), pauses(3));
        let different: std::collections::BTreeSet<Duration> = pauses(3).into_iter().collect();
        assert!(different.len() > 80, "{}", different.len());
        assert_ne!(pauses(5), pauses(5 + 1));
    }
}

//! How long, how often, how many.

use std::time::Duration;

/// What the scheduler holds jobs and workers to.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// A lease ends where its worker has not listed the attempt for this long.
    pub lease: Duration,
    /// A lease ends where the attempt's progress has stood still for this long: liveness is progress.
    pub stall: Duration,
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
    /// Attempts that may panic or take their worker along before the job is quarantined.
    pub poisonings: u32,
    /// Times that leaving workers may hand a job back before that counts as a retry.
    pub hand_backs: u32,
    /// Times that an unreadable root is computed again.
    pub root_repairs: u32,
    /// A worker that was not heard of for this long is forgotten.
    pub forget_worker: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            stall: Duration::from_secs(15 * 60),
            longest_wait: Duration::from_secs(5),
            heartbeat: Duration::from_secs(2),
            backoff: Duration::from_millis(250),
            longest_backoff: Duration::from_secs(20),
            retries: 6,
            poisonings: 3,
            hand_backs: 20,
            root_repairs: 2,
            forget_worker: Duration::from_secs(5 * 60),
        }
    }
}

impl Policy {
    /// The pause before the `n`th retry of a job, n from 1: doubled each time, and spread by up to a half so that jobs
    /// that failed together do not come back together. `seed` names job and attempt.
    #[must_use]
    pub fn pause(&self, n: u32, seed: u64) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << n.saturating_sub(1).min(16)).min(self.longest_backoff);
        // The finaliser of SplitMix64: a number that looks random and is the same in each run.
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let spread = u32::try_from((z ^ (z >> 31)) % 1024).unwrap_or(0);
        doubled - doubled / 2 * spread / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_lie_in_the_upper_half() {
        let policy = Policy::default();
        for (n, full_ms) in [(1, 250), (2, 500), (4, 2000), (30, 20_000)] {
            for seed in 0..50 {
                let pause = policy.pause(n, seed);
                assert!(pause <= Duration::from_millis(full_ms) && pause >= Duration::from_millis(full_ms / 2));
            }
        }
        assert_ne!(policy.pause(1, 1), policy.pause(1, 2));
    }
}

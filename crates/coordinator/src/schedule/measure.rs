//! What jobs really took: corrects estimated costs, and says which attempt is a straggler.

use std::time::Duration;

/// Steps to an octave of time.
const STEPS: u32 = 4;
/// Times are told apart up to 2^40 ms.
const BUCKETS: usize = 41 * STEPS as usize;
/// A report counts as at most this many times the estimate, and at least this part of it.
const MOST: u64 = 1000;
/// Where as much work as this was measured (ms), what is older counts half.
const MEMORY_MS: u64 = 1 << 40;

/// What the jobs of one stage took.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    /// Times from the begin of an attempt to its completion, by size.
    times: [u32; BUCKETS],
    count: u64,
    /// Work that was reported, and what it had been estimated at, ms.
    wall_ms: u64,
    cost_ms: u64,
}

impl Default for Measure {
    fn default() -> Self {
        Self { times: [0; BUCKETS], count: 0, wall_ms: 0, cost_ms: 0 }
    }
}

impl Measure {
    /// An attempt was completed so long after its begin.
    pub fn observe(&mut self, took: Duration) {
        let at = bucket(took);
        if let Some(times) = self.times.get_mut(at) {
            *times = times.saturating_add(1);
            self.count += 1;
        }
    }

    /// A job of this estimated cost says that it took so long. Reports are taken with a grain of salt: they come from
    /// outside.
    pub fn correct(&mut self, cost: u64, wall: Duration) {
        let wall = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        let wall = wall.clamp(cost.div_ceil(MOST), cost.saturating_mul(MOST)).min(MEMORY_MS / 2);
        self.wall_ms += wall;
        self.cost_ms += cost.min(MEMORY_MS / 2);
        if self.wall_ms.max(self.cost_ms) > MEMORY_MS {
            self.wall_ms /= 2;
            self.cost_ms /= 2;
        }
    }

    /// How long work of this estimated cost takes, as far as is known, ms.
    pub fn expect_ms(&self, cost: u64) -> u64 {
        if self.cost_ms == 0 {
            return cost;
        }
        let corrected = u128::from(cost) * u128::from(self.wall_ms) / u128::from(self.cost_ms);
        u64::try_from(corrected).unwrap_or(u64::MAX).max(u64::from(cost > 0))
    }

    /// The time that half of the attempts took no longer than, up to a fifth too long; `None` where none was completed.
    pub fn median(&self) -> Option<Duration> {
        let mut seen = 0;
        let at = self.times.iter().position(|&times| {
            seen += u64::from(times);
            seen * 2 >= self.count && self.count > 0
        })?;
        // The end of the bucket.
        let (octave, quarter) = (at as u32 / STEPS, at as u32 % STEPS);
        let quarters = (1_u64 << octave) * u64::from(STEPS + quarter + 1);
        Some(Duration::from_millis(quarters.div_ceil(u64::from(STEPS))))
    }
}

fn bucket(took: Duration) -> usize {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).clamp(1, (1 << 41) - 1);
    let octave = ms.ilog2();
    let quarter = u32::try_from(((ms * u64::from(STEPS)) >> octave) & 3).unwrap_or(0);
    (octave * STEPS + quarter) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_the_times_up_to_a_fifth() {
        let mut measure = Measure::default();
        assert_eq!(measure.median(), None);
        for ms in [10_u64, 50, 2000, 2100, 2200, 9000, 100_000] {
            measure.observe(Duration::from_millis(ms));
        }
        let median = measure.median().unwrap().as_secs_f64();
        assert!((2.1..=2.1 * 1.25).contains(&median), "{median}");
        measure.observe(Duration::MAX);
        measure.observe(Duration::ZERO);
        assert!(measure.median().unwrap() < Duration::from_secs(3));
    }

    #[test]
    fn costs_are_corrected_by_what_jobs_report() {
        let mut measure = Measure::default();
        assert_eq!(measure.expect_ms(400), 400);
        measure.correct(100, Duration::from_millis(250));
        measure.correct(300, Duration::from_millis(750));
        assert_eq!(measure.expect_ms(400), 1000);
        // One absurd report does not turn the world upside down for ever, and a zero is no time at all.
        let mut lied = Measure::default();
        lied.correct(100, Duration::MAX);
        assert!(lied.expect_ms(100) <= 100_000);
        let mut nothing = Measure::default();
        nothing.correct(5000, Duration::ZERO);
        assert_eq!(nothing.expect_ms(1000), 1);
    }
}

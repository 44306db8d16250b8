//! What a survey will take on so many workers, by what another survey took on one machine.
//!
//! A run measures itself ([`Measured`], in its `run.json`): core-seconds, bytes, and by stage the time that jobs took and
//! what the plan had them cost. [`forecast`] has the scheduler of production hand out the plan's real jobs to workers of
//! which only the time is simulated: a job fetches its bytes, one after the other over its worker's connection to the
//! store, and computes on all of its worker's cores, one job after the other, while the worker's other slots fetch.
//!
//! Not simulated: memory, workers that die, machines that differ, a store that slows down under many workers, scenes that change
//! more than the measured ones did.

pub mod cluster;

use std::time::Duration;

use proto::words::STAGES;
use serde::{Deserialize, Serialize};
use survey::job::Stage;
use survey::plan::SurveyPlan;

use crate::metrics::Used;
use crate::plan::TileCost;
use crate::schedule::event::DEFAULT_PRIORITY;
use crate::schedule::graph::Graph;
use crate::schedule::policy::Policy;
use crate::schedule::state::SurveyState;
use cluster::{Begun, Cluster, Pace};

/// Answers of a store that a job of each stage waits for one after the other: documents of earlier jobs, blocks, its own
/// object that is written.
const ROUND_TRIPS: [f64; 4] = [4.0, 4.0, 3.0, 6.0];
/// A survey that takes longer than this is not simulated: 30 days.
const LONGEST_S: f64 = 30.0 * 86_400.0;
/// No run took more, of a clock or of cores.
const MOST_SECONDS: f64 = 1e12;
/// More threads than this no machine has.
const MOST_THREADS: usize = 1024;

/// Time on a clock and on cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Seconds on a clock.
    pub wall_s: f64,
    /// Seconds of one core.
    pub core_s: f64,
}

impl std::ops::Add for Spent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall_s: self.wall_s + other.wall_s, core_s: self.core_s + other.core_s }
    }
}

/// What the jobs of a stage took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredStage {
    /// Its name.
    pub stage: String,
    /// Jobs.
    pub jobs: u64,
    /// What the plan had them cost, in its own units.
    pub cost: u64,
    /// Time that they took together, seconds; those of one worker at the same time share its cores.
    pub busy_s: f64,
    /// Bytes of scenes that they fetched.
    pub bytes_fetched: u64,
}

/// What a whole run took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Threads that computed pixels.
    pub threads: usize,
    /// Before the first job.
    pub planning: Spent,
    /// From the first job to the last.
    pub survey: Spent,
    /// After the last job: tables, page, images.
    pub results: Spent,
    /// What the plan expected to fetch for detection, bytes.
    pub detect_bytes_expected: u64,
    /// By stage, in order.
    pub stages: Vec<MeasuredStage>,
}

/// Why figures cannot be a forecast's basis.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the measured run {cause}; {mend}")]
pub struct UnfitMeasure {
    cause: String,
    mend: &'static str,
}

impl Measured {
    /// The figures of a run that did all jobs of `graph` itself.
    #[must_use]
    pub fn new(graph: &Graph, used: &Used, detect_bytes_expected: u64, threads: usize, spent: [Spent; 3]) -> Self {
        let stages = Stage::ALL.map(|stage| {
            let used = used.stage(stage);
            MeasuredStage {
                stage: STAGES[stage.index()].to_owned(),
                jobs: used.jobs,
                cost: graph.cost_of(stage),
                busy_s: used.busy_ms as f64 / 1000.0,
                bytes_fetched: used.bytes_fetched,
            }
        });
        let [planning, survey, results] = spent;
        Self { threads, planning, survey, results, detect_bytes_expected, stages: stages.into() }
    }

    /// What a unit of each stage's cost takes. Core-seconds of the run are shared out to stages by the time that their
    /// jobs took: all contend for the same cores.
    fn rates(&self) -> Result<[Rate; 4], UnfitMeasure> {
        let unfit = |cause: &str| UnfitMeasure { cause: cause.to_owned(), mend: "name the run.json of a whole run" };
        let busy: f64 = self.stages.iter().map(|stage| stage.busy_s).sum();
        let is_sound = |seconds: f64| (0.0..=MOST_SECONDS).contains(&seconds);
        let parts = [self.planning, self.survey, self.results];
        if !parts.iter().all(|part| is_sound(part.wall_s) && is_sound(part.core_s)) {
            return Err(unfit("took times that there are not"));
        }
        if !(1..=MOST_THREADS).contains(&self.threads) {
            return Err(unfit("had a number of threads that no machine has"));
        }
        if self.stages.iter().map(|stage| stage.stage.as_str()).ne(STAGES) {
            return Err(unfit("does not name the four stages in their order"));
        }
        if !(busy > 0.0 && self.stages.iter().all(|stage| is_sound(stage.busy_s)) && self.survey.core_s > 0.0) {
            return Err(unfit("took no time"));
        }
        let mut rates = [Rate::default(); 4];
        for (rate, stage) in rates.iter_mut().zip(&self.stages) {
            if stage.cost == 0 && stage.busy_s > 0.0 {
                return Err(unfit("has jobs that cost nothing"));
            }
            let cost = stage.cost.max(1) as f64;
            rate.core_ms = self.survey.core_s * 1000.0 * (stage.busy_s / busy) / cost;
            rate.bytes = stage.bytes_fetched as f64 / cost;
        }
        Ok(rates)
    }

    /// Bytes that detection will fetch, where the plan of the measured run knew what to expect. Scenes differ in what a pixel
    /// of the grid takes to fetch, and the plan knows that; what a run knows is how far the plan was off. A block that was
    /// fetched for a calibration is not fetched again, so both stages are looked at together.
    fn detect_bytes(&self, graph: &Graph, costs: &[TileCost], rates: &[Rate; 4]) -> Option<f64> {
        let fetched: u64 = self.stages.iter().take(2).map(|stage| stage.bytes_fetched).sum();
        let off = (self.detect_bytes_expected > 0).then(|| fetched as f64 / self.detect_bytes_expected as f64)?;
        let expected: u64 = costs.iter().map(|cost| cost.fetch_bytes).sum();
        let calibrations = graph.cost_of(Stage::Calibrate) as f64 * rates[Stage::Calibrate.index()].bytes;
        Some((expected as f64 * off - calibrations).max(0.0))
    }
}

/// What a unit of a job's cost takes.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    core_ms: f64,
    bytes: f64,
}

/// The workers, and how far the store is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fleet {
    /// Workers.
    pub workers: usize,
    /// Cores of each, as fast as the measured ones.
    pub threads: usize,
    /// Jobs that each has at the same time.
    pub slots: usize,
    /// From a request to the first byte of its answer.
    pub latency: Duration,
    /// Bytes a second that a worker gets from the store.
    pub bandwidth: f64,
}

/// What a survey will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Workers.
    pub workers: usize,
    /// Cores of each.
    pub threads: usize,
    /// Jobs.
    pub jobs: usize,
    /// From the first job to the last, seconds.
    pub survey_s: f64,
    /// Tables, page and images after that, seconds.
    pub results_s: f64,
    /// Core-hours of the jobs.
    pub core_hours: f64,
    /// Bytes of scenes to fetch.
    pub fetch_bytes: u64,
    /// Share of the workers' time that their cores compute.
    pub computing: f64,
    /// Share of the workers' time that their connections carry bytes.
    pub fetching: f64,
    /// Core-hours by stage.
    pub stage_core_hours: [f64; 4],
}

/// Foretells what `plan` takes on `fleet`, by what was measured. `costs` are those of the plan's tiles.
///
/// # Errors
/// The figures are not those of a whole run, or the survey takes longer than 30 days.
pub fn forecast(
    plan: &SurveyPlan,
    graph: Graph,
    costs: &[TileCost],
    measured: &Measured,
    fleet: &Fleet,
) -> Result<Forecast, UnfitMeasure> {
    let mut rates = measured.rates()?;
    let detect = Stage::Detect.index();
    if let Some(bytes) = measured.detect_bytes(&graph, costs, &rates) {
        rates[detect].bytes = bytes / graph.cost_of(Stage::Detect).max(1) as f64;
    }
    let totals = Stage::ALL.map(|stage| graph.cost_of(stage) as f64);
    let stage_core_hours: [f64; 4] = std::array::from_fn(|stage| totals[stage] * rates[stage].core_ms / 3.6e6);
    let fetch_bytes: f64 = totals.iter().zip(&rates).map(|(total, rate)| total * rate.bytes).sum();
    let assembled =
        totals[Stage::Assemble.index()] / measured.stages.last().map_or(1, |stage| stage.cost.max(1)) as f64;
    let jobs = graph.len();

    let (workers, threads) = (fleet.workers.max(1), fleet.threads.max(1));
    let pace = Machines::new(rates, Fleet { workers, threads, ..*fleet });
    // What all workers together take at least, so that no simulation takes for ever.
    let cores_s = stage_core_hours.iter().sum::<f64>() * 3600.0 / (workers * threads) as f64;
    let least_s = cores_s.max(fetch_bytes / fleet.bandwidth.max(1.0) / workers as f64);
    let too_long = |days: f64| UnfitMeasure {
        cause: format!("leads to a survey of {days:.0} days and more"),
        mend: "name a run of a similar survey, more workers, or a wider way to the store",
    };
    if !(least_s <= LONGEST_S) {
        return Err(too_long(least_s / 86_400.0));
    }
    // Nobody dies here and nothing is stuck, so nothing is given up or done twice: only time passes.
    let longest = Duration::from_secs_f64(2.0 * LONGEST_S);
    let patient = Policy { longest_attempt: longest, stall: longest, shortest_straggler: longest, ..Policy::default() };
    let mut cluster = Cluster::new(workers, fleet.slots.max(1), patient, pace);
    cluster.submit(plan, graph, DEFAULT_PRIORITY);
    cluster.start();
    let ended = cluster.run_to_the_end(longest.as_millis() as u64);
    let is_done = |survey: &SurveyState| survey.tally().done == survey.tally().jobs;
    if !ended || !cluster.state.survey(&plan.survey).is_some_and(is_done) {
        return Err(too_long(2.0 * LONGEST_S / 86_400.0));
    }
    let survey_ms = cluster.now_ms as f64;
    let share = |busy_ms: f64| busy_ms / (survey_ms * workers as f64).max(1.0);
    Ok(Forecast {
        workers,
        threads,
        jobs,
        survey_s: survey_ms / 1000.0,
        results_s: measured.results.wall_s * assembled,
        core_hours: stage_core_hours.iter().sum(),
        fetch_bytes: fetch_bytes as u64,
        computing: share(cluster.pace.computing_ms),
        fetching: share(cluster.pace.fetching_ms),
        stage_core_hours,
    })
}

/// Workers that fetch and compute at measured rates.
struct Machines {
    rates: [Rate; 4],
    fleet: Fleet,
    /// When each worker's connection, and when its cores are free again, ms.
    free: Vec<(f64, f64)>,
    computing_ms: f64,
    fetching_ms: f64,
}

impl Machines {
    fn new(rates: [Rate; 4], fleet: Fleet) -> Self {
        Self { rates, fleet, free: vec![(0.0, 0.0); fleet.workers], computing_ms: 0.0, fetching_ms: 0.0 }
    }
}

impl Pace for Machines {
    fn travel_ms(&mut self) -> u64 {
        1
    }

    fn attempt_ms(&mut self, begun: &Begun) -> u64 {
        let stage = begun.key.stage().index();
        let (rate, cost, now) = (self.rates[stage], begun.cost as f64, begun.at_ms as f64);
        let Some((connection, cores)) = self.free.get_mut(begun.worker) else { return 1 };
        let carrying = rate.bytes * cost / self.fleet.bandwidth.max(1.0) * 1000.0;
        let computing = rate.core_ms * cost / self.fleet.threads as f64;
        *connection = connection.max(now) + carrying;
        let fetched = *connection + self.fleet.latency.as_secs_f64() * 1000.0 * ROUND_TRIPS[stage];
        *cores = cores.max(fetched) + computing;
        self.fetching_ms += carrying;
        self.computing_ms += computing;
        (*cores - now).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Memory, tiles};
    use crate::testing::plan_of_cells;

    /// `side` × `side` tiles of one pair.
    fn square(side: i32) -> SurveyPlan {
        let cells: Vec<(i32, i32, &[u32])> =
            (0..side).flat_map(|row| (0..side).map(move |col| (row, col, &[0_u32][..]))).collect();
        plan_of_cells(&cells, 512, 4)
    }

    fn plan() -> SurveyPlan {
        square(32)
    }

    /// A run in which a tile took `core_ms` of a core and `bytes` of scenes.
    fn measured(graph: &Graph, core_ms: f64, bytes: u64) -> Measured {
        let tiles = graph.stage(Stage::Detect).len() as u64;
        let stage = |stage: Stage, busy_s: f64, bytes_fetched: u64| MeasuredStage {
            stage: STAGES[stage.index()].to_owned(),
            jobs: 1,
            cost: graph.cost_of(stage),
            busy_s,
            bytes_fetched,
        };
        let survey = Spent { wall_s: 1.0, core_s: tiles as f64 * core_ms / 1000.0 };
        Measured {
            threads: 2,
            planning: Spent::default(),
            survey,
            results: Spent { wall_s: 3.0, core_s: 3.0 },
            detect_bytes_expected: 0,
            stages: vec![
                stage(Stage::Calibrate, 0.0, 0),
                stage(Stage::Detect, 7.0, tiles * bytes),
                stage(Stage::Merge, 0.0, 0),
                stage(Stage::Assemble, 0.0, 0),
            ],
        }
    }

    fn foretold(core_ms: f64, bytes: u64, fleet: Fleet) -> Forecast {
        let plan = plan();
        let (graph, memory) = (Graph::new(&plan, 16), Memory::new(&plan));
        let measured = measured(&graph, core_ms, bytes);
        forecast(&plan, graph, &tiles(&plan, &memory, 16), &measured, &fleet).unwrap()
    }

    const NEAR: Fleet = Fleet { workers: 1, threads: 2, slots: 3, latency: Duration::ZERO, bandwidth: f64::INFINITY };

    #[test]
    fn one_worker_takes_the_cores_time_and_twice_as_many_half_of_it() {
        // 1024 tiles of 0.4 s of a core.
        let alone = foretold(400.0, 0, NEAR);
        assert!((alone.survey_s / 204.8 - 1.0).abs() < 0.02, "{alone:?}");
        assert!((alone.core_hours * 3600.0 / 409.6 - 1.0).abs() < 1e-9 && alone.results_s == 3.0, "{alone:?}");
        assert!(alone.computing > 0.97 && alone.fetching == 0.0, "{alone:?}");
        let four = foretold(400.0, 0, Fleet { workers: 4, ..NEAR });
        assert!((four.survey_s / 51.2 - 1.0).abs() < 0.05, "{four:?}");
        assert_eq!(four.core_hours, alone.core_hours);
    }

    #[test]
    fn a_thin_connection_sets_the_time_and_a_far_store_is_hidden_behind_the_work() {
        // 1024 tiles of 10 MB over 10 MB/s.
        let thin = foretold(400.0, 10_000_000, Fleet { bandwidth: 1e7, ..NEAR });
        assert!((thin.survey_s / 1024.0 - 1.0).abs() < 0.02 && thin.fetching > 0.97, "{thin:?}");
        assert_eq!(thin.fetch_bytes, 10_240_000_000);
        // 50 ms, four times a tile and three times a merge: the two other slots compute meanwhile, but where all have merges, which
        // come together when a row of tiles is done.
        let far = foretold(400.0, 0, Fleet { latency: Duration::from_millis(50), ..NEAR });
        assert!((1.0..1.15).contains(&(far.survey_s / 204.8)), "{far:?}");
        // Jobs that are short beside the way: three at a time, 0.2 s each.
        let short = foretold(4.0, 0, Fleet { latency: Duration::from_millis(50), ..NEAR });
        assert!(short.survey_s > 1024.0 / 3.0 * 0.2, "{short:?}");
    }

    #[test]
    fn jobs_of_hours_are_waited_for_and_surveys_of_months_are_not_simulated() {
        let plan = square(3);
        let foretold = |core_ms: f64, bytes: u64, fleet: &Fleet| {
            let (graph, memory) = (Graph::new(&plan, 16), Memory::new(&plan));
            let measured = measured(&graph, core_ms, bytes);
            forecast(&plan, graph, &tiles(&plan, &memory, 16), &measured, fleet)
        };
        // 9 tiles of seven hours each on two cores: longer than any attempt may take.
        let slow = foretold(2.0 * 7.0 * 3.6e6, 0, &NEAR).unwrap();
        assert!((slow.survey_s / (9.0 * 7.0 * 3600.0) - 1.0).abs() < 0.02, "{slow:?}");
        let closed = Fleet { bandwidth: 1.0, ..NEAR };
        let error = foretold(1.0, 1_000_000_000, &closed).unwrap_err();
        assert!(error.to_string().contains("104167 days"), "{error}");
    }

    #[test]
    fn figures_that_are_not_those_of_a_whole_run_are_refused() {
        let plan = plan();
        let graph = Graph::new(&plan, 16);
        let sound = measured(&graph, 1.0, 1);
        let refused = |measured: &Measured| measured.rates().unwrap_err().to_string();
        let idle = Measured { survey: Spent::default(), ..sound.clone() };
        assert!(refused(&idle).contains("took no time"));
        let odd = Measured { results: Spent { wall_s: -5.0, core_s: 0.0 }, ..sound.clone() };
        assert!(refused(&odd).contains("times that there are not"));
        let many = Measured { threads: usize::MAX, ..sound.clone() };
        assert!(refused(&many).contains("threads"));
        let part = Measured { stages: sound.stages[1..].to_vec(), ..sound.clone() };
        assert!(refused(&part).contains("four stages"));
        let mut odd = sound;
        odd.stages[1].busy_s = f64::NAN;
        assert!(refused(&odd).contains("took no time"));
    }
}

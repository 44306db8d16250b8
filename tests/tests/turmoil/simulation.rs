//! One simulation, from its seed to what came of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use coordinator::SurveyOutcome;
use coordinator::journal::Record;
use proto::v1;
use rand::Rng;
use turmoil::{Builder, Sim};
use worker::Shutdown;

use crate::faults::{Fault, Kind, script};
use crate::witness::{Fate, Witness};
use crate::world::{self, WORKERS, World};

/// How far time moves at once.
const STEP: Duration = Duration::from_millis(10);
/// A survey of a minute that is not over by then never ends.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// How long a message takes: usually, and where a link is slow.
const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(60));
const SLOW: Duration = Duration::from_secs(6);

/// What came of a simulation.
pub struct Report {
    /// How often each kind of fault had an effect.
    pub fired: BTreeMap<Kind, u64>,
    /// What was appended to the journal, over all coordinators.
    pub records: Vec<Record>,
    /// What was published, each time.
    pub published: Vec<SurveyOutcome>,
    /// The survey as its client saw it last.
    pub survey: v1::Survey,
    /// What happened, in order.
    pub trace: Vec<String>,
}

/// A simulation in which all goes well.
pub fn calm() -> Result<Report, String> {
    simulate(0, &[], true)
}

/// The simulation of a seed.
pub fn stormy(seed: u64) -> Result<Report, String> {
    simulate(seed, &script(seed), false)
}

fn simulate(seed: u64, faults: &[Fault], is_calm: bool) -> Result<Report, String> {
    let witness = Witness::default();
    let _seeing = tracing::subscriber::set_default(witness.clone());
    let world = Arc::new(World::new(seed, is_calm));
    let mut sim = Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .simulation_duration(LONGEST)
        .tick_duration(STEP)
        .min_message_latency(LATENCY.0)
        .max_message_latency(LATENCY.1)
        // A held link holds all that was sent.
        .tcp_capacity(1 << 20)
        .build();
    let shared = Arc::clone(&world);
    sim.host("coordinator", move || world::coordinator(Arc::clone(&shared)));
    for host in WORKERS {
        let shared = Arc::clone(&world);
        sim.host(host, move || world::worker(Arc::clone(&shared), host));
    }
    sim.client("client", world::client(Arc::clone(&world)));

    let mut storm =
        Storm { world: &world, witness: &witness, open: faults.to_vec(), begun: Vec::new(), dying: Vec::new() };
    loop {
        witness.at(sim.elapsed());
        storm.blow(&mut sim);
        if sim.step().map_err(|error| error.to_string())? {
            break;
        }
    }
    storm.subside(&sim);
    drop(sim);
    Ok(Report {
        fired: world.all_fired(),
        records: world.journal.records(),
        published: world.published(),
        survey: world.seen_over().ok_or("the client saw no end")?,
        trace: witness.trace(),
    })
}

/// Begins and ends faults when their time has come.
struct Storm<'a> {
    world: &'a World,
    witness: &'a Witness,
    open: Vec<Fault>,
    /// With the messages that had met the fault's fate before.
    begun: Vec<(Fault, u64)>,
    /// Hosts whose connections are closed already, and what becomes of each.
    dying: Vec<(&'static str, Death)>,
}

#[derive(Clone, Copy)]
enum Death {
    Crash,
    Restart,
}

impl Storm<'_> {
    fn blow(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        for (host, death) in self.dying.drain(..) {
            match death {
                Death::Crash => sim.crash(host),
                Death::Restart => sim.bounce(host),
            }
        }
        for (fault, before) in extract(&mut self.begun, |(fault, _)| fault.end <= now) {
            self.note(&fault, "ends");
            self.judge(sim, &fault, before);
            self.end(sim, &fault);
        }
        for fault in extract(&mut self.open, |fault| fault.begin <= now) {
            self.note(&fault, "begins");
            let before = self.messages(sim, &fault);
            self.begin(sim, &fault);
            self.begun.push((fault, before));
        }
    }

    /// The survey is over: what goes on now counts as far as it has come.
    fn subside(&mut self, sim: &Sim<'_>) {
        for (fault, before) in std::mem::take(&mut self.begun) {
            self.judge(sim, &fault, before);
        }
    }

    fn note(&self, fault: &Fault, what: &str) {
        self.witness.note(&format!("{:?} of {} {what}", fault.kind, fault.host));
    }

    fn dies(&mut self, host: &'static str, death: Death) {
        self.world.doom(host);
        self.dying.push((host, death));
    }

    fn begin(&mut self, sim: &mut Sim<'_>, fault: &Fault) {
        let (host, kind) = (fault.host, fault.kind);
        match kind {
            Kind::Partition => sim.partition(host, "coordinator"),
            Kind::Unheard => sim.partition_oneway(host, "coordinator"),
            Kind::Deaf => sim.partition_oneway("coordinator", host),
            Kind::Held => sim.hold(host, "coordinator"),
            Kind::Slow => sim.set_link_max_message_latency(host, "coordinator", SLOW),
            Kind::CoordinatorCrash => {
                if self.is_midway() {
                    self.world.fired(kind);
                }
                self.dies(host, Death::Crash);
            }
            Kind::WorkerCrash => {
                if self.world.running(host) > 0 {
                    self.world.fired(kind);
                }
                self.dies(host, Death::Crash);
            }
            Kind::WorkerLeaves => {
                if self.world.running(host) > 0 {
                    self.world.fired(kind);
                }
                let how = self.world.roll(|dice| if dice.random_bool(0.5) { Shutdown::Drain } else { Shutdown::Now });
                self.world.tell(host, how);
            }
            Kind::CalledTwice | Kind::CalledLate | Kind::JobFails => {}
        }
    }

    fn end(&mut self, sim: &mut Sim<'_>, fault: &Fault) {
        let host = fault.host;
        match fault.kind {
            Kind::Partition => sim.repair(host, "coordinator"),
            Kind::Unheard => sim.repair_oneway(host, "coordinator"),
            Kind::Deaf => sim.repair_oneway("coordinator", host),
            Kind::Held => sim.release(host, "coordinator"),
            Kind::Slow => sim.set_link_max_message_latency(host, "coordinator", LATENCY.1),
            // A worker that has not left by then is killed.
            Kind::CoordinatorCrash | Kind::WorkerCrash | Kind::WorkerLeaves => {
                self.dies(host, Death::Restart);
            }
            Kind::CalledTwice | Kind::CalledLate | Kind::JobFails => {}
        }
    }

    /// A fault of a link had an effect where messages have met its fate.
    fn judge(&self, sim: &Sim<'_>, fault: &Fault, before: u64) {
        if self.messages(sim, fault) > before {
            self.world.fired(fault.kind);
        }
    }

    fn messages(&self, sim: &Sim<'_>, fault: &Fault) -> u64 {
        let (host, coordinator): (IpAddr, IpAddr) = (sim.lookup(fault.host), sim.lookup("coordinator"));
        let there = |fate| self.witness.messages(fate, host, coordinator);
        let back = |fate| self.witness.messages(fate, coordinator, host);
        match fault.kind {
            Kind::Partition => there(Fate::Dropped) + back(Fate::Dropped),
            Kind::Unheard => there(Fate::Dropped),
            Kind::Deaf => back(Fate::Dropped),
            Kind::Held => there(Fate::Held) + back(Fate::Held),
            Kind::Slow => there(Fate::Sent) + back(Fate::Sent),
            _ => 0,
        }
    }

    /// Some jobs are in the books, and the survey is not over.
    fn is_midway(&self) -> bool {
        let records = self.world.journal.records();
        let has = |is: fn(&Record) -> bool| records.iter().any(is);
        has(|record| matches!(record, Record::Completed { .. }))
            && !has(|record| matches!(record, Record::Ended { .. }))
    }
}

/// Takes out what matches, in order.
fn extract<T>(from: &mut Vec<T>, matches: impl Fn(&T) -> bool) -> Vec<T> {
    let (taken, left) = std::mem::take(from).into_iter().partition(matches);
    *from = left;
    taken
}

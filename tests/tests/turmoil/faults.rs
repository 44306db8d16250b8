//! What goes wrong in a simulation, drawn from its seed.

use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use crate::world::WORKERS;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing passes between a host and the coordinator.
    Partition,
    /// Nothing passes from a host to the coordinator.
    Unheard,
    /// Nothing passes from the coordinator to a host.
    Deaf,
    /// All that is sent waits, and arrives when this is over.
    Held,
    /// Messages take seconds.
    Slow,
    /// The coordinator dies; another starts on its journal when this is over.
    CoordinatorCrash,
    /// A worker dies; another starts in its place when this is over.
    WorkerCrash,
    /// A worker is told to leave: to finish what it has, or to hand it back.
    WorkerLeaves,
    /// A call arrives twice.
    CalledTwice,
    /// A call arrives again when later ones have come.
    CalledLate,
    /// A job fails in a way that may pass.
    JobFails,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Partition,
        Self::Unheard,
        Self::Deaf,
        Self::Held,
        Self::Slow,
        Self::CoordinatorCrash,
        Self::WorkerCrash,
        Self::WorkerLeaves,
        Self::CalledTwice,
        Self::CalledLate,
        Self::JobFails,
    ];

    /// What befalls the link between a host and the coordinator.
    const OF_LINKS: [Self; 5] = [Self::Partition, Self::Unheard, Self::Deaf, Self::Held, Self::Slow];
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// A worker, the client, or the coordinator.
    pub host: &'static str,
    pub begin: Duration,
    pub end: Duration,
}

/// Nothing new goes wrong after this; all is well again a minute later.
const LAST: Duration = Duration::from_secs(100);

/// The faults of a seed: of one link or host no two at the same time.
pub fn script(seed: u64) -> Vec<Fault> {
    let mut dice = Pcg64::seed_from_u64(seed);
    let mut faults = Vec::new();
    for host in WORKERS.into_iter().chain(["client"]) {
        series(&mut faults, &mut dice, host, &Kind::OF_LINKS, 4);
    }
    for host in WORKERS {
        series(&mut faults, &mut dice, host, &[Kind::WorkerCrash, Kind::WorkerLeaves], 2);
    }
    series(&mut faults, &mut dice, "coordinator", &[Kind::CoordinatorCrash], 3);
    faults
}

/// Up to so many faults of these kinds, one after another.
fn series(faults: &mut Vec<Fault>, dice: &mut Pcg64, host: &'static str, kinds: &[Kind], most: u32) {
    let mut now = Duration::ZERO;
    for _ in 0..dice.random_range(0..=most) {
        now += dice.random_range(Duration::from_secs(1)..Duration::from_secs(40));
        if now > LAST {
            return;
        }
        // Every other one outlasts a lease.
        let longest = if dice.random_bool(0.5) { 8 } else { 50 };
        let end = now + dice.random_range(Duration::from_millis(100)..Duration::from_secs(longest));
        let Some(&kind) = kinds.choose(dice) else { return };
        faults.push(Fault { kind, host, begin: now, end });
        now = end;
    }
}

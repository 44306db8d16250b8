//! The four kinds of job, one direction: calibrate → detect → merge → assemble.
//!
//! Every job reads committed objects and commits one object; nothing else passes between workers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::grid::Block;
use crate::ids::Digest;

/// Bytes that any job holds whatever its size: its share of the process, of decoders, of the decoded plan.
pub const BASE_BYTES: u64 = 48 << 20;

/// A committed object: its key under the survey's output URL, its digest and its length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Key relative to the survey's output, for instance `stages/findings/3/-7.<digest>.pb`.
    pub key: String,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Number of bytes.
    pub length: u64,
}

/// What a job is about: its identity within a survey. Ordered by stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobKey {
    /// Calibrate a scene pair (index into the plan's pairs).
    Calibrate(u32),
    /// Detect change in a tile (level 0).
    Detect(Block),
    /// Merge the blocks below a block (level ≥ 1).
    Merge(Block),
    /// Assemble the result of a county (index into the plan's counties).
    Assemble(u32),
}

impl JobKey {
    /// The stage, from 0.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::Calibrate(_) => Stage::Calibrate,
            Self::Detect(_) => Stage::Detect,
            Self::Merge(_) => Stage::Merge,
            Self::Assemble(_) => Stage::Assemble,
        }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calibrate(pair) => write!(f, "calibrate/{pair}"),
            Self::Detect(tile) => write!(f, "detect/{}/{}", tile.x, tile.y),
            Self::Merge(block) => write!(f, "merge/{}/{}/{}", block.level, block.x, block.y),
            Self::Assemble(county) => write!(f, "assemble/{county}"),
        }
    }
}

/// The four stages of a survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Scene pairs.
    Calibrate,
    /// Tiles.
    Detect,
    /// Blocks of tiles.
    Merge,
    /// Counties.
    Assemble,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 4] = [Self::Calibrate, Self::Detect, Self::Merge, Self::Assemble];

    /// Its place among all stages.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A job as a worker gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// What to do.
    pub key: JobKey,
    /// The plan that the key refers to.
    pub plan: ObjectRef,
    /// Committed objects that it reads, in the order that its kind defines: detect: the calibrations of the pairs of
    /// its cells, by pair index; merge: the findings below, by block; assemble: the root findings, then the calibrations
    /// of the pairs that may have seen the county, then the findings that hold the county's closed components.
    pub inputs: Vec<JobInput>,
    /// Bytes of memory that it may use at most.
    pub memory: u64,
}

/// An input of a job: where it comes from, or that it will never come.
#[derive(Clone, Debug, PartialEq)]
pub struct JobInput {
    /// The job that committed it.
    pub from: JobKey,
    /// The object; `None` where that job failed for good.
    pub object: Option<ObjectRef>,
}

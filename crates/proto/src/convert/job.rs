//! Jobs, their keys and the objects that they read and commit.

use survey::ids::Digest;
use survey::job::{Job, JobInput, JobKey, ObjectRef};

use crate::convert::geometry::{block, block_to_wire};
use crate::error::{ConvertError, Within, each, exactly, required};
use crate::v1;

/// Longest key of an object, bytes.
const MAX_KEY: usize = 1024;

/// A reference as a message.
#[must_use]
pub fn object_to_wire(object: &ObjectRef) -> v1::ObjectRef {
    v1::ObjectRef { key: object.key.clone(), digest: object.digest.0.to_vec(), length: object.length }
}

/// The reference of a message.
///
/// # Errors
/// A key that is empty, too long or leads out of the survey's output; a digest that is not 32 bytes.
pub fn object(object: v1::ObjectRef) -> Result<ObjectRef, ConvertError> {
    let key = object.key;
    let is_clean = !key.is_empty()
        && key.len() <= MAX_KEY
        && !key.contains(['\\', '\0'])
        && key.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !is_clean {
        let shown: String = key.chars().take(80).collect();
        return Err(ConvertError::invalid("key", format!("{shown:?} is not a key under a survey's output")));
    }
    Ok(ObjectRef { key, digest: Digest(exactly("digest", object.digest)?), length: object.length })
}

/// A key as a message.
#[must_use]
pub fn key_to_wire(key: JobKey) -> v1::JobKey {
    use v1::job_key::Kind;
    let kind = match key {
        JobKey::Calibrate(pair) => Kind::Calibrate(pair),
        JobKey::Detect(tile) => Kind::Detect(block_to_wire(tile)),
        JobKey::Merge(block) => Kind::Merge(block_to_wire(block)),
        JobKey::Assemble(county) => Kind::Assemble(county),
    };
    v1::JobKey { kind: Some(kind) }
}

/// The key of a message.
///
/// # Errors
/// No kind, or a block of the wrong level.
pub fn key(key: v1::JobKey) -> Result<JobKey, ConvertError> {
    use v1::job_key::Kind;
    match required("kind", key.kind)? {
        Kind::Calibrate(pair) => Ok(JobKey::Calibrate(pair)),
        Kind::Detect(tile) if tile.level == 0 => Ok(JobKey::Detect(block(tile).within("detect")?)),
        Kind::Merge(above) if above.level > 0 => Ok(JobKey::Merge(block(above).within("merge")?)),
        Kind::Detect(block) | Kind::Merge(block) => {
            Err(ConvertError::invalid("level", format!("{} is not a level of this kind of job", block.level)))
        }
        Kind::Assemble(county) => Ok(JobKey::Assemble(county)),
    }
}

/// A job as a message.
#[must_use]
pub fn job_to_wire(job: &Job) -> v1::Job {
    v1::Job {
        key: Some(key_to_wire(job.key)),
        plan: Some(object_to_wire(&job.plan)),
        inputs: job
            .inputs
            .iter()
            .map(|input| v1::JobInput {
                from: Some(key_to_wire(input.from)),
                object: input.object.as_ref().map(object_to_wire),
            })
            .collect(),
        memory: job.memory,
    }
}

/// The job of a message.
///
/// # Errors
/// A part is missing or invalid.
pub fn job(job: v1::Job) -> Result<Job, ConvertError> {
    Ok(Job {
        key: key(required("key", job.key)?).within("key")?,
        plan: object(required("plan", job.plan)?).within("plan")?,
        inputs: each("inputs", job.inputs, |input| {
            Ok(JobInput {
                from: key(required("from", input.from)?).within("from")?,
                object: input.object.map(object).transpose().within("object")?,
            })
        })?,
        memory: job.memory,
    })
}

//! The committed objects as bytes: plans, calibrations, findings and county results.

use prost::Message;
use survey::calibration::Calibration;
use survey::findings::Findings;
use survey::plan::SurveyPlan;
use survey::result::CountyResult;

use crate::convert;
use crate::error::ConvertError;

/// The largest plan, bytes.
pub const MAX_PLAN_BYTES: usize = 512 << 20;
/// The largest calibration, bytes.
pub const MAX_CALIBRATION_BYTES: usize = 4 << 20;
/// The largest findings, bytes.
pub const MAX_FINDINGS_BYTES: usize = 256 << 20;
/// The largest result of a county, bytes.
pub const MAX_COUNTY_RESULT_BYTES: usize = 256 << 20;

fn message<M: Message + Default>(kind: &'static str, bytes: &[u8], limit: usize) -> Result<M, ConvertError> {
    if bytes.len() > limit {
        return Err(ConvertError::TooLarge { kind, length: bytes.len(), limit });
    }
    M::decode(bytes).map_err(|error| ConvertError::Malformed { kind, cause: error.to_string() })
}

/// A plan as bytes.
#[must_use]
pub fn encode_plan(plan: &SurveyPlan) -> Vec<u8> {
    convert::plan::plan_to_wire(plan).encode_to_vec()
}

/// The plan of bytes.
///
/// # Errors
/// Not a plan, too large, or one that contradicts itself.
pub fn decode_plan(bytes: &[u8]) -> Result<SurveyPlan, ConvertError> {
    convert::plan::plan(message("plan", bytes, MAX_PLAN_BYTES)?)
}

/// A calibration as bytes.
#[must_use]
pub fn encode_calibration(calibration: &Calibration) -> Vec<u8> {
    convert::calibration::calibration_to_wire(calibration).encode_to_vec()
}

/// The calibration of bytes.
///
/// # Errors
/// Not a calibration, too large, or one that contradicts itself.
pub fn decode_calibration(bytes: &[u8]) -> Result<Calibration, ConvertError> {
    convert::calibration::calibration(message("calibration", bytes, MAX_CALIBRATION_BYTES)?)
}

/// Findings as bytes.
///
/// # Errors
/// Runs that are not sorted, disjoint and inside their component's bounds.
pub fn encode_findings(findings: &Findings) -> Result<Vec<u8>, ConvertError> {
    Ok(convert::findings::findings_to_wire(findings)?.encode_to_vec())
}

/// The findings of bytes.
///
/// # Errors
/// Not findings, too large, or some that contradict themselves.
pub fn decode_findings(bytes: &[u8]) -> Result<Findings, ConvertError> {
    convert::findings::findings(message("findings", bytes, MAX_FINDINGS_BYTES)?)
}

/// Only where each county's closed components are ([`Findings::closed_at`]).
///
/// # Errors
/// Not findings, too large, or a reference is invalid.
pub fn decode_closed_at(
    bytes: &[u8],
) -> Result<std::collections::BTreeMap<u32, Vec<survey::job::ObjectRef>>, ConvertError> {
    convert::findings::closed_at(message("findings", bytes, MAX_FINDINGS_BYTES)?)
}

/// A county's result as bytes.
#[must_use]
pub fn encode_county_result(result: &CountyResult) -> Vec<u8> {
    convert::result::county_result_to_wire(result).encode_to_vec()
}

/// The county's result of bytes.
///
/// # Errors
/// Not a county's result, too large, or one that contradicts itself.
pub fn decode_county_result(bytes: &[u8]) -> Result<CountyResult, ConvertError> {
    convert::result::county_result(message("county result", bytes, MAX_COUNTY_RESULT_BYTES)?)
}

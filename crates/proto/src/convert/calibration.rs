//! Calibrations.

use survey::calibration::{BandGain, Calibration, IrMad, PairStatistics, Registration};
use survey::scene::BandName;

use crate::convert::enums::{quality_flag, quality_flag_to_wire};
use crate::error::{ConvertError, Within, each, exactly, required};
use crate::v1;

/// Most variates of an IR-MAD transform, and bands of a radiometric relation.
const MAX_BANDS: usize = 256;

/// A calibration as a message.
#[must_use]
pub fn calibration_to_wire(calibration: &Calibration) -> v1::Calibration {
    let registration = &calibration.registration;
    let irmad = &calibration.irmad;
    let statistics = &calibration.statistics;
    let rows = |rows: &[Vec<f64>]| rows.iter().map(|row| v1::Weights { weight: row.clone() }).collect();
    v1::Calibration {
        registration: Some(v1::Registration {
            centre_row: registration.centre_row,
            centre_col: registration.centre_col,
            shift_row: registration.shift_row,
            shift_col: registration.shift_col,
            linear: registration.linear.to_vec(),
            tie_points: registration.tie_points,
            residual: registration.residual,
        }),
        irmad: Some(v1::IrMad {
            mean_before: irmad.mean_before.clone(),
            mean_after: irmad.mean_after.clone(),
            a: rows(&irmad.a),
            b: rows(&irmad.b),
            rho: irmad.rho.clone(),
            variance: irmad.variance.clone(),
            rounds: irmad.rounds,
        }),
        radiometry: calibration
            .radiometry
            .iter()
            .map(|gain| v1::BandGain { band: gain.band.as_str().to_owned(), gain: gain.gain, offset: gain.offset })
            .collect(),
        threshold: calibration.threshold,
        flagged_share: calibration.flagged_share,
        changed_from: calibration.changed_from,
        statistics: Some(v1::PairStatistics {
            brightness_median: statistics.brightness_median.to_vec(),
            brightness_sd: statistics.brightness_sd.to_vec(),
            vegetation_before: statistics.vegetation_before.to_vec(),
            vegetation_after: statistics.vegetation_after.to_vec(),
            gradient_noise: statistics.gradient_noise.to_vec(),
            brightness_p90: statistics.brightness_p90.to_vec(),
        }),
        sample_px: calibration.sample_px,
        quality: calibration.quality.iter().map(|&flag| quality_flag_to_wire(flag)).collect(),
    }
}

/// The calibration of a message.
///
/// # Errors
/// A part is missing, the transform's parts do not fit each other, or a value is NaN.
pub fn calibration(message: v1::Calibration) -> Result<Calibration, ConvertError> {
    let radiometry = each("radiometry", message.radiometry, |gain| {
        Ok(BandGain {
            band: BandName::new(&gain.band),
            gain: number("gain", gain.gain)?,
            offset: number("offset", gain.offset)?,
        })
    })?;
    if radiometry.len() > MAX_BANDS {
        return Err(ConvertError::invalid("radiometry", format!("{} bands", radiometry.len())));
    }
    Ok(Calibration {
        registration: registration(required("registration", message.registration)?).within("registration")?,
        irmad: irmad(required("irmad", message.irmad)?).within("irmad")?,
        radiometry,
        threshold: number("threshold", message.threshold)?,
        flagged_share: number("flagged_share", message.flagged_share)?,
        changed_from: number("changed_from", message.changed_from)?,
        statistics: statistics(required("statistics", message.statistics)?).within("statistics")?,
        sample_px: message.sample_px,
        quality: each("quality", message.quality, quality_flag)?,
    })
}

/// Infinite is a threshold that nothing passes; NaN is nothing.
fn number(field: &str, value: f64) -> Result<f64, ConvertError> {
    if value.is_nan() { Err(ConvertError::invalid(field, "it is not a number")) } else { Ok(value) }
}

fn numbers(field: &str, values: Vec<f64>) -> Result<Vec<f64>, ConvertError> {
    each(field, values, |value| number("", value))
}

fn registration(message: v1::Registration) -> Result<Registration, ConvertError> {
    Ok(Registration {
        centre_row: message.centre_row,
        centre_col: message.centre_col,
        shift_row: message.shift_row,
        shift_col: message.shift_col,
        linear: exactly("linear", message.linear)?,
        tie_points: message.tie_points,
        residual: message.residual,
    })
}

fn irmad(message: v1::IrMad) -> Result<IrMad, ConvertError> {
    let (before, after, variates) = (message.mean_before.len(), message.mean_after.len(), message.rho.len());
    for (field, length) in [("mean_before", before), ("mean_after", after), ("rho", variates)] {
        if length > MAX_BANDS {
            return Err(ConvertError::invalid(field, format!("{length} values")));
        }
    }
    let weights = |field: &str, rows: Vec<v1::Weights>, width: usize| {
        if rows.len() != variates {
            return Err(ConvertError::invalid(field, format!("{} rows for {variates} variates", rows.len())));
        }
        each(field, rows, |row| {
            if row.weight.len() != width {
                return Err(ConvertError::invalid("", format!("{} weights for {width} bands", row.weight.len())));
            }
            numbers("", row.weight)
        })
    };
    if message.variance.len() != variates {
        let found = message.variance.len();
        return Err(ConvertError::invalid("variance", format!("{found} values for {variates} variates")));
    }
    Ok(IrMad {
        a: weights("a", message.a, before)?,
        b: weights("b", message.b, after)?,
        mean_before: numbers("mean_before", message.mean_before)?,
        mean_after: numbers("mean_after", message.mean_after)?,
        rho: numbers("rho", message.rho)?,
        variance: numbers("variance", message.variance)?,
        rounds: message.rounds,
    })
}

fn statistics(message: v1::PairStatistics) -> Result<PairStatistics, ConvertError> {
    fn array<const N: usize>(field: &str, values: Vec<f64>) -> Result<[f64; N], ConvertError> {
        exactly(field, numbers(field, values)?)
    }
    Ok(PairStatistics {
        brightness_median: array("brightness_median", message.brightness_median)?,
        brightness_sd: array("brightness_sd", message.brightness_sd)?,
        vegetation_before: array("vegetation_before", message.vegetation_before)?,
        vegetation_after: array("vegetation_after", message.vegetation_after)?,
        gradient_noise: array("gradient_noise", message.gradient_noise)?,
        brightness_p90: array("brightness_p90", message.brightness_p90)?,
    })
}

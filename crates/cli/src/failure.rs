//! From errors to exit codes (`docs/exit-codes.md`).

use std::fmt;

use coordinator::plan::PlanError;
use imagery::ImageryError;
use survey::failure::FailureClass;

/// A failure with its exit code.
#[derive(Debug)]
pub struct Failure {
    /// See `docs/exit-codes.md`.
    pub code: u8,
    /// For people.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Something that is nobody's input.
pub const INTERNAL: u8 = 1;
/// An input is wrong.
pub const INPUT: u8 = 3;
/// The survey ended and something failed for good.
pub const INCOMPLETE: u8 = 4;
/// The output cannot be used.
pub const OUTPUT: u8 = 5;
/// The coordinator cannot be reached, or does not let us in.
pub const UNREACHABLE: u8 = 6;
/// `groundbreak doctor` found something that will not work.
pub const UNFIT: u8 = 7;
/// Interrupted.
pub const INTERRUPTED: u8 = 130;

/// A wrong input.
pub fn input(message: impl Into<String>) -> Failure {
    Failure { code: INPUT, message: message.into() }
}

/// The exit code of an error.
#[must_use]
pub fn code(error: &anyhow::Error) -> u8 {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.code;
    }
    if let Some(error) = error.downcast_ref::<ImageryError>() {
        return if matches!(error, ImageryError::Output { .. }) { OUTPUT } else { of_class(error.class()) };
    }
    if let Some(error) = error.downcast_ref::<PlanError>() {
        return of_class(error.class());
    }
    INTERNAL
}

fn of_class(class: FailureClass) -> u8 {
    match class {
        FailureClass::BadInput | FailureClass::InputChanged => INPUT,
        FailureClass::Cancelled => INTERRUPTED,
        FailureClass::Retryable | FailureClass::OutOfMemory | FailureClass::Poison | FailureClass::Fatal => INTERNAL,
    }
}

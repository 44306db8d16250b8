//! Enums: every value of the wire is named, and an unknown or unspecified one is refused.

use survey::calibration::QualityFlag;
use survey::failure::FailureClass;
use survey::job::Stage;
use survey::result::{Cover, Phase, SiteClass};
use survey::scene::MaskMeaning;

use crate::error::ConvertError;
use crate::v1;

macro_rules! enums {
    ($($to:ident, $from:ident: $domain:ident <-> $wire:ident { $($variant:ident <-> $wire_variant:ident),+ $(,)? })+) => {
        $(
            #[doc = concat!("The wire's value of a [`", stringify!($domain), "`].")]
            #[must_use]
            pub fn $to(value: $domain) -> i32 {
                (match value { $($domain::$variant => v1::$wire::$wire_variant),+ }) as i32
            }

            #[doc = concat!("The [`", stringify!($domain), "`] of the wire's value.")]
            ///
            /// # Errors
            /// The value is unspecified or unknown.
            pub fn $from(value: i32) -> Result<$domain, ConvertError> {
                match v1::$wire::try_from(value) {
                    $(Ok(v1::$wire::$wire_variant) => Ok($domain::$variant),)+
                    _ => Err(ConvertError::invalid("", format!("{value} is not a {}", stringify!($wire)))),
                }
            }
        )+
    };
}

enums! {
    quality_flag_to_wire, quality_flag: QualityFlag <-> QualityFlag {
        RegistrationUnknown <-> RegistrationUnknown, RegistrationPoor <-> RegistrationPoor,
        WeightCollapse <-> WeightCollapse, ThresholdFlagsLittle <-> ThresholdFlagsLittle,
        ThresholdFlagsMuch <-> ThresholdFlagsMuch, RadiometryImplausible <-> RadiometryImplausible,
        SmallSample <-> SmallSample,
    }
    failure_class_to_wire, failure_class: FailureClass <-> FailureClass {
        Retryable <-> Retryable, OutOfMemory <-> OutOfMemory, BadInput <-> BadInput, InputChanged <-> InputChanged,
        Poison <-> Poison, Fatal <-> Fatal, Cancelled <-> Cancelled,
    }
    stage_to_wire, stage: Stage <-> Stage {
        Calibrate <-> Calibrate, Detect <-> Detect, Merge <-> Merge, Assemble <-> Assemble,
    }
    site_class_to_wire, site_class: SiteClass <-> SiteClass {
        Factory <-> Factory, Residential <-> Residential, Greenhouse <-> Greenhouse, Other <-> Other,
    }
    cover_to_wire, cover: Cover <-> Cover {
        Cropland <-> Cropland, Woodland <-> Woodland, Bare <-> Bare, Water <-> Water, Built <-> Built,
        Unknown <-> Unknown,
    }
    phase_to_wire, phase: Phase <-> Phase {
        GroundWorks <-> GroundWorks, Frames <-> Frames, Roofed <-> Roofed, None <-> None,
    }
    mask_meaning_to_wire, mask_meaning: MaskMeaning <-> MaskMeaning {
        DataMask <-> DataMask, SceneClassification <-> SceneClassification, LandsatQa <-> LandsatQa,
        CloudMask <-> CloudMask,
    }
}

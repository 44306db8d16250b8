//! Objects survive the wire to the last bit, the same value has the same bytes, and no bytes cause a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]

mod worlds;

use proptest::prelude::*;
use proto::objects::{
    decode_calibration, decode_closed_at, decode_county_result, decode_findings, decode_plan, encode_calibration,
    encode_county_result, encode_findings, encode_plan,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_plan_survives(plan in worlds::plan()) {
        let bytes = encode_plan(&plan);
        prop_assert_eq!(&bytes, &encode_plan(&plan.clone()));
        prop_assert_eq!(decode_plan(&bytes).unwrap(), plan);
    }

    #[test]
    fn a_calibration_survives(calibration in worlds::calibration()) {
        let bytes = encode_calibration(&calibration);
        let decoded = decode_calibration(&bytes).unwrap();
        prop_assert_eq!(&encode_calibration(&decoded), &bytes);
        prop_assert_eq!(decoded, calibration);
    }

    #[test]
    fn findings_survive(findings in worlds::findings()) {
        let bytes = encode_findings(&findings).unwrap();
        prop_assert_eq!(decode_closed_at(&bytes).unwrap(), findings.closed_at.clone());
        prop_assert_eq!(decode_findings(&bytes).unwrap(), findings);
    }

    #[test]
    fn a_county_result_survives(result in worlds::county_result()) {
        let bytes = encode_county_result(&result);
        prop_assert_eq!(decode_county_result(&bytes).unwrap(), result);
    }

    #[test]
    fn damaged_bytes_are_refused_or_mean_something_else_and_never_panic(
        plan in worlds::plan(),
        findings in worlds::findings(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for mut bytes in [encode_plan(&plan), encode_findings(&findings).unwrap()] {
            for (at, value) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            // What decodes after all can be written and read again.
            if let Ok(findings) = decode_findings(&bytes) {
                prop_assert_eq!(decode_findings(&encode_findings(&findings).unwrap()).unwrap(), findings);
            }
            let _ = (decode_plan(&bytes), decode_calibration(&bytes), decode_county_result(&bytes));
            bytes.truncate(cut.index(bytes.len() + 1));
            let _ = (decode_plan(&bytes), decode_findings(&bytes));
        }
    }
}

//! What the values of a mask say about a pixel.

use survey::raster::PixelState;
use survey::scene::MaskMeaning;

/// The state that a mask's sample gives a pixel. A mask that has no number there says that there is no data.
///
/// * [`MaskMeaning::SceneClassification`]: Sentinel-2 L2A product specification, scene classification (0 no data, 1
///   saturated or defective, 3 cloud shadow, 8 and 9 cloud, 10 thin cirrus). Anything above 11 is not a class: no data.
/// * [`MaskMeaning::LandsatQa`]: Landsat Collection 2 `QA_PIXEL`, bits 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4
///   cloud shadow.
#[must_use]
pub fn decode(meaning: MaskMeaning, sample: f64) -> PixelState {
    if !sample.is_finite() {
        return PixelState::Nodata;
    }
    match meaning {
        MaskMeaning::DataMask if sample == 0.0 => PixelState::Nodata,
        MaskMeaning::DataMask => PixelState::Valid,
        MaskMeaning::CloudMask if sample == 0.0 => PixelState::Valid,
        MaskMeaning::CloudMask => PixelState::Cloud,
        MaskMeaning::SceneClassification => match sample {
            3.0 | 8.0 | 9.0 | 10.0 => PixelState::Cloud,
            2.0 | 4.0..=7.0 | 11.0 => PixelState::Valid,
            _ => PixelState::Nodata,
        },
        MaskMeaning::LandsatQa => {
            if !(0.0..=f64::from(u32::MAX)).contains(&sample) {
                return PixelState::Nodata;
            }
            let bits = sample as u32;
            if bits & 1 != 0 {
                PixelState::Nodata
            } else if bits & 0b1_1110 != 0 {
                PixelState::Cloud
            } else {
                PixelState::Valid
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinel_classes_and_landsat_bits_are_read_as_their_specifications_say() {
        let scl: Vec<_> = (0..=12).map(|class| decode(MaskMeaning::SceneClassification, f64::from(class))).collect();
        use PixelState::{Cloud as C, Nodata as N, Valid as V};
        assert_eq!(scl, [N, N, V, C, V, V, V, V, C, C, C, V, N]);
        // USGS: 21824 clear land, 21952 clear water, 22280 high-confidence cloud, 23888 cloud shadow, 1 fill.
        let qa = [21824.0, 21952.0, 22280.0, 23888.0, 1.0].map(|value| decode(MaskMeaning::LandsatQa, value));
        assert_eq!(qa, [V, V, C, C, N]);
        assert_eq!([0.0, 1.0, f64::NAN].map(|value| decode(MaskMeaning::DataMask, value)), [N, V, N]);
        assert_eq!([0.0, 255.0].map(|value| decode(MaskMeaning::CloudMask, value)), [V, C]);
    }
}

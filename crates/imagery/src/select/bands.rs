//! The bands in which two scenes are compared.

use survey::scene::{BandName, Scene};
use survey::spec::DetectorSpec;

use crate::error::ImageryError;

/// Bands that are compared where both scenes have enough of them; others repeat them at a coarser resolution.
const CORE_BANDS: [&str; 6] = ["blue", "green", "red", "nir", "swir16", "swir22"];

/// Bands of the earlier and of the later scene.
pub(super) type Bands = (Vec<BandName>, Vec<BandName>);

/// The bands in which two scenes are compared: those named, or the core bands or all bands that both have, or all of
/// each where they share fewer than two. `None` where one of them has no band to compare.
///
/// # Errors
/// [`ImageryError::Document`] for a scene that lacks a named band.
pub(super) fn comparable(
    before: &Scene,
    after: &Scene,
    detector: &DetectorSpec,
) -> Result<Option<Bands>, ImageryError> {
    if let Some(named) = &detector.bands {
        let named: Vec<BandName> = named.iter().map(|name| BandName::new(name)).collect();
        for scene in [before, after] {
            if let Some(missing) = named.iter().find(|band| scene.band(band).is_none()) {
                let has = scene.bands.iter().map(|band| band.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(ImageryError::Document {
                    href: scene.id.to_string(),
                    cause: format!("the scene has no band `{missing}`"),
                    mend: format!("it has {has}"),
                });
            }
        }
        return Ok(Some((named.clone(), named)));
    }
    let spectral = |scene: &Scene| -> Vec<BandName> {
        scene.bands.iter().map(|band| band.name.clone()).filter(BandName::is_spectral).collect()
    };
    let (of_before, of_after) = (spectral(before), spectral(after));
    let mut common: Vec<BandName> = of_before.iter().filter(|band| of_after.contains(band)).cloned().collect();
    common.sort_by_key(|band| {
        (CORE_BANDS.iter().position(|core| *core == band.as_str()).unwrap_or(CORE_BANDS.len()), band.clone())
    });
    let core = common.iter().take_while(|band| CORE_BANDS.contains(&band.as_str())).count();
    if core >= 3 {
        common.truncate(core);
    }
    Ok(match (common.len(), of_before.len(), of_after.len()) {
        (2.., ..) => Some((common.clone(), common)),
        (_, 0, _) | (_, _, 0) => None,
        _ => Some((of_before, of_after)),
    })
}

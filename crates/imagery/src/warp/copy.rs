//! Where the grid's pixels coincide with working pixels, nothing is to be weighed: their values are the result.

use survey::grid::PixelRect;
use survey::raster::{PixelState, Plane};

use super::control::Control;
use super::kernel::{Kernel, PHASES};
use super::resample::Resampled;
use super::source::{NODATA, Region, SourceWindow, VALID, state_of};
use super::view::MosaicBuilder;

/// Working pixel (x, y) less pixel (column, row), where each pixel of the rectangle coincides with a working pixel and
/// takes its value.
pub(crate) fn shift(control: &Control, kernels: [&Kernel; 2], rect: PixelRect) -> Option<[i64; 2]> {
    if !kernels.iter().all(|kernel| kernel.is_interpolating()) {
        return None;
    }
    let mut shifts = control.cells(rect).map(|(part, cell)| cell.shift(part));
    let first = shifts.next()??;
    shifts.all(|shift| shift == Some(first)).then_some(first)
}

/// The working pixels that coincide with a rectangle's.
pub(crate) fn shifted(rect: PixelRect, shift: [i64; 2]) -> Region {
    let [x, y] = shift;
    Region {
        x0: i64::from(rect.col0) + x,
        y0: i64::from(rect.row0) + y,
        x1: i64::from(rect.col1) + x,
        y1: i64::from(rect.row1) + y,
    }
}

/// The working pixels whose centres lie on the raster.
fn on_raster(extent: [i64; 2]) -> Region {
    let end = |extent: i64| (extent + PHASES as i64 / 2 - 1).div_euclid(PHASES as i64);
    Region { x0: 0, y0: 0, x1: end(extent[0]), y1: end(extent[1]) }
}

/// The working pixels on the raster that coincide with a rectangle's, if there are any.
pub(crate) fn coinciding(control: &Control, rect: PixelRect, shift: [i64; 2]) -> Option<Region> {
    let region = shifted(rect, shift).intersection(&on_raster(control.extent()));
    (!region.is_empty()).then_some(region)
}

/// The states of the pixels of `rect`, of those of the pixels that coincide with them, row by row.
fn state_plane(control: &Control, states: &[u8], rect: PixelRect, shift: [i64; 2]) -> Plane<PixelState> {
    let (whole, width) = (shifted(rect, shift), rect.cols());
    let mut state = Plane::filled(rect, PixelState::NoScene);
    if let Some(inside) = coinciding(control, rect, shift) {
        let cols = (inside.x0 - whole.x0) as usize..(inside.x1 - whole.x0) as usize;
        for y in inside.y0..inside.y1 {
            let start = (y - whole.y0) as usize * width;
            let pixels = start + cols.start..start + cols.end;
            for (out, &byte) in state.data_mut()[pixels.clone()].iter_mut().zip(&states[pixels]) {
                *out = if byte == VALID { PixelState::Valid } else { state_of(byte.max(NODATA)) };
            }
        }
    }
    state
}

/// What [`resample`](super::resample::resample) gives where the pixels of `rect` coincide with a raster's: the raster's own values,
/// in the blocks in which they lie.
pub(crate) fn viewed(control: &Control, mosaic: MosaicBuilder) -> Resampled {
    let (rect, shift) = mosaic.place();
    let state = state_plane(control, mosaic.states(), rect, shift);
    Resampled { bands: mosaic.finish(&state), state }
}

/// The same where the values have been laid out in a window, which covers [`shifted`].
pub(crate) fn copied(control: &Control, window: SourceWindow, rect: PixelRect, shift: [i64; 2]) -> Resampled {
    let width = rect.cols();
    let (mut bands, states) = window.into_parts();
    let state = state_plane(control, &states, rect, shift);
    for start in (0..states.len()).step_by(width.max(1)) {
        let states = &state.data()[start..start + width];
        if states.iter().fold(true, |all, &state| all & (state == PixelState::Valid)) {
            continue;
        }
        for band in &mut bands {
            for (value, &state) in band[start..start + width].iter_mut().zip(states) {
                *value = if state == PixelState::Valid { *value } else { 0.0 };
            }
        }
    }
    let plane = |band| Plane::from_vec(rect, band).unwrap_or_else(|| Plane::filled(rect, 0.0)).into();
    Resampled { bands: bands.into_iter().map(plane).collect(), state }
}

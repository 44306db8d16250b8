//! Pixels much finer than what the fine evidence was made for, averaged in square blocks first: a window of a few pixels
//! would see a piece of a roof. Blocks lie on the grid, wherever a rectangle begins.

use survey::findings::EVIDENCE_CHANNELS;
use survey::grid::PixelRect;
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::result::Cover;

use super::{PairEvidence, pair_state};

/// The blocks that lie in a rectangle as a whole.
fn whole_blocks(rect: PixelRect, size: i32) -> PixelRect {
    let up = |value: i32| value.div_euclid(size) + i32::from(value.rem_euclid(size) != 0);
    let (row0, col0) = (up(rect.row0), up(rect.col0));
    PixelRect::new(row0, col0, rect.row1.div_euclid(size).max(row0), rect.col1.div_euclid(size).max(col0))
}

/// Both windows in blocks of `size` pixels: means over the pixels that are valid on both dates. A block without any is
/// no data.
#[must_use]
pub fn in_blocks(before: &SceneWindow, after: &SceneWindow, size: i32) -> (SceneWindow, SceneWindow) {
    let rect = before.rect().intersection(&after.rect()).unwrap_or(PixelRect::new(0, 0, 0, 0));
    let state = pair_state(&before.state.crop(rect), &after.state.crop(rect));
    let blocks = whole_blocks(rect, size);
    let mean_of = |window: &SceneWindow| {
        let mut valid = Plane::filled(blocks, PixelState::Nodata);
        let planes = window
            .planes
            .iter()
            .map(|plane| {
                let plane = plane.values();
                let mut mean = Plane::filled(blocks, 0.0_f32);
                for row in blocks.row0..blocks.row1 {
                    for (index, mean) in mean.row_mut(row).iter_mut().enumerate() {
                        let col = blocks.col0 + index as i32;
                        let (mut sum, mut count) = (0.0_f32, 0_u32);
                        for row in row * size..(row + 1) * size {
                            for col in col * size..(col + 1) * size {
                                if state.get(row, col) == Some(PixelState::Valid)
                                    && let Some(value) = plane.get(row, col)
                                {
                                    sum += value;
                                    count += 1;
                                }
                            }
                        }
                        if count > 0 {
                            *mean = sum / count as f32;
                            valid.row_mut(row)[index] = PixelState::Valid;
                        }
                    }
                }
                mean.into()
            })
            .collect();
        SceneWindow { bands: window.bands.clone(), planes, state: valid }
    };
    (mean_of(before), mean_of(after))
}

/// The evidence of blocks at their pixels. A pixel of a block that the rectangle cuts has none and is no data: such
/// pixels lie beyond the halo.
#[must_use]
pub fn spread(found: &PairEvidence, mut state: Plane<PixelState>, size: i32) -> PairEvidence {
    let rect = state.rect();
    let mut channels: [Plane<i16>; EVIDENCE_CHANNELS] = std::array::from_fn(|_| Plane::filled(rect, 0));
    let mut cover_before = Plane::filled(rect, Cover::Unknown);
    for row in rect.row0..rect.row1 {
        for (index, state) in state.row_mut(row).iter_mut().enumerate() {
            if *state != PixelState::Valid {
                continue;
            }
            let (block_row, block_col) = (row.div_euclid(size), (rect.col0 + index as i32).div_euclid(size));
            match found.state.get(block_row, block_col) {
                Some(PixelState::Valid) => {
                    for (to, from) in channels.iter_mut().zip(&found.channels) {
                        to.row_mut(row)[index] = from.get(block_row, block_col).unwrap_or(0);
                    }
                    cover_before.row_mut(row)[index] =
                        found.cover_before.get(block_row, block_col).unwrap_or(Cover::Unknown);
                }
                Some(other) => *state = other,
                None => *state = PixelState::Nodata,
            }
        }
    }
    PairEvidence { channels, cover_before, state }
}

#[cfg(test)]
mod tests {
    use survey::scene::BandName;

    use super::*;

    fn window(rect: PixelRect, value: impl Fn(i32, i32) -> f32) -> SceneWindow {
        let pixels = (rect.row0..rect.row1).flat_map(|row| (rect.col0..rect.col1).map(move |col| (row, col)));
        let values = pixels.map(|(row, col)| value(row, col)).collect();
        SceneWindow {
            bands: vec![BandName::new("red")],
            planes: vec![Plane::from_vec(rect, values).unwrap().into()],
            state: Plane::filled(rect, PixelState::Valid),
        }
    }

    #[test]
    fn blocks_are_means_over_what_is_valid_and_lie_on_the_grid() {
        let value = |row: i32, col: i32| (10 * row + col) as f32;
        let mut before = window(PixelRect::new(-3, -1, 4, 6), value);
        before.state.row_mut(0)[1] = PixelState::Cloud;
        let (blocks, _) = in_blocks(&before, &window(PixelRect::new(-3, -1, 4, 6), value), 2);
        assert_eq!(blocks.rect(), PixelRect::new(-1, 0, 2, 3));
        // Rows 0 and 1, columns 0 and 1, without (0, 0), which is cloudy: the mean of 1, 10 and 11.
        assert_eq!(blocks.planes[0].values().get(0, 0), Some(22.0 / 3.0));
        // Rows −2 and −1, columns 4 and 5: the mean of −16, −15, −6 and −5.
        assert_eq!(blocks.planes[0].values().get(-1, 2), Some(-10.5));
    }

    #[test]
    fn a_block_without_a_valid_pixel_is_no_data_and_a_cut_one_as_well() {
        let rect = PixelRect::new(0, 0, 4, 5);
        let mut before = window(rect, |_, _| 1.0);
        for row in 0..2 {
            before.state.row_mut(row)[..2].fill(PixelState::Cloud);
        }
        let (blocks, _) = in_blocks(&before, &window(rect, |_, _| 1.0), 2);
        assert_eq!(blocks.state.data(), [PixelState::Nodata, PixelState::Valid, PixelState::Valid, PixelState::Valid]);
        let found = PairEvidence {
            channels: std::array::from_fn(|_| Plane::filled(blocks.rect(), 7)),
            cover_before: Plane::filled(blocks.rect(), Cover::Bare),
            state: blocks.state,
        };
        let spread = spread(&found, before.state, 2);
        assert_eq!(
            spread.state.row(0),
            [PixelState::Cloud, PixelState::Cloud, PixelState::Valid, PixelState::Valid, PixelState::Nodata]
        );
        assert_eq!(spread.channels[0].row(3), [7, 7, 7, 7, 0]);
    }
}

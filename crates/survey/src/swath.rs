//! The order in which a survey goes over its ground.
//!
//! Tiles beside each other read the same blocks of the same scenes, and a block that is decoded waits until the last of them has
//! read it. Row by row over a whole country that would be all blocks along a parallel. So the tiles lie in swaths: some columns of
//! them, gone through from north to south, row by row. What waits for one worker on ground that a pair of scenes fills is what lies
//! under one row of one swath, however large the ground is. Blocks under the border of two swaths are read by each.

use crate::grid::{Block, PixelRect};

/// Pixels across a swath, at most, where a tile is not wider: of columns of blocks of 512 pixels one in twenty-four is read twice.
const MOST_PX: i32 = 12 * 1024;

/// The swaths of a survey: as few as may be, of about the same width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swaths {
    /// Row and column of the first tile, and one past the last.
    first: [i32; 2],
    end: [i32; 2],
    /// Tiles across.
    width: i32,
}

/// How many tiles of its swath lie on each side of a tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// To the north, up to the survey's end.
    pub north: i32,
    /// To the south, up to the survey's end.
    pub south: i32,
    /// To the west, up to the swath's border.
    pub west: i32,
    /// To the east, up to the swath's border.
    pub east: i32,
}

impl Swaths {
    /// The swaths of the tiles of `tile_px` pixels that touch `rect`.
    #[must_use]
    pub fn over(rect: PixelRect, tile_px: i32) -> Self {
        if rect.is_empty() {
            return Self::default();
        }
        let first = Block::tile_of(rect.row0, rect.col0, tile_px);
        let last = Block::tile_of(rect.row1 - 1, rect.col1 - 1, tile_px);
        let across = last.x.abs_diff(first.x) + 1;
        let count = across.div_ceil((MOST_PX / tile_px).max(1).unsigned_abs());
        let width = across.div_ceil(count).cast_signed();
        Self { first: [first.y, first.x], end: [last.y + 1, last.x + 1], width }
    }

    /// What tiles are sorted by: swath from west to east, row from north to south, column.
    #[must_use]
    pub fn order(&self, tile: Block) -> [i32; 3] {
        [tile.x.saturating_sub(self.first[1]).div_euclid(self.width.max(1)), tile.y, tile.x]
    }

    /// What lies around a tile.
    #[must_use]
    pub fn around(&self, tile: Block) -> Around {
        let [swath, ..] = self.order(tile);
        let west = self.first[1] + swath * self.width;
        let east = (west + self.width).min(self.end[1]);
        Around {
            north: tile.y - self.first[0],
            south: self.end[0] - 1 - tile.y,
            west: tile.x - west,
            east: east - 1 - tile.x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(y: i32, x: i32) -> Block {
        Block { level: 0, y, x }
    }

    fn over(rows: [i32; 2], cols: [i32; 2], tile_px: i32) -> Swaths {
        let [[row0, row1], [col0, col1]] = [rows, cols].map(|ends| ends.map(|end| end * tile_px));
        Swaths::over(PixelRect::new(row0, col0, row1, col1), tile_px)
    }

    #[test]
    fn swaths_are_as_few_as_may_be_and_about_as_wide_as_each_other() {
        for (cols, tile_px, widths) in [
            (9, 1024, &[9][..]),
            (12, 1024, &[12]),
            (13, 1024, &[7, 6]),
            (41, 1024, &[11, 11, 11, 8]),
            (24, 512, &[24]),
            (3, 20_000, &[1, 1, 1]),
        ] {
            for west in [-5, 0, 77] {
                let swaths = over([3, 5], [west, west + cols], tile_px);
                let mut counted = std::collections::BTreeMap::new();
                for x in west..west + cols {
                    *counted.entry(swaths.order(tile(3, x))[0]).or_insert(0) += 1;
                }
                assert_eq!(counted.into_values().collect::<Vec<i32>>(), widths, "{cols} of {tile_px} from {west}");
            }
        }
    }

    #[test]
    fn tiles_follow_each_other_row_by_row_within_their_swath() {
        let swaths = over([-1, 1], [-7, 7], 1024);
        let mut tiles: Vec<Block> = (-1..1).flat_map(|y| (-7..7).map(move |x| tile(y, x))).collect();
        tiles.sort_unstable_by_key(|tile| swaths.order(*tile));
        let expected = [-7..0, 0..7].map(|cols| (-1..1).flat_map(move |y| cols.clone().map(move |x| tile(y, x))));
        assert_eq!(tiles, expected.into_iter().flatten().collect::<Vec<_>>());
    }

    #[test]
    fn around_a_tile_lie_the_others_of_its_swath() {
        let swaths = over([-2, 6], [10, 23], 1024);
        for y in -2..6 {
            for x in 10..23 {
                let around = swaths.around(tile(y, x));
                let of_swath = |other: &i32| swaths.order(tile(y, *other))[0] == swaths.order(tile(y, x))[0];
                let west = (10..x).filter(of_swath).count() as i32;
                let east = (x + 1..23).filter(of_swath).count() as i32;
                assert_eq!(around, Around { north: y + 2, south: 5 - y, west, east }, "{y} {x}");
            }
        }
    }

    #[test]
    fn nothing_has_no_swaths() {
        let swaths = Swaths::over(PixelRect::new(3, 3, 3, 9), 1024);
        assert_eq!(swaths.order(tile(2, 1)), [1, 2, 1]);
        // A tile that somebody made up is in none.
        assert_eq!(over([0, 1], [1 << 20, 1 << 21], 1).order(tile(0, i32::MIN))[1..], [0, i32::MIN]);
    }
}

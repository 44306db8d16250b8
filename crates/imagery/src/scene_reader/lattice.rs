//! How many tiles read a block. Tiles lie on a lattice and have the same halo, so that what one of them needs of a file is
//! what its neighbours need, some pixels on. Those of its own swath count: a block under the border of two swaths does not wait
//! for the second. It is an estimate (grids may be turned against each other, a survey has not all tiles of its box) that decides which
//! blocks stay in memory, and never what is read.

use survey::grid::PixelRect;
use survey::swath::Around;

use super::Tiles;
use crate::warp::source::Region;

/// What the tiles of a lattice need of a level of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lattice {
    /// From where to where one of them needs the columns and the rows.
    needed: [[f64; 2]; 2],
    /// Pixels of the level from a tile to the next.
    step: [f64; 2],
    /// How many tiles there are before and after that one, along columns and rows.
    others: [[i32; 2]; 2],
}

impl Lattice {
    /// Of tiles of which one needs the pixels `needed` of the level for its part `rect`, at so many pixels of the level
    /// for each of the grid. What is needed is cut where the level ends.
    pub(super) fn new(tiles: &Tiles, rect: PixelRect, needed: Region, scale: [f64; 2]) -> Option<Self> {
        let one = tiles.one;
        let along = |[from, to]: [i64; 2], [part0, part1]: [i32; 2], [all0, all1]: [i32; 2], scale: f64| {
            let (mut from, mut to, whole) = (from as f64, to as f64, f64::from(part1 - part0) * scale);
            match to - from < whole - 1.0 {
                true if from <= 0.0 => from = to - whole,
                true => to = from + whole,
                false => {}
            }
            [from - f64::from(part0 - all0) * scale, to + f64::from(all1 - part1) * scale]
        };
        let across = along([needed.x0, needed.x1], [rect.col0, rect.col1], [one.col0, one.col1], scale[0]);
        let down = along([needed.y0, needed.y1], [rect.row0, rect.row1], [one.row0, one.row1], scale[1]);
        let step = scale.map(|scale| f64::from(tiles.side_px) * scale);
        let Around { north, south, west, east } = tiles.around;
        let lattice = Self { needed: [across, down], step, others: [[west, east], [north, south]] };
        step.iter().all(|step| *step >= 1.0 && step.is_finite()).then_some(lattice)
    }

    /// How many tiles need something of a block.
    pub(super) fn readers(&self, block: Region) -> u32 {
        // Tiles on from ours by `k` steps reach the block where from + k · step < end and begin < to + k · step.
        let along = |axis: usize, begin: i64, end: i64| {
            let ([from, to], step, [before, after]) = (self.needed[axis], self.step[axis], self.others[axis]);
            let last = (((end as f64 - from) / step).ceil() - 1.0).min(f64::from(after));
            let first = (((begin as f64 - to) / step).floor() + 1.0).max(-f64::from(before));
            (last - first + 1.0).max(1.0)
        };
        (along(0, block.x0, block.x1) * along(1, block.y0, block.y1)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::super::Then;
    use super::*;

    /// As if there were no end.
    const FAR: Around = Around { north: 1000, south: 1000, west: 1000, east: 1000 };

    fn region(x0: i64, y0: i64, x1: i64, y1: i64) -> Region {
        Region { x0, y0, x1, y1 }
    }

    #[test]
    fn the_readers_of_a_block_are_the_tiles_that_reach_it() {
        // Tiles of 100 pixels with a halo of 10 over the same pixels, and over pixels of half their size.
        for scale in [1, 2] {
            let of = |tile: i64| [(tile * 100 - 10) * scale, (tile * 100 + 110) * scale];
            let one = PixelRect::new(290, 190, 410, 310);
            let (tiles, scales) = (Tiles { one, side_px: 100, around: FAR, then: Then::Stays }, [scale as f64; 2]);
            let needed = region(of(2)[0], of(3)[0], of(2)[1], of(3)[1]);
            let lattice = Lattice::new(&tiles, one, needed, scales).unwrap();
            // A part of a tile tells of the whole, and so does one that the ends of the level cut.
            let part = region(needed.x0 + 30 * scale, needed.y0, needed.x1, needed.y1 - 50 * scale);
            let of_part = Lattice::new(&tiles, PixelRect::new(290, 220, 360, 310), part, scales).unwrap();
            assert_eq!((lattice.needed, lattice.step), (of_part.needed, of_part.step));
            let first = Tiles { one: PixelRect::new(-10, -10, 110, 110), ..tiles };
            let cut = Lattice::new(&first, first.one, region(0, 0, 110 * scale, 110 * scale), scales).unwrap();
            assert_eq!(cut.needed, [[-10.0 * scale as f64, 110.0 * scale as f64]; 2]);
            let cut = region(needed.x0, needed.y0, needed.x1 - 40 * scale, needed.y1);
            assert_eq!(Lattice::new(&tiles, one, cut, scales).unwrap().needed, lattice.needed);
            for (begin, end) in [(0, 5), (0, 64), (64, 128), (95, 105), (105, 115), (128, 192), (256, 512), (0, 1024)] {
                let block = region(begin * scale, 40 * scale, end * scale, 60 * scale);
                let reach = (-5..20).filter(|&tile| of(tile)[0] < block.x1 && block.x0 < of(tile)[1]).count();
                assert_eq!(lattice.readers(block), reach as u32, "{begin}..{end} at {scale}");
            }
            // Along both axes.
            assert_eq!(lattice.readers(region(95 * scale, 195 * scale, 105 * scale, 205 * scale)), 4);
        }
    }

    #[test]
    fn where_a_swath_ends_no_tile_reads_a_block() {
        // The first of three tiles beside each other, over three more rows of them.
        let one = PixelRect::new(-10, -10, 110, 110);
        let tiles =
            Tiles { one, side_px: 100, around: Around { north: 0, south: 3, west: 0, east: 2 }, then: Then::Stays };
        let lattice = Lattice::new(&tiles, one, region(-10, -10, 110, 110), [1.0; 2]).unwrap();
        for (block, readers) in [
            (region(-50, -50, 50, 50), 1),
            (region(-50, -50, 100, 100), 4),
            (region(0, 95, 50, 105), 2),
            (region(295, 295, 305, 305), 2),
            (region(0, 0, 1000, 1000), 12),
            // Nobody's, but whoever says that it has been read has read it.
            (region(800, 800, 900, 900), 1),
        ] {
            assert_eq!(lattice.readers(block), readers, "{block:?}");
        }
    }

    #[test]
    fn tiles_that_are_smaller_than_a_pixel_have_no_lattice() {
        let tiles = Tiles { one: PixelRect::new(0, 0, 120, 120), side_px: 100, around: FAR, then: Then::Stays };
        for scale in [0.001, 0.0, f64::NAN, f64::INFINITY] {
            assert!(Lattice::new(&tiles, tiles.one, region(5, 5, 6, 9), [1.0, scale]).is_none());
        }
    }
}

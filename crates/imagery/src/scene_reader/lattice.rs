//! How many tiles read a block. Tiles lie on a lattice and have the same halo, so that what one of them needs of a file is
//! what its neighbours need, some pixels on. It is an estimate (grids may be turned against each other, the ground of a survey
//! ends somewhere) that decides which blocks stay in memory, and never what is read.

use survey::grid::PixelRect;

use crate::warp::source::Region;

/// What the tiles of a lattice need of a level of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lattice {
    /// What one of them needs.
    needed: Region,
    /// Pixels of the level from a tile to the next.
    step: [f64; 2],
}

impl Lattice {
    /// Of the tiles of `tile_px` pixels a side, of which one, `rect` with its halo, needs the pixels `needed` of the level.
    pub(super) fn new(tile_px: i32, rect: PixelRect, needed: Region) -> Option<Self> {
        let step = |pixels: usize, of: usize| f64::from(tile_px) * pixels as f64 / of as f64;
        let step = [step(needed.width(), rect.cols()), step(needed.height(), rect.rows())];
        step.iter().all(|step| *step >= 1.0 && step.is_finite()).then_some(Self { needed, step })
    }

    /// How many tiles need something of a block.
    pub(super) fn readers(&self, block: Region) -> u32 {
        // Tiles on from ours by `k` steps reach the block where from + k · step < end and begin < to + k · step.
        let along = |from: i64, to: i64, begin: i64, end: i64, step: f64| {
            let last = ((end - from) as f64 / step).ceil() - 1.0;
            let first = ((begin - to) as f64 / step).floor() + 1.0;
            (last - first + 1.0).max(1.0)
        };
        let Region { x0, y0, x1, y1 } = self.needed;
        let across = along(x0, x1, block.x0, block.x1, self.step[0]);
        let down = along(y0, y1, block.y0, block.y1, self.step[1]);
        (across * down) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(x0: i64, y0: i64, x1: i64, y1: i64) -> Region {
        Region { x0, y0, x1, y1 }
    }

    #[test]
    fn the_readers_of_a_block_are_the_tiles_that_reach_it() {
        // Tiles of 100 pixels with a halo of 10 over the same pixels, and over pixels of half their size.
        for scale in [1, 2] {
            let of = |tile: i64| [(tile * 100 - 10) * scale, (tile * 100 + 110) * scale];
            let lattice = Lattice::new(
                100,
                PixelRect::new(290, 190, 410, 310),
                region(of(2)[0], of(3)[0], of(2)[1], of(3)[1]),
            )
            .unwrap();
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
    fn a_tile_that_needs_nothing_has_no_lattice() {
        assert!(Lattice::new(100, PixelRect::new(0, 0, 120, 120), region(5, 5, 5, 9)).is_none());
        assert!(Lattice::new(100, PixelRect::new(0, 0, 0, 0), region(0, 0, 9, 9)).is_none());
    }
}

//! Planes of pixels that know their place on the survey's grid.

use serde::{Deserialize, Serialize};

use crate::findings::Run;
use crate::grid::PixelRect;
use crate::scene::BandName;

/// A row-major plane of one value per pixel of `rect`.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane<T> {
    rect: PixelRect,
    data: Vec<T>,
}

impl<T: Copy> Plane<T> {
    /// A plane with the same value everywhere.
    #[must_use]
    pub fn filled(rect: PixelRect, value: T) -> Self {
        Self { rect, data: vec![value; rect.pixels()] }
    }

    /// A plane from its row-major data; `None` where the length is not the rectangle's.
    #[must_use]
    pub fn from_vec(rect: PixelRect, data: Vec<T>) -> Option<Self> {
        (data.len() == rect.pixels()).then_some(Self { rect, data })
    }

    /// The pixels that it covers.
    #[must_use]
    pub fn rect(&self) -> PixelRect {
        self.rect
    }

    /// All values, row-major.
    #[must_use]
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// All values, row-major.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The values of a row of the grid (a global row index that lies inside).
    #[must_use]
    pub fn row(&self, row: i32) -> &[T] {
        let cols = self.rect.cols();
        let start = (row - self.rect.row0) as usize * cols;
        &self.data[start..start + cols]
    }

    /// The values of a row of the grid (a global row index that lies inside).
    pub fn row_mut(&mut self, row: i32) -> &mut [T] {
        let cols = self.rect.cols();
        let start = (row - self.rect.row0) as usize * cols;
        &mut self.data[start..start + cols]
    }

    /// The values along a run that lies inside.
    #[must_use]
    pub fn run(&self, run: Run) -> &[T] {
        let first = self.rect.col0;
        &self.row(run.row)[(run.col0 - first) as usize..(run.col1 - first) as usize]
    }

    /// The values along a run that lies inside.
    pub fn run_mut(&mut self, run: Run) -> &mut [T] {
        let first = self.rect.col0;
        &mut self.row_mut(run.row)[(run.col0 - first) as usize..(run.col1 - first) as usize]
    }

    /// The value at a global pixel, if it lies inside.
    #[must_use]
    pub fn get(&self, row: i32, col: i32) -> Option<T> {
        self.rect
            .contains(row, col)
            .then(|| self.data[(row - self.rect.row0) as usize * self.rect.cols() + (col - self.rect.col0) as usize])
    }

    /// The part of the plane inside `rect`, which is clipped to it.
    #[must_use]
    pub fn crop(&self, rect: PixelRect) -> Self {
        let rect = self.rect.intersection(&rect).unwrap_or(PixelRect { row1: rect.row0, col1: rect.col0, ..rect });
        let mut data = Vec::with_capacity(rect.pixels());
        for row in rect.row0..rect.row1 {
            let from = (rect.col0 - self.rect.col0) as usize;
            data.extend_from_slice(&self.row(row)[from..from + rect.cols()]);
        }
        Self { rect, data }
    }

    /// Each value replaced by a function of it.
    #[must_use]
    pub fn map<U: Copy>(&self, function: impl Fn(T) -> U) -> Plane<U> {
        Plane { rect: self.rect, data: self.data.iter().map(|&value| function(value)).collect() }
    }
}

/// Whether a pixel of a scene can be used, and if not, why. Ordered by what says most: where several scenes miss a
/// pixel, the largest state names the gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum PixelState {
    /// No scene of the window covers it.
    NoScene = 0,
    /// A scene covers it and has no data there.
    Nodata = 1,
    /// A cloud, its shadow or another masked thing lies over it.
    Cloud = 2,
    /// The file holds it in a block that cannot be read.
    Unreadable = 3,
    /// It has values in all bands.
    Valid = 4,
}

/// The pixels of one scene over a rectangle of the survey's grid, warped to it.
#[derive(Clone, Debug)]
pub struct SceneWindow {
    /// Names of the bands, in the order of `planes`.
    pub bands: Vec<BandName>,
    /// One plane per band over the same rectangle: the asset's values × scale + offset. Where the state is not
    /// `Valid` the values are finite and mean nothing.
    pub planes: Vec<Plane<f32>>,
    /// Whether each pixel can be used.
    pub state: Plane<PixelState>,
}

impl SceneWindow {
    /// The rectangle that all planes cover.
    #[must_use]
    pub fn rect(&self) -> PixelRect {
        self.state.rect()
    }

    /// The plane of a band.
    #[must_use]
    pub fn band(&self, name: &BandName) -> Option<&Plane<f32>> {
        self.bands.iter().position(|band| band == name).and_then(|index| self.planes.get(index))
    }
}

//! Planes of pixels that know their place on the survey's grid.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

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

/// Values of a band that are made where they are looked at, of pixels in another form.
pub trait Pixels: Debug + Send + Sync {
    /// The pixels that it covers.
    fn rect(&self) -> PixelRect;
    /// Puts the values along a run that lies inside where they are wanted: as many as the run is long, all finite.
    fn read(&self, run: Run, values: &mut [f32]);
}

/// A part of such a band.
#[derive(Debug)]
struct Part {
    rect: PixelRect,
    of: Arc<dyn Pixels>,
}

impl Pixels for Part {
    fn rect(&self) -> PixelRect {
        self.rect
    }

    fn read(&self, run: Run, values: &mut [f32]) {
        self.of.read(run, values);
    }
}

/// The values of a band over a rectangle.
#[derive(Clone, Debug)]
pub enum BandPlane {
    /// Values.
    Values(Plane<f32>),
    /// Values in another form. A row of them is made when it is looked at, and is gone before it has left the nearest cache: to
    /// write all of them to memory and to read them again is what the work on pixels would wait for.
    Made(Arc<dyn Pixels>),
}

impl From<Plane<f32>> for BandPlane {
    fn from(values: Plane<f32>) -> Self {
        Self::Values(values)
    }
}

impl BandPlane {
    /// The pixels that it covers.
    #[must_use]
    pub fn rect(&self) -> PixelRect {
        match self {
            Self::Values(plane) => plane.rect(),
            Self::Made(pixels) => pixels.rect(),
        }
    }

    /// The values along a run that lies inside: where they are, or in `space`, which is as long as the run.
    #[must_use]
    pub fn run<'a>(&'a self, run: Run, space: &'a mut [f32]) -> &'a [f32] {
        match self {
            Self::Values(plane) => plane.run(run),
            Self::Made(pixels) => {
                pixels.read(run, space);
                space
            }
        }
    }

    /// Puts the values along a run that lies inside where they are wanted.
    pub fn copy_to(&self, run: Run, values: &mut [f32]) {
        match self {
            Self::Values(plane) => values.copy_from_slice(plane.run(run)),
            Self::Made(pixels) => pixels.read(run, values),
        }
    }

    /// A part, which lies inside.
    #[must_use]
    pub fn crop(&self, rect: PixelRect) -> Self {
        match self {
            Self::Values(plane) => Self::Values(plane.crop(rect)),
            Self::Made(pixels) => Self::Made(Arc::new(Part { rect, of: Arc::clone(pixels) })),
        }
    }

    /// All values.
    #[must_use]
    pub fn values(&self) -> Cow<'_, Plane<f32>> {
        let pixels = match self {
            Self::Values(plane) => return Cow::Borrowed(plane),
            Self::Made(pixels) => pixels,
        };
        let rect = pixels.rect();
        let mut values = Plane::filled(rect, 0.0);
        for row in rect.row0..rect.row1 {
            pixels.read(Run { row, col0: rect.col0, col1: rect.col1 }, values.row_mut(row));
        }
        Cow::Owned(values)
    }
}

/// The pixels of one scene over a rectangle of the survey's grid, warped to it.
#[derive(Clone, Debug)]
pub struct SceneWindow {
    /// Names of the bands, in the order of `planes`.
    pub bands: Vec<BandName>,
    /// One plane per band over the same rectangle: the asset's samples × scale + offset. Where the state is not `Valid` the values
    /// are finite and mean nothing.
    pub planes: Vec<BandPlane>,
    /// Whether each pixel can be used.
    pub state: Plane<PixelState>,
}

impl SceneWindow {
    /// The rectangle that all planes cover.
    #[must_use]
    pub fn rect(&self) -> PixelRect {
        self.state.rect()
    }

    /// A part, which lies inside: what would have been read of it alone.
    #[must_use]
    pub fn crop(&self, rect: PixelRect) -> Self {
        let planes = self.planes.iter().map(|plane| plane.crop(rect)).collect();
        Self { bands: self.bands.clone(), planes, state: self.state.crop(rect) }
    }

    /// The values of a band.
    #[must_use]
    pub fn band(&self, name: &BandName) -> Option<Cow<'_, Plane<f32>>> {
        let index = self.bands.iter().position(|band| band == name)?;
        self.planes.get(index).map(BandPlane::values)
    }

    /// The values of each band along a run that lies inside; `space` is for those that are not kept as values.
    #[must_use]
    pub fn run<'a>(&'a self, run: Run, space: &'a mut Vec<f32>) -> Vec<&'a [f32]> {
        let length = run.len() as usize;
        space.resize(self.planes.len() * length, 0.0);
        let spaces = space.chunks_mut(length.max(1)).chain(std::iter::repeat_with(Default::default));
        self.planes.iter().zip(spaces).map(|(plane, space)| plane.run(run, space)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The column, as a value.
    #[derive(Debug)]
    struct Columns(PixelRect);

    impl Pixels for Columns {
        fn rect(&self) -> PixelRect {
            self.0
        }

        fn read(&self, run: Run, values: &mut [f32]) {
            (run.col0..run.col1).zip(values).for_each(|(col, value)| *value = col as f32);
        }
    }

    #[test]
    fn values_that_are_made_are_those_that_are_kept() {
        let rect = PixelRect::new(-1, 7, 1, 12);
        let made = BandPlane::Made(Arc::new(Columns(rect)));
        let kept = BandPlane::from(Plane::from_vec(rect, [7.0, 8.0, 9.0, 10.0, 11.0].repeat(2)).unwrap());
        assert_eq!(made.values(), kept.values());
        assert_eq!((made.rect(), kept.rect()), (rect, rect));
        let state = Plane::filled(rect, PixelState::Valid);
        let bands = ["red", "nir"].map(BandName::new).to_vec();
        let window = SceneWindow { bands, planes: vec![made, kept], state };
        let run = Run { row: 0, col0: 8, col1: 11 };
        assert_eq!(window.run(run, &mut vec![1.0]), [[8.0, 9.0, 10.0]; 2]);
        assert_eq!(window.run(Run { col1: 8, ..run }, &mut Vec::new()), [&[0.0_f32; 0]; 2]);
        for plane in &window.planes {
            let mut values = [0.0; 2];
            plane.copy_to(Run { row: -1, col0: 10, col1: 12 }, &mut values);
            assert_eq!(values, [10.0, 11.0]);
        }
        assert_eq!(window.band(&BandName::new("red")).unwrap().row(0), [7.0, 8.0, 9.0, 10.0, 11.0]);
        assert_eq!(window.band(&BandName::new("pan")), None);
        let part = PixelRect::new(0, 8, 1, 11);
        let cut = window.crop(part);
        assert_eq!((cut.rect(), cut.planes[0].rect(), cut.planes[1].rect()), (part, part, part));
        assert_eq!(cut.run(run, &mut Vec::new()), [[8.0, 9.0, 10.0]; 2]);
        assert_eq!(cut.planes[0].values(), cut.planes[1].values());
    }
}

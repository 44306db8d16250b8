//! Rectangles, rings and polygons.

use geo::{Coord, LineString, MultiPolygon, Polygon};
use survey::grid::{Block, MAX_INDEX, PixelIndex, PixelRect};

use crate::error::{ConvertError, each, finite, narrow};
use crate::v1;

/// The level of the block that holds the whole grid.
const TOP_LEVEL: u8 = 32;

fn on_grid(field: &str, value: i32) -> Result<i32, ConvertError> {
    if (-MAX_INDEX..=MAX_INDEX).contains(&value) {
        Ok(value)
    } else {
        Err(ConvertError::invalid(field, format!("{value} lies outside the grid")))
    }
}

/// A rectangle as a message.
#[must_use]
pub fn rect_to_wire(rect: PixelRect) -> v1::PixelRect {
    v1::PixelRect { row0: rect.row0, col0: rect.col0, row1: rect.row1, col1: rect.col1 }
}

/// The rectangle of a message.
///
/// # Errors
/// Inverted, or not on the grid.
pub fn rect(rect: v1::PixelRect) -> Result<PixelRect, ConvertError> {
    let v1::PixelRect { row0, col0, row1, col1 } = rect;
    for (field, value) in [("row0", row0), ("col0", col0), ("row1", row1), ("col1", col1)] {
        on_grid(field, value)?;
    }
    if row1 < row0 || col1 < col0 {
        return Err(ConvertError::invalid("", format!("rows {row0}..{row1}, columns {col0}..{col1} are inverted")));
    }
    Ok(PixelRect { row0, col0, row1, col1 })
}

/// Whether `inner` lies in `outer` (an empty one lies anywhere).
pub(crate) fn lies_in(inner: &PixelRect, outer: &PixelRect) -> bool {
    inner.is_empty()
        || (inner.row0 >= outer.row0
            && inner.col0 >= outer.col0
            && inner.row1 <= outer.row1
            && inner.col1 <= outer.col1)
}

/// A pixel's place as a message.
#[must_use]
pub fn index_to_wire(index: PixelIndex) -> v1::PixelIndex {
    v1::PixelIndex { row: index.row, col: index.col }
}

/// The pixel's place of a message.
///
/// # Errors
/// Not on the grid.
pub fn index(index: v1::PixelIndex) -> Result<PixelIndex, ConvertError> {
    Ok(PixelIndex { row: on_grid("row", index.row)?, col: on_grid("col", index.col)? })
}

/// A block as a message.
#[must_use]
pub fn block_to_wire(block: Block) -> v1::Block {
    v1::Block { level: u32::from(block.level), y: block.y, x: block.x }
}

/// The block of a message.
///
/// # Errors
/// A level above 32.
pub fn block(block: v1::Block) -> Result<Block, ConvertError> {
    let level: u8 = narrow("level", block.level)?;
    if level > TOP_LEVEL {
        return Err(ConvertError::invalid("level", format!("{level} is above {TOP_LEVEL}")));
    }
    Ok(Block { level, y: on_grid("y", block.y)?, x: on_grid("x", block.x)? })
}

fn ring_to_wire(ring: &LineString<f64>) -> v1::Ring {
    v1::Ring { xy: flat(ring.coords().map(|coord| (coord.x, coord.y))) }
}

/// x, y, x, y, …
pub(crate) fn flat(points: impl Iterator<Item = (f64, f64)>) -> Vec<f64> {
    points.flat_map(|(x, y)| [x, y]).collect()
}

/// The points of x, y, x, y, …
pub(crate) fn points(field: &str, xy: &[f64]) -> Result<Vec<(f64, f64)>, ConvertError> {
    let (pairs, rest) = xy.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ConvertError::invalid(field, "an odd number of coordinates"));
    }
    pairs.iter().map(|&[x, y]| Ok((finite(field, x)?, finite(field, y)?))).collect()
}

fn ring(ring: v1::Ring) -> Result<LineString<f64>, ConvertError> {
    let coords: Vec<Coord<f64>> = points("xy", &ring.xy)?.into_iter().map(|(x, y)| Coord { x, y }).collect();
    if coords.first() != coords.last() {
        return Err(ConvertError::invalid("xy", "the ring is not closed"));
    }
    if !coords.is_empty() && coords.len() < 4 {
        return Err(ConvertError::invalid("xy", format!("a ring of {} vertices", coords.len())));
    }
    Ok(LineString(coords))
}

/// A polygon as a message.
#[must_use]
pub fn polygon_to_wire(polygon: &Polygon<f64>) -> v1::Polygon {
    v1::Polygon { rings: std::iter::once(polygon.exterior()).chain(polygon.interiors()).map(ring_to_wire).collect() }
}

/// The polygon of a message.
///
/// # Errors
/// No ring, an open ring, one of fewer than four vertices, or coordinates that are no numbers.
pub fn polygon(polygon: v1::Polygon) -> Result<Polygon<f64>, ConvertError> {
    let mut rings = each("rings", polygon.rings, ring)?.into_iter();
    let exterior = rings.next().ok_or_else(|| ConvertError::invalid("rings", "there is none"))?;
    Ok(Polygon::new(exterior, rings.collect()))
}

/// Polygons as a message.
#[must_use]
pub fn multi_polygon_to_wire(polygons: &MultiPolygon<f64>) -> v1::MultiPolygon {
    v1::MultiPolygon { polygons: polygons.iter().map(polygon_to_wire).collect() }
}

/// The polygons of a message.
///
/// # Errors
/// See [`polygon`].
pub fn multi_polygon(polygons: v1::MultiPolygon) -> Result<MultiPolygon<f64>, ConvertError> {
    Ok(MultiPolygon(each("polygons", polygons.polygons, polygon)?))
}

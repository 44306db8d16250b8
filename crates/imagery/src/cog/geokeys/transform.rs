//! From (column, row) to coordinates, as GDAL derives it.

use survey::grid::GeoTransform;

use crate::cog::fault::{Checked, Fault};
use crate::cog::geokeys::GeoTags;

/// The transform of pixel corners; `None` without georeference. Where the file refers to pixel centres (`points`), half
/// a pixel is taken off, as GDAL does.
///
/// # Errors
/// A transform that is not finite, or whose pixels have no area.
pub(super) fn of(tags: &GeoTags, points: bool) -> Checked<Option<GeoTransform>> {
    let Some(mut transform) = as_written(tags)? else { return Ok(None) };
    if points {
        transform.x0 -= (transform.x_per_col + transform.x_per_row) * 0.5;
        transform.y0 -= (transform.y_per_col + transform.y_per_row) * 0.5;
    }
    let GeoTransform { x0, x_per_col, x_per_row, y0, y_per_col, y_per_row } = transform;
    let determinant = x_per_col * y_per_row - x_per_row * y_per_col;
    if ![x0, x_per_col, x_per_row, y0, y_per_col, y_per_row, determinant].iter().all(|number| number.is_finite()) {
        return Err(Fault::corrupt("its georeference is not finite"));
    }
    if determinant == 0.0 {
        return Err(Fault::corrupt("its pixels have no area: the pixel size is 0"));
    }
    Ok(Some(transform))
}

fn as_written(tags: &GeoTags) -> Checked<Option<GeoTransform>> {
    if let Some(scale) = &tags.pixel_scale {
        let &[x_scale, y_scale, ..] = scale.as_slice() else {
            return Err(Fault::corrupt("ModelPixelScale has fewer than 2 numbers"));
        };
        if x_scale == 0.0 || y_scale == 0.0 {
            return Err(Fault::corrupt("its pixels have no area: the pixel size is 0"));
        }
        if let Some(tiepoints) = &tags.tiepoints {
            let &[col, row, _, x, y, _, ..] = tiepoints.as_slice() else {
                return Err(Fault::corrupt("ModelTiepoint has fewer than 6 numbers"));
            };
            // A negative y scale means north-up too, as GDAL takes it.
            let (x_per_col, y_per_row) = (x_scale, -y_scale.abs());
            let (x0, y0) = (x - col * x_per_col, y - row * y_per_row);
            return Ok(Some(GeoTransform { x0, x_per_col, x_per_row: 0.0, y0, y_per_col: 0.0, y_per_row }));
        }
    }
    if let Some(matrix) = &tags.transformation {
        let &[x_per_col, x_per_row, _, x0, y_per_col, y_per_row, _, y0, ..] = matrix.as_slice() else {
            return Err(Fault::corrupt("ModelTransformation has fewer than 16 numbers"));
        };
        return Ok(Some(GeoTransform { x0, x_per_col, x_per_row, y0, y_per_col, y_per_row }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(scale: [f64; 3], tiepoints: [f64; 6]) -> GeoTags {
        GeoTags { pixel_scale: Some(scale.to_vec()), tiepoints: Some(tiepoints.to_vec()), ..GeoTags::default() }
    }

    #[test]
    fn a_tiepoint_inside_the_raster_is_carried_to_its_corner() {
        let transform = of(&tags([10.0, 20.0, 0.0], [2.0, 3.0, 0.0, 500.0, 900.0, 0.0]), false).unwrap().unwrap();
        assert_eq!((transform.x0, transform.y0), (480.0, 960.0));
        assert_eq!(transform.apply(2.0, 3.0), (500.0, 900.0));
    }

    #[test]
    fn pixel_centres_shift_the_corner_by_half_a_pixel() {
        let transform = of(&tags([10.0, 20.0, 0.0], [0.0, 0.0, 0.0, 500.0, 900.0, 0.0]), true).unwrap().unwrap();
        assert_eq!(transform.apply(0.5, 0.5), (500.0, 900.0));
    }

    #[test]
    fn pixels_without_area_and_transforms_that_are_not_finite_are_refused() {
        let tiepoints = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0];
        for scale in [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [f64::NAN, 1.0, 0.0], [1.0, f64::INFINITY, 0.0]] {
            assert!(of(&tags(scale, tiepoints), false).is_err(), "{scale:?}");
        }
        assert!(of(&tags([1.0, 1.0, 0.0], [0.0, 0.0, 0.0, f64::NAN, 1.0, 0.0]), false).is_err());
        let mut matrix = vec![0.0; 16];
        (matrix[0], matrix[1], matrix[4], matrix[5]) = (1.0, 2.0, 2.0, 4.0);
        let singular = GeoTags { transformation: Some(matrix), ..GeoTags::default() };
        assert!(of(&singular, false).is_err());
    }
}

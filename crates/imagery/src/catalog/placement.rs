//! Where the pixels of an asset lie: the projection extension, in both of its versions.

use serde_json::Value;
use survey::grid::GeoTransform;
use survey::scene::Asset;

use super::json::{get, numbers, text};
use crate::crs::{Crs, area_scale};

/// A transform that means "not known yet" together with a width of 0.
pub(super) const UNPLACED: GeoTransform =
    GeoTransform { x0: 0.0, x_per_col: 1.0, x_per_row: 0.0, y0: 0.0, y_per_col: 0.0, y_per_row: -1.0 };

/// Where an asset's pixels lie, as far as its metadata says.
pub(super) struct Placement {
    pub crs: Option<String>,
    pub transform: Option<GeoTransform>,
    pub width: u32,
    pub height: u32,
}

/// Reads the projection extension, versions 1 (`proj:epsg`) and 2 (`proj:code`), of the asset and else of the item.
pub(super) fn placement(asset: &Value, properties: &Value) -> Placement {
    let sources = [asset, properties];
    let crs = sources.iter().find_map(|source| {
        let code = text(source, "proj:code").map(str::to_owned).or_else(|| {
            let epsg = get(source, "proj:epsg")?;
            let code = epsg
                .as_u64()
                .or_else(|| epsg.as_f64().filter(|code| code.fract() == 0.0 && *code > 0.0).map(|code| code as u64));
            Some(format!("EPSG:{}", code?))
        })?;
        // One that cannot be used is left for the file's own to say.
        Crs::parse(&code).ok().map(|crs| crs.name().to_owned())
    });
    let shape = sources.iter().find_map(|source| {
        let shape = numbers(source, "proj:shape")?;
        let side = |index: usize| {
            shape
                .get(index)
                .filter(|side| side.fract() == 0.0 && **side >= 1.0 && **side <= f64::from(1 << 30))
                .map(|side| *side as u32)
        };
        Some((side(0)?, side(1)?))
    });
    let bbox = sources.iter().find_map(|source| numbers(source, "proj:bbox").filter(|bbox| bbox.len() == 4));
    let transform = sources.iter().find_map(|source| affine(&numbers(source, "proj:transform")?));
    let (height, width) = match (shape, transform, &bbox) {
        (Some(shape), _, _) => shape,
        (None, Some(transform), Some(bbox)) if transform.x_per_row == 0.0 && transform.y_per_col == 0.0 => {
            let side = |low: usize, high: usize, size: f64| {
                let length =
                    bbox.get(high).zip(bbox.get(low)).map_or(0.0, |(high, low)| ((high - low) / size).abs().round());
                if length >= 1.0 && length <= f64::from(1 << 30) { length as u32 } else { 0 }
            };
            (side(1, 3, transform.y_per_row), side(0, 2, transform.x_per_col))
        }
        _ => (0, 0),
    };
    let transform = transform.or_else(|| match (bbox.as_deref(), width > 0 && height > 0) {
        (Some(&[west, south, east, north]), true) if east > west && north > south => Some(GeoTransform {
            x0: west,
            x_per_col: (east - west) / f64::from(width),
            x_per_row: 0.0,
            y0: north,
            y_per_col: 0.0,
            y_per_row: -(north - south) / f64::from(height),
        }),
        _ => None,
    });
    let usable = crs.is_some() && width > 0 && height > 0;
    Placement { crs, transform: transform.filter(|_| usable), width, height }
}

/// The transform of `proj:transform`: 6 or 9 numbers, row by row. Some catalogs write GDAL's order, which is told by
/// its zeros.
fn affine(numbers: &[f64]) -> Option<GeoTransform> {
    let &[a, b, c, d, e, f] = numbers.get(..6)?.first_chunk::<6>()?;
    let gdal = c == 0.0 && e == 0.0 && b != 0.0 && f != 0.0;
    let transform = if gdal {
        GeoTransform { x0: a, x_per_col: b, x_per_row: c, y0: d, y_per_col: e, y_per_row: f }
    } else {
        GeoTransform { x0: c, x_per_col: a, x_per_row: b, y0: f, y_per_col: d, y_per_row: e }
    };
    transform.invert(transform.x0, transform.y0).map(|_| transform)
}

/// Side of an asset's pixel on the ground, metres.
pub(super) fn pixel_m(asset: &Asset) -> Option<f64> {
    if asset.width == 0 {
        return None;
    }
    let crs = Crs::parse(&asset.crs).ok()?;
    let (x, y) = asset.transform.apply(f64::from(asset.width) / 2.0, f64::from(asset.height) / 2.0);
    let transform = &asset.transform;
    let pixel = (transform.x_per_col * transform.y_per_row - transform.x_per_row * transform.y_per_col).abs();
    Some((area_scale(&crs, x, y)? * pixel).sqrt())
}

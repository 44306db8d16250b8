//! Scenes and scene pairs.

use chrono::DateTime;
use survey::grid::GeoTransform;
use survey::ids::SceneId;
use survey::scene::{Asset, BandName, Scene, SceneBand, SceneMask, ScenePair};

use crate::convert::enums::{mask_meaning, mask_meaning_to_wire};
use crate::convert::geometry::{multi_polygon, multi_polygon_to_wire};
use crate::error::{ConvertError, Within, each, finite, index_into, narrow, required};
use crate::v1;

pub(crate) fn band_names_to_wire(bands: &[BandName]) -> Vec<String> {
    bands.iter().map(|band| band.as_str().to_owned()).collect()
}

fn band_names(bands: &[String]) -> Vec<BandName> {
    bands.iter().map(|band| BandName::new(band)).collect()
}

fn transform_to_wire(transform: &GeoTransform) -> v1::GeoTransform {
    let &GeoTransform { x0, x_per_col, x_per_row, y0, y_per_col, y_per_row } = transform;
    v1::GeoTransform { x0, x_per_col, x_per_row, y0, y_per_col, y_per_row }
}

fn transform(transform: v1::GeoTransform) -> Result<GeoTransform, ConvertError> {
    Ok(GeoTransform {
        x0: finite("x0", transform.x0)?,
        x_per_col: finite("x_per_col", transform.x_per_col)?,
        x_per_row: finite("x_per_row", transform.x_per_row)?,
        y0: finite("y0", transform.y0)?,
        y_per_col: finite("y_per_col", transform.y_per_col)?,
        y_per_row: finite("y_per_row", transform.y_per_row)?,
    })
}

fn asset_to_wire(asset: &Asset) -> v1::Asset {
    v1::Asset {
        href: asset.href.clone(),
        crs: asset.crs.clone(),
        transform: Some(transform_to_wire(&asset.transform)),
        width: asset.width,
        height: asset.height,
        bits_per_sample: u32::from(asset.bits_per_sample),
        band_count: u32::from(asset.band_count),
        size: asset.size,
        etag: asset.etag.clone(),
        checksum: asset.checksum.clone(),
    }
}

fn asset(asset: v1::Asset) -> Result<Asset, ConvertError> {
    Ok(Asset {
        href: asset.href,
        crs: asset.crs,
        transform: transform(required("transform", asset.transform)?).within("transform")?,
        width: asset.width,
        height: asset.height,
        bits_per_sample: narrow("bits_per_sample", asset.bits_per_sample)?,
        band_count: narrow("band_count", asset.band_count)?,
        size: asset.size,
        etag: asset.etag,
        checksum: asset.checksum,
    })
}

/// A scene as a message.
#[must_use]
pub fn scene_to_wire(scene: &Scene) -> v1::Scene {
    v1::Scene {
        id: scene.id.0.clone(),
        acquired_seconds: scene.acquired.timestamp(),
        acquired_nanos: scene.acquired.timestamp_subsec_nanos(),
        platform: scene.platform.clone(),
        gsd_m: scene.gsd_m,
        off_nadir_deg: scene.off_nadir_deg,
        cloud_cover: scene.cloud_cover,
        footprint: Some(multi_polygon_to_wire(&scene.footprint)),
        assets: scene.assets.iter().map(asset_to_wire).collect(),
        bands: scene
            .bands
            .iter()
            .map(|band| v1::SceneBand {
                name: band.name.as_str().to_owned(),
                asset: u32::from(band.asset),
                index: u32::from(band.index),
                scale: band.scale,
                offset: band.offset,
                nodata: band.nodata,
            })
            .collect(),
        masks: scene
            .masks
            .iter()
            .map(|mask| v1::SceneMask {
                asset: u32::from(mask.asset),
                index: u32::from(mask.index),
                meaning: mask_meaning_to_wire(mask.meaning),
            })
            .collect(),
    }
}

/// The scene of a message.
///
/// # Errors
/// A part is missing or invalid, or refers to an asset that the scene lacks.
pub fn scene(scene: v1::Scene) -> Result<Scene, ConvertError> {
    let assets = each("assets", scene.assets, asset)?;
    let of_asset = |index: u32| narrow("asset", index_into("asset", index, assets.len())?);
    let bands = each("bands", scene.bands, |band| {
        Ok(SceneBand {
            name: BandName::new(&band.name),
            asset: of_asset(band.asset)?,
            index: narrow("index", band.index)?,
            scale: finite("scale", band.scale)?,
            offset: finite("offset", band.offset)?,
            // NaN is a common nodata value.
            nodata: band.nodata,
        })
    })?;
    let masks = each("masks", scene.masks, |mask| {
        Ok(SceneMask {
            asset: of_asset(mask.asset)?,
            index: narrow("index", mask.index)?,
            meaning: mask_meaning(mask.meaning).within("meaning")?,
        })
    })?;
    Ok(Scene {
        id: SceneId(scene.id),
        acquired: DateTime::from_timestamp(scene.acquired_seconds, scene.acquired_nanos)
            .ok_or_else(|| ConvertError::invalid("acquired_seconds", "not a point in time"))?,
        platform: scene.platform,
        gsd_m: finite("gsd_m", scene.gsd_m)?,
        off_nadir_deg: scene.off_nadir_deg.map(|value| finite("off_nadir_deg", value)).transpose()?,
        cloud_cover: scene.cloud_cover.map(|value| finite("cloud_cover", value)).transpose()?,
        footprint: multi_polygon(required("footprint", scene.footprint)?).within("footprint")?,
        assets,
        bands,
        masks,
    })
}

/// A pair as a message.
#[must_use]
pub fn pair_to_wire(pair: &ScenePair) -> v1::ScenePair {
    v1::ScenePair {
        before: pair.before,
        after: pair.after,
        before_bands: band_names_to_wire(&pair.before_bands),
        after_bands: band_names_to_wire(&pair.after_bands),
        key: pair.key.clone(),
    }
}

/// The pair of a message, in a plan of `scenes` scenes.
///
/// # Errors
/// It refers to a scene that the plan lacks.
pub fn pair(pair: v1::ScenePair, scenes: usize) -> Result<ScenePair, ConvertError> {
    Ok(ScenePair {
        before: index_into("before", pair.before, scenes)?,
        after: index_into("after", pair.after, scenes)?,
        before_bands: band_names(&pair.before_bands),
        after_bands: band_names(&pair.after_bands),
        key: pair.key,
    })
}

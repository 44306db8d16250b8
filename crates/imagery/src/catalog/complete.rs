//! What only the files can say: place and shape where the catalog doesn't, size and ETag to pin.

use futures::StreamExt;
use geo::{Coord, MultiPolygon, Polygon};
use survey::scene::{Asset, Scene};

use super::footprint::unwrap_ring;
use super::placement::pixel_m;
use crate::cog::{DataType, Limits, Raster};
use crate::crs::{Crs, Transformer, WGS84};
use crate::error::ImageryError;
use crate::store::{RemoteFile, Stores, address};

/// Scenes that are completed at the same time.
pub(super) const AT_ONCE: usize = 8;

/// Whether the metadata of an asset suffice to plan with: CRS, transform and shape are known.
#[must_use]
pub fn is_placed(asset: &Asset) -> bool {
    asset.width > 0 && asset.height > 0 && !asset.crs.is_empty()
}

/// Whether the metadata of a scene suffice to plan with.
#[must_use]
pub fn is_complete(scene: &Scene) -> bool {
    !scene.bands.is_empty() && scene.assets.iter().all(is_placed) && scene.gsd_m > 0.0 && !scene.footprint.0.is_empty()
}

/// Completes a scene: opens the headers of the files whose place the catalog doesn't know. With `pin`, asks each file that
/// was not asked yet for size and ETag, to be held against on each read; without it, a scene whose metadata suffice is
/// taken at its catalog's word, and its files need not exist.
///
/// # Errors
/// [`ImageryError::Denied`] for a file outside the allowed prefixes; what the store or the header says, for the first
/// file that fails.
pub async fn complete(stores: &Stores, mut scene: Scene, pin: bool) -> Result<Scene, ImageryError> {
    let assets = std::mem::take(&mut scene.assets);
    let completed: Vec<Result<Asset, ImageryError>> =
        futures::stream::iter(assets.into_iter().map(|asset| complete_asset(stores, asset, pin)))
            .buffered(AT_ONCE)
            .collect()
            .await;
    scene.assets = completed.into_iter().collect::<Result<_, _>>()?;
    check_bands(&scene)?;
    if scene.footprint.0.is_empty() {
        let first = scene.bands.first().and_then(|band| scene.assets.get(usize::from(band.asset)));
        if let Some(outline) = first.map(outline) {
            scene.footprint = outline?;
        }
    }
    if scene.gsd_m <= 0.0 {
        let pixels = scene.bands.iter().filter_map(|band| pixel_m(scene.assets.get(usize::from(band.asset))?));
        scene.gsd_m = pixels.reduce(f64::min).unwrap_or(0.0);
    }
    Ok(scene)
}

/// Completes scenes, in order; those that can't be are given back with their reason.
///
/// # Errors
/// [`ImageryError::Transient`] where a store fails: a survey must not miss scenes because of a bad moment.
pub async fn complete_all(
    stores: &Stores,
    scenes: Vec<Scene>,
    pin: bool,
) -> Result<(Vec<Scene>, Vec<(String, ImageryError)>), ImageryError> {
    let mut done = Vec::with_capacity(scenes.len());
    let mut refused = Vec::new();
    let mut completing = futures::stream::iter(scenes.into_iter().map(|scene| async move {
        let id = scene.id.0.clone();
        (id, complete(stores, scene, pin).await)
    }))
    .buffered(AT_ONCE);
    while let Some((id, result)) = completing.next().await {
        match result {
            Ok(scene) => done.push(scene),
            Err(error @ ImageryError::Transient { .. }) => return Err(error),
            Err(error) => refused.push((id, error)),
        }
    }
    Ok((done, refused))
}

async fn complete_asset(stores: &Stores, mut asset: Asset, pin: bool) -> Result<Asset, ImageryError> {
    // Only a file's head gives an ETag.
    let is_pinned = asset.etag.is_some();
    if is_placed(&asset) && (is_pinned || !pin) {
        return Ok(asset);
    }
    stores.check(&asset.href)?;
    let file = stores.file(&asset.href)?;
    let head = file.head().await?;
    (asset.size, asset.etag) = (Some(head.size), head.etag);
    if is_placed(&asset) {
        return Ok(asset);
    }
    from_header(&file.with_pin(asset.size, asset.etag.as_deref()), asset).await
}

async fn from_header(file: &RemoteFile, mut asset: Asset) -> Result<Asset, ImageryError> {
    let raster = Raster::open(file, &Limits::default()).await?;
    let info = raster.info();
    let mend = |what: &str, mend: &str| ImageryError::Unsupported {
        href: file.label(),
        what: what.to_owned(),
        mend: mend.to_owned(),
    };
    if let Some(crs) = &info.crs {
        asset.crs = Crs::parse(crs)?.name().to_owned();
    } else if asset.crs.is_empty() {
        let why = info.crs_problem.as_deref().unwrap_or("it declares none");
        return Err(mend(
            &format!("a file without a usable CRS ({why})"),
            "give `crs` with the scene, or write it with gdal_edit",
        ));
    }
    asset.transform = info.transform.ok_or_else(|| {
        mend("a file without a georeference", "give it one (gdalwarp), so that each pixel has a place")
    })?;
    (asset.width, asset.height) = (info.width, info.height);
    asset.bits_per_sample = match info.data_type {
        DataType::U8 | DataType::I8 => 8,
        DataType::U16 | DataType::I16 => 16,
        DataType::U32 | DataType::I32 | DataType::F32 => 32,
        DataType::U64 | DataType::I64 | DataType::F64 => 64,
    };
    asset.band_count = u16::try_from(info.band_count).unwrap_or(u16::MAX);
    Ok(asset)
}

/// Bands must lie in their files, as far as it is known how many there are.
fn check_bands(scene: &Scene) -> Result<(), ImageryError> {
    let uses = scene
        .bands
        .iter()
        .map(|band| (band.asset, band.index, format!("band `{}`", band.name)))
        .chain(scene.masks.iter().map(|mask| (mask.asset, mask.index, "the mask".to_owned())));
    for (asset, index, what) in uses {
        if let Some(asset) = scene.assets.get(usize::from(asset))
            && index >= asset.band_count
        {
            return Err(ImageryError::Document {
                href: address::label(&asset.href),
                cause: format!("{what} should be its band {}, and it has {}", u32::from(index) + 1, asset.band_count),
                mend: "correct the band list of the scene".into(),
            });
        }
    }
    Ok(())
}

/// (col, row) along the outline of a raster, `per_side` points a side, clockwise from the upper left.
fn along_the_sides(width: u32, height: u32, per_side: u32) -> Vec<(f64, f64)> {
    let (width, height) = (f64::from(width), f64::from(height));
    let corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)];
    let sides = corners.iter().zip(corners.iter().cycle().skip(1));
    sides
        .flat_map(|(from, to)| {
            (0..per_side).map(move |step| {
                let t = f64::from(step) / f64::from(per_side);
                (from.0 + (to.0 - from.0) * t, from.1 + (to.1 - from.1) * t)
            })
        })
        .collect()
}

/// The outline of a raster in longitude and latitude, with points along its sides.
///
/// # Errors
/// [`ImageryError::Crs`] for a CRS that cannot be used.
fn outline(asset: &Asset) -> Result<MultiPolygon<f64>, ImageryError> {
    let to_degrees = Transformer::new(&Crs::parse(&asset.crs)?, &Crs::parse(WGS84)?)?;
    let points: Vec<Coord<f64>> = along_the_sides(asset.width, asset.height, 16)
        .into_iter()
        .filter_map(|(col, row)| {
            let (x, y) = asset.transform.apply(col, row);
            to_degrees.apply(x, y).map(|(x, y)| Coord { x, y })
        })
        .collect();
    let ring = unwrap_ring(points).map_err(|cause| ImageryError::Crs {
        crs: asset.crs.clone(),
        cause: format!("{}: {cause}", address::label(&asset.href)),
    })?;
    if ring.0.len() < 4 {
        return Err(ImageryError::Crs {
            crs: asset.crs.clone(),
            cause: format!("{} lies outside of what this CRS can express", address::label(&asset.href)),
        });
    }
    Ok(MultiPolygon(vec![Polygon::new(ring, Vec::new())]))
}

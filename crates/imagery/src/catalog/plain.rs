//! Scenes that the survey file lists itself: for a user with two GeoTIFFs and no STAC.

use chrono::NaiveTime;
use geo::MultiPolygon;
use survey::ids::SceneId;
use survey::scene::{Asset, BandName, Scene, SceneBand, SceneMask};
use survey::spec::{Hrefs, PlainScene};

use super::complete::complete;
use super::placement::UNPLACED;
use crate::crs::Crs;
use crate::error::ImageryError;
use crate::store::Stores;

/// Reads a scene of `<which>.scenes`: the headers of its files are opened, and the files are pinned.
///
/// # Errors
/// [`ImageryError::Document`], which names the key and the file.
pub(super) async fn read(stores: &Stores, plain: &PlainScene, key: &str) -> Result<Scene, ImageryError> {
    let refuse =
        |cause: String, mend: &str| ImageryError::Document { href: key.to_owned(), cause, mend: mend.to_owned() };
    let hrefs = plain.href.all();
    let files: Vec<String> = hrefs.iter().map(|href| stores.resolve(href)).collect::<Result<_, _>>()?;
    let first = files.first().ok_or_else(|| refuse("no href".into(), "name the file, or a file per band"))?;
    let crs = match &plain.crs {
        Some(text) => Crs::parse(text)?.name().to_owned(),
        None => String::new(),
    };
    let mut scene = Scene {
        id: SceneId(plain.id.clone().unwrap_or_else(|| stem(first))),
        acquired: plain.date.0.and_time(NaiveTime::MIN).and_utc(),
        platform: None,
        gsd_m: plain.gsd_m.unwrap_or(0.0),
        off_nadir_deg: plain.off_nadir_deg.map(f64::abs),
        cloud_cover: None,
        footprint: MultiPolygon(Vec::new()),
        assets: Vec::new(),
        bands: Vec::new(),
        masks: Vec::new(),
    };
    let per_band = matches!(plain.href, Hrefs::PerBand(_));
    for (place, name) in plain.bands.iter().enumerate().filter(|(_, name)| !name.trim().is_empty()) {
        let name = BandName::new(name);
        if scene.band(&name).is_some() {
            return Err(refuse(format!("band `{name}` is listed twice"), "name each band once; `\"\"` leaves one out"));
        }
        let file = match per_band {
            true => files.get(place).ok_or_else(|| {
                refuse(format!("{} files and {} bands", files.len(), plain.bands.len()), "name one band per file")
            })?,
            false => first,
        };
        let asset = add(&mut scene, file, &crs);
        let index = if per_band { 0 } else { u16::try_from(place).unwrap_or(u16::MAX) };
        scene.bands.push(SceneBand { name, asset, index, scale: 1.0, offset: 0.0, nodata: plain.nodata });
    }
    if let Some(mask) = &plain.mask {
        let index = mask.band.checked_sub(1).ok_or_else(|| refuse("mask.band is 0".into(), "bands count from 1"))?;
        match &mask.href {
            Some(href) => {
                let asset = add(&mut scene, &stores.resolve(href)?, &crs);
                scene.masks.push(SceneMask { asset, index, meaning: mask.meaning });
            }
            None => {
                let used = u16::try_from(scene.assets.len()).unwrap_or(u16::MAX);
                scene.masks.extend((0..used).map(|asset| SceneMask { asset, index, meaning: mask.meaning }));
            }
        }
    }
    match complete(stores, scene, true).await {
        Ok(scene) => Ok(scene),
        Err(error @ ImageryError::Transient { .. }) => Err(error),
        Err(error) => Err(refuse(error.to_string(), "correct the scene in the survey file")),
    }
}

/// The files that a scene names, as they are written.
pub(super) fn named(plain: &PlainScene) -> impl Iterator<Item = &str> {
    plain.href.all().into_iter().chain(plain.mask.iter().filter_map(|mask| mask.href.as_deref()))
}

/// The asset of a file, added if it is not there.
fn add(scene: &mut Scene, href: &str, crs: &str) -> u16 {
    let index = scene.assets.iter().position(|asset| asset.href == href).unwrap_or_else(|| {
        scene.assets.push(Asset {
            href: href.to_owned(),
            crs: crs.to_owned(),
            transform: UNPLACED,
            width: 0,
            height: 0,
            bits_per_sample: 16,
            band_count: 1,
            size: None,
            etag: None,
            checksum: None,
        });
        scene.assets.len() - 1
    });
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// The name of a file without folder and extension.
fn stem(url: &str) -> String {
    let label = crate::store::address::label(url);
    let name = label.trim_end_matches("?…").rsplit(['/', '\\']).next().unwrap_or_default();
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

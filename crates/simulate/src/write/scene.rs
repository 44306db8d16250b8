//! The files of a scene: its pixels, its cloud mask, its item.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use imagery::cog::write::{CogCrs, CogSample, CogSpec, Overviews, Window, write_cog_blocks};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use survey::grid::GeoTransform;
use survey::ids::Digest;

use super::write_json;
use crate::catalog::{self, Dialect, WrittenFile};
use crate::error::SimulateError;
use crate::geometry::{Convex, Point, point};
use crate::scenario::Scenario;
use crate::sensor::{Camera, Dtype, PixelWindow, SceneSpec};
use crate::world::Epoch;

/// Side of a cloud mask's pixel, in pixels of its scene.
const MASK_SIDE: u32 = 4;
/// Side of a block of a scene's file.
const BLOCK_PX: u32 = 512;

/// Writes a scene's files and its item.
///
/// # Errors
/// Where the folder cannot be written.
pub fn write_scene(scenario: &Scenario, scene: &SceneSpec, scenes: &Path) -> Result<Value, SimulateError> {
    let folder = scenes.join(&scene.id);
    std::fs::create_dir_all(&folder).map_err(|error| SimulateError::file(&folder, error))?;
    let camera = Camera::new(scene, &scenario.world, scenario.anchor);
    let spec = CogSpec {
        width: scene.width,
        height: scene.height,
        band_names: scene.sensor.bands.iter().map(|band| band.name.to_owned()).collect(),
        georeference: Some((CogCrs::Projected(scene.zone.epsg()), scene.transform())),
        nodata: Some(0.0),
        block_px: BLOCK_PX,
        overviews: Overviews::Average,
        predictor: true,
        deflate_level: 3,
    };
    let data = folder.join(format!("{}.tif", scene.id));
    let data = match scene.sensor.dtype {
        Dtype::Uint8 => write_file(&data, &spec, |w, s: &mut [u8]| camera.expose(pixels(w), s, |v| v.round() as u8)),
        Dtype::Uint16 => write_file(&data, &spec, |w, s: &mut [u16]| camera.expose(pixels(w), s, |v| v.round() as u16)),
    }?;
    let mask = match scene.clouds {
        None => None,
        Some(_) => {
            let transform = scene.transform();
            let side = f64::from(MASK_SIDE);
            let transform = GeoTransform {
                x_per_col: transform.x_per_col * side,
                y_per_row: transform.y_per_row * side,
                ..transform
            };
            let spec = CogSpec {
                width: scene.width / MASK_SIDE,
                height: scene.height / MASK_SIDE,
                band_names: vec!["cloud".into()],
                georeference: Some((CogCrs::Projected(scene.zone.epsg()), transform)),
                nodata: None,
                overviews: Overviews::Nearest,
                ..spec
            };
            let path = folder.join(format!("{}_cloud.tif", scene.id));
            Some(write_file(&path, &spec, |w, s: &mut [u8]| camera.cloud_mask(pixels(w), MASK_SIDE, s))?)
        }
    };
    let dialect = if scene.epoch == Epoch::Before { Dialect::V1_0 } else { Dialect::V1_1 };
    let item = catalog::item(
        scene,
        &footprint(scenario, scene),
        camera.cloud_cover(),
        &data,
        mask.as_ref().map(|file| (file, MASK_SIDE)),
        dialect,
    );
    write_json(&folder.join(format!("{}.json", scene.id)), &item)?;
    Ok(item)
}

/// Where a scene has data, in longitude and latitude.
fn footprint(scenario: &Scenario, scene: &SceneSpec) -> Vec<(f64, f64)> {
    let (gsd, anchor) = (scene.sensor.gsd_m, &scenario.anchor);
    let corner = |col: u32, row: u32| {
        let (x, y) = anchor.local(scene.zone, scene.x0 + f64::from(col) * gsd, scene.y0 - f64::from(row) * gsd);
        point(x as f32, y as f32)
    };
    let frame = [corner(0, scene.height), corner(scene.width, scene.height), corner(scene.width, 0), corner(0, 0)];
    let mut outline = Convex(frame.to_vec());
    if let Some(valid) = &scene.valid {
        for (&a, &b) in valid.0.iter().zip(valid.0.iter().cycle().skip(1)) {
            let outward: Point = b.minus(a).unit().left().times(-1.0);
            outline = outline.clipped(outward, a.dot(outward));
        }
    }
    catalog::ring(anchor, &outline.0)
}

fn pixels(window: Window) -> PixelWindow {
    PixelWindow { col0: window.col0, row0: window.row0, cols: window.cols, rows: window.rows }
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

fn write_file<T: CogSample>(
    path: &Path,
    spec: &CogSpec,
    source: impl Fn(Window, &mut [T]) + Sync,
) -> Result<WrittenFile, SimulateError> {
    let file = File::create(path).map_err(|error| SimulateError::file(path, error))?;
    let mut out = Hashing { inner: BufWriter::new(file), hash: Sha256::new() };
    let size = write_cog_blocks(spec, source, &mut out).map_err(|error| SimulateError::file(path, error))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(WrittenFile { name, size, checksum: Digest(out.hash.finalize().into()).to_multihash() })
}

//! The images of a labelled pair: PNG, WebP or GeoTIFF.

use std::path::Path;

use anyhow::Result;
use imagery::cog::{BlockIndex, Limits, Raster};
use imagery::store::Stores;
use survey::grid::PixelRect;
use survey::raster::{BandPlane, PixelState, Plane, SceneWindow};
use survey::scene::BandName;

use super::pairs::PairRow;

/// Ground sample distance where neither the list nor the files say: that of the usual sub-metre sets, metres.
const DEFAULT_GSD_M: f64 = 0.5;
/// Metres of a degree, where a raster is in degrees: enough to choose a preset.
const METRES_PER_DEGREE: f64 = 111_320.0;
/// The most pixels of an image: both dates are held in memory.
const MOST_PIXELS: u64 = 1 << 28;

/// A labelled pair in memory.
pub struct PairImages {
    /// The earlier date.
    pub before: SceneWindow,
    /// The later date.
    pub after: SceneWindow,
    /// 1 where changed.
    pub truth: Vec<bool>,
    /// Where the truth says something.
    pub scored: Vec<bool>,
    /// Ground sample distance, metres.
    pub gsd_m: f64,
}

/// An image as its file holds it.
struct Image {
    rows: usize,
    cols: usize,
    bands: Vec<Vec<f32>>,
    /// Not valid: transparent, masked, no data or not a number.
    missing: Vec<bool>,
    names: Vec<Option<BandName>>,
    gsd_m: Option<f64>,
    is_tiff: bool,
}

/// Reads the files of a row.
///
/// # Errors
/// Names the row, the file and what is wrong.
pub async fn read(pair: &PairRow) -> Result<PairImages> {
    let before = image(pair, "before", &pair.before).await?;
    let after = image(pair, "after", &pair.after).await?;
    let truth = image(pair, "truth", &pair.truth).await?;
    let unchanged = match &pair.unchanged {
        Some(path) => Some(image(pair, "unchanged", path).await?),
        None => None,
    };
    let others = [("after", &pair.after, Some(&after)), ("truth", &pair.truth, Some(&truth))];
    let unchanged_path = pair.unchanged.as_ref().unwrap_or(&pair.truth);
    for (column, path, other) in others.into_iter().chain([("unchanged", unchanged_path, unchanged.as_ref())]) {
        if let Some(other) = other
            && (other.rows, other.cols) != (before.rows, before.cols)
        {
            let cause = format!(
                "{column}: {} has {} x {} pixels, but before has {} x {}; give images of the same size",
                path.display(),
                other.cols,
                other.rows,
                before.cols,
                before.rows
            );
            return Err(pair.fault(cause).into());
        }
    }
    let marked = |image: &Image| -> Vec<bool> {
        // Colour labels count like grey ones; opacity is no label.
        let bands: Vec<&Vec<f32>> = image.bands.iter().collect();
        (0..image.rows * image.cols).map(|at| !image.missing[at] && bands.iter().any(|band| band[at] != 0.0)).collect()
    };
    let changed = marked(&truth);
    let scored = unchanged.as_ref().map_or_else(
        || vec![true; changed.len()],
        |unchanged| marked(unchanged).iter().zip(&changed).map(|(unchanged, changed)| unchanged | changed).collect(),
    );
    let gsd_m = pair.gsd_m.or(before.gsd_m).or(after.gsd_m).unwrap_or(DEFAULT_GSD_M);
    Ok(PairImages {
        before: window(pair, "before", before)?,
        after: window(pair, "after", after)?,
        truth: changed,
        scored,
        gsd_m,
    })
}

/// The bands of an image by name.
fn window(pair: &PairRow, column: &str, image: Image) -> Result<SceneWindow> {
    let count = image.bands.len();
    let by_count = |names: &[&str]| names.iter().map(|name| Some(BandName::new(name))).collect::<Vec<_>>();
    let names = match &pair.bands {
        Some(names) if names.len() == count => names.clone(),
        Some(names) => {
            return Err(pair
                .fault(format!(
                    "bands: {} names, but the {column} image has {count} bands; give one name per band",
                    names.len()
                ))
                .into());
        }
        None if image.names.iter().flatten().filter(|name| name.is_spectral()).count() == count => image.names.clone(),
        None => match (count, image.is_tiff) {
            (1, _) => by_count(&["pan"]),
            (3, _) => by_count(&["red", "green", "blue"]),
            (4, true) => by_count(&["blue", "green", "red", "nir"]),
            (6, true) => by_count(&["blue", "green", "red", "nir", "swir16", "swir22"]),
            _ => {
                return Err(pair
                    .fault(format!("the {column} image has {count} bands and does not name them; add a column `bands` such as blue;green;red;nir"))
                    .into());
            }
        },
    };
    let rect = PixelRect::new(0, 0, image.rows as i32, image.cols as i32);
    let mut bands = Vec::new();
    let mut planes = Vec::new();
    for (name, values) in names.into_iter().zip(image.bands) {
        let Some(name) = name else { continue };
        if bands.contains(&name) {
            return Err(pair.fault(format!("bands: `{name}` is named twice; name each band once")).into());
        }
        bands.push(name);
        planes.extend(Plane::from_vec(rect, values).map(BandPlane::Values));
    }
    let state =
        image.missing.iter().map(|&missing| if missing { PixelState::Nodata } else { PixelState::Valid }).collect();
    let state = Plane::from_vec(rect, state).unwrap_or_else(|| Plane::filled(rect, PixelState::Nodata));
    Ok(SceneWindow { bands, planes, state })
}

async fn image(pair: &PairRow, column: &str, path: &Path) -> Result<Image> {
    let fault = |cause: String| pair.fault(format!("{column}: {}: {cause}", path.display()));
    let mut start = [0_u8; 4];
    {
        use std::io::Read;
        let file =
            std::fs::File::open(path).map_err(|error| fault(format!("{error}; paths are relative to the list")))?;
        let read = file.take(4).read(&mut start).map_err(|error| fault(error.to_string()))?;
        if read == 0 {
            return Err(fault("it is empty".to_owned()).into());
        }
    }
    if matches!(&start, b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+") {
        tiff(path).await.map_err(|error| fault(error.to_string()).into())
    } else {
        picture(path).map_err(|cause| fault(cause).into())
    }
}

async fn tiff(path: &Path) -> Result<Image> {
    let stores = Stores::new(&[], &std::env::current_dir()?.to_string_lossy())?;
    let url = stores.resolve(&std::fs::canonicalize(path)?.to_string_lossy())?;
    let file = stores.file(&url)?;
    let raster = Raster::open(&file, &Limits::default()).await?;
    let info = raster.info();
    let (cols, rows) = (info.width as usize, info.height as usize);
    if u64::from(info.width) * u64::from(info.height) > MOST_PIXELS {
        anyhow::bail!("{cols} x {rows} pixels are too many to compare at once; cut it into tiles");
    }
    let Some(level) = raster.levels().first() else { anyhow::bail!("it has no image") };
    let (block_rows, block_cols) = (level.block_height as usize, level.block_width as usize);
    let blocks: Vec<BlockIndex> = (0..level.blocks_down)
        .flat_map(|row| (0..level.blocks_across).map(move |col| BlockIndex { row, col }))
        .collect();
    let spectral: Vec<usize> = (0..info.band_count).filter(|&band| Some(band) != info.alpha_band).collect();
    let mut image = Image {
        rows,
        cols,
        bands: vec![vec![0.0; rows * cols]; spectral.len()],
        missing: vec![false; rows * cols],
        names: spectral
            .iter()
            .map(|&band| info.band_names.get(band).cloned().flatten().map(|name| BandName::new(&name)))
            .collect(),
        gsd_m: info.transform.map(|transform| {
            let is_geographic = info.crs.as_deref() == Some("EPSG:4326");
            let (width, height) = transform.pixel_size();
            (width * height).sqrt() * if is_geographic { METRES_PER_DEGREE } else { 1.0 }
        }),
        is_tiff: true,
    };
    let nodata = info.nodata_sample();
    for (index, block) in blocks.iter().zip(raster.read_blocks(&file, 0, &blocks).await) {
        let block = block?;
        for row in 0..block.rows as usize {
            for col in 0..block.cols as usize {
                let (at_row, at_col) = (index.row as usize * block_rows + row, index.col as usize * block_cols + col);
                if at_row >= rows || at_col >= cols {
                    continue;
                }
                let (to, from) = (at_row * cols + at_col, row * block.cols as usize + col);
                let sample =
                    |band: usize| block.bands.get(band).and_then(|samples| samples.get(from)).unwrap_or(f64::NAN);
                let is_masked = block.mask.as_ref().and_then(|mask| mask.get(from)) == Some(&0)
                    || info.alpha_band.is_some_and(|alpha| sample(alpha) == 0.0);
                for (values, &band) in image.bands.iter_mut().zip(&spectral) {
                    let value = sample(band);
                    let is_nodata = nodata.is_some_and(|nodata| value == nodata || (nodata.is_nan() && value.is_nan()));
                    let is_missing = is_masked || is_nodata || !value.is_finite();
                    image.missing[to] |= is_missing;
                    values[to] = if is_missing { 0.0 } else { value as f32 };
                }
            }
        }
    }
    Ok(image)
}

/// PNG or WebP.
fn picture(path: &Path) -> Result<Image, String> {
    let unreadable = |error: image::ImageError| format!("it cannot be read as PNG, WebP or GeoTIFF ({error})");
    let mut reader = image::ImageReader::open(path)
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(|error| error.to_string())?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(1 << 15);
    limits.max_image_height = Some(1 << 15);
    limits.max_alloc = Some(1 << 32);
    reader.limits(limits);
    let picture = reader.decode().map_err(unreadable)?;
    let (cols, rows) = (picture.width() as usize, picture.height() as usize);
    let channels = usize::from(picture.color().channel_count());
    let has_alpha = picture.color().has_alpha();
    let pixels: Vec<f32> = match picture {
        image::DynamicImage::ImageLuma8(buffer) => buffer.into_raw().into_iter().map(f32::from).collect(),
        image::DynamicImage::ImageLumaA8(buffer) => buffer.into_raw().into_iter().map(f32::from).collect(),
        image::DynamicImage::ImageRgb8(buffer) => buffer.into_raw().into_iter().map(f32::from).collect(),
        image::DynamicImage::ImageRgba8(buffer) => buffer.into_raw().into_iter().map(f32::from).collect(),
        image::DynamicImage::ImageLuma16(buffer) => buffer.into_raw().into_iter().map(f32::from).collect(),
        image::DynamicImage::ImageLumaA16(buffer) => buffer.into_raw().into_iter().map(f32::from).collect(),
        image::DynamicImage::ImageRgb16(buffer) => buffer.into_raw().into_iter().map(f32::from).collect(),
        image::DynamicImage::ImageRgba16(buffer) => buffer.into_raw().into_iter().map(f32::from).collect(),
        _ => return Err("its kind of pixels is not supported; save it with 8 or 16 bits per channel".to_owned()),
    };
    let colours = channels - usize::from(has_alpha);
    let channel = |channel: usize| pixels.iter().skip(channel).step_by(channels).copied().collect::<Vec<f32>>();
    Ok(Image {
        rows,
        cols,
        bands: (0..colours).map(channel).collect(),
        missing: if has_alpha {
            channel(colours).iter().map(|&alpha| alpha == 0.0).collect()
        } else {
            vec![false; rows * cols]
        },
        names: vec![None; colours],
        gsd_m: None,
        is_tiff: false,
    })
}

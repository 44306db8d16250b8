//! Chips: images of a site before and after, the same ground, north up.
//!
//! A chip's grid nests in the survey's: its pixels are whole parts of survey pixels, or whole multiples where the site is
//! large. So a site's change pixels have an exact place in it, and so have the calibration's corrections.

mod draw;
mod font;

use survey::calibration::Registration;
use survey::findings::Run;
use survey::grid::{Grid, PixelRect};
use survey::raster::{PixelState, SceneWindow};
use survey::scene::BandName;

use self::draw::Canvas;

/// Largest side of a chip, pixels of its grid. A job of a county is admitted with 192 MiB; a window of this many pixels a
/// side with four bands, and what footprints are found in, take about 120 MiB. With 2048 it would be 210 MiB. A window that holds
/// its blocks has them beside the values that footprints are found in: 36 MiB and more, as far as the cache does not hold them too.
pub const MAX_SIDE_PX: i32 = 1536;

/// Ground shown around a site: this share of its longer side, and at least so many metres and survey pixels.
const MARGIN_SHARE: f64 = 0.2;
const MARGIN_M: f64 = 40.0;
const MARGIN_PX: i32 = 4;

/// A survey pixel is divided into at most this many per side.
const MAX_DIVISION: i32 = 16;

/// Images are enlarged (by whole pixels) to about this side, so that a site of Landsat pixels can be looked at.
const SIDE_TO_LOOK_AT: usize = 320;

/// Band combinations that a person can read, the best first.
const COLOURS: [[&str; 3]; 4] =
    [["red", "green", "blue"], ["swir16", "nir", "red"], ["nir", "red", "green"], ["swir22", "swir16", "red"]];

/// Percentiles that become black and white.
const STRETCH: (f64, f64) = (0.02, 0.98);

/// How a chip's pixels lie in the survey's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nesting {
    /// So many per survey pixel and side.
    Finer(i32),
    /// So many survey pixels per side.
    Coarser(i32),
}

/// The pixels of a chip.
#[derive(Clone, Debug, PartialEq)]
pub struct ChipGrid {
    /// The grid: the survey's CRS, another resolution.
    pub grid: Grid,
    /// The pixels.
    pub rect: PixelRect,
    nesting: Nesting,
}

impl ChipGrid {
    /// A chip of the ground of `bounds` (survey pixels) and a margin, at about `gsd_m`, the ground sample distance of
    /// the scene.
    #[must_use]
    pub fn new(survey: &Grid, bounds: PixelRect, gsd_m: f64) -> Self {
        let longer = (bounds.rows().max(bounds.cols())) as f64;
        let margin = (longer * MARGIN_SHARE).max(MARGIN_M / survey.resolution_m).ceil();
        let margin = margin.clamp(f64::from(MARGIN_PX), f64::from(MAX_SIDE_PX) / 2.0) as i32;
        let shown = bounds.grown(margin);
        let side = i64::try_from(shown.rows().max(shown.cols())).unwrap_or(i64::MAX).max(1);
        let wished = (survey.resolution_m / gsd_m).round();
        let wished = if wished.is_finite() { wished.clamp(1.0, f64::from(MAX_DIVISION)) as i64 } else { 1 };
        let division = wished.min(i64::from(MAX_SIDE_PX) / side) as i32;
        if division >= 1 {
            let times = |index: i32| index.saturating_mul(division);
            let rect = PixelRect::new(times(shown.row0), times(shown.col0), times(shown.row1), times(shown.col1));
            let grid = Grid { crs: survey.crs.clone(), resolution_m: survey.resolution_m / f64::from(division) };
            return Self { grid, rect, nesting: Nesting::Finer(division) };
        }
        let factor = (side + i64::from(MAX_SIDE_PX) - 1) / i64::from(MAX_SIDE_PX);
        let factor = i32::try_from(factor).unwrap_or(i32::MAX).max(1);
        let up = |index: i32| index.div_euclid(factor) + i32::from(index.rem_euclid(factor) != 0);
        let rect = PixelRect::new(
            shown.row0.div_euclid(factor),
            shown.col0.div_euclid(factor),
            up(shown.row1),
            up(shown.col1),
        );
        let grid = Grid { crs: survey.crs.clone(), resolution_m: survey.resolution_m * f64::from(factor) };
        Self { grid, rect, nesting: Nesting::Coarser(factor) }
    }

    /// The survey pixel that holds the centre of a chip pixel.
    #[must_use]
    pub fn survey_pixel(&self, row: i32, col: i32) -> (i32, i32) {
        match self.nesting {
            Nesting::Finer(division) => (row.div_euclid(division), col.div_euclid(division)),
            Nesting::Coarser(factor) => (row * factor + factor / 2, col * factor + factor / 2),
        }
    }

    /// The pair's correction in pixels of the chip.
    #[must_use]
    pub fn correction(&self, survey: &Registration) -> Registration {
        let (times, over) = match self.nesting {
            Nesting::Finer(division) => (i64::from(division), 1),
            Nesting::Coarser(factor) => (1, i64::from(factor)),
        };
        let scaled = |value: i32| {
            let value = i64::from(value) * times;
            let rounded = (2 * value + over).div_euclid(2 * over);
            i32::try_from(rounded).unwrap_or(if rounded < 0 { i32::MIN } else { i32::MAX })
        };
        Registration {
            centre_row: scaled(survey.centre_row),
            centre_col: scaled(survey.centre_col),
            shift_row: scaled(survey.shift_row),
            shift_col: scaled(survey.shift_col),
            ..*survey
        }
    }
}

/// What an image of a site shows beside its pixels.
#[derive(Clone, Debug)]
pub struct Caption<'a> {
    /// The site's change pixels on the survey's grid, sorted: outlined.
    pub site: &'a [Run],
    /// Written into the upper left corner: digits, `-`, `.` and the letters of the font.
    pub label: &'a str,
}

/// The bands of `available` that an image is made of, red, green and blue; one of them three times makes it grey.
#[must_use]
pub fn colour_bands(available: &[BandName]) -> Option<[BandName; 3]> {
    let named = COLOURS.iter().map(|names| names.map(BandName::new));
    named
        .into_iter()
        .find(|names| names.iter().all(|name| available.contains(name)))
        .or_else(|| available.first().map(|band| [band.clone(), band.clone(), band.clone()]))
}

/// The chip as a PNG: stretched between percentiles of its own pixels, with a scale bar, the site's outline and a label.
/// Pixels without data are hatched. A function of the arguments alone.
///
/// # Errors
/// What the encoder says.
pub fn render(window: &SceneWindow, chip: &ChipGrid, caption: &Caption) -> Result<Vec<u8>, png::EncodingError> {
    let rect = window.rect();
    let (rows, cols) = (rect.rows(), rect.cols());
    let zoom = (SIDE_TO_LOOK_AT / rows.max(cols).max(1)).clamp(1, 16);
    let mut canvas = Canvas::new(cols * zoom, rows * zoom);
    let bands = colour_bands(&window.bands);
    let stretched: Vec<Vec<u8>> = bands.iter().flatten().map(|band| stretch(window, band)).collect();
    for (py, row) in canvas.rows_mut().enumerate() {
        let (states, line) = (window.state.row(rect.row0 + (py / zoom) as i32), py / zoom * cols);
        for (px, pixel) in row.chunks_exact_mut(3).enumerate() {
            let x = px / zoom;
            if states[x] != PixelState::Valid || stretched.is_empty() {
                pixel.fill(if (px + py) % 8 < 2 { 120 } else { 64 });
                continue;
            }
            for (value, band) in pixel.iter_mut().zip(&stretched) {
                *value = band[line + x];
            }
        }
    }
    outline(&mut canvas, chip, rect, caption.site, zoom);
    canvas.scale_bar(chip.grid.resolution_m / zoom as f64);
    canvas.label(caption.label);
    canvas.into_png()
}

/// A band as bytes between two of its percentiles.
fn stretch(window: &SceneWindow, band: &BandName) -> Vec<u8> {
    let Some(plane) = window.band(band) else { return Vec::new() };
    let is_valid = |state: &PixelState| *state == PixelState::Valid;
    let states = window.state.data();
    let mut values: Vec<f32> =
        plane.data().iter().zip(states).filter(|(_, state)| is_valid(state)).map(|(value, _)| *value).collect();
    let mut percentile = |share: f64| {
        let index = ((values.len().saturating_sub(1)) as f64 * share).round() as usize;
        if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(index, f32::total_cmp).1 }
    };
    let (low, high) = (percentile(STRETCH.0), percentile(STRETCH.1));
    let span = high - low;
    let byte = |value: f32| {
        let share = if span > 0.0 { (value - low) / span } else { 0.5 };
        (share.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
    };
    plane.data().iter().map(|&value| byte(value)).collect()
}

/// Draws a line around the site: on the pixels next to it, so that none of its own is hidden.
fn outline(canvas: &mut Canvas, chip: &ChipGrid, rect: PixelRect, site: &[Run], zoom: usize) {
    // The site's pixels of a row and of its neighbours; one more at either end, so that every pixel has two beside it.
    let (mut above, mut here, mut below) = (vec![false; rect.cols() + 2], vec![false; rect.cols() + 2], Vec::new());
    below.clone_from(&here);
    site_row(chip, rect, site, rect.row0 - 1, &mut above);
    site_row(chip, rect, site, rect.row0, &mut here);
    for row in rect.row0..rect.row1 {
        site_row(chip, rect, site, row + 1, &mut below);
        for col in 0..rect.cols() {
            let beside = above[col + 1] || below[col + 1] || here[col] || here[col + 2];
            if !beside || here[col + 1] {
                continue;
            }
            let (x, y) = (col * zoom, (row - rect.row0) as usize * zoom);
            for (dy, dx) in (0..zoom).flat_map(|dy| (0..zoom).map(move |dx| (dy, dx))) {
                canvas.set(x + dx, y + dy, [255, 214, 0]);
            }
        }
        std::mem::swap(&mut above, &mut here);
        std::mem::swap(&mut here, &mut below);
    }
}

/// Which pixels of a row of the chip, from the one before its first to the one after its last, are the site's.
fn site_row(chip: &ChipGrid, rect: PixelRect, site: &[Run], row: i32, out: &mut [bool]) {
    let survey_row = chip.survey_pixel(row, rect.col0).0;
    let first = site.partition_point(|run| run.row < survey_row);
    let mut runs = site[first..].iter().take_while(|run| run.row == survey_row).peekable();
    for (out, col) in out.iter_mut().zip(rect.col0 - 1..) {
        let col = chip.survey_pixel(row, col).1;
        while runs.next_if(|run| run.col1 <= col).is_some() {}
        *out = runs.peek().is_some_and(|run| run.col0 <= col);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use survey::raster::Plane;

    fn survey() -> Grid {
        Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 }
    }

    #[test]
    fn a_chip_nests_in_the_survey_grid_and_is_never_larger_than_its_limit() {
        let bounds = PixelRect::new(-1000, 2000, -820, 2150);
        let fine = ChipGrid::new(&survey(), bounds, 0.31);
        assert_eq!(fine.grid.resolution_m, 1.0 / 3.0);
        assert_eq!(fine.rect, PixelRect::new(-3120, 5880, -2340, 6570));
        assert_eq!(fine.survey_pixel(-3120, 5882), (-1040, 1960));
        let huge = ChipGrid::new(&survey(), PixelRect::new(-5000, 0, 4000, 100), 0.3);
        assert!(huge.rect.rows() <= MAX_SIDE_PX as usize + 1 && huge.grid.resolution_m > 1.0, "{huge:?}");
        for (row, col) in [(huge.rect.row0, huge.rect.col0), (3, 7)] {
            let (x, y) = huge.grid.centre(row, col);
            let (r, c) = survey().to_pixel(x, y);
            assert!((r - 0.5 - f64::from(huge.survey_pixel(row, col).0)).abs() <= 0.5);
            assert!((c - 0.5 - f64::from(huge.survey_pixel(row, col).1)).abs() <= 0.5);
        }
    }

    #[test]
    fn a_correction_means_the_same_ground_on_the_chip() {
        let survey_correction = Registration {
            centre_row: 400,
            centre_col: -90,
            shift_row: 1500,
            shift_col: -700,
            linear: [90_000, -40_000, 30_000, 10_000],
            ..Registration::default()
        };
        let chip = ChipGrid::new(&survey(), PixelRect::new(0, 0, 100, 100), 0.25);
        let correction = chip.correction(&survey_correction);
        let (row, col) = survey_correction.apply(37.5, 81.25);
        let (chip_row, chip_col) = correction.apply(37.5 * 4.0, 81.25 * 4.0);
        assert!((chip_row - row * 4.0).abs() < 1e-9 && (chip_col - col * 4.0).abs() < 1e-9);
    }

    #[test]
    fn an_image_has_the_site_outlined_and_missing_pixels_hatched() {
        let chip = ChipGrid::new(&survey(), PixelRect::new(0, 0, 200, 200), 1.0);
        let rect = chip.rect;
        let mut state = Plane::filled(rect, PixelState::Valid);
        state.row_mut(rect.row0).fill(PixelState::Nodata);
        let ramp: Vec<f32> = (0..rect.pixels()).map(|index| (index % rect.cols()) as f32).collect();
        let window = SceneWindow {
            bands: vec![BandName::new("pan")],
            planes: vec![Plane::from_vec(rect, ramp).unwrap().into()],
            state,
        };
        let site: Vec<Run> = (50..60).map(|row| Run { row, col0: 100, col1: 120 }).collect();
        let caption = Caption { site: &site, label: "2024-05-29" };
        let image = render(&window, &chip, &caption).unwrap();
        assert_eq!(image, render(&window, &chip, &caption).unwrap());
        let mut reader = png::Decoder::new(std::io::Cursor::new(&image)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width as usize, info.height as usize), (rect.cols(), rect.rows()));
        let at = |row: i32, col: i32| {
            let index = ((row - rect.row0) as usize * rect.cols() + (col - rect.col0) as usize) * 3;
            [pixels[index], pixels[index + 1], pixels[index + 2]]
        };
        assert_eq!((at(49, 110), at(50, 99)), ([255, 214, 0], [255, 214, 0]));
        let inside = at(55, 110);
        assert!(inside[0] == inside[1] && inside[1] == inside[2], "{inside:?}");
        assert!([64, 120].contains(&at(rect.row0, rect.col1 - 3)[0]));
        assert!(at(100, rect.col0 + 90)[0] < at(100, rect.col1 - 40)[0]);
    }
}

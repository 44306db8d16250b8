//! A made-up scene for tests: its truth is its definition.

use survey::findings::Run;
use survey::grid::{Cell, Grid, PixelRect};
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::scene::BandName;

use super::{Seen, find, window_rect};

/// A lot of bare subsoil among green fields, with boxes on it: (row, col, rows, cols, spectrum), blue, green, red,
/// nir reflectance; each box throws a shadow to the north-west.
pub(crate) struct Ground {
    pub(crate) gsd_m: f64,
    pub(crate) boxes: Vec<(f64, f64, f64, f64, [f32; 4])>,
    pub(crate) frames: bool,
    pub(crate) shadow_m: f64,
}

pub(crate) const BLUE: [f32; 4] = [0.300, 0.215, 0.128, 0.255];
pub(crate) const CONCRETE: [f32; 4] = [0.240, 0.262, 0.278, 0.302];
pub(crate) const RED: [f32; 4] = [0.078, 0.094, 0.190, 0.260];
pub(crate) const WHITE: [f32; 4] = [0.400, 0.418, 0.425, 0.440];
const SOIL: [f32; 4] = [0.150, 0.198, 0.255, 0.315];
const FIELD: [f32; 4] = [0.042, 0.082, 0.064, 0.315];

impl Default for Ground {
    fn default() -> Self {
        Self { gsd_m: 0.5, boxes: Vec::new(), frames: false, shadow_m: 3.0 }
    }
}

impl Ground {
    pub(crate) fn seen(&self) -> Seen {
        let (window, fine) = self.window();
        find(&Self::lot(), &Self::grid(), &window, &fine)
    }

    /// The survey's grid.
    pub(crate) fn grid() -> Grid {
        Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 }
    }

    /// The lot is 150 m × 220 m (3.3 ha), its upper left corner at (30 m, 30 m).
    pub(crate) fn lot() -> Vec<Run> {
        (30..180).map(|row| Run { row, col0: 30, col1: 250 }).collect()
    }

    /// The scene around the lot, and its grid.
    pub(crate) fn window(&self) -> (SceneWindow, Grid) {
        let fine = Grid { resolution_m: self.gsd_m, ..Self::grid() };
        let rect = window_rect(&Self::grid(), PixelRect::new(30, 30, 180, 250), &fine);
        let spectrum = |row: i32, col: i32| {
            let (y, x) = ((f64::from(row) + 0.5) * self.gsd_m, (f64::from(col) + 0.5) * self.gsd_m);
            let inside = |pad: f64, &(top, left, rows, cols, _): &(f64, f64, f64, f64, [f32; 4])| {
                y >= top - pad && y < top + rows && x >= left - pad && x < left + cols
            };
            if let Some(hit) = self.boxes.iter().find(|hit| inside(0.0, hit)) {
                let ends = y >= hit.0 + hit.2 - 0.6 || x >= hit.1 + hit.3 - 0.6;
                let beam = ends || (y - hit.0).rem_euclid(5.0) < 0.6 || (x - hit.1).rem_euclid(5.0) < 0.6;
                return if self.frames && !beam { SOIL.map(|value| value * 0.7) } else { hit.4 };
            }
            if self.boxes.iter().any(|hit| inside(self.shadow_m, hit)) {
                return SOIL.map(|value| value * 0.35);
            }
            if (30.0..180.0).contains(&y) && (30.0..250.0).contains(&x) { SOIL } else { FIELD }
        };
        let planes = (0..4)
            .map(|band| {
                let data = (rect.row0..rect.row1).flat_map(|row| (rect.col0..rect.col1).map(move |col| (row, col)));
                let noisy = data.map(|(row, col)| {
                    let noise = (Cell { row: row * 4 + band as i32, col }.hash() % 1000) as f32 / 1000.0 - 0.5;
                    spectrum(row, col)[band] * (1.0 + 0.12 * noise)
                });
                Plane::from_vec(rect, noisy.collect()).unwrap().into()
            })
            .collect();
        let window = SceneWindow {
            bands: ["blue", "green", "red", "nir"].map(BandName::new).to_vec(),
            planes,
            state: Plane::filled(rect, PixelState::Valid),
        };
        (window, fine)
    }
}

/// Two frames of 72.9 m × 30.9 m, 25 m apart, their length `degrees` from the columns of the grid: beams 0.9 m wide
/// every 6 m, both ways.
pub(crate) struct Frames {
    pub(crate) gsd_m: f64,
    pub(crate) degrees: f64,
}

impl Default for Frames {
    fn default() -> Self {
        Self { gsd_m: 0.5, degrees: 0.0 }
    }
}

impl Frames {
    pub(crate) fn seen(&self) -> Seen {
        let (mut window, fine) = Ground { gsd_m: self.gsd_m, ..Ground::default() }.window();
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let rect = window.rect();
        for (band, plane) in window.planes.iter_mut().enumerate() {
            let mut values = plane.values().into_owned();
            for row in rect.row0..rect.row1 {
                for col in rect.col0..rect.col1 {
                    let (y, x) =
                        ((f64::from(row) + 0.5) * self.gsd_m - 105.0, (f64::from(col) + 0.5) * self.gsd_m - 140.0);
                    let (u, v) = (x * cos + y * sin, y * cos - x * sin);
                    let v = v.abs() - 12.5;
                    let inside = (-36.45..36.45).contains(&u) && (0.0..30.9).contains(&v);
                    if inside && ((u + 36.45).rem_euclid(6.0) < 0.9 || v.rem_euclid(6.0) < 0.9) {
                        values.row_mut(row)[(col - rect.col0) as usize] = CONCRETE[band] * 1.2;
                    }
                }
            }
            *plane = values.into();
        }
        find(&Ground::lot(), &Ground::grid(), &window, &fine)
    }
}

/// Four halls of 25 m × 75 m (L/W 3), two by two.
pub(crate) fn four_halls(spectrum: [f32; 4]) -> Vec<(f64, f64, f64, f64, [f32; 4])> {
    vec![
        (45.0, 50.0, 25.0, 75.0, spectrum),
        (45.0, 150.0, 25.0, 75.0, spectrum),
        (110.0, 50.0, 25.0, 75.0, spectrum),
        (110.0, 150.0, 25.0, 75.0, spectrum),
    ]
}

/// Two columns of twelve arches of film, 7.5 m × 98 m.
pub(crate) fn greenhouses() -> Vec<(f64, f64, f64, f64, [f32; 4])> {
    let film = [0.330, 0.352, 0.352, 0.440];
    (0..12).flat_map(|row| [34.0, 142.0].map(|left| (36.0 + 11.5 * f64::from(row), left, 7.5, 98.0, film))).collect()
}

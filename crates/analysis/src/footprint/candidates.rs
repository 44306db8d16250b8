//! Patches that may be buildings: found at levels of each channel, scored, and chosen so that none overlap.

use rayon::prelude::*;
use survey::findings::Run;
use survey::grid::{Grid, PixelRect};
use survey::raster::Plane;

use super::channels::Channels;
use super::cue::{Cue, Cut, quantiles};
use super::frames::{self, Beams};
use super::join::{self, Joined};
use super::pixels::{bounds, largest_piece, moments, quantile, values};
use super::{Building, BuildingKind, COARSEST_FRAME_M, COARSEST_SHADOW_M, fill_holes};
use crate::components::pieces;
use crate::features::SMALL_M2;
use crate::mask::Mask;
use crate::outline::{Shape, shape};

/// Smallest building, m²; at least this many pixels.
const LEAST_M2: f64 = 30.0;
const LEAST_PX: f64 = 16.0;
/// Largest building, m².
const LARGEST_M2: f64 = 30_000.0;
/// A patch that covers more of the site is the site's ground.
const LARGEST_SHARE: f64 = 0.6;
/// Narrowest building, m (at least two pixels).
const NARROWEST_M: f64 = 3.0;
/// Longest building, length / width.
const MOST_ELONGATED: f64 = 16.0;
/// Least rectangularity.
const LEAST_RECTANGULARITY: f64 = 0.72;
/// Least difference to the surroundings, in units of the spread of both.
const LEAST_CONTRAST: f64 = 1.2;
/// Least difference of brightness to the surroundings, in units of the site's median.
const BRIGHTNESS_STEP: f64 = 0.12;
/// Least difference of the blue index to the surroundings.
const BLUE_STEP: f64 = 0.06;
/// Holes that make up more of a patch are courtyards of what is not a building.
const MOST_HOLES: f64 = 0.2;
/// Darker than this share of the site's median brightness is shadow.
const SHADOW: f64 = 0.5;
/// A roof throws a shadow on at least this share of the ring around it.
const LEAST_SHADOW: f64 = 0.03;
/// Inner texture of a frame, in units of the site's median texture, and of its own brightness: beams and gaps are rough
/// against the ground as well as in themselves (simulated halls at 0.4 m: frames from 1.29 and 0.065, large roofs to 1.46
/// and 0.049).
const FRAME_TEXTURE: f64 = 1.2;
const FRAME_ROUGHNESS: f64 = 0.06;
/// Beside a large building, what has less than this share of its area is a pile, a vehicle or a shed.
const LEAST_SHARE: f64 = 0.04;
/// Slabs are foundations where raised buildings have at least this share of their area; elsewhere they are patches of
/// fields.
const RAISED_SHARE: f64 = 0.3;
/// What a slab's score counts against that of what throws a shadow.
const SLAB_SCORE: f64 = 0.75;
/// A slab narrower and more elongated than this is a way, or an arch of film.
const WAY_WIDTH_M: f64 = 12.0;
const WAY_ELONGATION: f64 = 4.0;
/// Brightness of film against what lies beside it, and the number of arches that make a row.
const FILM_BRIGHTNESS: f64 = 1.5;
const LEAST_ROWS: usize = 4;
/// Wider than this is a field of rows, not a frame, metres.
const WIDEST_FRAME_M: f64 = 60.0;
/// A house's share of shadow around it. A strip this bright against what lies beside it may be film. A rectangle with
/// more of either on it is no frame.
const HOUSE_SHADOW: f64 = 0.1;
const STRIP_BRIGHTNESS: f64 = 1.2;
const MOST_ROWS: f64 = 0.2;
/// Narrower and more elongated than this, with a shadow, is a wall.
const WALL_WIDTH_M: f64 = 5.5;
const WALL_ELONGATION: f64 = 6.0;
/// Ground that a frame must have inside for its beams to be seen, m².
pub(super) const LEAST_FRAME_M2: f64 = 400.0;

struct Candidate {
    building: Building,
    mask: Mask,
    score: f64,
}

/// Buildings on the lot, largest first.
pub(super) fn buildings(lot: &Mask, channels: &Channels, fine: &Grid) -> Vec<Building> {
    let ground = lot.and(&channels.valid);
    let site = Site::new(&ground, channels, fine);
    let step = BRIGHTNESS_STEP * site.median_brightness;
    let mut cues = vec![Cue {
        plane: &channels.brightness,
        cuts: &[Cut::Above, Cut::Below],
        step,
        ground: site.median_brightness,
    }];
    if let Some(blue) = &channels.blue {
        let median = f64::from(quantile(&mut values(blue, &ground), 50));
        cues.push(Cue { plane: blue, cuts: &[Cut::Above, Cut::Below, Cut::Between], step: BLUE_STEP, ground: median });
    }
    let dark = (SHADOW * site.median_brightness) as f32;
    let shadow = Mask::from_plane(&channels.brightness, |value| value < dark);
    let built = ground.minus(&channels.green).minus(&shadow);
    let mut jobs: Vec<(&Cue, Cut, (f32, f32))> = Vec::new();
    for cue in &cues {
        let levels = quantiles(cue.plane, &ground);
        for &cut in cue.cuts {
            jobs.extend(cut.ranges(&levels).into_iter().map(|range| (cue, cut, range)));
        }
    }
    let mut found: Vec<Candidate> = jobs
        .par_iter()
        .flat_map_iter(|&(cue, cut, range)| site.patches(cue, cut, range, &built))
        .filter(|candidate| !site.is_wall(&candidate.building))
        .collect();
    if fine.resolution_m <= COARSEST_FRAME_M {
        let clear = ground.minus(&channels.green);
        let beams = Beams::new(&clear, channels, fine.resolution_m);
        let patches = beams.patches(&clear, channels);
        // Many patches end in the same rectangle.
        let mut rectangles: Vec<(Vec<Run>, Mask)> =
            patches.par_iter().flat_map_iter(|patch| beams.rectangles(patch)).map(|mask| (mask.runs(), mask)).collect();
        rectangles.sort_by(|a, b| a.0.cmp(&b.0));
        rectangles.dedup_by(|a, b| a.0 == b.0);
        let framed: Vec<Candidate> =
            rectangles.into_par_iter().filter_map(|(_, mask)| site.frame(mask, &beams)).collect();
        let rows = site.rows(&found, ground.rect());
        found.extend(framed.into_iter().filter(|frame| {
            let covered = rows.crop(frame.mask.rect()).and(&frame.mask).count() as f64;
            covered < MOST_ROWS * frame.building.shape.area
        }));
    }
    // Best first; the order of equals is fixed by their pixels, never by the order of discovery.
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.building.runs.cmp(&b.building.runs)));
    let mut taken = Mask::new(ground.rect());
    let mut buildings = Vec::new();
    for candidate in found {
        let shared = candidate.mask.and(&taken.crop(candidate.mask.rect())).count();
        if shared as f64 > 0.1 * candidate.building.shape.area {
            continue;
        }
        for &run in &candidate.building.runs {
            taken.set_run(run);
        }
        buildings.push(candidate.building);
    }
    let mut buildings = site.joined(site.told_apart(buildings));
    buildings.sort_by(|a, b| b.shape.area.total_cmp(&a.shape.area).then_with(|| a.runs.cmp(&b.runs)));
    buildings
}

/// What all patches of a site are measured against.
struct Site<'a> {
    channels: &'a Channels,
    gsd_m: f64,
    area: f64,
    median_brightness: f64,
    median_texture: f64,
}

impl<'a> Site<'a> {
    fn new(ground: &Mask, channels: &'a Channels, fine: &Grid) -> Self {
        let median = |plane: &Plane<f32>| f64::from(quantile(&mut values(plane, ground), 50));
        Self {
            channels,
            gsd_m: fine.resolution_m,
            area: ground.count() as f64,
            median_brightness: median(&channels.brightness),
            median_texture: median(&channels.texture),
        }
    }

    fn pixels(&self, metres: f64) -> i32 {
        ((metres / self.gsd_m).round() as i32).max(1)
    }

    /// The patches of a cue within a range of values that may be buildings.
    fn patches(&self, cue: &Cue, cut: Cut, (low, high): (f32, f32), built: &Mask) -> Vec<Candidate> {
        let beyond = built.where_plane(cue.plane, |value| (value >= low) & (value <= high));
        // Opening cuts thin bridges to roads and walls; at coarse pixels there is nothing to spare.
        let opened = if self.gsd_m <= 1.0 { beyond.open(self.pixels(1.0)) } else { beyond };
        let area_m2 = self.gsd_m * self.gsd_m;
        let least = (LEAST_M2 / area_m2).max(LEAST_PX);
        let largest = (LARGEST_M2 / area_m2).min(LARGEST_SHARE * self.area);
        pieces(&opened).into_iter().filter_map(|runs| self.candidate(cue, cut, runs, built, least, largest)).collect()
    }

    fn candidate(
        &self,
        cue: &Cue,
        cut: Cut,
        runs: Vec<Run>,
        built: &Mask,
        least: f64,
        largest: f64,
    ) -> Option<Candidate> {
        let pixels: u64 = runs.iter().map(Run::len).sum();
        if (pixels as f64) < least || pixels as f64 > largest {
            return None;
        }
        let bounds = bounds(&runs)?;
        // A patch that fills little of its upright box at any rotation is no rectangle: a rotated one fills at least
        // half, less its elongation; skip the costly measures only where that is out of the question.
        if (pixels as f64) < 0.08 * bounds.pixels() as f64 {
            return None;
        }
        let mask = fill_holes(&Mask::from_runs(bounds.grown(self.pixels(3.0)), &runs));
        if mask.count() as f64 > (1.0 + MOST_HOLES) * pixels as f64 {
            return None;
        }
        self.rectangle(&mask, least, largest)?;
        let (step, contrast) = self.contrast(cue, cut, &mask)?;
        if step < cue.step || contrast < LEAST_CONTRAST {
            return None;
        }
        let mask = self.sharpened(cue, cut, &mask, built)?;
        let shape = self.rectangle(&mask, least, largest)?;
        let (mask, shape) = self.trimmed(mask, shape, least, largest);
        let (_, contrast) = self.contrast(cue, cut, &mask)?;
        let fit = shape.rectangularity() * shape.solidity();
        // Of two patches that are as rectangular and stand out as much, the larger is the building and the smaller
        // one of its roof's sides.
        let building = self.building(&mask, shape, contrast);
        let raised = if building.kind == BuildingKind::Slab { SLAB_SCORE } else { 1.0 };
        let score = raised * fit * fit * contrast / (contrast + 0.5) * libm::cbrt(shape.area);
        Some(Candidate { building, mask, score })
    }

    /// The ground under narrow strips that shine, and under what throws the shadow of a house: rows of either have edges
    /// all over, as frames have beams.
    fn rows(&self, found: &[Candidate], rect: PixelRect) -> Mask {
        let mut rows = Mask::new(rect);
        for Candidate { building, .. } in found {
            let strip = &building.shape.rect;
            let is_narrow = strip.width * self.gsd_m < WAY_WIDTH_M && strip.elongation() > WAY_ELONGATION;
            let is_house = building.kind == BuildingKind::Roof
                && building.shadow >= HOUSE_SHADOW
                && building.shape.area * self.gsd_m * self.gsd_m < SMALL_M2;
            if is_house || (is_narrow && building.against_ring >= STRIP_BRIGHTNESS) {
                building.runs.iter().for_each(|&run| rows.set_run(run));
            }
        }
        rows
    }

    /// A rectangle that beams end at, if it may be a frame.
    fn frame(&self, mask: Mask, beams: &Beams) -> Option<Candidate> {
        let area_m2 = self.gsd_m * self.gsd_m;
        let (least, largest) = (LEAST_FRAME_M2 / area_m2, (LARGEST_M2 / area_m2).min(LARGEST_SHARE * self.area));
        let shape = self.rectangle(&mask, least, largest)?;
        let inner = mask.erode(self.pixels(1.5));
        let lines = frames::lines(&beams.detail, &inner, &shape);
        let (texture, spread) = self.mean(&self.channels.texture, &inner)?;
        let (brightness, _) = self.mean(&self.channels.brightness, &inner)?;
        // Beside a frame lie the shadows of its beams, as full of edges as the frame.
        let wide = Mask::from_runs(mask.rect().grown(self.pixels(8.0)), &mask.runs());
        let beyond = wide.dilate(self.pixels(7.0)).minus(&wide.dilate(self.pixels(3.0)));
        let beyond = beyond.and(&self.channels.valid.crop(beyond.rect()));
        let (around, spread_around) = self.mean(&self.channels.texture, &beyond)?;
        let contrast = (texture - around) / (spread + spread_around).max(f64::MIN_POSITIVE);
        let is_frame = lines >= frames::LEAST_LINES
            && contrast >= frames::LEAST_CONTRAST
            && (WAY_WIDTH_M..=WIDEST_FRAME_M).contains(&(shape.rect.width * self.gsd_m))
            && texture >= FRAME_TEXTURE * self.median_texture
            && texture >= FRAME_ROUGHNESS * brightness;
        if !is_frame {
            return None;
        }
        let fit = shape.rectangularity() * shape.solidity();
        let building = Building { kind: BuildingKind::Frame, ..self.building(&mask, shape, contrast) };
        let score = 2.0 * lines * fit * fit * contrast / (contrast + 0.5) * libm::cbrt(shape.area);
        Some(Candidate { building, mask, score })
    }

    /// The shape of a patch, if it may be a building's.
    fn rectangle(&self, mask: &Mask, least: f64, largest: f64) -> Option<Shape> {
        let shape = shape(&mask.runs())?;
        let narrowest = (NARROWEST_M / self.gsd_m).max(2.0);
        (shape.area >= least
            && shape.area <= largest
            && shape.rectangularity() >= LEAST_RECTANGULARITY
            && shape.rect.width >= narrowest
            && shape.rect.elongation() <= MOST_ELONGATED)
            .then_some(shape)
    }

    /// The patch cut at half height: a level found a patch up to a blur too small or too large.
    fn sharpened(&self, cue: &Cue, cut: Cut, mask: &Mask, built: &Mask) -> Option<Mask> {
        let (inside, _) = self.mean(cue.plane, mask)?;
        let (step, _) = self.contrast(cue, cut, mask)?;
        let (low, high) = cut.half_way(inside, step);
        let near = built.crop(mask.rect()).and(&mask.dilate(self.pixels(1.5)));
        let near = near.where_plane(cue.plane, |value| (value >= low) & (value <= high));
        let opened = if self.gsd_m <= 1.0 { near.open(self.pixels(1.0)) } else { near };
        Some(fill_holes(&largest_piece(&opened)?))
    }

    /// The patch without what leans on it: piles and vehicles beside a hall are narrow against the hall itself.
    fn trimmed(&self, mask: Mask, shape: Shape, least: f64, largest: f64) -> (Mask, Shape) {
        let radius = (0.1 * shape.rect.width).min(4.0 / self.gsd_m).floor() as i32;
        let trimmed = largest_piece(&mask.open(radius));
        match trimmed.and_then(|trimmed| Some((self.rectangle(&trimmed, least, largest)?, trimmed))) {
            Some((better, trimmed)) if better.rectangularity() > shape.rectangularity() => (trimmed, better),
            _ => (mask, shape),
        }
    }

    /// Difference of a patch to the ring around it; the same in units of the spreads inside and around.
    ///
    /// What is between two levels may have brighter things on one side and darker ones on the other: there the mean
    /// distance from the patch's value counts. Most of such patches are ground, so it must differ from the ground too.
    fn contrast(&self, cue: &Cue, cut: Cut, mask: &Mask) -> Option<(f64, f64)> {
        let (inside, spread) = self.mean(cue.plane, mask)?;
        let ring = values(cue.plane, &self.ring(mask));
        let (around, spread_around) = moments(&ring)?;
        let floor = 1e-6 * (inside.abs() + around.abs()) + f64::MIN_POSITIVE;
        Some(match cut {
            Cut::Above | Cut::Below => {
                let step = (inside - around).abs();
                (step, step / (spread + spread_around).max(floor))
            }
            Cut::Between => {
                let apart = ring.iter().map(|&value| (f64::from(value) - inside).abs()).sum::<f64>();
                let step = (apart / ring.len() as f64).min((inside - cue.ground).abs());
                (step, step / (2.0 * spread).max(floor))
            }
        })
    }

    /// The valid pixels about 1 to 3 m away from a patch.
    fn ring(&self, mask: &Mask) -> Mask {
        let near = mask.dilate((self.pixels(1.0) / 2).max(1));
        mask.dilate(self.pixels(2.5)).minus(&near).and(&self.channels.valid.crop(mask.rect()))
    }

    /// Mean and standard deviation over the valid pixels of a mask.
    fn mean(&self, plane: &Plane<f32>, mask: &Mask) -> Option<(f64, f64)> {
        moments(&values(plane, &mask.and(&self.channels.valid.crop(mask.rect()))))
    }

    /// Whether a patch is a wall or a strip of shadow.
    fn is_wall(&self, building: &Building) -> bool {
        let rect = &building.shape.rect;
        rect.width * self.gsd_m < WALL_WIDTH_M && rect.elongation() > WALL_ELONGATION
    }

    /// Whether a patch lies flat and is as narrow and long as a road, or an arch of film.
    fn is_strip(&self, building: &Building) -> bool {
        let rect = &building.shape.rect;
        building.kind == BuildingKind::Slab
            && rect.width * self.gsd_m < WAY_WIDTH_M
            && rect.elongation() > WAY_ELONGATION
    }

    /// Drops what only looks like a building: patches of fields, piles beside halls.
    fn told_apart(&self, mut kept: Vec<Building>) -> Vec<Building> {
        // Low arches of film throw next to no shadow, but shine, and never stand alone; roads and strips of fields do not.
        let shines = |building: &Building| self.is_strip(building) && building.against_ring >= FILM_BRIGHTNESS;
        if kept.iter().filter(|building| shines(building)).count() >= LEAST_ROWS {
            kept.iter_mut().filter(|building| shines(building)).for_each(|building| building.kind = BuildingKind::Roof);
        }
        kept.retain(|building| !self.is_strip(building));
        let is_slab = |building: &Building| building.kind == BuildingKind::Slab;
        let area = |slabs: bool| -> f64 {
            kept.iter().filter(|building| is_slab(building) == slabs).map(|building| building.shape.area).sum()
        };
        if area(false) < RAISED_SHARE * area(true) {
            kept.retain(|building| !is_slab(building));
        }
        let largest = kept.iter().map(|building| building.shape.area).fold(0.0, f64::max);
        kept.retain(|building| building.shape.area >= LEAST_SHARE * largest);
        kept
    }

    /// Joins the parts of halls: a bay with sheets on it to its frame, the two slopes of a roof.
    fn joined(&self, mut parts: Vec<Building>) -> Vec<Building> {
        while let Some(Joined { first, second, mask, shape }) = join::next(&parts, self.gsd_m) {
            let is_frame = [first, second].iter().any(|&part| parts[part].kind == BuildingKind::Frame);
            let contrast = parts[first].contrast.min(parts[second].contrast);
            let whole = self.building(&mask, shape, contrast);
            let kind = if is_frame { BuildingKind::Frame } else { whole.kind };
            parts[first] = Building { kind, ..whole };
            parts.remove(second);
        }
        parts
    }

    fn building(&self, mask: &Mask, shape: Shape, contrast: f64) -> Building {
        let brightness = self.mean(&self.channels.brightness, mask).map_or(0.0, |(mean, _)| mean);
        let blue = self.channels.blue.as_ref().and_then(|blue| self.mean(blue, mask)).map_or(0.0, |(mean, _)| mean);
        let ring = self.ring(mask).minus(&self.channels.green.crop(mask.rect()));
        let mut around = values(&self.channels.brightness, &ring);
        let local = f64::from(quantile(&mut around, 50)).max(self.median_brightness);
        let dark = (1.2 * SHADOW * local) as f32;
        let shadow = around.iter().filter(|&&value| value < dark).count() as f64 / around.len().max(1) as f64;
        // The rim of any building is an edge: a frame has edges inside.
        let inner = mask.erode(self.pixels(2.0));
        let texture = self.mean(&self.channels.gradient, &inner).map_or(0.0, |(mean, _)| mean);
        let is_rough = texture > FRAME_TEXTURE * self.median_texture && texture > FRAME_ROUGHNESS * brightness;
        let is_wide = shape.rect.width * self.gsd_m >= WAY_WIDTH_M
            && inner.count() as f64 * self.gsd_m * self.gsd_m >= LEAST_FRAME_M2;
        let kind = if self.gsd_m <= COARSEST_FRAME_M && is_rough && is_wide {
            BuildingKind::Frame
        } else if self.gsd_m <= COARSEST_SHADOW_M && shadow < LEAST_SHADOW {
            BuildingKind::Slab
        } else {
            BuildingKind::Roof
        };
        let beside = moments(&around).map_or(0.0, |(mean, _)| mean);
        Building {
            kind,
            against_ring: if beside > 0.0 { brightness / beside } else { 0.0 },
            brightness: if self.median_brightness > 0.0 { brightness / self.median_brightness } else { 0.0 },
            blue,
            contrast,
            shadow,
            runs: mask.runs(),
            shape,
        }
    }
}

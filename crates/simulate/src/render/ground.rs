//! The ground: fields with their rows, woods with their crowns, patches and ways.

use super::lattice::{LATTICE_M, Lattice, Slow};
use super::{Light, canvas::Canvas, canvas::Sample};
use crate::covers::{
    ASH, ASPHALT, AUTUMN_CANOPY, BALLAST, CANOPY, CONCRETE, Crop, DIRT, GRASS, GREEN, MUD_WATER, NEEDLES, SAND, SOIL,
    STEEL, STUBBLE, SUBSOIL, Season, Spectrum, WATER, WET_SOIL, blend, scaled, stand,
};
use crate::geometry::{Bounds, Point, to_segment};
use crate::noise::{fractal, hash2, mix, nearest, unit, value};
use crate::world::parcels::Here;
use crate::world::{Epoch, Ground, Patch, WOOD_LINE, Way, WayKind, World};

/// What makes one field differ from the next.
struct Rows {
    crop: Crop,
    hash: u32,
    axis: Point,
    strip_m: f32,
    /// Early or late, good or poor; by strip where absent.
    luck: Option<f32>,
}

/// Everything that the ground's look depends on.
pub struct GroundPainter<'a> {
    world: &'a World,
    epoch: Epoch,
    season: Season,
    light: Light,
    lattice: Lattice,
    /// Where in the tree of fields the piece lies.
    fields_root: u32,
}

impl<'a> GroundPainter<'a> {
    /// A painter for a piece of the world.
    #[must_use]
    pub fn new(world: &'a World, epoch: Epoch, season: Season, light: Light, bounds: &Bounds) -> Self {
        // The field pattern is bent by up to 7 m, and looked at within 3 m of its lines.
        let fields_root = world.parcels.root_of(&bounds.grown(12.0));
        Self { world, epoch, season, light, lattice: Lattice::new(world, &bounds.grown(LATTICE_M)), fields_root }
    }

    /// The land itself.
    #[must_use]
    pub fn land(&self, p: Point) -> Sample {
        let seed = self.world.seed;
        let Slow { bend, elevation, moisture, slope } = self.lattice.at(p);
        let ragged = if (elevation - WOOD_LINE).abs() < 0.08 {
            elevation + 0.07 * (value(p.x / 9.0, p.y / 9.0, seed ^ 0x4a6) - 0.5)
        } else {
            elevation
        };
        let hill_shade = (1.0 - 200.0 * slope.dot(self.light.to_sun)).clamp(0.5, 1.45);
        let reflectance = if ragged > WOOD_LINE {
            scaled(self.wood(p, elevation), hill_shade)
        } else if ragged > WOOD_LINE - 0.045 {
            // The edge of the wood: grass, bushes, a footpath.
            scaled(self.grass(p, moisture), hill_shade)
        } else {
            let bent = p.plus(bend);
            match self.world.parcels.at(self.fields_root, bent) {
                Some(here) => scaled(self.parcel(p, bent, &here, moisture), 0.5 + 0.5 * hill_shade),
                None => self.grass(p, moisture),
            }
        };
        Sample { reflectance, sunlight: 1.0, site: 0 }
    }

    fn wood(&self, p: Point, elevation: f32) -> Spectrum {
        let seed = self.world.seed;
        let pine = value(p.x / 160.0, p.y / 160.0, seed ^ 0x91e) + (elevation - 0.7) > 0.52;
        let spacing = if pine { 4.6 } else { 6.2 };
        let crown = nearest(p.x / spacing, p.y / spacing, seed ^ 0xc0, 0.85);
        let luck = unit(mix(crown.hash ^ 5));
        let base = if pine {
            NEEDLES
        } else if self.season == Season::Autumn {
            blend(CANOPY, AUTUMN_CANOPY, luck)
        } else {
            CANOPY
        };
        let profile = (1.0 - 2.2 * crown.distance2).max(0.0);
        let lit = (crown.dx * self.light.to_sun.x + crown.dy * self.light.to_sun.y) * 1.1;
        let leaves = value(p.x / 0.9, p.y / 0.9, seed ^ 0x1eaf) - 0.5;
        let brightness = (0.52 + 0.85 * profile + 1.2 * lit * profile + 0.3 * leaves) * (0.78 + 0.5 * luck);
        scaled(base, brightness.max(0.18))
    }

    fn grass(&self, p: Point, moisture: f32) -> Spectrum {
        let seed = self.world.seed;
        let tuft = value(p.x / 1.7, p.y / 1.7, seed ^ 0x7f) - 0.5;
        let bush = nearest(p.x / 9.0, p.y / 9.0, seed ^ 0xb5, 0.9);
        if bush.distance2 < 0.035 * unit(bush.hash) * 2.0 {
            return scaled(CANOPY, 0.9 + 0.5 * tuft + bush.dx * self.light.to_sun.x + bush.dy * self.light.to_sun.y);
        }
        let dry = if self.season == Season::Autumn { 0.35 } else { 0.1 };
        scaled(blend(GRASS, STUBBLE, dry + 0.4 * (moisture - 0.5)), 1.0 + 0.35 * tuft)
    }

    fn parcel(&self, p: Point, bent: Point, here: &Here<'_>, moisture: f32) -> Spectrum {
        let Here { parcel, depth, .. } = *here;
        if here.to_lane < 2.6 {
            // A lane between blocks of fields: two ruts, grass between and beside them.
            let rut = (here.to_lane - 0.85).abs() < 0.5;
            let grain = value(p.x / 1.1, p.y / 1.1, self.world.seed ^ 0x7c) - 0.5;
            let look = if rut { DIRT } else { blend(self.grass(p, moisture), DIRT, 0.35) };
            return scaled(look, 0.95 + 0.25 * grain);
        }
        let crop = if self.epoch == Epoch::Before { parcel.before } else { parcel.after };
        if depth < parcel.margin_m {
            // Balks: grass, a foot path of bare earth on the wider ones.
            let worn = parcel.margin_m > 1.1 && depth < 0.55;
            let tuft = value(p.x / 1.3, p.y / 1.3, self.world.seed ^ 0x7e) - 0.5;
            return scaled(if worn { blend(GRASS, SOIL, 0.75) } else { self.grass(p, moisture) }, 1.0 + 0.2 * tuft);
        }
        self.field(
            bent,
            p,
            &Rows { crop, hash: parcel.hash, axis: parcel.axis, strip_m: parcel.strip_m, luck: None },
            moisture,
        )
    }

    /// A field of a crop, with rows along `axis` and strips that differ a little.
    fn field(&self, bent: Point, p: Point, rows: &Rows, moisture: f32) -> Spectrum {
        let Rows { crop, hash, axis, strip_m, luck } = *rows;
        let date = if self.epoch == Epoch::Before { 0x51 } else { 0xa7 };
        let (along, across) = (bent.dot(axis), bent.dot(axis.left()));
        let strip = (across / strip_m).floor();
        let strip_hash = hash2(strip as i32, (hash & 0xffff) as i32, hash ^ date);
        let luck = luck.unwrap_or_else(|| (unit(mix(hash ^ date)) + 0.35 * (unit(strip_hash) - 0.5)).clamp(0.0, 1.0));
        let stand = stand(crop, self.season, luck);
        let in_strip = across - strip * strip_m;
        if crop == Crop::Rice && in_strip.min(strip_m - in_strip) < 0.5 {
            return scaled(self.grass(p, moisture), 0.95);
        }
        // Rows: every row a little different, a wave across each, and patches that grow better or worse.
        let row = across / stand.rows_m;
        let wave = 1.0 - 4.0 * (row - row.floor() - 0.5).abs();
        let row_luck = unit(hash2(row.floor() as i32, 7, hash)) - 0.5;
        let streak = value(along / 14.0, across / 1.3, hash ^ 0x57) - 0.5;
        let patch = value(bent.x / 19.0, bent.y / 19.0, hash ^ date) - 0.5;
        let grain = unit(hash2((p.x * 2.5) as i32, (p.y * 2.5) as i32, hash ^ date)) - 0.5;
        let growth =
            stand.row_contrast * (1.2 * wave + 0.8 * row_luck) + 0.12 * streak + 0.24 * patch + 0.5 * (moisture - 0.5);
        let cover = (stand.cover * (1.0 + 0.4 * growth) + 0.12 * growth).clamp(0.0, 1.0);
        let floor = scaled(stand.floor, 1.0 + 0.22 * patch - 0.5 * (moisture - 0.5) + 0.10 * grain);
        let canopy = scaled(stand.canopy, 1.0 + 0.14 * grain + 0.5 * stand.row_contrast * wave + 0.10 * streak);
        let mut look = blend(floor, canopy, cover);
        if crop == Crop::Orchard {
            let (x, y) = (along / 5.0, across / 4.5);
            let (dx, dy) = (x - x.floor() - 0.5, y - y.floor() - 0.5);
            let distance2 = dx * dx + dy * dy;
            if distance2 < 0.13 {
                let lit = axis.times(dx).plus(axis.left().times(dy)).dot(self.light.to_sun);
                look = scaled(CANOPY, 0.95 + 1.1 * lit + 0.2 * grain);
            } else if distance2 < 0.2 {
                look = scaled(look, 0.62);
            }
        } else if crop == Crop::Rice && self.season == Season::Autumn && stand.canopy == STUBBLE {
            // Sheaves.
            let sheaf = nearest(along / 6.0, across / 4.0, hash ^ 0x5f, 0.35);
            if sheaf.distance2 < 0.022 {
                look = scaled(crate::covers::RIPE, 1.25);
            }
        }
        // Tracks of the tractor.
        let lane = across / 15.0 + unit(hash);
        let lane = (lane - lane.floor() - 0.5).abs() * 15.0;
        if crop != Crop::Rice && stand.cover > 0.3 && (lane - 0.9).abs() < 0.3 {
            look = blend(look, stand.floor, 0.35);
        }
        look
    }

    /// Paints a patch over the land.
    pub fn patch(&self, canvas: &mut Canvas, patch: &Patch) {
        let seed = self.world.seed;
        let field_hash = mix(seed ^ patch.axis.x.to_bits());
        canvas.paint(&patch.outline.bounds(), |sample, p| {
            let depth = patch.outline.depth(p, seed);
            if depth < 0.0 {
                return;
            }
            let Slow { bend, moisture, .. } = self.lattice.at(p);
            let look = match patch.ground {
                Ground::Field(_) if depth < 1.0 => self.grass(p, moisture),
                Ground::Field(crop) => {
                    let bent = p.plus(bend.times(0.3));
                    self.field(
                        bent,
                        p,
                        &Rows { crop, hash: field_hash, axis: patch.axis, strip_m: 44.0, luck: Some(0.45) },
                        moisture,
                    )
                }
                Ground::Construction => self.construction(p, patch.axis, depth),
                Ground::Yard => self.yard(p, patch.axis),
                Ground::Village => self.village(p, patch.axis, moisture),
                Ground::Gravel => scaled(
                    blend(BALLAST, DIRT, 0.45 + 0.5 * (moisture - 0.5)),
                    0.9 + 0.3 * value(p.x / 1.1, p.y / 1.1, seed ^ 0x6a),
                ),
                Ground::Excavation => self.excavation(p, patch.axis, depth),
                Ground::Foundation => self.foundation(p, patch.axis, depth),
                Ground::Lawn => scaled(blend(GRASS, GREEN, 0.5), 0.9 + 0.25 * value(p.x / 2.0, p.y / 2.0, seed ^ 0x1a)),
                Ground::Pond => shore(
                    depth,
                    blend(WATER, MUD_WATER, 0.3 * (1.0 - depth / 20.0).clamp(0.0, 1.0)),
                    sample.reflectance,
                ),
                Ground::Flood => {
                    let mud = value(p.x / 30.0, p.y / 30.0, seed ^ 0xf1);
                    shore(depth, blend(MUD_WATER, WATER, 0.5 * mud), blend(sample.reflectance, WET_SOIL, 0.7))
                }
                Ground::Burnt => {
                    let scorched = fractal(p.x / 14.0, p.y / 14.0, seed ^ 0xb1, 4);
                    let share = (depth / 6.0).min(1.0) * (1.7 * scorched).min(1.0);
                    blend(sample.reflectance, scaled(ASH, 0.7 + 0.6 * value(p.x / 1.5, p.y / 1.5, seed)), share)
                }
            };
            sample.reflectance = look;
            if let Some(site) = patch.site {
                sample.site = site + 1;
            }
        });
    }

    fn construction(&self, p: Point, axis: Point, depth: f32) -> Spectrum {
        let seed = self.world.seed;
        let (u, v) = (p.dot(axis), p.dot(axis.left()));
        let broad = fractal(p.x / 34.0, p.y / 34.0, seed ^ 0xc1, 4);
        let clod = value(p.x / 0.8, p.y / 0.8, seed ^ 0xc2) - 0.5;
        let damp = ((broad - 0.56) * 5.0).clamp(0.0, 1.0);
        let mut look =
            scaled(blend(SUBSOIL, blend(SOIL, WET_SOIL, 0.4), damp), 0.92 + 0.24 * clod + 0.35 * (broad - 0.5));
        // Wheel tracks run along, across and around: bands of noise that is long one way and short the other.
        for (long, short, salt) in [(u, v, 0xd1), (v, u, 0xd2), (u + 0.6 * v, v - 0.6 * u, 0xd3)] {
            let rut =
                value(long / 60.0, short / 1.1 + 2.5 * value(long / 45.0, short / 40.0, seed ^ salt), seed ^ salt ^ 9);
            let busy = value(long / 80.0, short / 16.0, seed ^ salt ^ 3);
            if busy > 0.62 {
                look = scaled(look, 1.0 + (rut - 0.5) * 0.42 * ((busy - 0.62) * 6.0).min(1.0));
            }
        }
        // A berm of topsoil around the lot.
        if depth < 4.0 {
            let ridge = 1.0 - (depth - 2.0).abs() / 2.0;
            look = blend(look, scaled(blend(SOIL, GRASS, 0.25), 0.85 + 0.3 * clod), 0.55 * ridge.max(0.0));
        }
        look
    }

    fn yard(&self, p: Point, axis: Point) -> Spectrum {
        let seed = self.world.seed;
        let (u, v) = (p.dot(axis) / 6.0, p.dot(axis.left()) / 6.0);
        let slab = unit(hash2(u.floor() as i32, v.floor() as i32, seed ^ 0x9a)) - 0.5;
        let joint = (u - u.floor()).min(v - v.floor()) < 0.05;
        let stain = fractal(p.x / 13.0, p.y / 13.0, seed ^ 0x57a, 4) - 0.5;
        let look = scaled(blend(CONCRETE, DIRT, 0.45 + 0.9 * stain), 0.82 + 0.12 * slab + 0.2 * stain);
        if joint { scaled(look, 0.86) } else { look }
    }

    fn village(&self, p: Point, axis: Point, moisture: f32) -> Spectrum {
        let seed = self.world.seed;
        let (u, v) = (p.dot(axis), p.dot(axis.left()));
        let garden = hash2((u / 7.5).floor() as i32, (v / 9.0).floor() as i32, seed ^ 0x6a5);
        let trodden =
            scaled(blend(DIRT, SOIL, moisture), 0.9 + 0.25 * (value(p.x / 1.5, p.y / 1.5, seed ^ 0x7d) - 0.5));
        if unit(garden) < 0.52 {
            let rows = v / 1.4;
            let bed = 1.0 - 4.0 * (rows - rows.floor() - 0.5).abs();
            let cover = (0.25 + 0.6 * unit(mix(garden)) + 0.15 * bed).clamp(0.0, 1.0);
            let cover = if self.season == Season::Spring { cover * 0.7 } else { cover };
            blend(trodden, GREEN, cover * 0.85)
        } else {
            trodden
        }
    }

    fn excavation(&self, p: Point, axis: Point, depth: f32) -> Spectrum {
        let seed = self.world.seed;
        let (u, v) = (p.dot(axis), p.dot(axis.left()));
        let pit = (u / 6.5 - (u / 6.5).floor() - 0.5).abs() < 0.3 && (v / 7.0 - (v / 7.0).floor() - 0.5).abs() < 0.3;
        let clod = value(p.x / 0.9, p.y / 0.9, seed ^ 0xe1) - 0.5;
        let floor = scaled(blend(WET_SOIL, SUBSOIL, 0.35), 0.9 + 0.25 * clod);
        if depth < 1.6 {
            scaled(SUBSOIL, 0.62 + 0.3 * clod)
        } else if pit {
            scaled(floor, 0.6)
        } else {
            floor
        }
    }

    fn foundation(&self, p: Point, axis: Point, depth: f32) -> Spectrum {
        let seed = self.world.seed;
        let (u, v) = (p.dot(axis) / 6.0, p.dot(axis.left()) / 6.0);
        let cast = unit(hash2((u / 3.0).floor() as i32, (v / 2.0).floor() as i32, seed ^ 0xf0)) < 0.55;
        let grain = value(p.x / 1.1, p.y / 1.1, seed ^ 0xf2) - 0.5;
        if depth < 0.9 || (cast && depth > 1.5) {
            scaled(CONCRETE, 0.86 + 0.16 * grain)
        } else {
            scaled(blend(SUBSOIL, SOIL, 0.35), 0.86 + 0.3 * grain)
        }
    }

    /// Paints a way, each sample by the segment that it is nearest to, so that no joint shows.
    pub fn way(&self, canvas: &mut Canvas, way: &Way) {
        let shoulder = match way.kind {
            WayKind::Road => 1.6,
            WayKind::Track => 0.8,
            WayKind::Rail => 2.0,
            WayKind::River => 7.0,
            WayKind::Ditch => 1.5,
        };
        let reach = way.half_width + shoulder;
        let view = canvas.frame.bounds().grown(reach);
        let mut start = 0.0;
        let line = &way.line;
        for (index, (&a, &b)) in line.iter().zip(line.iter().skip(1)).enumerate() {
            let bounds = Bounds::of([a, b]).grown(reach);
            let previous = index.checked_sub(1).and_then(|i| line.get(i));
            let next = line.get(index + 2);
            if bounds.touches(&view) {
                canvas.paint(&bounds, |sample, p| {
                    let (distance, along) = to_segment(p, a, b);
                    let nearer = previous.is_some_and(|&q| to_segment(p, q, a).0 <= distance)
                        || next.is_some_and(|&q| to_segment(p, b, q).0 < distance);
                    if distance > reach || nearer {
                        return;
                    }
                    // Only the look: a way over a lot does not take the ground from the lot.
                    for surface in [true, false] {
                        if let Some(look) = self.way_look(way, distance, start + along, p, surface, sample.reflectance)
                        {
                            sample.reflectance = look;
                            break;
                        }
                    }
                });
            }
            start += b.minus(a).length();
        }
    }

    fn way_look(
        &self,
        way: &Way,
        distance: f32,
        along: f32,
        p: Point,
        surface: bool,
        below: Spectrum,
    ) -> Option<Spectrum> {
        let seed = self.world.seed;
        let half = way.half_width;
        let grain = value(p.x / 0.9, p.y / 0.9, seed ^ 0x3a) - 0.5;
        match (way.kind, surface) {
            (WayKind::Road, false) => {
                (distance < half + 1.6).then(|| blend(below, scaled(DIRT, 0.95 + 0.3 * grain), 0.8))
            }
            (WayKind::Road, true) => (distance < half).then(|| {
                let worn = value(along / 30.0, distance * 0.8, seed ^ 0x3b) - 0.5;
                scaled(blend(ASPHALT, CONCRETE, 0.16 + 0.25 * worn), 0.95 + 0.14 * grain)
            }),
            (WayKind::Track, false) => (distance < half + 0.8 * value(p.x / 4.0, p.y / 4.0, seed ^ 0x3c))
                .then(|| blend(below, scaled(blend(DIRT, GRASS, 0.25), 0.9 + 0.3 * grain), 0.8)),
            (WayKind::Track, true) => ((distance - half * 0.5).abs() < 0.45).then(|| scaled(DIRT, 1.08 + 0.25 * grain)),
            (WayKind::Rail, false) => (distance < half + 2.0)
                .then(|| blend(below, scaled(BALLAST, 0.9 + 0.35 * grain), if distance < half { 1.0 } else { 0.55 })),
            (WayKind::Rail, true) => {
                if (distance - 0.72).abs() < 0.22 {
                    Some(scaled(STEEL, 0.85))
                } else {
                    let sleeper = along / 0.65;
                    (distance < 1.3).then(|| scaled(BALLAST, if (sleeper as i32) % 2 == 0 { 1.12 } else { 0.82 }))
                }
            }
            (WayKind::River, false) => {
                let edge = half + 5.5 * value(p.x / 18.0, p.y / 18.0, seed ^ 0x3d);
                (distance < edge + 1.5).then(|| {
                    blend(below, scaled(SAND, 0.85 + 0.3 * grain), ((edge + 1.5 - distance) / 2.0).clamp(0.0, 0.9))
                })
            }
            (WayKind::River, true) => {
                let bar = fractal(p.x / 38.0, p.y / 38.0, seed ^ 0x3e, 4);
                let edge = half * (0.72 + 0.45 * bar);
                (distance < edge && bar < 0.66).then(|| shore(edge - distance, blend(WATER, MUD_WATER, 0.45), below))
            }
            (WayKind::Ditch, false) => {
                (distance < half + 1.5).then(|| scaled(blend(GRASS, GREEN, 0.35), 0.85 + 0.4 * grain))
            }
            (WayKind::Ditch, true) => (distance < half * 0.7).then(|| scaled(MUD_WATER, 0.9)),
        }
    }
}

/// Water that grows deeper from its edge, metres.
fn shore(depth: f32, water: Spectrum, land: Spectrum) -> Spectrum {
    blend(blend(land, SAND, 0.3), water, (depth / 2.2).clamp(0.0, 1.0))
}

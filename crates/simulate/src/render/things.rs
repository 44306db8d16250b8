//! What stands up: shadows on the ground, walls and roofs that lean away from the satellite, crowns of trees.

use super::{Light, canvas::Canvas};
use crate::covers::{
    AUTUMN_CANOPY, CANOPY, CONCRETE, FELT, GREY_ROOF, STEEL, SUBSOIL, Season, Spectrum, WHITE_ROOF, blend, scaled,
};
use crate::geometry::{Bounds, Point, point};
use crate::noise::{hash2, mix, unit, value};
use crate::world::{Solid, Top, Tree, World};

/// Where a solid's parts come to lie when each metre of height moves them by `step`.
fn reach(solid: &Solid, step: Point) -> Bounds {
    let corners = solid.rect.corners();
    Bounds::of(
        corners
            .iter()
            .flat_map(|&corner| [corner.plus(step.times(solid.base_m)), corner.plus(step.times(solid.height_m))]),
    )
    .grown(0.5)
}

/// Casts a solid's shadow.
pub fn solid_shadow(canvas: &mut Canvas, solid: &Solid, light: &Light) {
    let rise = solid.height_m - solid.base_m;
    canvas.paint(&reach(solid, light.shadow), |sample, p| {
        let low = p.minus(light.shadow.times(solid.base_m));
        if let Some((first, _)) = solid.rect.passage(low, light.shadow.times(-rise)) {
            let share = match solid.top {
                // Light falls between the beams.
                Top::Frame => {
                    let q = solid.rect.local(low.minus(light.shadow.times(rise)));
                    let beam = |x: f32, period: f32| (x / period - (x / period).floor()) * period < 0.7;
                    if beam(q.x, 6.0) || beam(q.y, 6.0) { 0.25 } else { 0.85 }
                }
                Top::Film => 0.55,
                Top::Heap => {
                    if first > 0.0 {
                        0.5
                    } else {
                        1.0
                    }
                }
                _ => 0.0,
            };
            sample.sunlight = sample.sunlight.min(share);
        }
    });
}

/// Casts a tree's shadow.
pub fn tree_shadow(canvas: &mut Canvas, tree: &Tree, light: &Light) {
    let away = light.shadow.times(tree.height_m * 0.75);
    let centre = tree.at.plus(away);
    let stretch = (light.shadow.length() * tree.height_m * 0.35).max(tree.radius_m);
    let axis = light.shadow.unit();
    canvas.paint(&Bounds::of([centre]).grown(stretch + tree.radius_m), |sample, p| {
        let d = p.minus(centre);
        let (along, across) = (d.dot(axis) / stretch, d.dot(axis.left()) / tree.radius_m);
        if along * along + across * across < 1.0 {
            sample.sunlight = sample.sunlight.min(0.15);
        }
    });
}

/// Draws a tree's crown.
pub fn tree_crown(canvas: &mut Canvas, tree: &Tree, world: &World, light: &Light, season: Season) {
    let centre = tree.at.plus(light.lean.times(tree.height_m * 0.7));
    let hash = hash2((tree.at.x * 8.0) as i32, (tree.at.y * 8.0) as i32, world.seed);
    let luck = unit(hash);
    let base = if season == Season::Autumn { blend(CANOPY, AUTUMN_CANOPY, luck) } else { CANOPY };
    canvas.paint(&Bounds::of([centre]).grown(tree.radius_m * 1.3), |sample, p| {
        let d = p.minus(centre);
        let edge = tree.radius_m * (0.75 + 0.5 * value(p.x / 0.9, p.y / 0.9, hash));
        if d.dot(d) < edge * edge {
            let lit = d.dot(light.to_sun) / tree.radius_m;
            let leaf = value(p.x / 0.7, p.y / 0.7, world.seed ^ 0x1eaf) - 0.5;
            sample.reflectance = scaled(base, (0.8 + 0.42 * lit + 0.3 * leaf) * (0.85 + 0.4 * luck));
            sample.sunlight = 1.0;
        }
    });
}

/// Draws a solid's walls and roof, displaced by the lean of the image.
pub fn solid_body(canvas: &mut Canvas, solid: &Solid, world: &World, light: &Light) {
    let rise = solid.height_m - solid.base_m;
    let hash = hash2((solid.rect.centre.x * 4.0) as i32, (solid.rect.centre.y * 4.0) as i32, world.seed ^ 0x501d);
    canvas.paint(&reach(solid, light.lean), |sample, p| {
        let top = p.minus(light.lean.times(solid.height_m));
        let q = solid.rect.local(top);
        let on_roof = q.x.abs() <= solid.rect.half_length && q.y.abs() <= solid.rect.half_width;
        if solid.top == Top::Heap {
            heap(sample, solid, p, hash, light);
            return;
        }
        if on_roof {
            if let Some(look) = roof(solid, q, hash, light) {
                sample.reflectance = look;
                sample.sunlight = 1.0;
            }
            sample.site = solid.site.map_or(sample.site, |site| site + 1);
            return;
        }
        if solid.top == Top::Frame {
            // Columns at the sides that the satellite sees.
            let low = p.minus(light.lean.times(solid.base_m));
            if let Some((_, last)) = solid.rect.passage(low, light.lean.times(-rise)) {
                let foot = solid.rect.local(low.minus(light.lean.times(rise * last)));
                if (foot.x / 6.0 - (foot.x / 6.0).floor()) < 0.12 {
                    sample.reflectance = scaled(CONCRETE, 0.8);
                    sample.sunlight = 0.8;
                }
            }
            return;
        }
        let low = p.minus(light.lean.times(solid.base_m));
        if let Some((_, last)) = solid.rect.passage(low, light.lean.times(-rise)) {
            let at = solid.rect.local(low.minus(light.lean.times(rise * last)));
            // The wall's normal: the side whose edge is nearest.
            let along = solid.rect.half_length - at.x.abs() < solid.rect.half_width - at.y.abs();
            let axis = solid.rect.axis;
            let normal = if along { axis.times(at.x.signum()) } else { axis.left().times(at.y.signum()) };
            let lit = normal.dot(light.to_sun);
            let wall = match solid.top {
                Top::Metal => blend(solid.colour, GREY_ROOF, 0.5),
                Top::Plain => solid.colour,
                Top::Film => solid.colour,
                _ => blend(CONCRETE, FELT, unit(hash)),
            };
            let windows = solid.top == Top::Flat && {
                let floor = last * rise / 3.0;
                floor - floor.floor() > 0.45
            };
            sample.reflectance = scaled(wall, if windows { 0.55 } else { 0.85 });
            sample.sunlight = if lit > 0.0 { 0.35 + 0.6 * lit } else { 0.0 };
        }
    });
}

fn heap(sample: &mut super::canvas::Sample, solid: &Solid, p: Point, hash: u32, light: &Light) {
    let q = solid.rect.local(p);
    let (x, y) = (q.x / solid.rect.half_length, q.y / solid.rect.half_width);
    let ragged = 0.8 + 0.4 * value(p.x / 3.0, p.y / 3.0, hash);
    let distance2 = x * x + y * y;
    if distance2 < ragged {
        let outward = p.minus(solid.rect.centre).unit();
        let lit = outward.dot(light.to_sun) * distance2.sqrt();
        let clod = value(p.x / 0.8, p.y / 0.8, hash ^ 4) - 0.5;
        sample.reflectance = scaled(blend(solid.colour, SUBSOIL, 0.3), 0.95 + 0.38 * lit + 0.25 * clod);
        sample.sunlight = 1.0;
    }
}

/// The look of a roof at a place of its own coordinates; `None` where one sees through it.
fn roof(solid: &Solid, q: Point, hash: u32, light: &Light) -> Option<Spectrum> {
    let rect = &solid.rect;
    let across = rect.axis.left();
    let grain = unit(hash2((q.x * 2.0) as i32, (q.y * 2.0) as i32, hash)) - 0.5;
    let weather = value(q.x / 5.0, q.y / 5.0, hash) - 0.5;
    let side = if q.y >= 0.0 { 1.0 } else { -1.0 };
    // A slope faces outward; the share of sunlight differs between the two.
    let facing = across.times(side).dot(light.to_sun);
    match solid.top {
        Top::Gable => {
            let ridge = q.y.abs() < 0.25;
            let course = (q.y / 0.9 - (q.y / 0.9).floor() - 0.5).abs();
            let shade = 1.0 + 0.36 * facing + 0.08 * (course - 0.25) + 0.12 * weather + 0.08 * grain;
            Some(scaled(solid.colour, if ridge { shade * 1.2 } else { shade }))
        }
        Top::Metal => {
            let rib = (q.x / 1.1 - (q.x / 1.1).floor() - 0.5).abs() - 0.25;
            let skylight = (q.x / 12.0 - (q.x / 12.0).floor() - 0.5).abs() < 0.04
                && q.y.abs() > rect.half_width * 0.25
                && q.y.abs() < rect.half_width * 0.8;
            let sheet = unit(hash2((q.x / 6.0).floor() as i32, side as i32, hash)) - 0.5;
            if skylight {
                return Some(scaled(WHITE_ROOF, 0.95));
            }
            let ridge = q.y.abs() < 0.5;
            let eave = rect.half_width - q.y.abs() < 0.4 || rect.half_length - q.x.abs() < 0.4;
            let shade = 1.0 + 0.20 * facing + 0.10 * rib + 0.05 * sheet + 0.08 * weather;
            Some(scaled(
                solid.colour,
                if ridge {
                    1.15 * shade
                } else if eave {
                    0.85 * shade
                } else {
                    shade
                },
            ))
        }
        Top::Flat => {
            let edge = (rect.half_length - q.x.abs()).min(rect.half_width - q.y.abs());
            if edge < 0.5 {
                return Some(scaled(CONCRETE, 1.05));
            }
            let (cell_x, cell_y) = ((q.x / 9.0).floor(), (q.y / 5.0).floor());
            let unit_here = hash2(cell_x as i32, cell_y as i32, hash);
            let (dx, dy) = (q.x - (cell_x + 0.5) * 9.0, q.y - (cell_y + 0.5) * 5.0);
            if unit(unit_here) < 0.3 && dx.abs() < 1.5 && dy.abs() < 1.1 {
                return Some(scaled(GREY_ROOF, 1.1));
            }
            if unit(unit_here) < 0.3 && (dx + 1.2).abs() < 1.8 && (dy - 0.8).abs() < 1.4 {
                return Some(scaled(solid.colour, 0.5));
            }
            Some(scaled(solid.colour, 1.0 + 0.25 * weather + 0.1 * grain))
        }
        Top::Frame => {
            let beam = |x: f32, period: f32, width: f32| {
                let at = x / period - (x / period).floor();
                at * period < width
            };
            let edge = (rect.half_length - q.x.abs()).min(rect.half_width - q.y.abs()) < 0.6;
            let bay = hash2((q.x / 18.0).floor() as i32, 3, hash);
            // Some bays have purlins or sheets already.
            if unit(bay) < 0.18 {
                return Some(scaled(blend(GREY_ROOF, STEEL, 0.3), 0.95 + 0.2 * grain));
            }
            if edge || beam(q.x + rect.half_length, 6.0, 0.9) {
                return Some(scaled(solid.colour, 1.08 + 0.1 * grain));
            }
            (beam(q.y, 5.0, 0.5) || unit(bay) < 0.5 && beam(q.y, 1.5, 0.45)).then(|| scaled(STEEL, 1.0 + 0.2 * grain))
        }
        Top::Film => {
            // An arch: brightest where it faces the sun, hoops every 2 m, ends in shadow.
            let bulge = q.y / rect.half_width;
            let lit = 1.0 + 0.30 * bulge * across.dot(light.to_sun) - 0.18 * bulge * bulge;
            let hoop = (q.x / 2.0 - (q.x / 2.0).floor()) < 0.22;
            let gloss = (bulge - 0.45 * across.dot(light.to_sun).signum()).abs() < 0.16;
            let dust = 0.2 * weather;
            Some(scaled(
                solid.colour,
                (lit + dust)
                    * if hoop {
                        0.88
                    } else if gloss {
                        1.16
                    } else {
                        1.0
                    },
            ))
        }
        Top::Plain | Top::Heap => {
            let edge = (rect.half_length - q.x.abs()).min(rect.half_width - q.y.abs()) < 0.25;
            let board = unit(hash2((q.x / 1.2).floor() as i32, (q.y / 0.5).floor() as i32, mix(hash))) - 0.5;
            Some(scaled(solid.colour, 1.05 + 0.16 * board - if edge { 0.15 } else { 0.0 }))
        }
    }
}

/// A box around what an image of a solid may touch: body and shadow.
#[must_use]
pub fn solid_reach(solid: &Solid, light: &Light) -> Bounds {
    let (body, shadow) = (reach(solid, light.lean), reach(solid, light.shadow));
    Bounds::of([body.min, body.max, shadow.min, shadow.max])
}

/// The same for a tree.
#[must_use]
pub fn tree_reach(tree: &Tree, light: &Light) -> Bounds {
    let far = light.shadow.times(tree.height_m * 1.2);
    Bounds::of([tree.at, tree.at.plus(far), tree.at.plus(light.lean.times(tree.height_m)), point(tree.at.x, tree.at.y)])
        .grown(tree.radius_m * 2.0)
}

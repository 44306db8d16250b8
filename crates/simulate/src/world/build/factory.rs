//! A factory on its lot: halls in rows, and what stands and lies between them while it is built.

use super::{polygon, solid};
use crate::covers::{
    BLUE_ROOF, CONCRETE, Crop, GREY_ROOF, MACHINE, RED_TILES, STEEL, SUBSOIL, Spectrum, TIMBER, WHITE_ROOF, blend,
    scaled,
};
use crate::geometry::{Convex, Point, Rect};
use crate::noise::Dice;
use crate::world::{Ground, Outline, Phase, Present, SiteClass, Solid, Top, World};

/// A factory to build.
#[derive(Clone, Debug)]
pub struct FactoryPlan {
    /// Name in `truth.geojson`.
    pub name: String,
    /// The lot; its corners are moved a little.
    pub lot: Rect,
    /// Number of halls.
    pub halls: u32,
    /// How far they are.
    pub phase: Phase,
    /// Old or new.
    pub present: Present,
    /// What grew on the lot before.
    pub before: Crop,
}

impl World {
    /// Builds a factory: halls in rows along the lot, and what stands and lies between them.
    pub fn factory(&mut self, plan: &FactoryPlan, dice: &mut Dice) {
        let FactoryPlan { lot, phase, present, .. } = *plan;
        let corners = lot.corners().map(|p| {
            p.plus(lot.axis.times(dice.between(-0.03, 0.03) * lot.half_length))
                .plus(lot.axis.left().times(dice.between(-0.04, 0.04) * lot.half_width))
        });
        // The crooked lot keeps the area that was asked for.
        let crooked = Convex(corners.to_vec());
        let factor = (lot.area() / crooked.area() as f32).sqrt();
        let corners = crooked.0.iter().map(|p| lot.centre.plus(p.minus(lot.centre).times(factor)));
        let outline = Outline::Polygon(Convex(corners.collect()));
        let site = self.add_site(&plan.name, SiteClass::Factory, Some(phase), present, &outline);
        if present == Present::After {
            self.add_patch(outline.clone(), Ground::Field(plan.before), Present::Before, lot.axis, None);
        }
        let floor = if present == Present::Always { Ground::Yard } else { Ground::Construction };
        self.add_patch(outline, floor, present, lot.axis, Some(site));

        let halls = hall_places(&lot, plan.halls, dice);
        for (index, &hall) in halls.iter().enumerate() {
            self.hall(hall, hall_phase(phase, index, halls.len()), present, site, dice);
        }
        if phase == Phase::Roofed && present == Present::After {
            let apron = Rect { half_width: lot.half_width * 0.12, half_length: lot.half_length * 0.8, ..lot };
            self.add_patch(polygon(&apron), Ground::Yard, present, lot.axis, None);
        }
        let free = |p: Point, by: f32| {
            let local = lot.local(p);
            local.x.abs() < lot.half_length * 0.94 - by
                && local.y.abs() < lot.half_width * 0.93 - by
                && halls.iter().all(|hall| {
                    let q = hall.local(p);
                    q.x.abs() > hall.half_length + by || q.y.abs() > hall.half_width + by
                })
        };
        let place = |dice: &mut Dice, by: f32| {
            (0..40)
                .map(|_| lot.at(dice.between(-1.0, 1.0) * lot.half_length, dice.between(-1.0, 1.0) * lot.half_width))
                .find(|&p| free(p, by))
        };
        let (stacks, vehicles, cranes, heaps) = match (present, phase) {
            (Present::Always, _) => (10, 6, 0, 0),
            (_, Phase::GroundWorks) => (9, 8, 0, 9),
            (_, Phase::Frames) => (34, 11, 2, 4),
            (_, Phase::Roofed) => (20, 8, 1, 1),
        };
        let mut solids = Vec::new();
        for _ in 0..stacks {
            let Some(at) = place(dice, 4.0) else { continue };
            let colour: Spectrum = dice.pick(&[TIMBER, CONCRETE, STEEL, BLUE_ROOF, GREY_ROOF], CONCRETE);
            for row in 0..1 + dice.bits() % 4 {
                let centre = at.plus(lot.axis.left().times(row as f32 * 2.4 - 2.4));
                let rect = Rect::new(centre, lot.axis, dice.between(4.0, 9.0), 1.6);
                solids.push(solid(rect, 0.0, dice.between(0.8, 2.2), Top::Plain, colour, present, None));
            }
        }
        for _ in 0..vehicles {
            let Some(at) = place(dice, 3.0) else { continue };
            let axis = lot.axis.plus(lot.axis.left().times(dice.between(-0.6, 0.6))).unit();
            let colour = dice.pick(&[MACHINE, BLUE_ROOF, WHITE_ROOF, scaled(RED_TILES, 0.9)], MACHINE);
            solids.push(solid(Rect::new(at, axis, 7.5, 2.5), 0.4, 2.6, Top::Plain, colour, present, None));
            let cab = at.plus(axis.times(4.6));
            solids.push(solid(Rect::new(cab, axis, 1.8, 2.3), 0.4, 2.9, Top::Plain, WHITE_ROOF, present, None));
        }
        for _ in 0..cranes {
            let Some(at) = place(dice, 2.5) else { continue };
            solids.push(solid(Rect::new(at, lot.axis, 2.0, 2.0), 0.0, 27.0, Top::Plain, MACHINE, present, None));
            let swing = Point::of_bearing(f64::from(dice.between(0.0, 360.0)));
            let jib = Rect::new(at.plus(swing.times(13.0)), swing, 42.0, 1.3);
            solids.push(solid(jib, 25.5, 27.0, Top::Plain, MACHINE, present, None));
            let weight = Rect::new(at.minus(swing.times(7.0)), swing, 3.0, 2.6);
            solids.push(solid(weight, 24.0, 27.0, Top::Plain, CONCRETE, present, None));
        }
        for _ in 0..heaps {
            let Some(at) = place(dice, 7.0) else { continue };
            let side = dice.between(7.0, 13.0);
            let rect = Rect::new(at, lot.axis, side * dice.between(1.0, 1.5), side);
            solids.push(solid(
                rect,
                0.0,
                side * 0.3,
                Top::Heap,
                scaled(SUBSOIL, dice.between(0.75, 1.0)),
                present,
                None,
            ));
        }
        if present == Present::Always || phase != Phase::GroundWorks {
            solids.extend(wall(&lot, present));
        }
        self.solids.extend(solids);
        self.connect_lot(&lot, present);
    }

    fn hall(&mut self, hall: Rect, phase: Phase, present: Present, site: u16, dice: &mut Dice) {
        let height = dice.between(8.0, 11.0);
        match phase {
            Phase::GroundWorks => {
                let ground = if dice.chance(0.5) { Ground::Excavation } else { Ground::Foundation };
                self.add_patch(polygon(&hall), ground, present, hall.axis, None);
            }
            Phase::Frames => {
                self.add_patch(polygon(&hall.grown(1.5)), Ground::Foundation, present, hall.axis, None);
                self.solids.push(solid(
                    hall,
                    0.0,
                    height,
                    Top::Frame,
                    blend(CONCRETE, STEEL, 0.25),
                    present,
                    Some(site),
                ));
            }
            Phase::Roofed => {
                let colour = dice.pick(&[BLUE_ROOF, BLUE_ROOF, GREY_ROOF, WHITE_ROOF], BLUE_ROOF);
                self.solids.push(solid(hall, 0.0, height, Top::Metal, colour, present, Some(site)));
            }
        }
    }
}

/// Where the halls stand: in rows along the lot, in two columns where there are many.
fn hall_places(lot: &Rect, halls: u32, dice: &mut Dice) -> Vec<Rect> {
    let cols = if halls > 3 { 2 } else { 1 };
    let rows = halls.div_ceil(cols).max(1);
    let (cell_length, cell_width) =
        ((2.0 * lot.half_length - 16.0) / cols as f32, (2.0 * lot.half_width - 14.0) / rows as f32);
    let mut places = Vec::new();
    for index in 0..halls {
        let (row, col) = (index / cols, index % cols);
        let width = (cell_width * dice.between(0.52, 0.66)).clamp(15.0, 45.0);
        let length = (cell_length * dice.between(0.74, 0.86)).min(cell_length - 8.0).min(5.8 * width);
        // Halls are elongated: at least twice as long as wide.
        let width = width.min(length / 2.1).max(15.0);
        let x = (col as f32 + 0.5) * cell_length - cell_length * cols as f32 / 2.0 + dice.between(-2.0, 2.0);
        let y = (row as f32 + 0.5) * cell_width - cell_width * rows as f32 / 2.0 + dice.between(-1.0, 1.0);
        places.push(Rect::new(lot.at(x, y), lot.axis, length, width));
    }
    places
}

/// Not every hall is equally far: the last one lags behind.
fn hall_phase(phase: Phase, index: usize, halls: usize) -> Phase {
    match phase {
        Phase::Roofed if halls > 2 && index + 1 == halls => Phase::Frames,
        Phase::Frames if halls > 3 && index + 1 == halls => Phase::GroundWorks,
        other => other,
    }
}

fn wall(lot: &Rect, present: Present) -> Vec<Solid> {
    let (a, b) = (lot.half_length * 0.97, lot.half_width * 0.965);
    let sides = [
        (lot.at(0.0, -b), lot.axis, 2.0 * a),
        (lot.at(0.0, b), lot.axis, 2.0 * a),
        (lot.at(-a, 0.0), lot.axis.left(), 2.0 * b),
        (lot.at(a, b * 0.3), lot.axis.left(), 1.4 * b),
    ];
    sides
        .into_iter()
        .map(|(centre, axis, length)| {
            solid(Rect::new(centre, axis, length, 0.6), 0.0, 2.2, Top::Plain, CONCRETE, present, None)
        })
        .collect()
}

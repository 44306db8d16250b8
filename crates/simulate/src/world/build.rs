//! Builders: a village, a town, a greenhouse farm, a station; a factory on its lot has a room of its own.

mod factory;

pub use factory::FactoryPlan;

use super::{Ground, Outline, Patch, Phase, Present, Site, SiteClass, Solid, Top, Tree, Way, WayKind, World};
use crate::covers::{CONCRETE, Crop, FELT, FILM, GREY_ROOF, GREY_TILES, RED_TILES, Spectrum, scaled};
use crate::geometry::{Convex, Point, Rect, point, to_line};
use crate::noise::Dice;

impl World {
    fn add_patch(&mut self, outline: Outline, ground: Ground, present: Present, axis: Point, site: Option<u16>) {
        self.patches.push(Patch { outline, ground, present, axis, site });
    }

    fn add_site(
        &mut self,
        name: &str,
        class: SiteClass,
        phase: Option<Phase>,
        present: Present,
        outline: &Outline,
    ) -> u16 {
        self.sites.push(Site { name: name.to_owned(), class, phase, present, outline: outline.clone() });
        (self.sites.len() - 1) as u16
    }

    /// Whether a point keeps clear of all lots by a distance.
    #[must_use]
    pub fn clear_of_sites(&self, p: Point, by: f32) -> bool {
        self.sites.iter().all(|site| site.outline.depth(p, self.seed) < -by)
    }

    /// A track from a place to the nearest road.
    fn connect(&mut self, from: Point, present: Present) {
        let mut best: Option<(f32, Point)> = None;
        for way in self.ways.iter().filter(|way| way.kind == WayKind::Road) {
            for (&a, &b) in way.line.iter().zip(way.line.iter().skip(1)) {
                for step in 0..=8 {
                    let p = a.plus(b.minus(a).times(step as f32 / 8.0));
                    let distance = p.minus(from).length();
                    // Not through other lots, and not through the river.
                    let free = || {
                        (1..=24).all(|i| {
                            let at = from.plus(p.minus(from).times(i as f32 / 24.0));
                            self.clear_of_sites(at, 8.0) && self.distance_to(WayKind::River, at) > 24.0
                        })
                    };
                    if best.is_none_or(|(least, _)| distance < least) && free() {
                        best = Some((distance, p));
                    }
                }
            }
        }
        if let Some((distance, to)) = best
            && distance < 900.0
        {
            let bend = from.plus(to.minus(from).times(0.5)).plus(to.minus(from).left().times(0.06));
            self.ways.push(Way {
                kind: WayKind::Track,
                line: crate::geometry::smooth(&[from, bend, to]),
                half_width: 2.4,
                present,
            });
        }
    }

    /// A track from the side of a lot that is nearest to a road.
    fn connect_lot(&mut self, lot: &Rect, present: Present) {
        let gates = [(1.0, 0.3), (-1.0, -0.3), (0.2, 1.0), (-0.2, -1.0)]
            .map(|(x, y)| lot.at(x * (lot.half_length + 12.0), y * (lot.half_width + 12.0)));
        let distance = |p: &Point| self.distance_to(WayKind::Road, *p);
        let nearest = gates.iter().copied().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        if let Some(gate) = nearest {
            let inward = gate.plus(lot.centre.minus(gate).unit().times(14.0));
            self.ways.push(Way { kind: WayKind::Track, line: vec![inward, gate], half_width: 2.4, present });
            self.connect(gate, present);
        }
    }

    /// Builds a village or an estate: rows of houses with gardens along lanes.
    #[allow(clippy::too_many_arguments, reason = "a plan of this few plain numbers would only be unpacked again")]
    pub fn settlement(
        &mut self,
        name: &str,
        centre: Point,
        axis: Point,
        (cols, rows): (u32, u32),
        (along, across): (f32, f32),
        present: Present,
        dice: &mut Dice,
    ) {
        let block = Rect::new(centre, axis, cols as f32 * along + 8.0, rows as f32 * across + 8.0);
        let outline = polygon(&block);
        let site = self.add_site(name, SiteClass::Residential, None, present, &outline);
        if present == Present::After {
            self.add_patch(outline.clone(), Ground::Field(Crop::Soy), Present::Before, axis, None);
        }
        self.add_patch(outline, Ground::Village, present, axis, Some(site));
        let tiles = dice.pick(&[RED_TILES, GREY_TILES, RED_TILES], GREY_TILES);
        for row in 0..rows {
            let y = (row as f32 + 0.5) * across - block.half_width + 4.0;
            for col in 0..cols {
                if present == Present::Always && dice.chance(0.12) {
                    continue;
                }
                let x = (col as f32 + 0.5) * along - block.half_length + 4.0;
                let jitter = if present == Present::Always { 1.8 } else { 0.3 };
                let at = block.at(x + dice.between(-jitter, jitter), y + dice.between(-jitter, jitter));
                let turned = axis.plus(axis.left().times(dice.between(-0.04, 0.04))).unit();
                let house = Rect::new(at, turned, dice.between(9.0, 11.5).min(along - 4.0), dice.between(6.2, 7.4));
                let colour = scaled(if dice.chance(0.75) { tiles } else { GREY_TILES }, dice.between(0.8, 1.25));
                self.solids.push(solid(house, 0.0, dice.between(3.8, 4.8), Top::Gable, colour, present, Some(site)));
                if dice.chance(if present == Present::Always { 0.8 } else { 0.15 }) {
                    let shed = Rect::new(at.plus(axis.left().times(dice.between(6.5, 8.5))), axis, 4.0, 2.6);
                    self.solids.push(solid(
                        shed,
                        0.0,
                        2.2,
                        Top::Plain,
                        scaled(FELT, dice.between(0.6, 1.2)),
                        present,
                        None,
                    ));
                }
                for _ in 0..2 {
                    if dice.chance(if present == Present::Always { 0.5 } else { 0.1 }) {
                        let off =
                            axis.times(dice.between(-8.0, 8.0)).plus(axis.left().times(dice.between(-11.0, -5.0)));
                        self.trees.push(Tree {
                            at: at.plus(off),
                            radius_m: dice.between(1.4, 2.8),
                            height_m: dice.between(3.0, 6.5),
                            present,
                        });
                    }
                }
            }
            let lane = y - across * 0.5;
            self.ways.push(Way {
                kind: WayKind::Track,
                line: vec![block.at(-block.half_length, lane), block.at(block.half_length, lane)],
                half_width: 1.7,
                present,
            });
        }
        self.connect_lot(&block, present);
    }

    /// Builds a town: blocks of flats around a square, with houses behind.
    pub fn town(&mut self, name: &str, centre: Point, axis: Point, dice: &mut Dice) {
        let block = Rect::new(centre, axis, 420.0, 300.0);
        let outline = polygon(&block);
        let site = self.add_site(name, SiteClass::Residential, None, Present::Always, &outline);
        self.add_patch(outline, Ground::Village, Present::Always, axis, Some(site));
        self.add_patch(polygon(&Rect::new(centre, axis, 76.0, 56.0)), Ground::Yard, Present::Always, axis, None);
        self.add_patch(
            polygon(&Rect::new(block.at(0.0, 44.0), axis, 76.0, 26.0)),
            Ground::Lawn,
            Present::Always,
            axis,
            None,
        );
        for (across, half_width) in [(-30.0, 3.4), (62.0, 3.0), (-95.0, 2.6)] {
            let line = vec![block.at(-block.half_length, across), block.at(block.half_length, across)];
            self.ways.push(Way { kind: WayKind::Road, line, half_width, present: Present::Always });
        }
        for along in [-46.0, 46.0, 140.0, -140.0] {
            let line = vec![block.at(along, -block.half_width), block.at(along, block.half_width)];
            self.ways.push(Way { kind: WayKind::Road, line, half_width: 2.8, present: Present::Always });
        }
        let flats = [
            (-93.0, 8.0),
            (-93.0, 38.0),
            (93.0, 8.0),
            (93.0, 40.0),
            (-93.0, -62.0),
            (0.0, -62.0),
            (93.0, -62.0),
            (0.0, 88.0),
            (-93.0, 88.0),
            (180.0, 20.0),
            (-180.0, 30.0),
        ];
        for (x, y) in flats {
            let length = dice.between(36.0, 62.0);
            let rect = Rect::new(block.at(x, y), axis, length, dice.between(10.0, 13.0));
            let colour = scaled(FELT, dice.between(0.8, 1.4));
            let height = dice.between(9.0, 17.0);
            self.solids.push(solid(rect, 0.0, height, Top::Flat, colour, Present::Always, Some(site)));
        }
        for x in 0..24 {
            for y in 0..14 {
                let at = block.at(x as f32 * 17.0 - 196.0, y as f32 * 21.0 - 138.0);
                let taken = self.solids.iter().any(|other| {
                    let q = other.rect.local(at);
                    q.x.abs() < other.rect.half_length + 9.0 && q.y.abs() < other.rect.half_width + 8.0
                });
                let on_road = self.ways.iter().any(|way| to_line(at, &way.line) < way.half_width + 6.5);
                if taken || on_road || block.local(at).y.abs() < 62.0 && block.local(at).x.abs() < 50.0 {
                    continue;
                }
                if dice.chance(0.25) {
                    self.trees.push(Tree {
                        at,
                        radius_m: dice.between(1.8, 3.6),
                        height_m: dice.between(4.0, 9.0),
                        present: Present::Always,
                    });
                    continue;
                }
                let house = Rect::new(at, axis, dice.between(8.0, 12.0), dice.between(6.0, 8.0));
                let colour = scaled(dice.pick(&[RED_TILES, GREY_TILES, FELT], FELT), dice.between(0.75, 1.2));
                self.solids.push(solid(
                    house,
                    0.0,
                    dice.between(3.8, 6.5),
                    Top::Gable,
                    colour,
                    Present::Always,
                    Some(site),
                ));
            }
        }
    }

    /// Builds a greenhouse farm: many narrow arches of film side by side.
    pub fn greenhouses(&mut self, name: &str, lot: Rect, present: Present, dice: &mut Dice) {
        let outline = polygon(&lot);
        let site = self.add_site(name, SiteClass::Greenhouse, None, present, &outline);
        if present == Present::After {
            self.add_patch(outline.clone(), Ground::Field(Crop::Maize), Present::Before, lot.axis, None);
        }
        self.add_patch(outline, Ground::Village, present, lot.axis, Some(site));
        let rows = ((2.0 * lot.half_width - 6.0) / 11.0) as u32;
        for row in 0..rows {
            let y = (row as f32 + 0.5) * 11.0 - lot.half_width + 3.0;
            for side in [-1.0, 1.0] {
                let length = lot.half_length - 9.0;
                let rect = Rect::new(lot.at(side * (length / 2.0 + 4.0), y), lot.axis, length, 8.0);
                let colour = scaled(FILM, dice.between(0.92, 1.06));
                self.solids.push(solid(rect, 0.0, 3.1, Top::Film, colour, present, Some(site)));
            }
        }
        let boiler = Rect::new(lot.at(0.0, lot.half_width - 6.0), lot.axis, 7.0, 6.0);
        self.solids.push(solid(boiler, 0.0, 5.0, Top::Flat, FELT, present, None));
        self.connect_lot(&lot, present);
    }

    /// A flood, a pond or a burn scar: much changed, nothing built.
    pub fn blob(&mut self, name: &str, centre: Point, radius: f32, ground: Ground, present: Present) {
        let outline = Outline::Blob(centre, radius, 0.45);
        let site = (present == Present::After).then(|| self.add_site(name, SiteClass::Other, None, present, &outline));
        self.add_patch(outline, ground, present, point(1.0, 0.0), site);
    }

    /// A railway station: building, platform, gravel, and its point.
    pub fn station(&mut self, name: &str, at: Point, rail: Point) {
        self.places.push(super::Place { name: name.to_owned(), at, kind: "railway_station" });
        let yard = Rect::new(at.plus(rail.left().times(14.0)), rail, 130.0, 46.0);
        self.add_patch(polygon(&yard), Ground::Gravel, Present::Always, rail, None);
        let siding = |offset: f32| vec![yard.at(-95.0, offset), yard.at(95.0, offset)];
        for offset in [-8.0, -3.5] {
            self.ways.push(Way {
                kind: WayKind::Rail,
                line: siding(offset),
                half_width: 1.9,
                present: Present::Always,
            });
        }
        for (along, across, length, width, height, colour) in [
            (0.0, 12.0, 38.0, 11.0, 6.5, RED_TILES),
            (40.0, 10.0, 18.0, 9.0, 4.5, GREY_TILES),
            (-38.0, 9.0, 24.0, 8.0, 5.0, GREY_ROOF),
        ] {
            let rect = Rect::new(yard.at(along, across), rail, length, width);
            self.solids.push(solid(rect, 0.0, height, Top::Gable, colour, Present::Always, None));
        }
        let platform = Rect::new(yard.at(0.0, 2.0), rail, 110.0, 4.5);
        self.solids.push(solid(platform, 0.0, 0.9, Top::Plain, CONCRETE, Present::Always, None));
        for wagon in 0..6 {
            let rect = Rect::new(yard.at(wagon as f32 * 14.0 - 30.0, -3.5), rail, 12.5, 2.8);
            self.solids.push(solid(rect, 0.8, 3.4, Top::Plain, scaled(RED_TILES, 0.7), Present::Always, None));
        }
        self.connect(yard.at(0.0, 22.0), Present::Always);
    }

    /// Trees along the roads and in thin lines between fields.
    pub fn roadside_trees(&mut self, dice: &mut Dice) {
        let mut trees = Vec::new();
        for way in self.ways.iter().filter(|way| matches!(way.kind, WayKind::Road | WayKind::Ditch)) {
            for (&a, &b) in way.line.iter().zip(way.line.iter().skip(1)) {
                let (length, direction) = (b.minus(a).length(), b.minus(a).unit());
                let mut along = dice.between(2.0, 12.0);
                while along < length {
                    let at = a.plus(direction.times(along));
                    for side in [-1.0, 1.0] {
                        let p = at.plus(direction.left().times(side * (way.half_width + dice.between(2.0, 3.6))));
                        if dice.chance(0.55) && self.clear_of_sites(p, 9.0) {
                            let radius_m = dice.between(1.2, 2.9);
                            trees.push(Tree { at: p, radius_m, height_m: radius_m * 3.0, present: Present::Always });
                        }
                    }
                    along += dice.between(7.0, 15.0);
                }
            }
        }
        self.trees.extend(trees);
    }
}

/// The polygon of a rectangle.
#[must_use]
pub fn polygon(rect: &Rect) -> Outline {
    Outline::Polygon(Convex(rect.corners().to_vec()))
}

fn solid(
    rect: Rect,
    base_m: f32,
    height_m: f32,
    top: Top,
    colour: Spectrum,
    present: Present,
    site: Option<u16>,
) -> Solid {
    Solid { rect, base_m, height_m, top, colour, present, site }
}

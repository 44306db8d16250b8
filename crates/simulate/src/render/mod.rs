//! From a world to what its surface reflects towards a satellite, and to labels of its truth.

pub mod canvas;
mod ground;
mod lattice;
mod things;

use canvas::{Canvas, Frame, Sample};
use ground::GroundPainter;

use crate::covers::{Season, Spectrum};
use crate::geometry::{Bounds, Point};
use crate::world::{Epoch, World};

/// Where the light comes from and where the satellite looks from.
#[derive(Clone, Copy, Debug)]
pub struct Light {
    /// Unit vector to the sun, over the ground.
    pub to_sun: Point,
    /// Where the shadow of a thing 1 m tall ends.
    pub shadow: Point,
    /// Where the top of a thing 1 m tall appears in the image.
    pub lean: Point,
}

impl Light {
    /// From the angles of a STAC item: azimuths clockwise from north, the sun's and that of the satellite as seen from
    /// the ground; degrees.
    #[must_use]
    pub fn new(sun_azimuth: f64, sun_elevation: f64, view_azimuth: f64, off_nadir: f64) -> Self {
        let to_sun = Point::of_bearing(sun_azimuth);
        let length = 1.0 / libm::tan(sun_elevation.to_radians()) as f32;
        let lean = libm::tan(off_nadir.to_radians()) as f32;
        // The top of a mast hides the ground behind it, on the side away from the satellite.
        Self { to_sun, shadow: to_sun.times(-length), lean: Point::of_bearing(view_azimuth).times(-lean) }
    }
}

/// Skylight by band: what is left in the shade.
const SKYLIGHT: Spectrum = [0.42, 0.34, 0.29, 0.22];

/// A world at a date in a light.
pub struct Renderer<'a> {
    world: &'a World,
    epoch: Epoch,
    season: Season,
    light: Light,
    /// Things in the order in which they are drawn, with the box that each may touch.
    solids: Vec<(Bounds, usize)>,
    trees: Vec<(Bounds, usize)>,
}

impl<'a> Renderer<'a> {
    /// Prepares a world.
    #[must_use]
    pub fn new(world: &'a World, epoch: Epoch, season: Season, light: Light) -> Self {
        let mut order: Vec<usize> =
            (0..world.solids.len()).filter(|&i| world.solids.get(i).is_some_and(|s| s.present.at(epoch))).collect();
        let height = |i: &usize| world.solids.get(*i).map_or(0.0, |solid| solid.height_m);
        order.sort_by(|a, b| height(a).total_cmp(&height(b)).then(a.cmp(b)));
        let solids = order
            .into_iter()
            .filter_map(|i| world.solids.get(i).map(|solid| (things::solid_reach(solid, &light), i)))
            .collect();
        let trees = world
            .trees
            .iter()
            .enumerate()
            .filter(|(_, tree)| tree.present.at(epoch))
            .map(|(i, tree)| (things::tree_reach(tree, &light), i))
            .collect();
        Self { world, epoch, season, light, solids, trees }
    }

    /// Samples over a frame.
    #[must_use]
    pub fn canvas(&self, frame: Frame) -> Canvas {
        let view = frame.bounds();
        let ground = GroundPainter::new(self.world, self.epoch, self.season, self.light, &view);
        let mut canvas = Canvas::new(frame, |p| ground.land(p));
        for way in self.world.ways.iter().filter(|way| way.present.at(self.epoch) && way.kind.is_water()) {
            ground.way(&mut canvas, way);
        }
        for patch in self.world.patches.iter().filter(|patch| patch.present.at(self.epoch)) {
            if patch.outline.bounds().touches(&view) {
                ground.patch(&mut canvas, patch);
            }
        }
        for way in self.world.ways.iter().filter(|way| way.present.at(self.epoch) && !way.kind.is_water()) {
            ground.way(&mut canvas, way);
        }
        let solids = || {
            self.solids
                .iter()
                .filter(|(bounds, _)| bounds.touches(&view))
                .filter_map(|(_, i)| self.world.solids.get(*i))
        };
        let trees = || {
            self.trees.iter().filter(|(bounds, _)| bounds.touches(&view)).filter_map(|(_, i)| self.world.trees.get(*i))
        };
        for tree in trees() {
            things::tree_shadow(&mut canvas, tree, &self.light);
        }
        for solid in solids() {
            things::solid_shadow(&mut canvas, solid, &self.light);
        }
        for solid in solids() {
            things::solid_body(&mut canvas, solid, self.world, &self.light);
        }
        for tree in trees() {
            things::tree_crown(&mut canvas, tree, self.world, &self.light, self.season);
        }
        canvas
    }
}

/// What a sample sends towards the satellite, without the atmosphere.
#[must_use]
pub fn radiance(sample: &Sample) -> Spectrum {
    std::array::from_fn(|band| {
        sample.reflectance[band].max(0.0) * (SKYLIGHT[band] + (1.0 - SKYLIGHT[band]) * sample.sunlight)
    })
}

/// Which lot each point of a frame lies in, on the ground: index + 1 of the site, 0 for none. Nothing leans here.
#[must_use]
pub fn lots(world: &World, epoch: Epoch, frame: Frame) -> Vec<u16> {
    let mut canvas = Canvas::new(frame, |_| Sample::default());
    for patch in world.patches.iter().filter(|patch| patch.present.at(epoch)) {
        let Some(site) = patch.site else { continue };
        canvas.paint(&patch.outline.bounds(), |sample, p| {
            if patch.outline.depth(p, world.seed) >= 0.0 {
                sample.site = site + 1;
            }
        });
    }
    canvas.samples.iter().map(|sample| sample.site).collect()
}

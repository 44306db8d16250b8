//! A world whose truth is known: fields, woods, water, ways, buildings, and what changed between two dates.

pub mod build;
pub mod layout;
pub mod parcels;

use crate::covers::{Crop, Spectrum};
use crate::geometry::{Bounds, Convex, Point, Rect, to_line};
use crate::noise::fractal;
use parcels::Parcels;

/// Before or after the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Epoch {
    /// The earlier date.
    Before,
    /// The later date.
    After,
}

/// At which dates a thing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// At both.
    Always,
    /// At the earlier only.
    Before,
    /// At the later only: it was built.
    After,
}

impl Present {
    /// Whether it is there.
    #[must_use]
    pub fn at(self, epoch: Epoch) -> bool {
        match self {
            Self::Always => true,
            Self::Before => epoch == Epoch::Before,
            Self::After => epoch == Epoch::After,
        }
    }
}

/// How a piece of ground looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ground {
    /// A field with this crop, whatever the parcels say.
    Field(Crop),
    /// Stripped soil with tracks of machines.
    Construction,
    /// Concrete, with joints and stains.
    Yard,
    /// Trodden earth with gardens: the floor of a village.
    Village,
    /// Gravel and ballast.
    Gravel,
    /// Pits and trenches for foundations.
    Excavation,
    /// Concrete slabs and footings.
    Foundation,
    /// Lawn.
    Lawn,
    /// Open water with a ragged edge.
    Pond,
    /// Muddy water that stands on fields.
    Flood,
    /// Charred.
    Burnt,
}

/// The outline of a piece of ground.
#[derive(Clone, Debug)]
pub enum Outline {
    /// A convex polygon.
    Polygon(Convex),
    /// A round thing with a ragged edge: centre, radius, and how ragged (share of the radius).
    Blob(Point, f32, f32),
}

impl Outline {
    /// A box around it.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        match self {
            Self::Polygon(polygon) => Bounds::of(polygon.0.iter().copied()),
            Self::Blob(centre, radius, ragged) => Bounds::of([*centre]).grown(radius * (1.0 + ragged)),
        }
    }

    /// Distance to the border, metres, positive inside.
    #[must_use]
    pub fn depth(&self, p: Point, seed: u32) -> f32 {
        match self {
            Self::Polygon(polygon) => polygon.depth(p),
            Self::Blob(centre, radius, ragged) => {
                let wave = fractal(p.x / (radius * 0.5), p.y / (radius * 0.5), seed ^ 0x0b10b, 4) - 0.5;
                radius * (1.0 + 2.0 * ragged * wave) - p.minus(*centre).length()
            }
        }
    }
}

/// A piece of ground that overrules the parcels.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Where.
    pub outline: Outline,
    /// How it looks.
    pub ground: Ground,
    /// When.
    pub present: Present,
    /// Direction of its rows, joints and tracks.
    pub axis: Point,
    /// Index of the site in [`World::sites`] whose lot this is.
    pub site: Option<u16>,
}

/// A line on the ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayKind {
    /// Asphalt with shoulders.
    Road,
    /// Two ruts.
    Track,
    /// A railway on ballast.
    Rail,
    /// Water between sandy banks.
    River,
    /// A ditch with reeds.
    Ditch,
}

impl WayKind {
    /// Whether patches lie over it rather than under it.
    #[must_use]
    pub fn is_water(self) -> bool {
        matches!(self, Self::River | Self::Ditch)
    }
}

/// A road, railway, river or ditch.
#[derive(Clone, Debug)]
pub struct Way {
    /// What it is.
    pub kind: WayKind,
    /// Its course.
    pub line: Vec<Point>,
    /// Half its width, metres.
    pub half_width: f32,
    /// When.
    pub present: Present,
}

/// What covers a building or an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Top {
    /// Two slopes with a ridge along the length.
    Gable,
    /// Ribbed metal sheets over two low slopes, with skylights.
    Metal,
    /// A parapet and things on the roof.
    Flat,
    /// No roof yet: columns, beams, and the ground between.
    Frame,
    /// An arch of plastic film.
    Film,
    /// A plain box: stacks, vehicles, cranes.
    Plain,
    /// A heap without edges.
    Heap,
}

/// Something that stands up: it leans in the image, and casts a shadow.
#[derive(Clone, Debug)]
pub struct Solid {
    /// Its outline on the ground.
    pub rect: Rect,
    /// Height of its underside, metres.
    pub base_m: f32,
    /// Height of its top, metres.
    pub height_m: f32,
    /// Its roof.
    pub top: Top,
    /// Colour of the roof.
    pub colour: Spectrum,
    /// When.
    pub present: Present,
    /// Index of the site in [`World::sites`] that it is a building of.
    pub site: Option<u16>,
}

/// A tree that stands alone.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// Its trunk.
    pub at: Point,
    /// Radius of the crown, metres.
    pub radius_m: f32,
    /// Height, metres.
    pub height_m: f32,
    /// When.
    pub present: Present,
}

/// What a site is, in the words of the survey's classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteClass {
    /// A factory.
    Factory,
    /// Housing.
    Residential,
    /// Greenhouses.
    Greenhouse,
    /// Nothing that was built: a flood, a burn scar.
    Other,
}

impl SiteClass {
    /// The class's name in `truth.geojson`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Factory => "factory",
            Self::Residential => "residential",
            Self::Greenhouse => "greenhouse",
            Self::Other => "other",
        }
    }
}

/// How far a factory has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Stripped soil, pits, footings.
    GroundWorks,
    /// Columns and beams.
    Frames,
    /// Roofs.
    Roofed,
}

impl Phase {
    /// The phase's name in `truth.geojson`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GroundWorks => "ground works",
            Self::Frames => "frames",
            Self::Roofed => "roofed",
        }
    }
}

/// A lot: what the survey is to find, or to leave alone.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name in `truth.geojson`.
    pub name: String,
    /// What it is.
    pub class: SiteClass,
    /// How far it has come, for factories.
    pub phase: Option<Phase>,
    /// When: [`Present::After`] is a change.
    pub present: Present,
    /// Its ground.
    pub outline: Outline,
}

/// A named point.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Where.
    pub at: Point,
    /// `railway_station`, `town`, `greenhouse`, `factory`.
    pub kind: &'static str,
}

/// A wooded hill.
#[derive(Clone, Copy, Debug)]
pub struct Hill {
    /// Its top.
    pub at: Point,
    /// Where it ends, metres.
    pub radius_m: f32,
}

/// A world.
pub struct World {
    /// Decides every detail.
    pub seed: u32,
    /// Where it lies; beyond, its pattern goes on without things.
    pub bounds: Bounds,
    /// The fields.
    pub parcels: Parcels,
    /// Wooded hills.
    pub hills: Vec<Hill>,
    /// Pieces of ground, later ones over earlier ones.
    pub patches: Vec<Patch>,
    /// Ways, later ones over earlier ones.
    pub ways: Vec<Way>,
    /// Buildings and other things that stand up.
    pub solids: Vec<Solid>,
    /// Single trees.
    pub trees: Vec<Tree>,
    /// The lots.
    pub sites: Vec<Site>,
    /// Stations, towns, farms and factories that are known.
    pub places: Vec<Place>,
}

/// Above this elevation there is wood.
pub const WOOD_LINE: f32 = 0.52;

impl World {
    /// How high the land lies: 0 in the plain, about 1 on a top.
    #[must_use]
    pub fn elevation(&self, p: Point) -> f32 {
        let mut elevation = 0.0f32;
        let spur = fractal(p.x / 330.0, p.y / 330.0, self.seed ^ 0x4e0, 3);
        for hill in &self.hills {
            let share = 1.0 - p.minus(hill.at).length() / (hill.radius_m * (0.55 + 0.9 * spur));
            if share > 0.0 {
                elevation = elevation.max(share * share * (3.0 - 2.0 * share));
            }
        }
        // Ridges and gullies: noise folded at its middle.
        let rough = 1.0 - 2.0 * (fractal(p.x / 260.0, p.y / 260.0, self.seed ^ 0x4e1, 4) - 0.5).abs();
        elevation * (0.5 + 0.75 * rough) + 0.10 * rough
    }

    /// Distance to the nearest way of a kind, metres.
    #[must_use]
    pub fn distance_to(&self, kind: WayKind, p: Point) -> f32 {
        self.ways.iter().filter(|way| way.kind == kind).map(|way| to_line(p, &way.line)).fold(f32::MAX, f32::min)
    }
}

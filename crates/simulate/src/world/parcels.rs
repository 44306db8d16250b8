//! The patchwork of fields: the plane split again and again by slightly crooked lines until a parcel is small enough, so
//! that fields have the straight, unequal, roughly right-angled shapes of real ones.

use crate::covers::Crop;
use crate::geometry::{Bounds, Convex, Point, point};
use crate::noise::{Dice, hash2, mix, unit};

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct Parcel {
    /// Its own hash.
    pub hash: u32,
    /// Direction of its rows.
    pub axis: Point,
    /// Width of the strips that it is divided into, metres.
    pub strip_m: f32,
    /// What grew before.
    pub before: Crop,
    /// What grows after.
    pub after: Crop,
    /// Distance kept from its border by the crop, metres.
    pub margin_m: f32,
}

enum Node {
    Split { normal: Point, offset: f32, below: u32, above: u32, lane: bool },
    Leaf(u32),
}

/// All fields.
pub struct Parcels {
    nodes: Vec<Node>,
    leaves: Vec<Parcel>,
}

/// A place among the fields.
#[derive(Clone, Copy)]
pub struct Here<'a> {
    /// Its field.
    pub parcel: &'a Parcel,
    /// Distance to the field's border, metres.
    pub depth: f32,
    /// Distance to the nearest lane between blocks of fields, metres.
    pub to_lane: f32,
}

/// Where rice is grown: 0 nowhere, 1 everywhere.
pub type Wetness<'a> = dyn Fn(Point) -> f32 + 'a;

impl Parcels {
    /// Splits `bounds`; `heading` is the general direction of the fields.
    #[must_use]
    pub fn new(bounds: Bounds, heading: Point, seed: u64, wetness: &Wetness) -> Self {
        let outline =
            Convex(vec![bounds.min, point(bounds.max.x, bounds.min.y), bounds.max, point(bounds.min.x, bounds.max.y)]);
        let mut parcels = Self { nodes: Vec::new(), leaves: Vec::new() };
        parcels.split(&outline, heading, &mut Dice::new(seed, 11), 0, wetness);
        parcels
    }

    fn split(&mut self, outline: &Convex, heading: Point, dice: &mut Dice, depth: u32, wetness: &Wetness) -> u32 {
        let index = self.nodes.len() as u32;
        let centre = outline.centre();
        let across = heading.left();
        let extent = |direction: Point| {
            let along = outline.0.iter().map(|p| p.dot(direction));
            along.fold((f32::MAX, f32::MIN), |(low, high), value| (low.min(value), high.max(value)))
        };
        let (length, width) = (extent(heading), extent(across));
        let wet = wetness(centre);
        let target = dice.between(3_000.0, 12_000.0) * (1.2 - 0.6 * wet);
        if depth >= 24 || outline.area() < f64::from(target) || outline.0.len() < 3 {
            let hash = dice.bits();
            let (before, after) = crops(hash, wet);
            let axis = if length.1 - length.0 > width.1 - width.0 { heading } else { across };
            self.leaves.push(Parcel {
                hash,
                axis,
                strip_m: if wet > 0.5 {
                    14.0 + 14.0 * unit(mix(hash ^ 21))
                } else {
                    30.0 + 60.0 * unit(mix(hash ^ 22))
                },
                before,
                after,
                margin_m: 0.5 + 0.9 * unit(mix(hash ^ 23)),
            });
            self.nodes.push(Node::Leaf(self.leaves.len() as u32 - 1));
            return index;
        }
        // Cut across the longer side, not quite in the middle and not quite at a right angle.
        let (direction, (low, high)) =
            if length.1 - length.0 > 0.8 * (width.1 - width.0) { (heading, length) } else { (across, width) };
        let tilt = dice.between(-0.06, 0.06) * if depth < 4 { 2.5 } else { 1.0 };
        let normal = direction.plus(direction.left().times(tilt)).unit();
        let at = low + (high - low) * dice.between(0.36, 0.64);
        let offset = centre.plus(direction.times(at - centre.dot(direction))).dot(normal);
        self.nodes.push(Node::Leaf(0));
        // Blocks of fields turn a little against each other.
        let turned = if depth < 5 { heading.plus(across.times(dice.between(-0.10, 0.10))).unit() } else { heading };
        let below = self.split(&outline.clipped(normal, offset), turned, dice, depth + 1, wetness);
        let above = self.split(&outline.clipped(normal.times(-1.0), -offset), turned, dice, depth + 1, wetness);
        if let Some(node) = self.nodes.get_mut(index as usize) {
            *node = Node::Split { normal, offset, below, above, lane: depth < 8 };
        }
        index
    }

    /// The deepest node of the tree that holds a whole box: where to begin to look for fields in it. Lines outside the
    /// box don't count for the distances that [`Parcels::at`] then gives.
    #[must_use]
    pub fn root_of(&self, bounds: &Bounds) -> u32 {
        let mut index = 0;
        while let Some(Node::Split { normal, offset, below, above, .. }) = self.nodes.get(index as usize) {
            let corners =
                [bounds.min, bounds.max, point(bounds.min.x, bounds.max.y), point(bounds.max.x, bounds.min.y)];
            let sides = corners.map(|corner| corner.dot(*normal) - offset);
            if sides.iter().all(|&side| side < 0.0) {
                index = *below;
            } else if sides.iter().all(|&side| side > 0.0) {
                index = *above;
            } else {
                break;
            }
        }
        index
    }

    /// The field at a place, looked for from a node on (0 is the whole).
    #[must_use]
    pub fn at(&self, root: u32, p: Point) -> Option<Here<'_>> {
        let (mut index, mut depth, mut to_lane) = (root, f32::MAX, f32::MAX);
        loop {
            match self.nodes.get(index as usize)? {
                Node::Leaf(leaf) => {
                    return self.leaves.get(*leaf as usize).map(|parcel| Here { parcel, depth, to_lane });
                }
                Node::Split { normal, offset, below, above, lane } => {
                    let side = p.dot(*normal) - offset;
                    depth = depth.min(side.abs());
                    if *lane {
                        to_lane = to_lane.min(side.abs());
                    }
                    index = if side <= 0.0 { *below } else { *above };
                }
            }
        }
    }
}

fn crops(hash: u32, wet: f32) -> (Crop, Crop) {
    let draw = |purpose: i32| {
        let luck = unit(hash2(hash as i32, purpose, 77));
        if unit(hash2(hash as i32, purpose, 78)) < wet * 0.9 {
            return Crop::Rice;
        }
        match luck {
            l if l < 0.32 => Crop::Maize,
            l if l < 0.52 => Crop::Vegetables,
            l if l < 0.68 => Crop::Soy,
            l if l < 0.82 => Crop::Wheat,
            l if l < 0.91 => Crop::Fallow,
            _ => Crop::Orchard,
        }
    };
    let before = draw(1);
    let perennial = matches!(before, Crop::Rice | Crop::Orchard | Crop::Fallow);
    // Rotation: a third of the annual crops change; some fields are just being ploughed on either date.
    let mut after = if !perennial && unit(mix(hash ^ 31)) < 0.35 { draw(2) } else { before };
    if after == Crop::Orchard && before != Crop::Orchard {
        after = Crop::Vegetables;
    }
    let ploughed = |purpose| before != Crop::Orchard && unit(mix(hash ^ purpose)) < 0.07;
    (if ploughed(41) { Crop::Ploughed } else { before }, if ploughed(42) { Crop::Ploughed } else { after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_of_the_size_of_fields_and_the_border_distance_is_a_distance() {
        let bounds = Bounds { min: point(0.0, 0.0), max: point(2000.0, 2000.0) };
        let parcels = Parcels::new(bounds, point(1.0, 0.0), 5, &|_| 0.0);
        let mean_ha = 400.0 / parcels.leaves.len() as f32;
        assert!((0.2..1.5).contains(&mean_ha), "{mean_ha}");
        let (mut x, mut hash, mut depth) = (1.0, None, 0.0f32);
        while x < 1999.0 {
            let Here { parcel, depth: here, .. } = parcels.at(0, point(x, 777.0)).unwrap();
            if hash.is_some_and(|hash| hash != parcel.hash) {
                assert!(depth < 0.5, "crossed into another field {depth} m from the border");
            }
            (hash, depth) = (Some(parcel.hash), here);
            x += 0.25;
        }
    }
}

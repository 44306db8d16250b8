//! The map: counties by what was found in them, and sites, as inline SVG on the survey's own grid.
//!
//! The grid's CRS is metric, so the scale bar holds, and no basemap is needed: borders, a graticule and the sites say
//! where things are. One unit of the drawing is `metres_per_unit` on the grid.

use std::fmt::Write as _;

use geo::{Area, BoundingRect, Centroid, Contains, Coord, LineString, MultiPolygon, Polygon, Rect, Simplify};
use rayon::prelude::*;
use serde::Serialize;
use survey::result::SiteClass;

use super::words;
use crate::ground::Ground;
use crate::summary::{CountySummary, Observed, Status};

/// Width of the drawing.
const WIDTH: f64 = 1000.0;
/// Bounds of its height.
const HEIGHT: (f64, f64) = (420.0, 1000.0);
/// Space around the counties.
const MARGIN: f64 = 36.0;
/// Most vertices of all borders together: what a browser draws without effort.
const VERTICES: usize = 60_000;
/// Most counties that get a label.
const LABELS: usize = 60;
/// Most letters of a label.
const LABEL_LETTERS: usize = 26;
/// Smallest gap that is hatched; below it the words say so.
const VISIBLE_GAP: f64 = 0.005;

/// The drawing.
#[derive(Debug, Serialize)]
pub struct MapView {
    width: f64,
    height: f64,
    metres_per_unit: f64,
    counties: Vec<MapCounty>,
    graticule: Vec<GraticuleLine>,
    sites: Vec<Marker>,
    extended: Vec<Spot>,
    scale: Scale,
}

#[derive(Debug, Serialize)]
struct MapCounty {
    id: String,
    name: String,
    /// `none`, `f0` to `f4` by the expected number of factories, or `waiting` or `working` while the survey runs.
    fill: &'static str,
    /// Share that was not compared, 0 to 1, where some of it was.
    gap: Option<f64>,
    unfinished: bool,
    tip: String,
    path: String,
    label: Option<Label>,
}

#[derive(Debug, Serialize)]
struct Label {
    text: String,
    x: f64,
    y: f64,
}

#[derive(Debug, Serialize)]
struct GraticuleLine {
    path: String,
    text: String,
    x: f64,
    y: f64,
    anchor: &'static str,
}

#[derive(Debug, Serialize)]
struct Marker {
    id: String,
    county: String,
    class: &'static str,
    x: f64,
    y: f64,
    size: f64,
    tip: String,
    outline: String,
    /// Its buildings, where it has a card.
    buildings: String,
    /// Whether the page has a card to jump to.
    card: bool,
    p_factory: f64,
}

#[derive(Debug, Serialize)]
struct Spot {
    x: f64,
    y: f64,
    tip: String,
}

#[derive(Debug, Serialize)]
struct Scale {
    units: f64,
    label: String,
}

/// The place of grid coordinates on the drawing.
struct Frame {
    west: f64,
    north: f64,
    metres_per_unit: f64,
    height: f64,
}

impl Frame {
    fn around(bounds: Rect<f64>) -> Self {
        let inner = WIDTH - 2.0 * MARGIN;
        let (w, h) = (bounds.width().max(1.0), bounds.height().max(1.0));
        let metres_per_unit = (w / inner).max(h / (HEIGHT.1 - 2.0 * MARGIN));
        let height = (h / metres_per_unit + 2.0 * MARGIN).clamp(HEIGHT.0, HEIGHT.1);
        Self {
            west: bounds.center().x - WIDTH / 2.0 * metres_per_unit,
            north: bounds.center().y + height / 2.0 * metres_per_unit,
            metres_per_unit,
            height,
        }
    }

    fn place(&self, at: Coord<f64>) -> (f64, f64) {
        ((at.x - self.west) / self.metres_per_unit, (self.north - at.y) / self.metres_per_unit)
    }

    fn shows(&self, (x, y): (f64, f64)) -> bool {
        (0.0..=WIDTH).contains(&x) && (0.0..=self.height).contains(&y)
    }

    fn path(&self, polygons: &MultiPolygon<f64>, decimals: u32) -> String {
        let mut path = String::new();
        for polygon in polygons {
            for ring in std::iter::once(polygon.exterior()).chain(polygon.interiors()) {
                self.line(&mut path, ring, decimals);
                path.push('Z');
            }
        }
        path
    }

    fn line(&self, path: &mut String, line: &LineString<f64>, decimals: u32) {
        for (index, at) in line.coords().enumerate() {
            let (x, y) = self.place(*at);
            let (x, y) = (rounded(x, decimals), rounded(y, decimals));
            let command = if index == 0 { 'M' } else { 'L' };
            // A string can always be written to.
            let _ = write!(path, "{command}{x} {y}");
        }
    }
}

fn rounded(value: f64, decimals: u32) -> f64 {
    crate::ground::round(value, decimals)
}

/// Draws the map; `None` where no county has a border.
#[must_use]
pub(crate) fn draw(counties: &[CountySummary<'_>], ground: &Ground, cards: &[&str]) -> Option<MapView> {
    let bounds = counties.iter().filter_map(|county| county.county.border.bounding_rect()).reduce(|a, b| {
        Rect::new(
            Coord { x: a.min().x.min(b.min().x), y: a.min().y.min(b.min().y) },
            Coord { x: a.max().x.max(b.max().x), y: a.max().y.max(b.max().y) },
        )
    })?;
    let frame = Frame::around(bounds);
    let tolerance = tolerance(counties, &frame);
    let labelled = counties.len() <= LABELS;
    let sites = markers(counties, &frame, ground, cards);
    Some(MapView {
        width: WIDTH,
        height: rounded(frame.height, 0),
        metres_per_unit: frame.metres_per_unit,
        counties: counties.iter().map(|county| draw_county(county, &frame, tolerance, labelled, &sites)).collect(),
        graticule: graticule(&frame, ground),
        extended: extended(counties, &frame, ground),
        scale: scale(&frame),
        sites,
    })
}

/// How far borders may be off so that they stay below [`VERTICES`], in metres.
fn tolerance(counties: &[CountySummary<'_>], frame: &Frame) -> f64 {
    let mut tolerance = frame.metres_per_unit / 20.0;
    for _ in 0..6 {
        let vertices: usize = counties.iter().map(|county| simplified(&county.county.border, tolerance).1).sum();
        if vertices <= VERTICES {
            break;
        }
        tolerance *= 2.0;
    }
    tolerance
}

fn simplified(border: &MultiPolygon<f64>, tolerance: f64) -> (MultiPolygon<f64>, usize) {
    let simple = border.simplify(tolerance);
    let vertices = simple.iter().map(|polygon| polygon.exterior().0.len()).sum();
    (simple, vertices)
}

fn draw_county(
    county: &CountySummary<'_>,
    frame: &Frame,
    tolerance: f64,
    labelled: bool,
    sites: &[Marker],
) -> MapCounty {
    let unfinished = matches!(county.status, Status::Failed | Status::Cancelled);
    let fill = match &county.finds {
        None if county.status == Status::Running => "working",
        None if county.status == Status::Pending => "waiting",
        None => "none",
        Some(finds) => match finds.factory_expected {
            expected if expected < 0.05 => "f0",
            expected if expected < 0.5 => "f1",
            expected if expected < 1.5 => "f2",
            expected if expected < 3.0 => "f3",
            _ => "f4",
        },
    };
    let gap = (county.observed == Observed::Part)
        .then(|| 1.0 - county.coverage_share().unwrap_or_default())
        .filter(|gap| *gap >= VISIBLE_GAP)
        .map(|gap| rounded(gap, 3));
    let tip = match &county.finds {
        None if county.status == Status::Running => "being surveyed now".to_owned(),
        None if county.status == Status::Pending => "not surveyed yet".to_owned(),
        None => "not observed: nothing can be said".to_owned(),
        Some(finds) => format!(
            "{}, {}; {} compared",
            words::counted(finds.sites, "site", "sites"),
            words::counted(finds.count(SiteClass::Factory), "factory", "factories"),
            words::percent_down(county.coverage.surveyed, county.coverage.total()),
        ),
    };
    MapCounty {
        id: county.county.id.0.clone(),
        name: county.county.name.clone(),
        fill,
        gap,
        unfinished,
        tip,
        path: frame.path(&simplified(&county.county.border, tolerance).0, 1),
        label: labelled.then(|| label(&county.county.name, &county.county.border, frame, sites)).flatten(),
    }
}

/// A county's name at the centroid of its largest part, or a little above or below it where a site's symbol is in the
/// way; none where the part is too narrow.
fn label(name: &str, border: &MultiPolygon<f64>, frame: &Frame, sites: &[Marker]) -> Option<Label> {
    let largest: &Polygon<f64> = border.iter().max_by(|a, b| a.unsigned_area().total_cmp(&b.unsigned_area()))?;
    let centre = largest.centroid()?;
    let width = largest.bounding_rect()?.width() / frame.metres_per_unit;
    if width < 70.0 || !largest.contains(&centre) {
        return None;
    }
    let mut text: String = name.chars().take(LABEL_LETTERS).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    let (x, y) = frame.place(centre.into());
    let half = 12.0 + 5.0 * text.chars().count() as f64;
    let is_free = |y: f64| sites.iter().all(|site| (site.x - x).abs() > half || (site.y - y + 4.0).abs() > 18.0);
    let y = [0.0, -24.0, 24.0, -46.0, 46.0].into_iter().map(|off| y + off).find(|y| is_free(*y)).unwrap_or(y);
    Some(Label { text, x: rounded(x, 1), y: rounded(y, 1) })
}

fn markers(counties: &[CountySummary<'_>], frame: &Frame, ground: &Ground, cards: &[&str]) -> Vec<Marker> {
    let sites: Vec<_> = counties.iter().flat_map(CountySummary::sites).collect();
    let mut markers: Vec<Marker> = sites
        .into_par_iter()
        .filter_map(|site| {
            let (x, y) = frame.place(ground.project(site.lon, site.lat)?);
            let card = cards.contains(&site.id.as_str());
            let roofs: MultiPolygon<f64> = site.footprints.iter().map(|roof| roof.outline.clone()).collect();
            Some(Marker {
                id: site.id.clone(),
                county: site.county.0.clone(),
                class: site.class.as_str(),
                x: rounded(x, 2),
                y: rounded(y, 2),
                // On the screen, the symbol's area grows with the site's.
                size: rounded((3.0 * site.area_ha.max(0.0).sqrt()).clamp(4.5, 13.0), 1),
                tip: format!(
                    "{}, {} ha, factory {}",
                    site.class.as_str(),
                    words::hectares(site.area_ha),
                    words::number(site.probabilities.factory, 2)
                ),
                outline: frame.path(&project(&site.outline, ground), 3),
                buildings: if card { frame.path(&project(&roofs, ground), 3) } else { String::new() },
                card,
                p_factory: site.probabilities.factory,
            })
        })
        .collect();
    // The most probable factories lie on top.
    markers.sort_by(|a, b| a.p_factory.total_cmp(&b.p_factory).then_with(|| b.id.cmp(&a.id)));
    markers
}

/// An outline in longitude and latitude on the grid.
pub(super) fn project(outline: &MultiPolygon<f64>, ground: &Ground) -> MultiPolygon<f64> {
    let ring = |ring: &LineString<f64>| -> LineString<f64> {
        ring.coords().filter_map(|at| ground.project(at.x, at.y)).collect()
    };
    outline
        .iter()
        .map(|polygon| Polygon::new(ring(polygon.exterior()), polygon.interiors().iter().map(ring).collect()))
        .collect()
}

fn extended(counties: &[CountySummary<'_>], frame: &Frame, ground: &Ground) -> Vec<Spot> {
    counties
        .iter()
        .filter_map(|county| county.result)
        .flat_map(|result| &result.extended)
        .filter_map(|extended| {
            let (x, y) = frame.place(ground.project(extended.lon, extended.lat)?);
            let tip = format!("{} ha changed: too large for a site", words::hectares(extended.area_ha));
            Some(Spot { x: rounded(x, 2), y: rounded(y, 2), tip })
        })
        .collect()
}

/// Meridians and parallels at a round distance, a handful of each.
fn graticule(frame: &Frame, ground: &Ground) -> Vec<GraticuleLine> {
    const SAMPLES: u32 = 48;
    const STEPS: [f64; 13] = [45.0, 30.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01];
    // The edges of the frame on the globe.
    let mut corners: Vec<Coord<f64>> = Vec::new();
    for step in 0..=8 {
        let (dx, dy) = (WIDTH * f64::from(step) / 8.0, frame.height * f64::from(step) / 8.0);
        for (x, y) in [(dx, 0.0), (dx, frame.height), (0.0, dy), (WIDTH, dy)] {
            let at = ground.locate(frame.west + x * frame.metres_per_unit, frame.north - y * frame.metres_per_unit);
            corners.extend(at);
        }
    }
    let Some(first) = corners.first().copied() else { return Vec::new() };
    let (mut west, mut east, mut south, mut north) = (first.x, first.x, first.y, first.y);
    for at in corners {
        let lon = at.x + 360.0 * ((first.x - at.x) / 360.0).round();
        (west, east) = (west.min(lon), east.max(lon));
        (south, north) = (south.min(at.y), north.max(at.y));
    }
    let fits = |step: &f64| (east - west) / step <= 8.0 && (north - south) / step <= 6.0;
    let step = STEPS.into_iter().rev().find(fits).unwrap_or(45.0);
    let lines = |from: f64, to: f64| {
        let first = (from / step).ceil();
        let count = ((to - from) / step).clamp(0.0, 40.0) as u32;
        (0..=count).map(move |index| (first + f64::from(index)) * step).filter(move |at| *at <= to)
    };
    let sampled = |from: f64, to: f64, at: &dyn Fn(f64) -> Option<Coord<f64>>| -> LineString<f64> {
        (0..=SAMPLES).filter_map(|index| at(from + (to - from) * f64::from(index) / f64::from(SAMPLES))).collect()
    };
    let mut drawn = Vec::new();
    for lon in lines(west, east) {
        let line = sampled(south, north, &|lat| ground.project(lon, lat));
        drawn.extend(graticule_line(frame, &line, words::meridian(rounded(lon, 4)), true));
    }
    for lat in lines(south, north) {
        let line = sampled(west, east, &|lon| ground.project(lon, lat));
        drawn.extend(graticule_line(frame, &line, words::parallel(rounded(lat, 4)), false));
    }
    drawn
}

fn graticule_line(frame: &Frame, line: &LineString<f64>, text: String, is_meridian: bool) -> Option<GraticuleLine> {
    // A meridian is labelled where it leaves the frame in the south, a parallel where it enters in the west.
    let label = line.coords().map(|at| frame.place(*at)).find(|at| frame.shows(*at))?;
    let mut path = String::new();
    frame.line(&mut path, line, 1);
    let is_cut_off = is_meridian && !(30.0..WIDTH - 30.0).contains(&label.0);
    let text = if is_cut_off { String::new() } else { text };
    let (x, y) = if is_meridian { (label.0, frame.height - 6.0) } else { (6.0, label.1 - 4.0) };
    let anchor = if is_meridian { "middle" } else { "start" };
    Some(GraticuleLine { path, text, x: rounded(x, 1), y: rounded(y, 1), anchor })
}

/// A round length of about a sixth of the drawing.
fn scale(frame: &Frame) -> Scale {
    let metres = round_length(WIDTH / 6.0 * frame.metres_per_unit);
    Scale { units: rounded(metres / frame.metres_per_unit, 2), label: words::length(metres) }
}

/// The largest of 1, 2, 5 × 10ⁿ metres that is not longer than `metres`.
pub(super) fn round_length(metres: f64) -> f64 {
    let mut best = 1.0;
    let mut decade = 1.0;
    while decade <= metres && decade < 1e8 {
        for step in [1.0, 2.0, 5.0] {
            if step * decade <= metres {
                best = step * decade;
            }
        }
        decade *= 10.0;
    }
    best
}

//! The live page of a coordinator: what is being surveyed, how far it is, and what was found so far, from the components
//! of `report.html`.
//!
//! Pure functions over plain inputs, like [`crate::render`]: who serves the page gathers them, and says how time passes.
//! A page is a shell around *parts*; a part that has changed has another version, and the page's script fetches it alone.
//! Links are relative, so that the page may lie behind any prefix.

mod findings;
mod standing;

use minijinja::{Environment, context};
use serde::Serialize;
use survey::ids::Digest;

use crate::error::ReportError;
use crate::page;
use crate::page::words;
pub use findings::{CountyStanding, Findings, counties_in, owned_pixels};
pub use standing::{FailedJob, HeldJob, StageStanding, Standing, State, Worker};

const TEMPLATES: [(&str, &str); 7] = [
    ("live/shell.html", include_str!("../assets/live/shell.html.jinja")),
    ("live/index.html", include_str!("../assets/live/index.html.jinja")),
    ("live/head.html", include_str!("../assets/live/head.html.jinja")),
    ("live/standing.html", include_str!("../assets/live/standing.html.jinja")),
    ("live/progress.html", include_str!("../assets/live/progress.html.jinja")),
    ("live/workers.html", include_str!("../assets/live/workers.html.jinja")),
    ("live/findings.html", include_str!("../assets/live/findings.html.jinja")),
];

/// The style sheet: the report's, and what only a live page shows.
pub const STYLE: &str = concat!(include_str!("../assets/report.css"), include_str!("../assets/live.css"));

/// The script: the report's as a function that is called for each version of the components, and what keeps them fresh.
/// What the report's part listens to on `window` ends with that version; the map begins with the view `from`.
pub const SCRIPT: &str = concat!(
    "\"use strict\";\nconst startPage = (window, from) => {\n",
    include_str!("../assets/page/tables.js"),
    "  let view = { ...full, ...from };\n",
    include_str!("../assets/page/map.js"),
    "};\n",
    include_str!("../assets/live.js")
);

/// The icon (SVG).
pub const ICON: &str = include_str!("../assets/live/icon.svg");

/// Names style sheet and script: a page of another build loads itself again.
#[must_use]
pub fn build() -> String {
    Digest::of(format!("{STYLE}{SCRIPT}").as_bytes()).short()
}

/// A page that shows something that changes.
#[derive(Clone, Debug)]
pub struct View {
    /// The browser's title.
    pub title: String,
    /// Nothing more will happen of itself.
    pub is_over: bool,
    /// Its parts, from top to bottom.
    pub parts: Vec<Part>,
    root: &'static str,
    api: String,
    folder: String,
}

/// A part of a page.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Its name on the page.
    pub name: &'static str,
    /// Says whether it is another.
    pub version: String,
    /// Its markup: one element.
    pub html: String,
}

impl Part {
    fn new(name: &'static str, markup: &str) -> Self {
        let version = Digest::of(markup.as_bytes()).short();
        let html = format!("<div data-part=\"{name}\" data-version=\"{version}\">\n{markup}</div>\n");
        Self { name, version, html }
    }
}

impl View {
    /// The whole page.
    ///
    /// # Errors
    /// The template fails: a bug.
    pub fn page(&self) -> Result<String, ReportError> {
        let values = context! {
            title => self.title, root => self.root, api => self.api, folder => self.folder, parts => self.parts,
            build => build(), version => survey::VERSION,
        };
        render(&templates()?, "live/shell.html", &values)
    }

    /// A part by its name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// All surveys and workers: the page at the root.
///
/// # Errors
/// The template fails: a bug.
pub fn index(surveys: &[Standing], workers: &[Worker]) -> Result<View, ReportError> {
    let running = surveys.iter().filter(|survey| !survey.state.is_over()).count();
    let alarms = surveys.iter().fold(0_u64, |sum, survey| sum.saturating_add(survey.alarms));
    // What runs comes first, then what was submitted last is wanted most: ids say nothing of that, so names decide.
    let mut order: Vec<&Standing> = surveys.iter().collect();
    order.sort_by(|a, b| (a.state.is_over(), &a.name, &a.id).cmp(&(b.state.is_over(), &b.name, &b.id)));
    let values = context! {
        surveys => order.into_iter().map(standing::Row::of).collect::<Vec<_>>(),
        workers => standing::workers(workers),
        running, alarms, live => true,
    };
    let markup = render(&templates()?, "live/index.html", &values)?;
    Ok(View {
        title: match running {
            0 => "Groundbreak".to_owned(),
            running => format!("{} · Groundbreak", words::counted(running as u64, "survey runs", "surveys run")),
        },
        is_over: false,
        parts: vec![Part::new("index", &markup)],
        root: "",
        api: "api/surveys".to_owned(),
        folder: String::new(),
    })
}

/// A survey. `findings` is `None` while it is planned, and where its plan cannot be read.
///
/// # Errors
/// A plan whose CRS can't be brought to longitude and latitude.
pub fn survey(standing: &Standing, workers: &[Worker], findings: Option<&Findings<'_>>) -> Result<View, ReportError> {
    let templates = templates()?;
    let found = findings.map(|findings| findings::Found::new(standing, findings)).transpose()?;
    let row = standing::Row::of(standing);
    let own: Vec<Worker> = workers.iter().filter_map(|worker| worker.at_work_on(&standing.id)).collect();
    let values = context! {
        row, workers => standing::workers(&own), live => true,
        counties => found.as_ref().map(|found| &found.count), problem => standing.problem,
        head => found.as_ref().map(|found| &found.head),
    };
    let mut parts = vec![
        Part::new("head", &render(&templates, "live/head.html", &values)?),
        Part::new("standing", &render(&templates, "live/standing.html", &values)?),
    ];
    let markup = found.map(|found| render(&templates, "live/findings.html", &found)).transpose()?;
    parts.push(Part::new("findings", &markup.unwrap_or_default()));
    let title = if standing.state.is_over() {
        format!("{} · Groundbreak", standing.name)
    } else {
        format!("{} {} · Groundbreak", row.percent_text, standing.name)
    };
    let id = words::url_part(&standing.id);
    Ok(View {
        title,
        is_over: standing.state.is_over(),
        parts,
        root: "../",
        api: format!("../api/surveys/{id}"),
        folder: format!("{id}/"),
    })
}

fn templates() -> Result<Environment<'static>, ReportError> {
    page::templates(&TEMPLATES).map_err(|cause| ReportError::encode("the live page")(format!("{cause:#}")))
}

fn render(templates: &Environment<'_>, name: &str, values: &impl Serialize) -> Result<String, ReportError> {
    let rendered = templates.get_template(name).and_then(|template| template.render(values));
    rendered.map_err(|cause| ReportError::encode(name)(format!("{cause:#}")))
}

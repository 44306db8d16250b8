//! Catalogs: from what a survey names to the scenes of a window.
//!
//! One entry, [`search`], for all kinds: a STAC API, a static catalog or collection, an item, an item collection, a bare
//! array of items, items line by line, stac-geoparquet, and plain lists of files. STAC 1.0 and 1.1 are read with the
//! projection extension in both of its versions. What is found is filtered by time, place, cloud and view angle, and each
//! acquisition is kept once. Nothing is dropped in silence: what cannot be used is in [`Found::refused`] with its reason,
//! what was not asked for is counted in [`Found::left_out`].
//!
//! Searching reads documents only. [`complete`] then opens the headers of files whose place the catalog doesn't know, and
//! pins size and ETag of each file.

mod api;
mod bands;
mod complete;
mod document;
mod footprint;
mod gather;
mod geoparquet;
mod item;
mod json;
mod placement;
mod plain;
mod static_catalog;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt};
use survey::ids::SceneId;
use survey::scene::Scene;
use survey::spec::WindowSection;

pub use self::complete::{complete, complete_all, is_complete, is_placed};
use self::document::Document;
pub use self::gather::LeftOut;
use self::gather::{Gathering, Query};
use self::item::Candidate;
use crate::error::ImageryError;
use crate::store::{Stores, address};

/// The largest document, bytes.
const MAX_DOCUMENT: u64 = 512 << 20;

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The scenes of the window over the box, by time and id, each acquisition once. Of a catalog, some may lack the place
    /// of their files until they are [`complete`]d.
    pub scenes: Vec<Scene>,
    /// What cannot be used (a scene, a document, a link) and why.
    pub refused: Vec<(String, String)>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What was not asked for.
    pub left_out: LeftOut,
    /// The scene over the box that is nearest to the window in time, though outside it.
    pub nearest: Option<(SceneId, NaiveDate)>,
    /// Prefixes outside what catalogs may point to, with how many of the scenes need them. Such scenes can be planned with,
    /// and not read.
    pub outside: BTreeMap<String, usize>,
}

impl Found {
    /// An error where nothing was found, in words that say what there is instead. `which` is `before` or `after`.
    ///
    /// # Errors
    /// [`ImageryError::Document`].
    pub fn require(&self, window: &WindowSection, which: &str) -> Result<(), ImageryError> {
        if !self.scenes.is_empty() {
            return Ok(());
        }
        let key = if window.catalog.is_some() { format!("{which}.catalog") } else { format!("{which}.scenes") };
        let days = match (window.from, window.to) {
            (Some(from), Some(to)) => format!(" from {} to {}", from.0, to.0),
            (Some(from), None) => format!(" since {}", from.0),
            (None, Some(to)) => format!(" until {}", to.0),
            (None, None) => String::new(),
        };
        let mut causes = Vec::new();
        let out = &self.left_out;
        if let Some((id, date)) = &self.nearest {
            causes.push(format!("the nearest one over the counties is {id} of {date}"));
        }
        for (count, what) in [
            (out.elsewhere, "lie beside the counties"),
            (out.cloudy, "have more cloud than max_cloud_cover"),
            (out.oblique, "look further off nadir than max_off_nadir_deg"),
            (out.other_collections, "are of other collections"),
        ] {
            if count > 0 {
                causes.push(format!("{count} {what}"));
            }
        }
        if let Some((what, cause)) = self.refused.first() {
            causes.push(match self.refused.len() {
                1 => format!("{what} is refused: {cause}"),
                more => format!("{more} are refused, for instance {what}: {cause}"),
            });
        }
        if causes.is_empty() {
            causes.push("the catalog is empty".into());
        }
        let mend = match (&self.nearest, out.elsewhere, out.cloudy + out.oblique, self.refused.is_empty()) {
            (Some(_), ..) => "widen the window (from, to)",
            (None, _, 1.., _) => "raise the limit",
            (None, 1.., _, _) => "name a catalog that covers the counties",
            (None, _, _, false) => "mend the catalog",
            _ => "name another catalog",
        };
        Err(ImageryError::Document {
            href: key,
            cause: format!("no scene{days} is found: {}", causes.join("; ")),
            mend: mend.into(),
        })
    }
}

/// Lets documents point to what a window names: what the user wrote may be read, wherever it lies. [`search`] does so, too; where two
/// windows are searched at the same time, both are allowed before, or what is found would depend on which is faster.
pub fn allow(stores: &Stores, window: &WindowSection) {
    // What no store exists for is named by the search that needs it.
    let resolve = |named: &str| address::parse(&stores.resolve(named).ok()?).ok();
    let allow = |prefix: &str| drop(stores.allow(prefix));
    window.scenes.iter().flatten().flat_map(plain::named).filter_map(resolve).for_each(|file| allow(file.as_str()));
    for url in window.catalog.iter().filter_map(|catalog| resolve(catalog)) {
        // What a catalog points to lies beside or below it; a server's catalog may point anywhere on that server, and one
        // in a bucket anywhere in that bucket.
        let own = match url.scheme() {
            "file" => address::parent(&url).to_string(),
            _ => format!("{}/", &url[..url::Position::BeforePath]),
        };
        allow(&own);
    }
}

/// Finds the scenes of a window. `which` is `before` or `after`, for errors; `bbox` is (west, south, east, north) in
/// degrees, where west may be greater than east: a box over the antimeridian.
///
/// # Errors
/// [`ImageryError::Document`], which names the key of the survey file, for a catalog that cannot be read;
/// [`ImageryError::Transient`] where a store fails. Finding nothing is no error here: see [`Found::require`].
pub async fn search(
    stores: &Stores,
    window: &WindowSection,
    which: &str,
    bbox: [f64; 4],
) -> Result<Found, ImageryError> {
    allow(stores, window);
    let mut gathering = Gathering::new(Query { window, bbox });
    if let Some(plain) = &window.scenes {
        let reads = plain.iter().enumerate().map(|(index, scene)| async move {
            let key = format!("{which}.scenes[{index}]");
            plain::read(stores, scene, &key).await.map(|scene| (index, scene))
        });
        let mut reads = futures::stream::iter(reads).buffered(complete::AT_ONCE);
        while let Some((index, scene)) = reads.try_next().await? {
            if gathering.found.iter().any(|other| other.scene.id == scene.id) {
                return Err(ImageryError::Document {
                    href: format!("{which}.scenes[{index}]"),
                    cause: format!("two scenes have the id `{}`", scene.id),
                    mend: "give each an `id`".into(),
                });
            }
            let id = format!("{index:05}");
            // Listed scenes are never copies of one another: the tile keeps them apart.
            gathering.candidate(Candidate { scene, tile: Some(id), processed: Default::default() });
        }
    } else if let Some(catalog) = &window.catalog {
        let key = format!("{which}.catalog");
        read_catalog(stores, catalog, &mut gathering).await.map_err(|error| match error {
            transient @ ImageryError::Transient { .. } => transient,
            ImageryError::Document { href, cause, mend } if href.starts_with(&key) => {
                ImageryError::Document { href, cause, mend }
            }
            ImageryError::Document { href, cause, mend } => {
                ImageryError::Document { href: key.clone(), cause: format!("{href}: {cause}"), mend }
            }
            other => ImageryError::Document {
                href: key.clone(),
                cause: other.to_string(),
                mend: "name a catalog that can be read".into(),
            },
        })?;
    }
    let scenes = gathering.scenes();
    let mut outside = BTreeMap::new();
    for scene in &scenes {
        let prefixes: std::collections::BTreeSet<String> =
            scene.assets.iter().filter_map(|asset| stores.outside(&asset.href)).collect();
        for prefix in prefixes {
            *outside.entry(prefix).or_insert(0) += 1;
        }
    }
    let mut warnings = std::mem::take(&mut gathering.warnings);
    if gathering.more_refused > 0 {
        warnings.push(format!("{} more were refused", gathering.more_refused));
    }
    Ok(Found {
        nearest: gathering.nearest(),
        scenes,
        refused: gathering.refused,
        warnings,
        left_out: gathering.left_out,
        outside,
    })
}

async fn read_catalog(stores: &Stores, catalog: &str, gathering: &mut Gathering<'_>) -> Result<(), ImageryError> {
    let url = address::parse(&stores.resolve(catalog)?)?;
    let bytes = stores.document(url.as_str(), MAX_DOCUMENT).await?;
    match document::parse(&bytes, &url)? {
        Document::Items { items, whole } => {
            for item in &items {
                gathering.item(item, &url, None);
            }
            drop(items);
            match whole {
                // A saved page is what it is; a served one goes on.
                Some(page) if matches!(url.scheme(), "http" | "https") => {
                    api::more_pages(stores, &page, &url, gathering).await
                }
                _ => Ok(()),
            }
        }
        Document::Table => {
            for item in geoparquet::items(bytes, address::label(url.as_str())).await? {
                gathering.item(&item, &url, None);
            }
            Ok(())
        }
        Document::Catalog(root) => static_catalog::walk(stores, root, &url, gathering).await,
        Document::Api(root) => api::search(stores, &root, &url, gathering).await,
    }
}

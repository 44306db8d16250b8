//! Chips: which of a county's images show a site, and which of them the page carries inside.

use std::collections::BTreeSet;

use survey::ids::Digest;
use survey::result::{ChipRef, CountyResult, Site};

use crate::error::ReportError;
use crate::input::ReportInput;
use crate::summary::{self, CountySummary};

/// Most bytes of images that the page carries inside; further ones are linked to.
pub const EMBEDDED_BYTES: u64 = 16 << 20;

/// Most bytes of a chip's file name.
const NAME_BYTES: usize = 120;

/// The file name of a site's chip: `<site>-before.png` or `<site>-after.png`, where `_` stands for what of the id may not
/// stand in a file name. Two sites never share one: an id ends in the row and column of the site's first pixel.
#[must_use]
pub fn file_name(site_id: &str, when: &str) -> String {
    let plain: String = site_id.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    safe_name(&format!("{plain}-{when}.png"))
}

/// A name that is the same in every file system, store and URL: one of ASCII letters, digits, `-`, `_` and `.` stays as
/// it is; of any other, what may not stand is replaced by `_`, and its digest keeps it apart from its likes.
#[must_use]
pub fn safe_name(name: &str) -> String {
    if name.len() <= NAME_BYTES && name.chars().all(is_plain) && !name.starts_with('.') && name.ends_with(".png") {
        return name.to_owned();
    }
    let stem = name.strip_suffix(".png").unwrap_or(name).chars().take(NAME_BYTES / 2);
    let mended: String = stem.map(|letter| if is_plain(letter) && letter != '.' { letter } else { '_' }).collect();
    format!("{mended}-{}.png", Digest::of(name.as_bytes()).short())
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')
}

/// The chips of a site.
#[derive(Clone, Copy, Debug, Default)]
pub struct SiteChips<'a> {
    /// Before.
    pub before: Option<&'a ChipRef>,
    /// After, the same ground.
    pub after: Option<&'a ChipRef>,
}

impl<'a> SiteChips<'a> {
    /// Finds a site's chips by their names.
    #[must_use]
    pub fn of(result: &'a CountyResult, site: &Site) -> Self {
        let named = |when: &str| {
            let name = file_name(&site.id, when);
            result.chips.iter().find(|chip| safe_name(&chip.name) == name)
        };
        Self { before: named("before"), after: named("after") }
    }

    /// Path of the chip before, relative to `results/`.
    #[must_use]
    pub fn before_path(&self) -> Option<String> {
        self.before.map(path)
    }

    /// Path of the chip after, relative to `results/`.
    #[must_use]
    pub fn after_path(&self) -> Option<String> {
        self.after.map(path)
    }
}

/// Path of a chip, relative to `results/`.
#[must_use]
pub fn path(chip: &ChipRef) -> String {
    format!("chips/{}", safe_name(&chip.name))
}

/// The chips whose bytes [`crate::render`] needs because the page carries them: those of the most probable factories,
/// pair by pair, up to [`EMBEDDED_BYTES`]. A pure choice, so that it never depends on what happens to be at hand.
///
/// # Errors
/// As [`summary::counties`].
pub fn embedded<'a>(input: &ReportInput<'a>) -> Result<Vec<&'a ChipRef>, ReportError> {
    Ok(chosen(&summary::counties(input)?))
}

pub(crate) fn chosen<'a>(counties: &[CountySummary<'a>]) -> Vec<&'a ChipRef> {
    let mut chosen = Vec::new();
    let mut left = EMBEDDED_BYTES;
    for (result, site) in crate::page::sites_in_order(counties).into_iter().take(crate::page::CARDS) {
        let chips = SiteChips::of(result, site);
        let pair: Vec<&ChipRef> = chips.before.into_iter().chain(chips.after).collect();
        let bytes = pair.iter().fold(0_u64, |sum, chip| sum.saturating_add(chip.object.length));
        if let Some(rest) = left.checked_sub(bytes) {
            left = rest;
            chosen.extend(pair);
        }
    }
    chosen
}

/// All chips, each with a name of its own.
///
/// # Errors
/// A name that is used twice.
pub(crate) fn all<'a>(counties: &[CountySummary<'a>]) -> Result<Vec<&'a ChipRef>, ReportError> {
    let mut names = BTreeSet::new();
    let mut chips = Vec::new();
    for chip in counties.iter().filter_map(|county| county.result).flat_map(|result| &result.chips) {
        if !names.insert(safe_name(&chip.name)) {
            return Err(ReportError::ChipTwice(chip.name.clone()));
        }
        chips.push(chip);
    }
    Ok(chips)
}

/// Width and height of a PNG, from its first chunk.
#[must_use]
pub fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
    let header = bytes.strip_prefix(&SIGNATURE)?.get(4..)?.strip_prefix(b"IHDR")?;
    let number = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    Some((number(0)?, number(4)?)).filter(|(width, height)| *width > 0 && *height > 0)
}

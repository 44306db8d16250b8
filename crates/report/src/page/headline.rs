//! What was found, in a sentence or two, without ever taking "not seen" for "not there".

use survey::result::SiteClass;

use super::words::{counted, grouped, hectares, percent_down};
use crate::summary::{Totals, gap_words};

/// The finding.
#[must_use]
pub fn finding(totals: &Totals) -> String {
    let factories = totals.finds.count(SiteClass::Factory);
    if totals.coverage.surveyed == 0 {
        return "No ground could be compared, so nothing can be said about factories here.".to_owned();
    }
    if factories == 0 {
        return "No site that looks like a factory was found on the ground that could be compared.".to_owned();
    }
    let cropland = if totals.finds.cropland_lost_ha >= 0.05 {
        format!(" {} ha of cropland went to construction.", hectares(totals.finds.cropland_lost_ha))
    } else {
        String::new()
    };
    format!(
        "{} found in {} of {}: {} ha.{cropland}",
        counted(factories, "probable factory site", "probable factory sites"),
        grouped(totals.with_factory),
        counted(totals.counties, "county", "counties"),
        hectares(totals.finds.factory_ha),
    )
}

/// The caveat that belongs to it.
#[must_use]
pub fn caveat(totals: &Totals) -> String {
    let coverage = &totals.coverage;
    let mut text = if coverage.gaps() == 0 && coverage.total() > 0 {
        "All of the ground was compared.".to_owned()
    } else {
        format!(
            "{} of the ground was compared. The rest was not: {}.",
            percent_down(coverage.surveyed, coverage.total()),
            gap_words(coverage)
        )
    };
    let [.., unseen] = totals.observed;
    if unseen > 0 {
        text.push_str(&format!(
            " {} not observed at all: no finding there means nothing.",
            if unseen == 1 { "1 county was".to_owned() } else { format!("{} counties were", grouped(unseen)) }
        ));
    }
    // A number and its sign stay on one line.
    text.replace(" %", "\u{a0}%").replace("< ", "<\u{a0}")
}

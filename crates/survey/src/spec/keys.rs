//! Known keys: an unknown one is refused with the nearest known one.

use super::SpecError;

/// What each table may hold. A test holds this against the types above.
pub(super) const KNOWN: &[(&str, &[&str])] = &[
    ("", &["survey", "counties", "before", "after", "grid", "detector", "context", "designations", "storage"]),
    ("survey", &["name", "output"]),
    ("counties", &["source", "id", "name", "parent", "only", "crs", "invalid"]),
    ("before", WINDOW),
    ("after", WINDOW),
    ("grid", &["resolution_m", "tile_px", "crs"]),
    (
        "detector",
        &["name", "bands", "min_site_ha", "max_site_ha", "group_radius_m", "max_pairs_per_cell", "second_look"],
    ),
    ("context", &["stations", "roads", "towns", "facilities", "greenhouses"]),
    ("designations", &["source", "id", "year"]),
    (
        "storage",
        &[
            "prefix",
            "anonymous",
            "requester_pays",
            "endpoint",
            "region",
            "allow_http",
            "access_key_id_env",
            "secret_access_key_env",
            "session_token_env",
        ],
    ),
    ("before.scenes", SCENE),
    ("after.scenes", SCENE),
    ("before.scenes.mask", MASK),
    ("after.scenes.mask", MASK),
];
const WINDOW: &[&str] = &["from", "to", "catalog", "collections", "scenes", "max_cloud_cover", "max_off_nadir_deg"];
const SCENE: &[&str] = &["href", "date", "bands", "id", "mask", "crs", "nodata", "gsd_m", "off_nadir_deg"];
const MASK: &[&str] = &["href", "band", "meaning"];

/// Refuses a key that no table of the file may hold.
///
/// # Errors
/// [`SpecError::UnknownKey`].
pub(super) fn refuse_unknown_keys(path: &str, value: &toml::Value) -> Result<(), SpecError> {
    match value {
        toml::Value::Table(table) => {
            let Some((_, known)) = KNOWN.iter().find(|(name, _)| *name == path) else { return Ok(()) };
            for (key, value) in table {
                let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if !known.contains(&key.as_str()) {
                    let nearest = known
                        .iter()
                        .map(|name| (strsim::damerau_levenshtein(name, key), *name))
                        .min()
                        .filter(|&(distance, name)| distance <= 2 + name.len() / 4)
                        .map(|(_, name)| name.to_owned());
                    return Err(SpecError::UnknownKey {
                        key: full,
                        nearest,
                        table: path.to_owned(),
                        known: known.join(", "),
                    });
                }
                refuse_unknown_keys(&full, value)?;
            }
            Ok(())
        }
        toml::Value::Array(items) => items.iter().try_for_each(|item| refuse_unknown_keys(path, item)),
        _ => Ok(()),
    }
}

//! A survey made ready to travel: small local files go with it, everything else gets an absolute URL.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use imagery::store::Stores;
use proto::v1;
use toml::{Table, Value};
use url::Url;

use crate::failure;

/// The most that travels, bytes.
const MAX_ATTACHED: u64 = proto::MAX_ATTACHED_BYTES as u64;
/// Longest name of an attached file.
const MAX_NAME: usize = 100;

/// Packs the survey file `text`, whose paths are found through `stores`.
///
/// # Errors
/// A file that cannot be read or is too large to travel; storage credentials, which belong to the cluster.
pub fn pack(text: &str, stores: &Stores) -> Result<v1::SpecSubmission> {
    let mut spec: Table = toml::from_str(text)?;
    if spec.contains_key("storage") {
        return Err(failure::input(
            "[[storage]]: in a cluster, credentials belong to the coordinator and its workers; give them the section in \
             a file (--storage FILE) and leave it out of the survey",
        )
        .into());
    }
    let mut bag = Bag { stores, files: BTreeMap::new(), bytes: 0 };
    for (section, keys) in [
        ("counties", &["source"][..]),
        ("context", &["stations", "roads", "towns", "facilities", "greenhouses"]),
        ("designations", &["source"]),
    ] {
        let Some(table) = spec.get_mut(section).and_then(Value::as_table_mut) else { continue };
        for &key in keys {
            if let Some(Value::String(href)) = table.get_mut(key) {
                *href = bag.attach(&format!("{section}.{key}"), href)?;
            }
        }
    }
    for window in ["before", "after"] {
        let Some(table) = spec.get_mut(window).and_then(Value::as_table_mut) else { continue };
        if let Some(catalog) = table.get_mut("catalog") {
            absolute(catalog, stores)?;
        }
        for scene in table.get_mut("scenes").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(scene) = scene.as_table_mut() else { continue };
            if let Some(href) = scene.get_mut("href") {
                absolute(href, stores)?;
            }
            if let Some(href) =
                scene.get_mut("mask").and_then(Value::as_table_mut).and_then(|mask| mask.get_mut("href"))
            {
                absolute(href, stores)?;
            }
        }
    }
    let files = bag.files.into_iter().map(|(name, content)| v1::AttachedFile { name, content });
    Ok(v1::SpecSubmission { toml: toml::to_string(&spec)?, files: files.collect(), output: String::new() })
}

/// A path or URL, or a list of them, made absolute.
fn absolute(value: &mut Value, stores: &Stores) -> Result<()> {
    match value {
        Value::String(href) => *href = stores.resolve(href)?,
        Value::Array(hrefs) => hrefs.iter_mut().try_for_each(|href| absolute(href, stores))?,
        _ => {}
    }
    Ok(())
}

struct Bag<'a> {
    stores: &'a Stores,
    files: BTreeMap<String, Vec<u8>>,
    bytes: u64,
}

impl Bag<'_> {
    /// Takes a local file along; what lies elsewhere is read from there.
    fn attach(&mut self, key: &str, href: &str) -> Result<String> {
        let url = self.stores.resolve(href)?;
        let Some(path) = local(&url) else { return Ok(url) };
        let shown = path.display();
        let length =
            std::fs::metadata(&path).map_err(|error| failure::input(format!("{key}: {shown}: {error}")))?.len();
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > MAX_ATTACHED {
            return Err(failure::input(format!(
                "{key}: with {shown}, more than {} MiB would travel with the survey; put it into the bucket and give its URL",
                MAX_ATTACHED >> 20
            ))
            .into());
        }
        let content = std::fs::read(&path).with_context(|| format!("{key}: {shown}"))?;
        let base = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let plain = |letter: char| if letter.is_ascii_alphanumeric() || ".-_".contains(letter) { letter } else { '_' };
        // The end of a name says what kind of file it is.
        let mut letters: Vec<char> = base.chars().map(plain).rev().take(MAX_NAME - key.len().min(MAX_NAME)).collect();
        letters.reverse();
        let name = format!("{key}-{}", letters.into_iter().collect::<String>());
        self.files.insert(name.clone(), content);
        Ok(format!("attached:{name}"))
    }
}

/// The path of a `file://` URL.
fn local(url: &str) -> Option<PathBuf> {
    Url::parse(url).ok().filter(|url| url.scheme() == "file").and_then(|url| url.to_file_path().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_tables_travel_and_scenes_get_absolute_urls() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("my counties.geojson"), "{}").unwrap();
        let text = r#"
            survey = { name = "a", output = "out" }
            counties = { source = "my counties.geojson", id = "id" }
            before = { catalog = "scenes/catalog.json" }
            after = { scenes = [{ href = ["r.tif", "s3://bucket/g.tif"], date = 2024-05-01, bands = ["red", "green"], mask = { href = "m.tif", band = 1 } }] }
            context = { stations = "https://example.org/stations.geojson" }
        "#;
        let stores = Stores::new(&[], &folder.path().to_string_lossy()).unwrap();
        let packed = pack(text, &stores).unwrap();
        assert_eq!(packed.files.len(), 1);
        assert_eq!(packed.files[0].name, "counties.source-my_counties.geojson");
        assert_eq!(&packed.files[0].content[..], b"{}");
        let spec: Table = toml::from_str(&packed.toml).unwrap();
        let base = Url::from_directory_path(folder.path()).unwrap();
        assert_eq!(spec["counties"]["source"].as_str(), Some("attached:counties.source-my_counties.geojson"));
        assert_eq!(spec["before"]["catalog"].as_str(), Some(&*format!("{base}scenes/catalog.json")));
        let scene = &spec["after"]["scenes"][0];
        assert_eq!(scene["href"][0].as_str(), Some(&*format!("{base}r.tif")));
        assert_eq!(scene["href"][1].as_str(), Some("s3://bucket/g.tif"));
        assert_eq!(scene["mask"]["href"].as_str(), Some(&*format!("{base}m.tif")));
        assert_eq!(spec["context"]["stations"].as_str(), Some("https://example.org/stations.geojson"));
    }

    #[test]
    fn a_missing_file_and_credentials_are_refused_by_key() {
        let stores = Stores::new(&[], "/nowhere").unwrap();
        let error = pack("counties = { source = \"c.geojson\" }", &stores).unwrap_err().to_string();
        assert!(error.starts_with("counties.source: /nowhere/c.geojson"), "{error}");
        let error = pack("[[storage]]\nprefix = \"s3://b\"", &stores).unwrap_err().to_string();
        assert!(error.contains("--storage FILE"), "{error}");
    }
}

//! A spec as it is submitted: checked, kept under the coordinator's location, and pointed at what was attached to it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use imagery::commit::Output;
use imagery::store::{Stores, address};
use proto::{MAX_ATTACHED_BYTES, v1};
use sha2::{Digest as _, Sha256};
use survey::failure::FailureClass;
use survey::spec::{StorageSection, SurveySpec};

use crate::error::CoordinatorError;

/// Largest survey file, bytes; most files that may be attached, and their longest name.
const MAX_TOML: usize = 1 << 20;
const MAX_FILES: usize = 256;
const MAX_FILE_NAME: usize = 120;
/// What a path begins with that names an attached file.
const ATTACHED: &str = "attached:";
/// Where submissions are kept.
const FOLDER: &str = "submissions";

/// A submission that makes sense.
#[derive(Debug)]
pub(super) struct Spec {
    /// SHA-256 over all of it, hexadecimal.
    pub submission: String,
    pub spec: SurveySpec,
    pub toml: String,
    /// URL of the output; empty for a place of the coordinator's own.
    pub output: String,
    files: BTreeMap<String, Bytes>,
}

fn refused(message: String) -> CoordinatorError {
    CoordinatorError::Refused { class: FailureClass::BadInput, message }
}

impl Spec {
    /// Checks a submission.
    ///
    /// # Errors
    /// Names the key or the file, what is wrong with it and the mend.
    pub(super) fn read(request: v1::SpecSubmission, allowed: &[String]) -> Result<Self, CoordinatorError> {
        let v1::SpecSubmission { toml, files, output } = request;
        let attached: usize = files.iter().map(|file| file.content.len()).sum();
        if attached > MAX_ATTACHED_BYTES {
            return Err(refused(format!(
                "the attached files have {} MiB together, and at most {} MiB can be attached; put the large ones into a bucket or folder that the coordinator can read, and give their URLs in the survey file",
                attached.div_ceil(1 << 20),
                MAX_ATTACHED_BYTES >> 20
            )));
        }
        if files.len() > MAX_FILES {
            return Err(refused(format!("{} files are attached; at most {MAX_FILES} can be", files.len())));
        }
        if toml.len() > MAX_TOML {
            return Err(refused(format!("the survey file has {} bytes; {MAX_TOML} are the most", toml.len())));
        }
        let mut named = BTreeMap::new();
        for file in files {
            check_file_name(&file.name)?;
            if named.insert(file.name.clone(), Bytes::from(file.content)).is_some() {
                return Err(refused(format!("two files are attached as `{}`", file.name)));
            }
        }
        let spec = SurveySpec::parse(&toml).map_err(|error| refused(error.to_string()))?;
        let output = match (output.is_empty(), spec.survey.output.contains("://")) {
            (false, _) => output,
            (true, true) => spec.survey.output.clone(),
            (true, false) => String::new(),
        };
        let submission = digest(&toml, &output, &named);
        let mut read = Self { submission, spec, toml, output, files: named };
        read.check(allowed)?;
        Ok(read)
    }

    /// Each place that the spec names: by the key that names it.
    fn places(&mut self) -> Vec<(String, &mut String)> {
        let spec = &mut self.spec;
        let mut places: Vec<(String, &mut String)> = vec![("counties.source".into(), &mut spec.counties.source)];
        let context = &mut spec.context;
        for (key, layer) in [
            ("context.stations", &mut context.stations),
            ("context.roads", &mut context.roads),
            ("context.towns", &mut context.towns),
            ("context.facilities", &mut context.facilities),
            ("context.greenhouses", &mut context.greenhouses),
        ] {
            places.extend(layer.as_mut().map(|layer| (key.to_owned(), layer)));
        }
        places.extend(spec.designations.as_mut().map(|table| ("designations.source".to_owned(), &mut table.source)));
        for (window, key) in [(&mut spec.before, "before"), (&mut spec.after, "after")] {
            places.extend(window.catalog.as_mut().map(|catalog| (format!("{key}.catalog"), catalog)));
            for (index, scene) in window.scenes.iter_mut().flatten().enumerate() {
                let name = format!("{key}.scenes[{index}]");
                match &mut scene.href {
                    survey::spec::Hrefs::One(href) => places.push((format!("{name}.href"), href)),
                    survey::spec::Hrefs::PerBand(hrefs) => {
                        places.extend(hrefs.iter_mut().map(|href| (format!("{name}.href"), href)));
                    }
                }
                if let Some(href) = scene.mask.as_mut().and_then(|mask| mask.href.as_mut()) {
                    places.push((format!("{name}.mask.href"), href));
                }
            }
        }
        places
    }

    fn check(&mut self, allowed: &[String]) -> Result<(), CoordinatorError> {
        let allowed: Vec<_> = allowed.iter().filter_map(|prefix| address::parse(prefix).ok()).collect();
        let may_name = |key: &str, place: &str| {
            let url = address::parse(place).map_err(|error| refused(format!("{key}: {error}")))?;
            if allowed.is_empty() || allowed.iter().any(|prefix| address::lies_under(&url, prefix)) {
                return Ok(());
            }
            Err(refused(format!(
                "{key}: {}: this coordinator reads and writes only under the prefixes that it was started with; use one of them, or have this one allowed",
                address::label(place)
            )))
        };
        for section in &self.spec.storage {
            // Credentials and endpoints are the coordinator's and the workers' own: who submits a survey must not send
            // theirs anywhere.
            if *section != (StorageSection { prefix: section.prefix.clone(), ..StorageSection::default() }) {
                return Err(refused(format!(
                    "storage: `{}`: a cluster reads with the credentials and endpoints of its own environment; leave only `prefix` in [[storage]], and set the rest where coordinator and workers are started",
                    section.prefix
                )));
            }
            may_name("storage.prefix", &section.prefix)?;
        }
        if !self.output.is_empty() {
            may_name("survey.output", &self.output)?;
        }
        let attached: BTreeSet<String> = self.files.keys().cloned().collect();
        let mut used = BTreeSet::new();
        for (key, place) in self.places() {
            if let Some(name) = place.strip_prefix(ATTACHED) {
                if !attached.contains(name) {
                    return Err(refused(format!("{key}: no file `{name}` is attached; attach it, or give its URL")));
                }
                used.insert(name.to_owned());
            } else if place.contains("://") {
                may_name(&key, place)?;
            } else {
                return Err(refused(format!(
                    "{key}: `{place}` is a path, and a coordinator reads URLs and attached files; attach the file and write `{ATTACHED}NAME`, or give its URL"
                )));
            }
        }
        match attached.difference(&used).next() {
            Some(unused) => Err(refused(format!("the attached file `{unused}` is not named in the survey file"))),
            None => Ok(()),
        }
    }

    /// Keeps the submission: once it is kept it can be planned by whoever comes after.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) async fn keep(&self, state: &Output) -> Result<(), CoordinatorError> {
        let folder = format!("{FOLDER}/{}", self.submission);
        for (name, content) in &self.files {
            state.put_if_absent(&format!("{folder}/files/{name}"), content.clone()).await?;
        }
        // Last: where it stands, the files do.
        state.put_if_absent(&format!("{folder}/survey.toml"), Bytes::from(self.toml.clone())).await?;
        Ok(())
    }

    /// A submission that was kept.
    ///
    /// # Errors
    /// It cannot be read, or is not what was kept.
    pub(super) async fn kept(state: &Output, submission: &str, output: String) -> Result<Self, CoordinatorError> {
        let folder = format!("{FOLDER}/{submission}");
        let lost = || refused(format!("{}: {folder} is damaged; submit the survey again", state.label()));
        let toml = state.get(&format!("{folder}/survey.toml")).await?.ok_or_else(lost)?;
        let toml = String::from_utf8(toml.to_vec()).map_err(|_| lost())?;
        let prefix = format!("{folder}/files/");
        let mut files = BTreeMap::new();
        for key in state.list(&format!("{folder}/files")).await? {
            let Some(name) = key.strip_prefix(&prefix) else { continue };
            files.insert(name.to_owned(), state.get(&key).await?.ok_or_else(lost)?);
        }
        if digest(&toml, &output, &files) != submission {
            return Err(lost());
        }
        let spec = SurveySpec::parse(&toml).map_err(|error| refused(error.to_string()))?;
        Ok(Self { submission: submission.to_owned(), spec, toml, output, files })
    }

    /// The spec with attached files as URLs, and the stores that it is planned with: what its catalogs point to may lie
    /// under the prefixes of its `[[storage]]`.
    ///
    /// # Errors
    /// A prefix that is none.
    pub(super) fn planned_with(
        mut self,
        state: &Output,
        stores: &Stores,
    ) -> Result<(SurveySpec, Stores), CoordinatorError> {
        let folder = format!("{FOLDER}/{}/files/", self.submission);
        let stores = stores.also(&self.spec.storage)?;
        let base = state.url().clone();
        for (_, place) in self.places() {
            if let Some(name) = place.strip_prefix(ATTACHED) {
                *place = address::join(&base, &format!("{folder}{name}"))?.into();
            }
        }
        Ok((self.spec, stores))
    }
}

fn check_file_name(name: &str) -> Result<(), CoordinatorError> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_FILE_NAME || name.starts_with('.') || !name.chars().all(is_plain) {
        let shown: String = name.chars().take(80).collect();
        return Err(refused(format!(
            "{shown:?} is no name for an attached file: 1 to {MAX_FILE_NAME} letters, digits, `.`, `-` and `_`, not starting with a dot"
        )));
    }
    Ok(())
}

/// The digest of a submission: the same for the same, whatever the order of the files.
fn digest(toml: &str, output: &str, files: &BTreeMap<String, Bytes>) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(toml.as_bytes());
    add(output.as_bytes());
    for (name, content) in files {
        add(name.as_bytes());
        add(content);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
        survey = { name = "a" }
        counties = { source = "s3://good/counties.geojson", id = "id" }
        before = { catalog = "s3://good/before.json", from = 2023-01-01, to = 2023-02-01 }
        after = { catalog = "s3://good/after.json", from = 2024-01-01, to = 2024-02-01 }
    "#;

    fn read(toml: &str, output: &str, allowed: &[&str]) -> Result<Spec, String> {
        let request = v1::SpecSubmission { toml: toml.into(), files: vec![], output: output.into() };
        let allowed: Vec<String> = allowed.iter().map(|&prefix| prefix.to_owned()).collect();
        Spec::read(request, &allowed).map_err(|error| error.to_string())
    }

    #[test]
    fn only_allowed_prefixes_may_be_named() {
        assert!(read(TOML, "", &[]).is_ok());
        assert!(read(TOML, "s3://good/out", &["s3://good/"]).is_ok());
        for (toml, output, key) in [
            (TOML.replace("s3://good/before", "file:///etc/before"), "", "before.catalog"),
            (TOML.replace("s3://good/counties", "s3://good-not/counties"), "", "counties.source"),
            (TOML.to_owned(), "s3://other/", "survey.output"),
        ] {
            let refusal = read(&toml, output, &["s3://good/"]).unwrap_err();
            assert!(refusal.starts_with(key) && refusal.contains("prefixes"), "{refusal}");
        }
    }

    #[test]
    fn the_digest_is_that_of_all_parts_and_of_nothing_else() {
        let digest = |files: &[(&str, &str)], output: &str| {
            let files = files.iter().map(|&(name, text)| (name.to_owned(), Bytes::from(text.to_owned()))).collect();
            digest(TOML, output, &files)
        };
        let one = digest(&[("a", "x"), ("b", "y")], "");
        assert_eq!(one, digest(&[("b", "y"), ("a", "x")], ""));
        for other in [
            digest(&[("a", "xb"), ("b", "y")], ""),
            digest(&[("a", "x")], ""),
            digest(&[("a", "x"), ("b", "y")], "s3://o/"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[tokio::test]
    async fn what_was_kept_is_read_back_and_damage_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let state = crate::testing::folder(root.path());
        let files = vec![v1::AttachedFile { name: "c.geojson".into(), content: b"{}".to_vec() }];
        let toml = TOML.replace("s3://good/counties.geojson", "attached:c.geojson");
        let spec = Spec::read(v1::SpecSubmission { toml, files, output: String::new() }, &[]).unwrap();
        spec.keep(&state).await.unwrap();
        let kept = Spec::kept(&state, &spec.submission, String::new()).await.unwrap();
        assert_eq!((&kept.files, &kept.toml), (&spec.files, &spec.toml));
        let (planned, _) = kept.planned_with(&state, &crate::testing::stores(root.path())).unwrap();
        let expected = root.path().join(format!("submissions/{}/files/c.geojson", spec.submission));
        assert_eq!(planned.counties.source, format!("file://{}", expected.display()));
        std::fs::write(expected, "{ }").unwrap();
        let refusal = Spec::kept(&state, &spec.submission, String::new()).await.unwrap_err().to_string();
        assert!(refusal.contains("submit the survey again"), "{refusal}");
    }
}

//! GDAL's private tags: no-data value and metadata per band.

/// What `GDAL_METADATA` says of bands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BandMetadata {
    pub(super) scales: Vec<f64>,
    pub(super) offsets: Vec<f64>,
    pub(super) names: Vec<Option<String>>,
}

/// The no-data value of `GDAL_NODATA`; `None` where the text is not a number.
pub(super) fn parse_nodata(text: &str) -> Option<f64> {
    let text = text.trim();
    // Rust reads `nan` and `inf` in any case; other spellings are of C libraries.
    match text.to_ascii_lowercase().as_str() {
        "-nan" | "nan(ind)" | "-nan(ind)" | "-1.#ind" | "1.#qnan" => Some(f64::NAN),
        "1.#inf" => Some(f64::INFINITY),
        "-1.#inf" => Some(f64::NEG_INFINITY),
        lower => lower.parse().ok(),
    }
}

/// Scale, offset and description of each band, from the tag's XML. It is GDAL's own flat list of
/// `<Item name="…" sample="…" role="…">value</Item>`; anything else in it is passed over.
pub(super) fn parse_metadata(xml: &str, bands: usize) -> BandMetadata {
    let mut found = BandMetadata { scales: vec![1.0; bands], offsets: vec![0.0; bands], names: vec![None; bands] };
    for item in xml.split("<Item").skip(1) {
        let Some((attributes, rest)) = item.split_once('>') else { continue };
        let Some((value, _)) = rest.split_once("</Item>") else { continue };
        let sample = attribute(attributes, "sample").and_then(|sample| sample.parse::<usize>().ok());
        let (Some(band), Some(role)) = (sample, attribute(attributes, "role")) else { continue };
        match role {
            "scale" => set(&mut found.scales, band, value.trim().parse().ok()),
            "offset" => set(&mut found.offsets, band, value.trim().parse().ok()),
            "description" => set(&mut found.names, band, Some(Some(unescape(&unescape(value))))),
            _ => {}
        }
    }
    found
}

fn set<T>(values: &mut [T], index: usize, value: Option<T>) {
    if let (Some(slot), Some(value)) = (values.get_mut(index), value) {
        *slot = value;
    }
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = attributes.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// GDAL escapes values twice.
fn unescape(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodata_is_read_in_the_spellings_that_are_met() {
        assert_eq!(parse_nodata("0"), Some(0.0));
        assert_eq!(parse_nodata(" -3.4028234663852886e+38 "), Some(f64::from(f32::MIN)));
        assert!(parse_nodata("nan").is_some_and(f64::is_nan));
        assert!(parse_nodata("-1.#IND").is_some_and(f64::is_nan));
        assert_eq!(parse_nodata("-inf"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_nodata("none"), None);
    }

    #[test]
    fn metadata_gives_scale_offset_and_name_of_the_band_it_names() {
        let xml = r#"<GDALMetadata>
            <Item name="OFFSET" sample="1" role="offset">-1000</Item>
            <Item name="SCALE" sample="1" role="scale">0.0001</Item>
            <Item name="DESCRIPTION" sample="0" role="description">red &amp;amp; dead</Item>
            <Item name="SCALE" sample="7" role="scale">3</Item>
            <Item name="SCALE">9</Item><Item
            </GDALMetadata>"#;
        let found = parse_metadata(xml, 2);
        assert_eq!(found.scales, [1.0, 0.0001]);
        assert_eq!(found.offsets, [0.0, -1000.0]);
        assert_eq!(found.names, [Some("red & dead".to_owned()), None]);
    }
}

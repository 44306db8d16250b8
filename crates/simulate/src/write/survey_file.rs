//! The survey file that is ready to run.

use serde_json::Value;

/// What `survey.toml` says.
pub(super) struct SurveyText {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) county_name: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) before: (&'static str, &'static str),
    pub(super) after: (&'static str, &'static str),
    pub(super) resolution_m: Option<f64>,
    pub(super) context: bool,
    pub(super) catalog: &'static str,
}

impl SurveyText {
    /// The file.
    pub(super) fn text(&self) -> String {
        let quoted = |text: &str| Value::String(text.to_owned()).to_string();
        let mut text = format!(
            "# Written by `groundbreak simulate`.\n[survey]\nname = {}\noutput = \"out\"\n\n[counties]\nsource = \"counties.geojson\"\nid = {}\n",
            quoted(&self.name),
            quoted(&self.id)
        );
        for (key, value) in [("name", &self.county_name), ("parent", &self.parent)] {
            if let Some(value) = value {
                text += &format!("{key} = {}\n", quoted(value));
            }
        }
        for (key, (from, to)) in [("before", self.before), ("after", self.after)] {
            text += &format!("\n[{key}]\nfrom = {from}\nto = {to}\ncatalog = {}\n", quoted(self.catalog));
        }
        if let Some(resolution) = self.resolution_m {
            text += &format!("\n[grid]\nresolution_m = {resolution:?}\n");
        }
        if self.context {
            text += "\n[context]\nstations = \"stations.geojson\"\nroads = \"roads.geojson\"\ntowns = \"towns.geojson\"\nfacilities = \"facilities.geojson\"\ngreenhouses = \"greenhouses.geojson\"\n\n[designations]\nsource = \"designations.csv\"\n";
        }
        text
    }
}

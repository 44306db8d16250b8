//! `groundbreak simulate`: scenes, a catalog, counties, context and a survey file whose truth is known.

use std::path::PathBuf;

use anyhow::{Result, bail};
use simulate::scenario::SensorChoice;
use simulate::sensor::Dtype;
use simulate::write::{CountyOptions, Options, PlaceOptions};

/// Writes scenes, a catalog, counties, truth and a survey file of a world that is known.
///
/// Without --counties a made-up province is written: five counties, two scenes per date, mixed sensors. With
/// --counties and --only the land around a station inside a real border is made up, with a new factory near it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder to write to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// GeoJSON file of counties (longitude and latitude).
    #[arg(long, value_name = "FILE")]
    counties: Option<PathBuf>,
    /// Ids of counties in that file.
    #[arg(long, value_name = "ID", num_args = 1.., value_delimiter = ',', requires = "counties")]
    only: Vec<String>,
    /// Property that holds a county's id; looked for where absent.
    #[arg(long, value_name = "PROPERTY", requires = "counties")]
    id: Option<String>,
    /// Property that holds a county's name; looked for where absent.
    #[arg(long, value_name = "PROPERTY", requires = "counties")]
    name: Option<String>,
    /// A known case instead of chance; needs the county file that it lies in.
    #[arg(long, value_enum, requires = "counties")]
    case: Option<Case>,
    /// No pixels: an item collection whose footprints cover the counties, to plan with.
    #[arg(long, requires = "counties")]
    items_only: bool,
    /// Side of a pixel with --items-only, metres [default: 10].
    #[arg(long, value_name = "METRES", requires = "items_only")]
    resolution: Option<f64>,
    /// Side of a pixel before, metres [default: 1].
    #[arg(long, value_name = "METRES")]
    before_resolution: Option<f64>,
    /// Side of a pixel after, metres [default: 0.5; 0.6 for the province, 0.4 for a case].
    #[arg(long, value_name = "METRES")]
    after_resolution: Option<f64>,
    /// Scenes before: uint8 is red, green, blue; uint16 is four calibrated bands [default: uint16; uint8 for a case].
    #[arg(long, value_enum, value_name = "TYPE")]
    before_dtype: Option<SampleType>,
    /// Scenes after [default: uint16].
    #[arg(long, value_enum, value_name = "TYPE")]
    after_dtype: Option<SampleType>,
    /// Side of the land that is rendered in a county, metres [default: 2400].
    #[arg(long, value_name = "METRES", requires = "counties")]
    size: Option<f32>,
    /// No clouds.
    #[arg(long)]
    no_clouds: bool,
    /// The second scene of each date in the neighbouring UTM zone (the province only).
    #[arg(long, conflicts_with = "counties")]
    two_zones: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Case {
    /// The lot of 2024 in Kyongsong County (KP0216): 3.3 ha, 500 m south-west of the station.
    Kyongsong,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SampleType {
    Uint8,
    Uint16,
}

impl From<SampleType> for Dtype {
    fn from(kind: SampleType) -> Self {
        match kind {
            SampleType::Uint8 => Self::Uint8,
            SampleType::Uint16 => Self::Uint16,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
#[allow(clippy::print_stderr, reason = "a command says what it is doing")]
pub fn run(args: &Args) -> Result<()> {
    for (argument, metres) in [
        ("--resolution", args.resolution),
        ("--before-resolution", args.before_resolution),
        ("--after-resolution", args.after_resolution),
    ] {
        if metres.is_some_and(|metres| !(0.2..=1000.0).contains(&metres)) {
            bail!("{argument}: give metres between 0.2 and 1000");
        }
    }
    if args.size.is_some_and(|size| !(1600.0..=20_000.0).contains(&size)) {
        bail!("--size: give metres between 1600 and 20000");
    }
    let place = match &args.counties {
        None => PlaceOptions::Province,
        Some(file) => {
            let counties = CountyOptions {
                file: file.clone(),
                only: args.only.clone(),
                id: args.id.clone(),
                name: args.name.clone(),
                kyongsong: matches!(args.case, Some(Case::Kyongsong)),
                side_m: args.size,
            };
            if args.items_only {
                PlaceOptions::ItemsOnly(counties, args.resolution)
            } else {
                PlaceOptions::Counties(counties)
            }
        }
    };
    let options = Options {
        out: args.out.clone(),
        seed: args.seed,
        place,
        before: SensorChoice { gsd_m: args.before_resolution, dtype: args.before_dtype.map(Dtype::from) },
        after: SensorChoice { gsd_m: args.after_resolution, dtype: args.after_dtype.map(Dtype::from) },
        clouds: !args.no_clouds,
        other_zone: args.two_zones,
    };
    simulate::write::simulate(&options, &|line| eprintln!("{line}"))?;
    eprintln!("{} is ready: groundbreak run {}", args.out.display(), args.out.join("survey.toml").display());
    Ok(())
}

//! `groundbreak watch`: follows a survey to its end.

use anyhow::Result;
use futures::StreamExt;
use proto::v1;
use proto::v1::county_outcome::Outcome;
use proto::v1::watch_survey_response::Update;
use survey::result::SiteClass;

use crate::cluster::connection::{Connection, is_passing, refusal};
use crate::cluster::standing;
use crate::failure::{self, Failure};
use crate::progress::Progress;
use crate::runtime;

/// Follows a survey to its end: progress, and each county as it is done.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The survey.
    id: String,
    #[command(flatten)]
    connection: Connection,
    /// Every update as one JSON object per line on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
pub fn run(args: &Args) -> Result<()> {
    runtime::current()?.block_on(follow(&args.connection, &args.id, args.json))
}

/// Follows a survey to its end, through replacements of the coordinator, and prints its last line.
///
/// # Errors
/// A survey that is not known, that failed or was cancelled, or that has gaps.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the news is what the command is for")]
pub async fn follow(connection: &Connection, id: &str, json: bool) -> Result<()> {
    let progress = Progress::new();
    // What a lost connection has told already is not told again.
    let mut told = std::collections::BTreeSet::new();
    let last = 'connected: loop {
        let request = v1::WatchSurveyRequest { survey: id.to_owned(), with_results: true };
        let mut updates = connection
            .ask(|mut client| {
                let request = request.clone();
                async move { client.watch_survey(request).await }
            })
            .await?;
        let mut last: Option<v1::Survey> = None;
        while let Some(update) = updates.next().await {
            match update {
                Ok(update) => match update.update {
                    Some(Update::Survey(survey)) => {
                        if json {
                            println!("{}", standing::document(&survey));
                        } else {
                            progress.update(&survey);
                        }
                        last = Some(survey);
                    }
                    Some(Update::County(county)) => {
                        let Some(line) = county_line(&county) else { continue };
                        if told.insert(line.clone()) {
                            if json {
                                println!("{}", serde_json::json!({ "county": line }));
                            } else {
                                progress.say(&line);
                            }
                        }
                    }
                    None => {}
                },
                Err(status) if is_passing(&status) => {
                    progress.say("the coordinator was lost; trying again");
                    continue 'connected;
                }
                Err(status) => return Err(refusal(&status)),
            }
        }
        match last.filter(standing::is_over) {
            Some(last) => break last,
            None => continue,
        }
    };
    progress.finish();
    if !json {
        println!("{}", standing::line(&last));
    }
    verdict(&last)
}

/// What a county came to, in a line.
fn county_line(update: &v1::CountyUpdate) -> Option<String> {
    let outcome = update.outcome.as_ref()?;
    let county = standing::printable(&outcome.county);
    Some(match (&update.result, outcome.outcome.as_ref()?) {
        (Some(result), _) => match proto::convert::result::county_result(result.clone()) {
            Ok(result) => {
                let factories = result.sites.iter().filter(|site| site.class == SiteClass::Factory).count();
                format!("county {county}: {} sites, {factories} of them factories", result.sites.len())
            }
            Err(error) => format!("county {county}: done ({error})"),
        },
        (None, Outcome::Result(_)) => format!("county {county}: done"),
        (None, Outcome::Failure(failure)) => {
            format!("county {county}: failed: {}", standing::printable(&failure.message))
        }
    })
}

fn verdict(survey: &v1::Survey) -> Result<()> {
    let (code, message) = match survey.state() {
        v1::SurveyState::Failed => (failure::INCOMPLETE, format!("the survey failed: {}", survey.message)),
        v1::SurveyState::CompleteWithGaps => {
            (failure::INCOMPLETE, "the survey has gaps that failed jobs left".to_owned())
        }
        v1::SurveyState::Cancelled => (failure::INTERRUPTED, "the survey was cancelled".to_owned()),
        _ => return Ok(()),
    };
    Err(Failure { code, message }.into())
}

//! `groundbreak submit`: gives a survey to a cluster.

use std::path::PathBuf;

use anyhow::Result;
use proto::v1;
use proto::v1::submit_survey_request::Submission;
use tracing::Instrument;

use crate::cluster::connection::Connection;
use crate::cluster::{pack, standing};
use crate::failure;
use crate::input::SurveyFile;
use crate::runtime;

/// Gives a survey to a cluster. The last word on standard output is the survey's id.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The survey file (docs/survey.md). Small local files that it names travel with it.
    survey: PathBuf,
    #[command(flatten)]
    connection: Connection,
    /// URL for the results, in place of the survey's `output`; by default a place of the coordinator's own.
    #[arg(long)]
    out: Option<String>,
    /// Its share of the workers beside other surveys: 200 gets twice what 100 gets. 1 to 10000.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    priority: u32,
    /// Where the survey has ended: look again at what is stored, and try again what failed for good.
    #[arg(long)]
    again: bool,
    /// Follow it to its end, as `groundbreak watch` does.
    #[arg(long)]
    watch: bool,
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the id is what the command is for")]
pub fn run(args: &Args) -> Result<()> {
    let file = SurveyFile::read(&args.survey)?;
    let mut spec = pack::pack(&file.text, &file.stores)?;
    if let Some(out) = &args.out {
        spec.output = file.stores.resolve(out)?;
    }
    let request = v1::SubmitSurveyRequest {
        submission: Some(Submission::Spec(spec)),
        again: args.again,
        priority: args.priority,
    };
    if prost::Message::encoded_len(&request) > proto::MAX_SUBMISSION_BYTES {
        return Err(failure::input("the survey and its files are too large to travel; give their URLs").into());
    }
    let work = async {
        let answer = args
            .connection
            .ask(|mut client| {
                let request = request.clone();
                async move { client.submit_survey(request).await }
            })
            .await?;
        for note in &answer.notes {
            eprintln!("note: {}", standing::printable(note));
        }
        if answer.resumed_jobs > 0 {
            eprintln!("{} jobs were done before and are not repeated", answer.resumed_jobs);
        }
        let survey = answer.survey.unwrap_or_default();
        if args.watch {
            super::watch::follow(&args.connection, &survey.id, false).await?;
        }
        println!("{}", survey.id);
        Ok(())
    };
    // The root of the survey's trace.
    runtime::current()?.block_on(work.instrument(tracing::info_span!("submit")))
}

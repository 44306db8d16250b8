//! `groundbreak cancel`: ends a survey.

use anyhow::Result;
use proto::v1;

use crate::cluster::connection::Connection;
use crate::cluster::standing;
use crate::runtime;

/// Ends a survey: what is stored stays, what runs is stopped. Submitting it again goes on from there.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The survey.
    id: String,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
#[allow(clippy::print_stdout, reason = "the line is what the command is for")]
pub fn run(args: &Args) -> Result<()> {
    runtime::current()?.block_on(async {
        let cancel = |mut client: crate::cluster::connection::Client| {
            let survey = args.id.clone();
            async move { client.cancel_survey(v1::CancelSurveyRequest { survey }).await }
        };
        println!("{}", standing::line(&args.connection.ask(cancel).await?));
        Ok(())
    })
}

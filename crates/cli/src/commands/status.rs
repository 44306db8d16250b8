//! `groundbreak status`: how surveys stand.

use anyhow::Result;
use proto::v1;

use crate::cluster::connection::Connection;
use crate::cluster::standing;
use crate::runtime;

/// Says how the surveys of a cluster stand: one line each, which starts with the state.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this survey.
    id: Option<String>,
    #[command(flatten)]
    connection: Connection,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
#[allow(clippy::print_stdout, reason = "the lines are what the command is for")]
pub fn run(args: &Args) -> Result<()> {
    runtime::current()?.block_on(async {
        let surveys = match &args.id {
            Some(id) => {
                let ask = |mut client: crate::cluster::connection::Client| {
                    let survey = id.clone();
                    async move { client.get_survey(v1::GetSurveyRequest { survey }).await }
                };
                vec![args.connection.ask(ask).await?]
            }
            None => {
                let list = |mut client: crate::cluster::connection::Client| async move {
                    client.list_surveys(v1::ListSurveysRequest {}).await
                };
                args.connection.ask(list).await?.surveys
            }
        };
        if args.json {
            let documents: Vec<_> = surveys.iter().map(standing::document).collect();
            println!("{}", serde_json::to_string_pretty(&documents)?);
        } else {
            for survey in &surveys {
                println!("{}", standing::line(survey));
            }
        }
        Ok(())
    })
}

//! One file per subcommand.

pub mod cancel;
pub mod coordinator;
pub mod doctor;
pub mod evaluate;
pub mod plan;
pub mod report;
pub mod results;
pub mod run;
pub mod simulate;
pub mod status;
pub mod submit;
pub mod watch;
pub mod worker;
pub mod workers;

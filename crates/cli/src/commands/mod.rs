//! One file per subcommand.

pub mod evaluate;
pub mod plan;
pub mod report;
pub mod run;
pub mod simulate;

//! One file per subcommand.

pub mod evaluate;
pub mod simulate;

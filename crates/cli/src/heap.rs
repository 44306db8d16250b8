//! How the C library keeps memory that is freed.
//!
//! glibc gives each thread an arena of its own, up to eight a core, and what is free in one is of no use to the others: half
//! of what a run held was that. And it maps large blocks one by one and gives them back when they are freed, plane by plane: a
//! third of a run's page faults. Both can be set from outside, by variables that it reads before `main` (mallopt(3)), so the
//! program starts itself once more with them. Other C libraries do not mind.

use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// As many arenas as there are cores.
const ARENAS: &str = "MALLOC_ARENA_MAX";
/// Blocks up to this size come out of an arena, and so much may be free at its end. The first is the largest that is allowed.
const THRESHOLDS: [(&str, usize); 2] = [("MALLOC_MMAP_THRESHOLD_", 32 << 20), ("MALLOC_TRIM_THRESHOLD_", 64 << 20)];
/// Where somebody has set this, or the variable for the arenas, the operator knows better.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Goes on as the same process with these settings; returns where they are set already or cannot be.
pub fn settle() {
    if [ARENAS, TUNABLES].iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut again = Command::new(program);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments).env(ARENAS, cores.to_string());
    again.envs(THRESHOLDS.map(|(name, bytes)| (name, bytes.to_string())));
    // Comes back where the program could not be started again: then it runs as it is.
    let _ = again.exec();
}

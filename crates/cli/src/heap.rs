//! How the C library keeps memory that is freed.
//!
//! glibc gives each thread an arena of its own, up to eight a core, and what is free in one is of no use to the others: half
//! of what a run held was that. And it maps large blocks one by one and gives them back when they are freed, plane by plane: a
//! third of a run's page faults. Both can be set from outside, by variables that it reads before `main` (mallopt(3)), so the
//! program starts itself once more with them. Other C libraries do not mind.

use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// As many arenas as there are cores.
const ARENAS: &str = "MALLOC_ARENA_MAX";
/// Blocks up to this size come out of an arena, and so much may be free at its end. The first is the largest that is allowed.
const THRESHOLDS: [(&str, usize); 2] = [("MALLOC_MMAP_THRESHOLD_", 32 << 20), ("MALLOC_TRIM_THRESHOLD_", 64 << 20)];
/// All of these in one.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Goes on as the same process with these settings. Returns where they cannot be set, and where one of them is: then this is the
/// second start, or an operator knows better.
pub fn settle() {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let names = [ARENAS, TUNABLES].into_iter().chain(THRESHOLDS.map(|(name, _)| name));
    if !cfg!(target_env = "gnu") || names.into_iter().any(is_set) {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else { return };
    if program.file_name() != Path::new(&name).file_name() {
        // Started by another name, or by a loader, which would not know what to start.
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut again = Command::new(program);
    again.arg0(name).args(arguments).env(ARENAS, cores.to_string());
    again.envs(THRESHOLDS.map(|(name, bytes)| (name, bytes.to_string())));
    // Comes back where the program could not be started again: then it runs as it is.
    let _ = again.exec();
}

//! The one line that a process which serves says when it does: scripts wait for it.

/// Says that the process serves.
#[allow(clippy::print_stdout, reason = "scripts wait for this line")]
pub fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    // Where nobody reads it, nothing is lost.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

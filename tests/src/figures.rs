//! Figures as rows of a table: `make bench` gathers them into `docs/performance.md`.

/// Says a figure: what was measured, what is asked of it, and what it is.
#[allow(clippy::print_stdout, reason = "the row is what it is for")]
pub fn figure(what: &str, asked: &str, measured: &str) {
    println!("| {what} | {asked} | {measured} |");
}

/// A number with its thousands set apart.
#[must_use]
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

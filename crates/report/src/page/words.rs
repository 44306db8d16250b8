//! Numbers and dates as people read them.

use survey::result::{DateRange, NearbyPlace};

use crate::ground::round;

/// A whole number with separators: `12,345`.
#[must_use]
pub fn grouped(value: u64) -> String {
    group(&value.to_string())
}

/// A number with so many decimals and separators: `1,234.5`.
#[must_use]
pub fn number(value: f64, decimals: usize) -> String {
    let rounded = round(value, decimals as u32);
    let written = format!("{:.decimals$}", rounded.abs());
    let (whole, fraction) = written.split_once('.').unwrap_or((&written, ""));
    let sign = if rounded < 0.0 { "−" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", group(whole))
}

fn group(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Hectares: one decimal below a thousand.
#[must_use]
pub fn hectares(value: f64) -> String {
    number(value, if value.abs() < 1000.0 { 1 } else { 0 })
}

/// A share in percent, rounded down, so that `100 %` is all and `0 %` is nothing; `–` of nothing.
#[must_use]
pub fn percent_down(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    match u128::from(part) * 1000 / u128::from(whole) {
        0 if part > 0 => "< 0.1 %".to_owned(),
        0 => "0 %".to_owned(),
        1000 => "100 %".to_owned(),
        tenths => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

/// `1 site`, `2 sites`.
#[must_use]
pub fn counted(count: u64, one: &str, several: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {several}", grouped(count)) }
}

/// A day, or the first and the last.
#[must_use]
pub fn days(range: DateRange) -> String {
    if range.from == range.to { range.from.to_string() } else { format!("{} – {}", range.from, range.to) }
}

/// `0.5 km SW of Kyongsong Station`.
#[must_use]
pub fn nearby(place: &NearbyPlace, kind: &str) -> String {
    let name = place.name.as_deref().unwrap_or(kind);
    let distance = if place.distance_km < 10.0 { number(place.distance_km, 1) } else { number(place.distance_km, 0) };
    if place.bearing.is_empty() {
        format!("{distance} km from {name}")
    } else {
        format!("{distance} km {} of {name}", place.bearing)
    }
}

/// A text as one piece of a URL's path or query: what is not an ASCII letter, a digit, `-`, `_` or `.` is escaped.
#[must_use]
pub fn url_part(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Degrees of a graticule line, `129.5° E`.
#[must_use]
pub fn meridian(lon: f64) -> String {
    let lon = lon - 360.0 * (lon / 360.0).round();
    match lon {
        lon if lon == 0.0 || lon.abs() == 180.0 => format!("{}°", lon.abs()),
        lon => format!("{}° {}", round(lon.abs(), 4), if lon < 0.0 { "W" } else { "E" }),
    }
}

/// Degrees of a graticule line, `41.5° N`.
#[must_use]
pub fn parallel(lat: f64) -> String {
    if lat == 0.0 {
        "0°".to_owned()
    } else {
        format!("{}° {}", round(lat.abs(), 4), if lat < 0.0 { "S" } else { "N" })
    }
}

/// Metres of a scale bar: `500 m`, `20 km`.
#[must_use]
pub fn length(metres: f64) -> String {
    if metres < 1000.0 { format!("{metres} m") } else { format!("{} km", round(metres / 1000.0, 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_so_that_all_and_nothing_stay_special() {
        assert_eq!(percent_down(99_999, 100_000), "99.9 %");
        assert_eq!(percent_down(100_000, 100_000), "100 %");
        assert_eq!(percent_down(1, 100_000), "< 0.1 %");
        assert_eq!(percent_down(0, 100_000), "0 %");
        assert_eq!(percent_down(0, 0), "–");
    }

    #[test]
    fn numbers_have_separators_and_no_negative_nought() {
        assert_eq!(number(1_234_567.25, 1), "1,234,567.3");
        assert_eq!(number(-0.04, 1), "0.0");
        assert_eq!(number(-1234.0, 0), "−1,234");
        assert_eq!(grouped(999), "999");
        assert_eq!(meridian(190.0), "170° W");
    }
}

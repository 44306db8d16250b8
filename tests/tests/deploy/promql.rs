//! Which metrics and labels a PromQL expression names. Reads the language only as far as that needs.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub metrics: BTreeSet<String>,
    /// Metric, label, and the values that it is compared with (alternatives apart).
    pub matched: BTreeSet<(String, String, Vec<String>)>,
    /// Labels that are grouped by.
    pub grouped: BTreeSet<String>,
}

/// Words of the language that no bracket need follow.
const WORDS: [&str; 21] = [
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "atan2",
    "inf",
    "nan",
    "Inf",
    "sum",
    "min",
    "max",
    "avg",
    "group",
    "count",
    "stddev",
    "stdvar",
    "count_values",
    "bottomk",
    "topk",
    "quantile",
];
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

fn word(letters: &mut Peekable<Chars>) -> String {
    let mut word = String::new();
    while let Some(letter) = letters.next_if(|letter| is_word(*letter)) {
        word.push(letter);
    }
    word
}

/// What stands up to `end`, which is taken, too.
fn up_to(letters: &mut Peekable<Chars>, end: char) -> String {
    letters.by_ref().take_while(|letter| *letter != end).collect()
}

fn next_visible(letters: &mut Peekable<Chars>) -> Option<char> {
    while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
    letters.peek().copied()
}

impl Names {
    pub fn of(expression: &str) -> Self {
        let mut names = Self::default();
        let letters = &mut expression.chars().peekable();
        while let Some(first) = letters.peek().copied() {
            match first {
                '[' => drop(up_to(letters, ']')),
                '"' => {
                    letters.next();
                    up_to(letters, '"');
                }
                '0'..='9' => drop(word(letters)),
                _ if is_word(first) => {
                    let name = word(letters);
                    match next_visible(letters) {
                        _ if WORDS.contains(&name.as_str()) => {}
                        Some('(') if GROUPING.contains(&name.as_str()) => {
                            letters.next();
                            let labels = up_to(letters, ')');
                            names.grouped.extend(
                                labels
                                    .split(',')
                                    .map(|label| label.trim().to_owned())
                                    .filter(|label| !label.is_empty()),
                            );
                        }
                        Some('(') => {}
                        next => {
                            if next == Some('{') {
                                letters.next();
                                names.matchers(&name, letters);
                            }
                            names.metrics.insert(name);
                        }
                    }
                }
                _ => drop(letters.next()),
            }
        }
        names
    }

    fn matchers(&mut self, metric: &str, letters: &mut Peekable<Chars>) {
        while let Some(next) = next_visible(letters) {
            if next == '}' {
                letters.next();
                return;
            }
            let label = word(letters);
            up_to(letters, '"');
            let values = up_to(letters, '"').split('|').map(str::to_owned).collect();
            self.matched.insert((metric.to_owned(), label, values));
            if next_visible(letters) == Some(',') {
                letters.next();
            }
        }
    }
}

#[test]
fn names_are_found_and_nothing_else() {
    let names = Names::of(
        r#"histogram_quantile(0.99, sum by (le, job) (rate(a_bucket{x="1", y=~"p|q"}[$__rate_interval]))) > 1e6
           and (sum(b) or vector(0)) == bool 0 unless c offset 5m and on(z) label_replace(d, "e", "$1", "f", "(.*)")"#,
    );
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(names.metrics, set(&["a_bucket", "b", "c", "d"]));
    assert_eq!(names.grouped, set(&["le", "job", "z"]));
    let matched = [("x", vec!["1"]), ("y", vec!["p", "q"])].map(|(label, values)| {
        ("a_bucket".to_owned(), label.to_owned(), values.into_iter().map(str::to_owned).collect())
    });
    assert_eq!(names.matched, matched.into_iter().collect());
}

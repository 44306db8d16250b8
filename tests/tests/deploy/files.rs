//! The files of `deploy/`, and the programs that check them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A path from the root of the checkout.
pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub fn text(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML file, merge keys (`<<`) resolved.
pub fn yaml(text: &str) -> Vec<Value> {
    serde_norway::Deserializer::from_str(text)
        .map(|document| {
            let mut value: serde_norway::Value = serde::Deserialize::deserialize(document).unwrap();
            value.apply_merge().unwrap();
            serde_json::to_value(value).unwrap()
        })
        .filter(|document| !document.is_null())
        .collect()
}

/// The words of a list.
pub fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// Every place in a document where `key` stands.
pub fn each<'a>(document: &'a Value, key: &str) -> Vec<&'a Value> {
    match document {
        Value::Object(map) => map
            .iter()
            .flat_map(|(name, value)| {
                let here = (name == key).then_some(value);
                here.into_iter().chain(each(value, key))
            })
            .collect(),
        Value::Array(list) => list.iter().flat_map(|value| each(value, key)).collect(),
        _ => Vec::new(),
    }
}

/// The value of `--name=value` or of `--name value` in a command line.
pub fn option(arguments: &[String], name: &str) -> Option<String> {
    let with_value = format!("{name}=");
    arguments.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(&with_value) {
        Some(value) => Some(value.to_owned()),
        None if word == name => arguments.get(at + 1).cloned(),
        None => None,
    })
}

/// Bytes of `8Gi`, `4GiB` or `3G` (which Compose and we count in powers of two).
pub fn bytes(size: &str) -> u64 {
    let digits = size.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(size.len());
    let shift = match &size[digits..] {
        "Mi" | "MiB" | "M" => 20,
        "Gi" | "GiB" | "G" => 30,
        other => panic!("{size}: what is `{other}`?"),
    };
    size[..digits].parse::<u64>().unwrap() << shift
}

/// The most that a worker with this memory limit gives one job: three quarters are for jobs and cache, and of that the
/// cache takes a quarter, 1 GiB at most (docs/operate.md, "Size").
pub fn job_memory(limit: u64) -> u64 {
    let share = limit / 4 * 3;
    share - (share / 4).min(1 << 30)
}

/// A command of the built binary, as `deploy/` writes it: every option must be one that it has.
pub fn assert_understood(place: &str, arguments: &[String]) {
    let command = arguments.first().unwrap();
    let help = Command::new(groundbreak_tests::survey_run::binary()).args([command, "--help"]).output().unwrap();
    assert!(help.status.success(), "{place}: there is no command `{command}`");
    let help = String::from_utf8(help.stdout).unwrap();
    for word in &arguments[1..] {
        let name = word.split('=').next().unwrap();
        if name.starts_with('-') {
            let is_known = help.split([' ', ',', '\n', '=', '[']).any(|known| known == name);
            assert!(is_known || name == "-v", "{place}: `{command}` has no option `{name}`:\n{help}");
        }
    }
}

/// Python with these modules, or `None` with the one line that says what is skipped.
pub fn python(test: &str, modules: &str) -> Option<PathBuf> {
    let venv = root(".venv/bin/python");
    #[allow(clippy::disallowed_methods, reason = "the environment of the test run")]
    let python = std::env::var("GROUNDBREAK_PYTHON").map_or(venv, PathBuf::from);
    let found = Command::new(&python).args(["-c", &format!("import {modules}")]).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    println!("skipped: {test}: no Python with {modules} (set GROUNDBREAK_PYTHON)");
    None
}

/// A program on PATH, or `None` with the one line that says what is skipped.
pub fn program(test: &str, name: &'static str, question: &[&str]) -> Option<Command> {
    let found = Command::new(name).args(question).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(Command::new(name));
    }
    println!("skipped: {test}: there is no `{name}` on PATH");
    None
}

/// Runs a command with `input`.
pub fn feed(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // One that refuses may not read to the end.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What `validate.py` says is wrong, a line each.
pub fn problems(python: &Path, arguments: &[&str], input: &str) -> Vec<String> {
    let script = root("tests/tests/deploy/validate.py");
    let output = feed(Command::new(python).arg(script).args(arguments), input);
    let (said, failed) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "validate.py {arguments:?}: {said}{failed}");
    said.lines().map(str::to_owned).collect()
}

//! Surveys run as a user runs them: the built binary, a folder, and what it leaves there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The built binary; `GROUNDBREAK_BIN` names another one.
///
/// # Panics
/// Where it has not been built.
#[must_use]
#[allow(clippy::disallowed_methods, clippy::panic, reason = "test support: the environment of the test run")]
pub fn binary() -> PathBuf {
    if let Ok(named) = std::env::var("GROUNDBREAK_BIN") {
        return PathBuf::from(named);
    }
    // Tests run from target/<profile>/deps.
    let deps = std::env::current_exe().unwrap_or_default();
    let path = deps.parent().and_then(Path::parent).map(|folder| folder.join("groundbreak")).unwrap_or_default();
    assert!(path.exists(), "{} is not built: run `make build` first", path.display());
    path
}

/// Runs `groundbreak` with arguments and environment, and waits for it.
///
/// # Panics
/// Where the process cannot be started.
#[must_use]
#[allow(clippy::expect_used, reason = "test support")]
pub fn groundbreak(arguments: &[&str], environment: &[(&str, String)]) -> Output {
    Command::new(binary())
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
        .output()
        .expect("the binary starts")
}

/// Runs `groundbreak` and checks that it succeeds.
///
/// # Panics
/// Where it fails, with what it wrote.
#[allow(clippy::panic, reason = "test support")]
pub fn succeed(arguments: &[&str], environment: &[(&str, String)]) -> String {
    let output = groundbreak(arguments, environment);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "groundbreak {} failed with {}:\n{stdout}\n{stderr}",
        arguments.join(" "),
        output.status
    );
    stdout.into_owned()
}

/// Runs `groundbreak`, checks that it fails, and gives its exit code and what it said.
///
/// # Panics
/// Where it succeeds or dies of a signal.
#[allow(clippy::panic, clippy::expect_used, reason = "test support")]
pub fn refuse(arguments: &[&str], environment: &[(&str, String)]) -> (i32, String) {
    let output = groundbreak(arguments, environment);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "groundbreak {} succeeded", arguments.join(" "));
    assert!(!stderr.contains("panicked"), "groundbreak {} panicked:\n{stderr}", arguments.join(" "));
    (output.status.code().expect("an exit code"), stderr)
}

/// What a process took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// The most memory that it ever held, bytes (`VmHWM`).
    pub peak_bytes: u64,
    /// User and system time, seconds, all threads together.
    pub core_seconds: f64,
}

/// Runs `groundbreak`, checks that it succeeds and says what it took.
///
/// # Panics
/// Where it cannot be started or fails.
#[must_use]
#[allow(clippy::expect_used, reason = "test support")]
pub fn measure(arguments: &[&str]) -> Taken {
    const TICKS_PER_SECOND: f64 = 100.0;
    let mut command = Command::new(binary());
    let mut child =
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let process = child.id();
    let of_process = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
    let read = |taken: &mut Taken| {
        taken.peak_bytes = taken.peak_bytes.max(peak_memory(process).unwrap_or(0));
        // After the name in brackets: state, then numbers, of which utime and stime are the 11th and 12th.
        let stat = of_process("stat");
        let ticks: Vec<f64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let seconds = ticks.get(10).zip(ticks.get(11)).map_or(0.0, |(user, system)| (user + system) / TICKS_PER_SECOND);
        taken.core_seconds = taken.core_seconds.max(seconds);
    };
    let mut taken = Taken::default();
    loop {
        // The kernel keeps both as long as the process is there: what is read last before its end is enough.
        read(&mut taken);
        let stat = of_process("stat");
        if stat.rsplit(')').next().is_none_or(|fields| fields.trim_start().starts_with(['Z', 'X'])) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let ended = child.wait().expect("the process ends");
    assert!(ended.success(), "groundbreak {} failed with {ended}", arguments.join(" "));
    taken
}

/// The most memory that a process ever held, bytes (`VmHWM`).
#[must_use]
pub fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().trim_end_matches("kB").trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files below a folder by relative path, with their bytes.
///
/// # Panics
/// Where the folder cannot be read.
#[must_use]
#[allow(clippy::expect_used, reason = "test support")]
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                found.insert(name, std::fs::read(&path).expect("a readable file"));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// A CSV file as one map per row.
///
/// # Panics
/// Where it cannot be read.
#[must_use]
#[allow(clippy::expect_used, reason = "test support")]
pub fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).expect("a CSV file");
    reader.deserialize().collect::<Result<_, _>>().expect("rows")
}

/// `../shared`, or `None` with one line that says what is skipped.
#[must_use]
#[allow(clippy::print_stdout, reason = "the one line that says that a test is skipped")]
pub fn shared(test: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    if folder.is_dir() {
        return folder.canonicalize().ok();
    }
    println!("skipped: {test}: ../shared is not there");
    None
}

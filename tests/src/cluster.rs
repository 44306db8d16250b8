//! A cluster of real processes on this machine, to be killed, stopped and started again.

#![allow(clippy::disallowed_methods, reason = "test support: real processes take real time")]

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::survey_run::{binary, peak_memory};

/// How long something may take that takes seconds.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A coordinator and workers. All are killed when it is dropped.
pub struct Cluster {
    folder: PathBuf,
    state: String,
    port: u16,
    listens_on: &'static str,
    environment: Vec<(String, String)>,
    /// Arguments of the coordinator beside state and address.
    pub coordinator_arguments: Vec<String>,
    /// Arguments of a worker beside the coordinator's URL.
    pub worker_arguments: Vec<String>,
    /// Arguments of clients beside the coordinator's URL.
    pub client_arguments: Vec<String>,
    scheme: &'static str,
    coordinator: Option<Child>,
    workers: Vec<Option<Child>>,
    starts: usize,
    /// Which of them was the newest coordinator.
    coordinator_start: usize,
}

impl Cluster {
    /// A cluster whose logs go to `folder` and whose books to `state`, not started. Leases end after 3 s.
    ///
    /// # Panics
    /// No port is free.
    #[must_use]
    #[allow(clippy::expect_used, reason = "test support")]
    pub fn new(folder: &Path, state: &str, environment: &[(&str, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        Self {
            folder: folder.to_path_buf(),
            state: state.to_owned(),
            port,
            listens_on: "127.0.0.1",
            environment: environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            coordinator_arguments: vec!["--lease".into(), "3".into()],
            worker_arguments: Vec::new(),
            client_arguments: Vec::new(),
            scheme: "http",
            coordinator: None,
            workers: Vec::new(),
            starts: 0,
            coordinator_start: 0,
        }
    }

    /// Speaks TLS with these files: certificate, key, authority.
    pub fn speak_tls(&mut self, certificate: &Path, key: &Path, authority: &Path) {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        self.scheme = "https";
        self.coordinator_arguments.extend(["--tls-cert".into(), path(certificate), "--tls-key".into(), path(key)]);
        self.worker_arguments.extend(["--tls-ca".into(), path(authority)]);
        self.client_arguments.extend(["--tls-ca".into(), path(authority)]);
    }

    /// Lets the coordinator listen on all addresses of this machine.
    pub fn listen_everywhere(&mut self) {
        self.listens_on = "0.0.0.0";
    }

    /// Starts the coordinator and waits until it says that it serves.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start_coordinator(&mut self) {
        let listen = format!("{}:{}", self.listens_on, self.port);
        let mut arguments =
            vec!["coordinator".to_owned(), "--state".into(), self.state.clone(), "--listen".into(), listen];
        arguments.extend(self.coordinator_arguments.iter().cloned());
        let (child, out) = self.spawn("coordinator", Command::new(binary()), &arguments);
        self.coordinator = Some(child);
        self.coordinator_start = self.starts;
        let deadline = Instant::now() + PATIENCE;
        while !std::fs::read_to_string(&out).is_ok_and(|said| said.contains("ready on")) {
            let has_ended =
                self.coordinator.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|end| end.is_some()));
            assert!(!has_ended && Instant::now() < deadline, "the coordinator does not come up\n{}", self.logs());
            std::thread::sleep(LOOK);
        }
    }

    /// Starts a worker and gives its number.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_worker(&mut self) -> usize {
        let url = self.url();
        self.start_worker_by(Command::new(binary()), &url)
    }

    /// Starts a worker by a command that runs `groundbreak` with the arguments added to it, which calls the coordinator at
    /// `url`, and gives its number.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_worker_by(&mut self, command: Command, url: &str) -> usize {
        let mut arguments = vec!["worker".to_owned(), "--coordinator".into(), url.to_owned()];
        arguments.extend(self.worker_arguments.iter().cloned());
        let (child, _) = self.spawn("worker", command, &arguments);
        self.workers.push(Some(child));
        self.workers.len() - 1
    }

    #[allow(clippy::expect_used, reason = "test support")]
    fn spawn(&mut self, what: &str, mut command: Command, arguments: &[String]) -> (Child, PathBuf) {
        self.starts += 1;
        let log = |kind: &str| self.folder.join(format!("{what}-{}.{kind}", self.starts));
        let (out, err) = (log("out"), log("err"));
        let child = command
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("a writable folder"))
            .stderr(File::create(&err).expect("a writable folder"))
            .spawn()
            .expect("the binary starts");
        (child, out)
    }

    /// Where its logs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The coordinator's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at("localhost")
    }

    /// The coordinator's URL as seen from elsewhere.
    #[must_use]
    pub fn url_at(&self, host: &str) -> String {
        format!("{}://{host}:{}", self.scheme, self.port)
    }

    /// `kill -9` of the coordinator. False where there is none.
    pub fn kill_coordinator(&mut self) -> bool {
        end(&mut self.coordinator)
    }

    /// `kill -9` of a worker. False where it is gone.
    pub fn kill_worker(&mut self, number: usize) -> bool {
        self.workers.get_mut(number).is_some_and(end)
    }

    /// `kill -9` of the coordinator and of all workers, at once.
    pub fn kill_everything(&mut self) {
        // All are told before any is waited for.
        for child in self.coordinator.iter_mut().chain(self.workers.iter_mut().flatten()) {
            let _ = child.kill();
        }
        end(&mut self.coordinator);
        self.workers.iter_mut().for_each(|worker| {
            end(worker);
        });
    }

    /// Whether a worker's process is there.
    #[must_use]
    pub fn is_alive(&mut self, number: usize) -> bool {
        let worker = self.workers.get_mut(number).and_then(Option::as_mut);
        worker.is_some_and(|worker| worker.try_wait().is_ok_and(|ended| ended.is_none()))
    }

    /// The most memory that a worker ever held, bytes.
    #[must_use]
    pub fn peak_memory(&self, number: usize) -> Option<u64> {
        peak_memory(self.workers.get(number)?.as_ref()?.id())
    }

    /// Numbers of the workers that run.
    #[must_use]
    pub fn workers(&self) -> Vec<usize> {
        (0..self.workers.len()).filter(|&number| self.workers.get(number).is_some_and(Option::is_some)).collect()
    }

    /// Sends a worker a signal, by its name (`STOP`, `CONT`, `TERM`).
    ///
    /// # Panics
    /// There is no such worker.
    #[allow(clippy::expect_used, reason = "test support")]
    pub fn signal_worker(&self, number: usize, signal: &str) {
        let worker = self.workers.get(number).and_then(Option::as_ref).expect("a worker that runs");
        let sent = Command::new("kill").args([format!("-{signal}"), worker.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{signal}");
    }

    /// Waits for a worker to leave by itself, and gives its exit code.
    ///
    /// # Panics
    /// It stays.
    #[allow(clippy::expect_used, reason = "test support")]
    pub fn wait_for_worker(&mut self, number: usize) -> Option<i32> {
        wait_for(self.workers.get_mut(number).and_then(Option::take).expect("a worker that runs"))
    }

    /// Waits for the coordinator to end by itself, and gives its exit code.
    ///
    /// # Panics
    /// It goes on.
    #[allow(clippy::expect_used, reason = "test support")]
    pub fn wait_for_coordinator(&mut self) -> Option<i32> {
        wait_for(self.coordinator.take().expect("a coordinator that runs"))
    }

    /// Runs a client command against this cluster.
    ///
    /// # Panics
    /// The binary cannot be started.
    #[must_use]
    #[allow(clippy::expect_used, reason = "test support")]
    pub fn ask(&self, arguments: &[&str]) -> Output {
        Command::new(binary())
            .args(arguments)
            .args(["--coordinator", &self.url()])
            .args(&self.client_arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("the binary starts")
    }

    /// Submits a survey and gives its id.
    ///
    /// # Panics
    /// It is refused.
    #[must_use]
    pub fn submit(&self, survey: &str, more: &[&str]) -> String {
        let mut arguments = vec!["submit", survey];
        arguments.extend(more);
        let output = self.ask(&arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "submit: {said}{}\n{}", String::from_utf8_lossy(&output.stderr), self.logs());
        said.split_whitespace().last().unwrap_or_default().to_owned()
    }

    /// The line of a survey, which starts with its state.
    #[must_use]
    pub fn status(&self, survey: &str) -> String {
        String::from_utf8_lossy(&self.ask(&["status", survey]).stdout).trim().to_owned()
    }

    /// Waits for a survey's end and gives its state.
    ///
    /// # Panics
    /// It does not end.
    #[must_use]
    pub fn end_of(&self, survey: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.status(survey);
            let state = line.split_whitespace().next().unwrap_or_default();
            if matches!(state, "complete" | "complete-with-gaps" | "failed" | "cancelled") {
                return state.to_owned();
            }
            assert!(Instant::now() < deadline, "{line}\n{}", self.logs());
            std::thread::sleep(4 * LOOK);
        }
    }

    /// The last line that the newest coordinator has written to standard error.
    #[must_use]
    pub fn last_words_of_the_coordinator(&self) -> String {
        let log = self.folder.join(format!("coordinator-{}.err", self.coordinator_start));
        let log = std::fs::read_to_string(log).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    /// The ends of all logs.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|kind| kind == "err")) {
            let log = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n");
            text.push_str(&format!("== {}\n{last}\n", path.display()));
        }
        text
    }
}

#[allow(clippy::expect_used, reason = "test support")]
fn wait_for(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code();
        }
        assert!(Instant::now() < deadline, "the process does not end");
        std::thread::sleep(LOOK);
    }
}

fn end(child: &mut Option<Child>) -> bool {
    let Some(mut child) = child.take() else { return false };
    let _ = child.kill();
    let _ = child.wait();
    true
}

impl Drop for Cluster {
    fn drop(&mut self) {
        end(&mut self.coordinator);
        self.workers.iter_mut().for_each(|worker| {
            end(worker);
        });
    }
}

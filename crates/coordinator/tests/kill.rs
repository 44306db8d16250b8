//! `kill -9` of a process that writes a journal, again and again: whatever it was told is durable is there afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]
#![allow(clippy::disallowed_methods, reason = "the test runs itself again, and tells it by the environment what to do")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use coordinator::SlateStore;
use coordinator::journal::record::Submitted;
use coordinator::journal::{Journal, JournalStore, Record};
use coordinator::schedule::event::Attempt;
use imagery::commit::Output;
use imagery::store::Stores;
use survey::ids::{Digest, SurveyId};
use survey::job::{JobKey, ObjectRef};

/// Where the writer writes; set in the processes that are killed.
const FOLDER: &str = "GROUNDBREAK_TEST_JOURNAL";
const KILLS: u64 = 12;

fn store(folder: &str) -> SlateStore {
    let stores = Stores::new(&[], folder).unwrap();
    SlateStore::new(&Output::open(folder, &stores).unwrap(), &stores).unwrap()
}

fn object(number: u32) -> ObjectRef {
    let content = format!("object {number}");
    ObjectRef { key: format!("stages/{number}"), digest: Digest::of(content.as_bytes()), length: content.len() as u64 }
}

fn submitted() -> Record {
    Record::Submitted(Submitted {
        survey: SurveyId::from("a"),
        name: "a".into(),
        plan: object(u32::MAX),
        notes: None,
        output: "file:///out/".into(),
        halo_px: 16,
        max_job_memory: 1,
        priority: 100,
        version: "1".into(),
        submission: String::new(),
        since: Attempt::default(),
    })
}

/// The writer: says `epoch first`, then each number whose batch is durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is run by the test below, and writes until it is killed"]
async fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let (mut journal, _) = store(&folder).open("writer").await.unwrap();
    let done = journal.reader().jobs(&SurveyId::from("a")).await.unwrap().completed;
    let mut next = u32::try_from(done.len()).unwrap();
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").unwrap();
        out.flush().unwrap();
    };
    say(format!("epoch {}", journal.epoch()));
    journal.append(&[submitted()]).await.unwrap();
    loop {
        let batch: Vec<Record> = (next..next + 5)
            .map(|number| Record::Completed {
                survey: SurveyId::from("a"),
                key: JobKey::Calibrate(number),
                object: object(number),
            })
            .collect();
        journal.append(&batch).await.unwrap();
        next += 5;
        say(format!("durable {next}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_outlives_a_kill_at_any_instant() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().to_string_lossy().into_owned();
    let mut epochs = Vec::new();
    let mut acknowledged = 0;
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--ignored", "--nocapture"])
            .env(FOLDER, &folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed after a number of acknowledgements that differs: in the middle of whatever it does then.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 1 + round * 7 % 23;
        while left > 0 {
            let line = lines.next().expect("the writer writes until it is killed").unwrap();
            if let Some(epoch) = line.strip_prefix("epoch ") {
                epochs.push(epoch.parse::<u64>().unwrap());
            } else if let Some(durable) = line.strip_prefix("durable ") {
                acknowledged = durable.parse::<u32>().unwrap();
                left -= 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died counts, too.
        for line in lines.map_while(Result::ok) {
            if let Some(durable) = line.strip_prefix("durable ").and_then(|durable| durable.parse::<u32>().ok()) {
                acknowledged = durable;
            }
        }
        let (journal, books) = store(&folder).open("reader").await.unwrap();
        epochs.push(journal.epoch());
        assert_eq!(books.surveys.len(), 1);
        let jobs = journal.reader().jobs(&SurveyId::from("a")).await.unwrap().completed;
        let found = u32::try_from(jobs.len()).unwrap();
        assert!(found >= acknowledged, "{found} of {acknowledged} acknowledged jobs are there");
        // A batch is there whole or not at all, and nothing is there that was not written.
        assert_eq!(found % 5, 0);
        for (number, (key, reference)) in (0_u32..).zip(&jobs) {
            assert_eq!((*key, reference), (JobKey::Calibrate(number), &object(number)));
        }
        journal.close().await;
    }
    assert!(acknowledged >= 100, "{acknowledged}");
    assert!(epochs.windows(2).all(|pair| pair[0] < pair[1]), "{epochs:?}");
}

//! A worker that is cut off from the coordinator.

use std::process::{Command, Stdio};

use groundbreak_tests::cluster::Cluster;
use groundbreak_tests::survey_run::binary;

use super::stage::{assert_same, document, reference, results_of, small, wait_for_jobs};

/// A network of its own with one cable to this machine's. Gone when dropped.
struct Network {
    name: String,
    cable: String,
    here: String,
}

fn ip(words: &str) -> bool {
    let command = Command::new("ip").args(words.split(' ')).stdout(Stdio::null()).stderr(Stdio::null()).status();
    command.is_ok_and(|status| status.success())
}

impl Network {
    /// `None`, with one line that says what is skipped, where none can be made.
    #[allow(clippy::print_stdout, reason = "the one line that says that a test is skipped")]
    fn new(test: &str) -> Option<Self> {
        // Names and addresses of this process, so that two runs do not meet. 198.18.0.0/15 is for trials.
        let number = std::process::id();
        let (high, low) = (number / 64 % 256, number % 64 * 4);
        let network = Self {
            name: format!("groundbreak-{number}"),
            cable: format!("gb{number}"),
            here: format!("198.18.{high}.{}", low + 1),
        };
        let Self { name, cable, here } = &network;
        let steps = [
            format!("netns add {name}"),
            format!("link add {cable} type veth peer name far netns {name}"),
            format!("addr add {here}/30 dev {cable}"),
            format!("link set {cable} up"),
            format!("-n {name} addr add 198.18.{high}.{}/30 dev far", low + 2),
            format!("-n {name} link set far up"),
        ];
        if steps.iter().all(|step| ip(step)) {
            return Some(network);
        }
        println!("skipped: {test}: no network namespace can be made here (it takes root and `ip`)");
        None
    }

    fn cut(&self) {
        assert!(ip(&format!("link set {} down", self.cable)));
    }

    fn mend(&self) {
        assert!(ip(&format!("link set {} up", self.cable)));
    }

    /// `groundbreak`, on the other side.
    fn command(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(binary());
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The cable goes with it.
        ip(&format!("netns del {}", self.name));
    }
}

#[test]
fn a_worker_that_is_cut_off_loses_its_jobs_to_others_and_comes_back_whole() {
    let Some(network) = Network::new("a_worker_that_is_cut_off") else { return };
    let fixture = small(64);
    let reference = reference(&fixture);
    let folder = tempfile::tempdir().unwrap();
    let state = format!("file://{}", folder.path().join("state").display());
    let mut cluster = Cluster::new(folder.path(), &state, &[]);
    cluster.listen_everywhere();
    cluster.start_coordinator();
    let far = cluster.start_worker_by(network.command(), &cluster.url_at(&network.here));
    let survey = cluster.submit(&fixture.survey(), &[]);
    wait_for_jobs(&cluster, &survey, 3);
    network.cut();
    // Only the lease's end can free its jobs.
    let near = cluster.start_worker();
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    assert_ne!(document(&cluster, &survey)["leases_expired"], 0, "it was cut off in mid-job");
    assert_same(&results_of(&cluster, &survey), &reference, "cut off");
    assert!(cluster.is_alive(far), "it waits for the coordinator");

    // Alone it does the next survey from start to end.
    assert!(cluster.kill_worker(near));
    network.mend();
    let next = small(128);
    let survey = cluster.submit(&next.survey(), &[]);
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    assert_same(&results_of(&cluster, &survey), &reference, "back again");
}

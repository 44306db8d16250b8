//! A coordinator as it is served to strangers: all its services behind the gate, with a journal and an output in memory.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coordinator::auth::{Gate, Tokens};
use coordinator::door::Door;
use coordinator::journal::memory::MemoryStore;
use coordinator::quota::Quotas;
use coordinator::scaler::Scaler;
use coordinator::{Clock, Coordinator, CoordinatorConfig, NoResults, RuntimeClock, patience, service};
use futures::stream;
use groundbreak_tests::{pipe, plan, pretend};
use imagery::commit::Output;
use imagery::store::Stores;
use proto::convert::job::{key_to_wire, object_to_wire};
use proto::v1;
use survey::grid::Cell;
use survey::job::JobKey;
use survey::plan::{PlannedCell, SurveyPlan};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;

pub const OPERATOR: &str = "operator-token-0001";
pub const WORKER: &str = "worker-token-000002";
pub const VIEWER: &str = "viewer-token-000003";
const OUTPUT: &str = "memory:///state/";

/// Time stands still, so that the same call has the same answer.
struct Still;

impl Clock for Still {
    fn now(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Two pairs, two tiles, one county.
fn planned() -> SurveyPlan {
    let pairs = ["one", "two"].map(|key| plan::pair(key, &["red"]));
    let cells = [1, 2].map(|col| PlannedCell { cell: Cell { row: 0, col }, pairs: vec![0, 1] });
    plan::plan(vec![plan::county("C1", "C1")], pairs.to_vec(), cells.to_vec())
}

fn tokens() -> Tokens {
    Tokens::parse(&format!("operator {OPERATOR}\nworker {WORKER}\nviewer {VIEWER}\n")).unwrap()
}

pub struct Server {
    output: Output,
    dial: mpsc::UnboundedSender<DuplexStream>,
}

/// Connections that an address may hold to the coordinator on a port.
pub const CONNECTIONS: u32 = 40;

/// A coordinator on a port of this machine, with short leases, whose callers have quotas.
pub async fn on_a_port(
    lease: Duration,
    calls_per_second: NonZeroU32,
) -> (SocketAddr, Coordinator, v1::SubmitSurveyRequest) {
    let stores = Stores::new(&[], OUTPUT).unwrap();
    let output = Output::open(OUTPUT, &stores).unwrap();
    let mut config = CoordinatorConfig::new("a".into(), |_| 16);
    config.policy = config.policy.with_lease(lease);
    let (journal, clock) = (MemoryStore::default(), Arc::new(RuntimeClock::start()));
    let press = Arc::new(NoResults);
    let coordinator = Coordinator::start(config, &journal, output.clone(), stores, press, clock.clone()).await.unwrap();
    let gate = Gate::new(Some(tokens())).with_quotas(Some(Quotas::new(calls_per_second, clock)));
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = incoming.local_addr().unwrap();
    let router = coordinator.add_to(service::server().layer(gate));
    let door = Door::new(NonZeroU32::new(CONNECTIONS));
    let incoming = patience::heard(incoming, move |connection| door.let_in(connection));
    tokio::spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
    (address, coordinator, submission(&output).await)
}

/// A submission of the plan, which is committed.
async fn submission(output: &Output) -> v1::SubmitSurveyRequest {
    let bytes = Bytes::from(proto::objects::encode_plan(&planned()));
    let plan = output.commit("plan", "pb", bytes).await.unwrap();
    let submission = v1::PlanSubmission {
        plan: Some(object_to_wire(&plan)),
        halo_px: 16,
        max_job_memory: 4 << 30,
        notes: vec![],
        output: String::new(),
    };
    let submission = Some(v1::submit_survey_request::Submission::Plan(submission));
    v1::SubmitSurveyRequest { submission, again: false, priority: 0 }
}

impl Server {
    pub async fn start() -> Self {
        let stores = Stores::new(&[], OUTPUT).unwrap();
        let output = Output::open(OUTPUT, &stores).unwrap();
        let config = CoordinatorConfig::new("a".into(), |_| 16);
        let (journal, clock) = (MemoryStore::default(), Arc::new(Still));
        let coordinator =
            Coordinator::start(config, &journal, output.clone(), stores, Arc::new(NoResults), clock).await.unwrap();
        let gate = Gate::new(Some(tokens()));
        let router = coordinator.add_to(service::server().layer(gate)).add_service(Scaler::new(coordinator).service());
        let (dial, dialled) = mpsc::unbounded_channel::<DuplexStream>();
        let incoming = stream::unfold(dialled, |mut dialled| async {
            dialled.recv().await.map(|pipe| (Ok::<_, std::io::Error>(pipe), dialled))
        });
        let incoming = patience::heard(incoming, |_| Door::new(None).enter(None));
        tokio::spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        Self { output, dial }
    }

    /// The other end of a new connection.
    pub fn connection(&self) -> DuplexStream {
        pipe::connection(&self.dial).unwrap()
    }

    pub async fn channel(&self) -> Channel {
        pipe::channel(self.dial.clone()).await.unwrap()
    }

    /// A submission of the plan.
    pub async fn submission(&self) -> v1::SubmitSurveyRequest {
        submission(&self.output).await
    }

    /// A job's object, committed, as a worker reports it.
    pub async fn completion(&self, key: JobKey, attempt: v1::Attempt) -> v1::Completion {
        let bytes = Bytes::from(pretend::object(&planned(), key, vec![]).unwrap());
        let object = self.output.commit(&format!("stages/{key}"), "pb", bytes).await.unwrap();
        v1::Completion {
            survey: planned().survey.0,
            key: Some(key_to_wire(key)),
            attempt: Some(attempt),
            object: Some(object_to_wire(&object)),
            stats: None,
        }
    }
}

//! One trace runs from a submission to the last block that is decoded, through three processes, to a real OTLP receiver.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests; real processes take real time")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use groundbreak_tests::cluster::Cluster;
use groundbreak_tests::fixture::Fixture;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tonic::{Request, Response, Status};

/// A span, as far as it matters here: trace, role of its process, name.
type Seen = (Vec<u8>, String, String);

#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Seen>>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut seen = self.0.lock().unwrap();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let role = attributes.into_iter().find(|attribute| attribute.key == "groundbreak.role");
            let role = match role.and_then(|role| role.value).and_then(|value| value.value) {
                Some(Value::StringValue(role)) => role,
                _ => String::new(),
            };
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                seen.push((span.trace_id, role.clone(), span.name));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_trace_runs_from_the_submission_to_the_last_block() {
    let receiver = Receiver::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = TraceServiceServer::new(receiver.clone());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)),
    );

    let seen = Arc::clone(&receiver.0);
    tokio::task::spawn_blocking(move || {
        let (fixture, folder) = (Fixture::new(), tempfile::tempdir().unwrap());
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned())];
        let state = format!("file://{}", folder.path().join("state").display());
        let mut cluster = Cluster::new(folder.path(), &state, &environment);
        cluster.start_coordinator();
        let worker = cluster.start_worker();
        let survey = cluster.submit(&fixture.survey(), &[]);
        assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
        cluster.signal_worker(worker, "TERM");
        assert_eq!(cluster.wait_for_worker(worker), Some(0));
        // A coordinator goes on; its spans come with its next export.
        let deadline = Instant::now() + Duration::from_secs(30);
        let has = |role: &str, name: &str| seen.lock().unwrap().iter().any(|(_, r, n)| r == role && n == name);
        while !(has("submit", "submit") && has("coordinator", "submit_survey") && has("worker", "decode")) {
            assert!(Instant::now() < deadline, "{:?}", names(&seen.lock().unwrap()));
            std::thread::sleep(Duration::from_millis(50));
        }
    })
    .await
    .unwrap();

    let seen = receiver.0.lock().unwrap();
    let root = seen.iter().find(|(_, role, name)| role == "submit" && name == "submit").unwrap().0.clone();
    let of = |role: &str, name: &str| -> Vec<bool> {
        seen.iter().filter(|(_, r, n)| r == role && n == name).map(|(trace, ..)| *trace == root).collect()
    };
    assert_eq!(of("coordinator", "submit_survey"), [true]);
    for name in ["work", "job", "decode"] {
        let found = of("worker", name);
        assert!(!found.is_empty() && found.iter().all(|is_same| *is_same), "{name}: {:?}", names(&seen));
    }
}

/// How often each span was seen.
fn names(seen: &[Seen]) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for (_, role, name) in seen {
        *counts.entry((role.clone(), name.clone())).or_default() += 1;
    }
    counts
}

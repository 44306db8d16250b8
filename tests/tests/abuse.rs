//! Every RPC that there is, as nobody should call it: without a token, with another role's, twice, too early, too large, as
//! nonsense, too slowly. Which RPCs there are is read from the protocol's own description: a new one without a case
//! fails here.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]

#[path = "abuse/raw.rs"]
mod raw;
#[path = "abuse/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use proto::convert::job::key;
use proto::{externalscaler, v1};
use server::{OPERATOR, Server, VIEWER, WORKER};
use survey::job::JobKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tonic::Code;
use tonic::transport::Channel;
use worker::client::Bearer;
use worker::{Committed, Connector, Credentials, JobFailure, JobRunner, Shutdown, Work, Worker, WorkerConfig};

/// How an RPC is called.
struct Case {
    /// A request that makes sense once the survey is there and a worker has called.
    valid: Bytes,
    /// Whose tokens it takes; empty where it needs none.
    tokens: &'static [&'static str],
    /// What it says before there is a survey or a worker; `None` where it has an answer even then.
    too_early: Option<Code>,
    /// The largest message that it takes, bytes.
    limit: usize,
}

const SURVEYS: &str = "/groundbreak.v1.SurveyService";
const WORKERS: &str = "/groundbreak.v1.WorkerService";
const SCALER: &str = "/externalscaler.ExternalScaler";
/// The survey of the plan, and the worker that calls.
const SURVEY: &str = "a";
const NAME: &str = "w";

fn poll() -> v1::PollRequest {
    v1::PollRequest {
        worker: NAME.into(),
        sequence: 1,
        memory_total: 4 << 30,
        memory_free: 4 << 30,
        slots: 1,
        ..Default::default()
    }
}

async fn cases(server: &Server) -> BTreeMap<String, Case> {
    let see: &[&str] = &[OPERATOR, VIEWER];
    let submit = server.submission().await.encode_to_vec();
    let get = v1::GetSurveyRequest { survey: SURVEY.into() }.encode_to_vec();
    let watch = v1::WatchSurveyRequest { survey: SURVEY.into(), with_results: true }.encode_to_vec();
    let cancel = v1::CancelSurveyRequest { survey: SURVEY.into() }.encode_to_vec();
    let drain = v1::DrainWorkerRequest { worker: NAME.into() }.encode_to_vec();
    let object = externalscaler::ScaledObjectRef::default().encode_to_vec();
    let (large, medium, small) = (proto::MAX_SUBMISSION_BYTES, proto::MAX_MESSAGE_BYTES, 1 << 20);
    let lost = Some(Code::NotFound);
    let rows = [
        (SURVEYS, "SubmitSurvey", submit, &[OPERATOR] as &[&str], None, large),
        (SURVEYS, "GetSurvey", get, see, lost, large),
        (SURVEYS, "ListSurveys", vec![], see, None, large),
        (SURVEYS, "WatchSurvey", watch, see, lost, large),
        (SURVEYS, "CancelSurvey", cancel, &[OPERATOR], lost, large),
        (SURVEYS, "ListWorkers", vec![], see, None, large),
        (SURVEYS, "DrainWorker", drain, &[OPERATOR], lost, large),
        (WORKERS, "Poll", poll().encode_to_vec(), &[WORKER], None, medium),
        (SCALER, "IsActive", object.clone(), &[], None, small),
        (SCALER, "StreamIsActive", object.clone(), &[], None, small),
        (SCALER, "GetMetricSpec", object, &[], None, small),
        (SCALER, "GetMetrics", externalscaler::GetMetricsRequest::default().encode_to_vec(), &[], None, small),
    ];
    let rows = rows.into_iter().map(|(service, method, valid, tokens, too_early, limit)| {
        (format!("{service}/{method}"), Case { valid: valid.into(), tokens, too_early, limit })
    });
    rows.collect()
}

fn descriptors() -> Vec<FileDescriptorSet> {
    [proto::FILE_DESCRIPTOR_SET, proto::SCALER_DESCRIPTOR_SET]
        .map(|set| FileDescriptorSet::decode(set).unwrap())
        .to_vec()
}

/// Every RPC by its path, with its request's message.
fn rpcs() -> BTreeMap<String, String> {
    let mut rpcs = BTreeMap::new();
    for file in descriptors().iter().flat_map(|set| &set.file) {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                rpcs.insert(path, method.input_type().to_owned());
            }
        }
    }
    rpcs
}

/// Names of the messages that hold an enum, however deep.
fn messages_with_enums() -> BTreeSet<String> {
    let sets = descriptors();
    let files = sets.iter().flat_map(|set| &set.file);
    let messages: Vec<(String, &DescriptorProto)> = files
        .flat_map(|file| {
            file.message_type.iter().map(|message| (format!(".{}.{}", file.package(), message.name()), message))
        })
        .collect();
    let mut found: BTreeSet<String> = BTreeSet::new();
    loop {
        let more: Vec<String> = messages
            .iter()
            .filter(|(name, message)| {
                let holds =
                    message.field.iter().any(|field| field.r#type() == Type::Enum || found.contains(field.type_name()));
                holds && !found.contains(name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

async fn right(channel: &Channel, path: &str, case: &Case) -> Result<Bytes, tonic::Status> {
    raw::call(channel, path, case.tokens.first().copied(), case.valid.clone()).await
}

/// Submits the survey and lets the worker call once, so that every case makes sense.
async fn make_sense_of(channel: &Channel, cases: &BTreeMap<String, Case>) {
    for path in [format!("{SURVEYS}/SubmitSurvey"), format!("{WORKERS}/Poll")] {
        right(channel, &path, &cases[&path]).await.unwrap();
    }
}

async fn code(channel: &Channel, path: &str, token: Option<&str>, message: Bytes) -> Option<Code> {
    raw::call(channel, path, token, message).await.err().map(|status| status.code())
}

#[tokio::test]
async fn every_rpc_of_the_protocol_has_a_case() {
    let server = Server::start().await;
    let cases = cases(&server).await;
    assert_eq!(rpcs().into_keys().collect::<Vec<_>>(), cases.into_keys().collect::<Vec<_>>());
    // And no service is missing from the descriptions.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("proto");
    let folders = std::fs::read_dir(&root).unwrap().flat_map(|folder| {
        let folder = folder.unwrap().path();
        if folder.join("v1").is_dir() { std::fs::read_dir(folder.join("v1")) } else { std::fs::read_dir(folder) }
            .unwrap()
    });
    let texts = folders.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let declared: usize =
        texts.map(|text| text.lines().filter(|line| line.trim_start().starts_with("rpc ")).count()).sum();
    assert_eq!(declared, rpcs().len());
}

#[tokio::test]
async fn no_rpc_is_answered_without_a_token_or_with_another_roles() {
    let server = Server::start().await;
    let (channel, cases) = (server.channel().await, cases(&server).await);
    make_sense_of(&channel, &cases).await;
    for (path, case) in &cases {
        let refused = |code| (!case.tokens.is_empty()).then_some(code);
        for token in [None, Some(""), Some("no-token-of-this-one")] {
            let told = code(&channel, path, token, case.valid.clone()).await;
            assert_eq!(told, refused(Code::Unauthenticated), "{path} {token:?}");
        }
        for token in [OPERATOR, WORKER, VIEWER].into_iter().filter(|token| !case.tokens.contains(token)) {
            let told = code(&channel, path, Some(token), case.valid.clone()).await;
            assert_eq!(told, refused(Code::PermissionDenied), "{path} {token}");
        }
    }
    for (path, case) in &cases {
        for token in case.tokens {
            assert_eq!(code(&channel, path, Some(token), case.valid.clone()).await, None, "{path} {token}");
        }
    }
}

#[tokio::test]
async fn an_rpc_that_comes_too_early_says_so_and_makes_sense_later() {
    let server = Server::start().await;
    let (channel, cases) = (server.channel().await, cases(&server).await);
    let submit = format!("{SURVEYS}/SubmitSurvey");
    let polls = format!("{WORKERS}/Poll");
    for (path, case) in cases.iter().filter(|(path, _)| **path != submit && **path != polls) {
        assert_eq!(
            code(&channel, path, case.tokens.first().copied(), case.valid.clone()).await,
            case.too_early,
            "{path}"
        );
    }
    make_sense_of(&channel, &cases).await;
    for (path, case) in &cases {
        right(&channel, path, case).await.unwrap_or_else(|status| panic!("{path}: {status}"));
    }
}

#[tokio::test]
async fn every_rpc_may_come_twice_and_has_the_same_answer() {
    let server = Server::start().await;
    let (channel, cases) = (server.channel().await, cases(&server).await);
    make_sense_of(&channel, &cases).await;
    for (path, case) in &cases {
        let first = right(&channel, path, case).await.unwrap();
        assert_eq!(right(&channel, path, case).await.unwrap(), first, "{path}");
    }
}

#[tokio::test]
async fn an_rpc_with_too_large_a_message_is_refused_by_its_length() {
    let server = Server::start().await;
    let (channel, cases) = (server.channel().await, cases(&server).await);
    make_sense_of(&channel, &cases).await;
    for (path, case) in &cases {
        let token = case.tokens.first().copied();
        let zeros = Bytes::from(vec![0; case.limit + 1]);
        assert_eq!(code(&channel, path, token, zeros).await, Some(Code::OutOfRange), "{path}");
        right(&channel, path, case).await.unwrap_or_else(|status| panic!("afterwards {path}: {status}"));
    }
}

#[tokio::test]
async fn an_rpc_with_bytes_that_are_no_message_is_refused_and_one_with_unknown_fields_is_not() {
    let server = Server::start().await;
    let (channel, cases) = (server.channel().await, cases(&server).await);
    make_sense_of(&channel, &cases).await;
    for (path, case) in &cases {
        let token = case.tokens.first().copied();
        for nonsense in [&[0xff_u8; 11] as &[u8], &[0x0a, 0x7f, 0x00], &[0x0b]] {
            let told = code(&channel, path, token, Bytes::from_static(nonsense)).await;
            assert_eq!(told, Some(Code::Internal), "{path} {nonsense:?}");
        }
        // Field 1000, a length of 3: what a later version might say.
        let mut later = BytesMut::from(&case.valid[..]);
        later.put_slice(&[0xc2, 0x3e, 0x03, b'n', b'e', b'w']);
        assert_eq!(code(&channel, path, token, later.freeze()).await, None, "{path}");
    }
}

#[tokio::test]
async fn every_rpc_that_takes_an_enum_refuses_a_value_that_it_does_not_know() {
    let with_enums = messages_with_enums();
    let taking: Vec<String> =
        rpcs().into_iter().filter(|(_, input)| with_enums.contains(input)).map(|(path, _)| path).collect();
    assert_eq!(taking, [format!("{WORKERS}/Poll")], "each RPC here needs its lines below");
    let server = Server::start().await;
    let (channel, cases) = (server.channel().await, cases(&server).await);
    make_sense_of(&channel, &cases).await;
    for class in [0, 99, -1, i32::MAX] {
        let attempt = Some(v1::Attempt { epoch: 1, counter: 1 });
        let key = Some(v1::JobKey { kind: Some(v1::job_key::Kind::Calibrate(0)) });
        let failed = vec![v1::Failure { survey: SURVEY.into(), key, attempt, class, message: "it failed".into() }];
        let message = v1::PollRequest { failed, ..poll() }.encode_to_vec();
        let told = code(&channel, &taking[0], Some(WORKER), message.into()).await;
        assert_eq!(told, Some(Code::InvalidArgument), "{class}");
    }
}

/// A worker that says whatever it is told to.
struct Liar {
    channel: Channel,
    sequence: u64,
}

impl Liar {
    async fn says(&mut self, request: v1::PollRequest) -> v1::PollResponse {
        self.sequence += 1;
        let request = v1::PollRequest { sequence: self.sequence, ..request };
        let (path, message) = (format!("{WORKERS}/Poll"), request.encode_to_vec().into());
        let answer = raw::call(&self.channel, &path, Some(WORKER), message).await.unwrap();
        v1::PollResponse::decode(answer).unwrap()
    }

    async fn survey(&self) -> v1::Survey {
        let request = v1::GetSurveyRequest { survey: SURVEY.into() };
        let (path, message) = (format!("{SURVEYS}/GetSurvey"), request.encode_to_vec().into());
        let answer = raw::call(&self.channel, &path, Some(VIEWER), message).await.unwrap();
        v1::Survey::decode(answer).unwrap()
    }
}

fn done(survey: &v1::Survey) -> u64 {
    survey.stages.iter().map(|stage| stage.done).sum()
}

#[tokio::test]
async fn attempts_that_are_stale_or_invented_change_nothing_but_a_valid_completion_counts_once() {
    let server = Server::start().await;
    let cases = cases(&server).await;
    let mut liar = Liar { channel: server.channel().await, sequence: 0 };
    let submit = format!("{SURVEYS}/SubmitSurvey");
    right(&liar.channel, &submit, &cases[&submit]).await.unwrap();
    let given = liar.says(v1::PollRequest { slots: 1, ..poll() }).await.assignments;
    let attempt = given[0].attempt.unwrap();
    let job = key(given[0].job.clone().unwrap().key.unwrap()).unwrap();
    assert!(matches!(job, JobKey::Calibrate(_)));
    let stale = [
        v1::Attempt { epoch: attempt.epoch - 1, counter: attempt.counter },
        v1::Attempt { epoch: attempt.epoch, counter: attempt.counter + 1000 },
        v1::Attempt { epoch: u64::MAX, counter: u64::MAX },
    ];
    let running = |attempt: v1::Attempt| v1::Running { attempt: Some(attempt), progress: 1 };
    let holds = vec![running(attempt)];

    // Held: revoked.
    let lies = stale.iter().copied().map(running).chain(holds.clone()).collect();
    let told = liar.says(v1::PollRequest { slots: 0, running: lies, ..poll() }).await;
    assert_eq!(told.revoked, stale);
    // Failed: heard, and not counted.
    let failed = |attempt| v1::Failure {
        survey: SURVEY.into(),
        key: given[0].job.clone().unwrap().key,
        attempt: Some(attempt),
        class: v1::FailureClass::Fatal as i32,
        message: "a lie".into(),
    };
    let failures = stale.iter().copied().map(failed).collect();
    let told = liar.says(v1::PollRequest { slots: 0, running: holds.clone(), failed: failures, ..poll() }).await;
    assert_eq!(told.acknowledged, stale);
    let survey = liar.survey().await;
    assert_eq!((survey.attempts_failed, survey.failed_jobs.len(), done(&survey)), (0, 0, 0));

    // Completed under an attempt from before the submission, which may have read what was made again since: heard, and not
    // counted. Under any later attempt, what is committed is what counts, and it counts once, whoever says it again.
    for (attempt, times, counted) in [(stale[0], 1, 0), (stale[1], 3, 1)] {
        let completion = server.completion(job, attempt).await;
        for _ in 0..times {
            let completed = vec![completion.clone()];
            let told = liar.says(v1::PollRequest { slots: 0, completed, ..poll() }).await;
            assert_eq!(told.acknowledged, [attempt]);
            assert_eq!(done(&liar.survey().await), counted);
        }
    }
    // Under the attempt that it was given, with other bytes: an alarm, and the books stay as they are.
    let mut other = server.completion(job, attempt).await;
    other.object.as_mut().unwrap().digest[0] ^= 1;
    liar.says(v1::PollRequest { slots: 0, completed: vec![other], ..poll() }).await;
    let survey = liar.survey().await;
    assert_eq!((done(&survey), survey.alarms), (1, 1));

    // For a job and a survey that nobody knows: heard, so that it is not said for ever.
    let mut nowhere = server.completion(JobKey::Calibrate(77), attempt).await;
    let mut nobody = nowhere.clone();
    nobody.survey = "nobody".into();
    nobody.attempt = Some(stale[1]);
    nowhere.attempt = Some(stale[2]);
    let told = liar.says(v1::PollRequest { slots: 0, completed: vec![nowhere, nobody], ..poll() }).await;
    assert_eq!(told.acknowledged.len(), 2);
    assert_eq!(done(&liar.survey().await), 1);

    // A call that is older than one before is answered empty, whatever it says.
    liar.sequence = 1;
    let late = liar.says(v1::PollRequest { slots: 1, failed: vec![failed(attempt)], ..poll() }).await;
    assert!(late.assignments.is_empty() && late.acknowledged.is_empty() && late.revoked.is_empty(), "{late:?}");
}

/// The start of an HTTP/2 connection: the preface and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How long a connection lasts of which nothing is heard after `said`.
async fn lasts(server: &Server, said: &[u8]) -> Duration {
    let began = Instant::now();
    let mut connection = server.connection();
    connection.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    // Ends where the server closes the connection.
    let closed = timeout(Duration::from_secs(24 * 3600), connection.read_to_end(&mut heard)).await;
    closed.expect("it is closed").unwrap();
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_falls_silent_is_closed() {
    let server = Server::start().await;
    // It answers no ping.
    let after_preface = lasts(&server, PREFACE).await;
    assert!(after_preface <= Duration::from_secs(31), "{after_preface:?}");
    // It never says what it wants.
    for said in [b"" as &[u8], &PREFACE[..10]] {
        let silent = lasts(&server, said).await;
        assert!(silent <= Duration::from_secs(61), "{silent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_trickles_in_is_given_up() {
    let server = Server::start().await;
    let cases = cases(&server).await;
    let (slow, other) = (server.channel().await, server.channel().await);
    make_sense_of(&other, &cases).await;
    for (path, case) in &cases {
        let began = Instant::now();
        // A message of a thousand bytes, one each second; the connection answers all pings.
        let head = [0, 0, 0, 3, 232].into_iter();
        let bytes = futures::stream::iter(head.chain(std::iter::repeat(0))).then(|byte| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, tonic::Status>(http_body::Frame::data(Bytes::from(vec![byte])))
        });
        let request =
            http::Request::post(format!("http://abuse.invalid{path}")).header("content-type", "application/grpc");
        let request = match case.tokens.first() {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        let request = request.body(tonic::body::Body::new(StreamBody::new(bytes))).unwrap();
        let mut client = tower::ServiceExt::ready_oneshot(slow.clone()).await.unwrap();
        let answer = tower::Service::call(&mut client, request).await.unwrap();
        let (head, body) = answer.into_parts();
        let trailers = body.collect().await.ok().and_then(|body| body.trailers().cloned()).unwrap_or_default();
        let status =
            tonic::Status::from_header_map(&head.headers).or_else(|| tonic::Status::from_header_map(&trailers));
        assert_eq!(status.unwrap().code(), Code::DeadlineExceeded, "{path}");
        assert!(began.elapsed() <= Duration::from_secs(5 * 60 + 5), "{path}: {:?}", began.elapsed());
        right(&other, path, case).await.unwrap_or_else(|status| panic!("meanwhile {path}: {status}"));
    }
}

/// A job that never ends and always gets on.
struct Endless;

impl JobRunner for Endless {
    fn run(&self, work: Work) -> BoxFuture<'_, Result<Committed, JobFailure>> {
        async move {
            loop {
                work.progress.advance();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_calls_costs_no_worker_its_lease() {
    const LEASE: Duration = Duration::from_secs(2);
    const QUOTA: u32 = 50;
    let (address, coordinator, submission) = server::on_a_port(LEASE, QUOTA.try_into().unwrap()).await;
    let url = format!("http://{address}");
    let connect = || async { worker::client::endpoint(&url).unwrap().connect().await.unwrap() };
    let submit = format!("{SURVEYS}/SubmitSurvey");
    raw::call(&connect().await, &submit, Some(OPERATOR), submission.encode_to_vec().into()).await.unwrap();
    let credentials = Credentials { bearer: Bearer::new(WORKER).unwrap(), ..Credentials::default() };
    let config = WorkerConfig { name: NAME.into(), slots: 2, memory: 4 << 30 };
    let (_stay, told) = watch::channel(Shutdown::No);
    let connector = Connector::to_url(&url, credentials).unwrap();
    let working = tokio::spawn(Worker::new(config, connector, Arc::new(Endless)).run(told));
    while coordinator.survey(SURVEY).await.unwrap().attempts < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // Twice as long as a lease, from sixteen connections.
    let began = Instant::now();
    let get = Bytes::from(v1::GetSurveyRequest { survey: SURVEY.into() }.encode_to_vec());
    let floods = futures::future::join_all((0..16).map(|_| async {
        let (channel, path) = (connect().await, format!("{SURVEYS}/GetSurvey"));
        let (mut answered, mut refused) = (0, 0);
        while began.elapsed() < 2 * LEASE {
            match code(&channel, &path, Some(VIEWER), get.clone()).await {
                None => answered += 1,
                Some(Code::ResourceExhausted) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        (answered, refused)
    }));
    let told = floods.await;
    let answered: u32 = told.iter().map(|(answered, _)| answered).sum();
    let refused: u32 = told.iter().map(|(_, refused)| refused).sum();
    let seconds = u32::try_from(began.elapsed().as_secs()).unwrap() + 1;
    assert!(answered >= QUOTA && answered <= QUOTA * (seconds + 1), "{answered} answered in {seconds} s");
    assert!(refused > 10 * answered, "{refused} refused: that was no flood");
    let survey = coordinator.survey(SURVEY).await.unwrap();
    assert_eq!((survey.attempts, survey.leases_expired, survey.attempts_failed), (2, 0, 0));
    working.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_opens_connections_without_end_gets_so_many_and_those_go_on() {
    let (address, _, submission) = server::on_a_port(Duration::from_secs(30), 1000.try_into().unwrap()).await;
    let channel = worker::client::endpoint(&format!("http://{address}")).unwrap().connect().await.unwrap();
    let submit = format!("{SURVEYS}/SubmitSurvey");
    raw::call(&channel, &submit, Some(OPERATOR), submission.encode_to_vec().into()).await.unwrap();
    let open = || async {
        let mut connection = TcpStream::connect(address).await.unwrap();
        // Who is let in hears the server's settings; who is not, that the connection has ended.
        let heard = timeout(Duration::from_secs(10), connection.read(&mut [0; 9])).await.expect("an answer");
        (heard.is_ok_and(|bytes| bytes > 0), connection)
    };
    let mut held = Vec::new();
    for _ in 1..server::CONNECTIONS {
        let (is_in, connection) = open().await;
        assert!(is_in, "connection {}", held.len() + 2);
        held.push(connection);
    }
    for _ in 0..100 {
        assert!(!open().await.0, "one too many");
    }
    let get = Bytes::from(v1::GetSurveyRequest { survey: SURVEY.into() }.encode_to_vec());
    let answered = code(&channel, &format!("{SURVEYS}/GetSurvey"), Some(VIEWER), get).await;
    assert_eq!(answered, None, "the first connection goes on");
    drop(held);
    timeout(Duration::from_secs(10), async { while !open().await.0 {} }).await.expect("a place is free again");
}

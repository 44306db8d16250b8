//! Callers without the right token, and the wire.

use std::path::Path;
use std::time::Duration;

use groundbreak_tests::cluster::Cluster;

/// Without the right token nothing happens; with TLS and tokens everything does.
#[test]
fn strangers_are_kept_out_and_the_wire_is_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let ca = write("ca.pem", &authority_certificate.pem());
    let (certificate, key) = (write("cert.pem", &certificate.pem()), write("key.pem", &key.serialize_pem()));
    let tokens = write(
        "tokens",
        "operator operator-secret-0001 ci\nworker worker-secret-00002 fleet\nviewer viewer-secret-00003 wall\n",
    );
    let token = |role: &str, text: &str| write(&format!("{role}.token"), text).to_str().unwrap().to_owned();
    let (operator, worker) = (token("operator", "operator-secret-0001\n"), token("worker", "worker-secret-00002\n"));
    let (viewer, stranger) = (token("viewer", "viewer-secret-00003\n"), token("stranger", "operator-secret-0009\n"));

    let fixture = groundbreak_tests::fixture::Fixture::new();
    let state = format!("file://{}", folder.path().join("state").display());
    let mut cluster = Cluster::new(folder.path(), &state, &[]);
    cluster.speak_tls(&certificate, &key, &ca);
    let pages = format!("localhost:{}", free_port());
    let http = pages.replace("localhost", "127.0.0.1");
    cluster.coordinator_arguments.extend(["--tokens".into(), tokens.to_str().unwrap().into()]);
    cluster.coordinator_arguments.extend(["--http".into(), http, "--http-tls".into()]);
    cluster.start_coordinator();
    pages_are_for_readers(&pages, &ca);
    let refused = |output: std::process::Output, words: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{said}");
        assert!(said.contains(words) && !said.contains("secret"), "{said}");
    };
    let survey = fixture.survey();
    refused(cluster.ask(&["submit", &survey]), "needs a token");
    refused(cluster.ask(&["submit", &survey, "--token-file", &stranger]), "not one of this coordinator's");
    refused(cluster.ask(&["submit", &survey, "--token-file", &viewer]), "`viewer`");
    refused(cluster.ask(&["status", "--token-file", &worker]), "`worker`");
    let listed = cluster.ask(&["status", "--token-file", &viewer]);
    assert!(listed.status.success() && listed.stdout.is_empty(), "nothing was submitted");

    // A worker with a viewer's token gets no work.
    cluster.worker_arguments.extend(["--token-file".into(), viewer]);
    cluster.start_worker();
    cluster.client_arguments.extend(["--token-file".into(), operator]);
    let id = cluster.submit(&survey, &[]);
    std::thread::sleep(Duration::from_secs(1));
    assert!(cluster.status(&id).starts_with("running"), "{}", cluster.logs());
    *cluster.worker_arguments.last_mut().unwrap() = worker;
    cluster.start_worker();
    assert_eq!(cluster.end_of(&id), "complete", "{}", cluster.logs());
    let logs = all_text(folder.path());
    assert!(!logs.contains("secret-0"), "a token stands in a log");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// With `--http-tls`, the page's port speaks nothing but TLS, and shows a survey to nobody without a token.
fn pages_are_for_readers(pages: &str, authority: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let authority = reqwest::Certificate::from_pem(&std::fs::read(authority).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
    let status = |path: &str, token: Option<&str>| {
        let request = client.get(format!("https://{pages}{path}"));
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        runtime.block_on(request.send()).unwrap().status().as_u16()
    };
    assert_eq!(status("/healthz", None), 200);
    assert_eq!((status("/", None), status("/", Some("operator-secret-0009"))), (401, 401));
    assert_eq!(status("/", Some("viewer-secret-00003")), 200);
    assert!(runtime.block_on(client.get(format!("http://{pages}/healthz")).send()).is_err(), "it speaks plain HTTP");
}

/// All logs below a folder.
fn all_text(folder: &Path) -> String {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "err" || kind == "out"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

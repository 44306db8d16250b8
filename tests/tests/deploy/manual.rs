//! What `docs/operate.md` tells people to type.

use std::process::Command;

use coordinator::auth::Tokens;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use worker::Credentials;

use crate::files::{assert_understood, program, root, text};

/// The blocks of commands, comments left out and continued lines joined.
fn commands() -> Vec<Vec<String>> {
    let manual = text("docs/operate.md");
    let blocks = manual.split("```").skip(1).step_by(2);
    let lines = |block: &str| {
        let joined = block.replace("\\\n", " ");
        joined
            .lines()
            .map(|line| line.split(" #").next().unwrap().trim().to_owned())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect()
    };
    blocks.map(lines).collect()
}

/// The commands that begin in one of these ways, as a script.
fn script(beginnings: &[&str]) -> String {
    let wanted = |line: &&String| beginnings.iter().any(|beginning| line.starts_with(beginning));
    commands().iter().flatten().filter(wanted).map(|line| format!("{line}\n")).collect()
}

#[test]
fn our_own_commands_are_understood() {
    let mut seen = 0;
    for line in commands().iter().flatten() {
        let Some((before, command)) =
            line.split_once("groundbreak ").filter(|(before, _)| before.is_empty() || before.ends_with("-- "))
        else {
            continue;
        };
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        assert_understood(&format!("docs/operate.md: {before}"), &words);
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
}

#[test]
fn the_files_that_the_manual_names_are_there() {
    let manual = text("docs/operate.md");
    let links = manual.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap());
    for link in links {
        assert!(root("docs").join(link).exists(), "docs/operate.md: {link}");
    }
    for overlay in manual.split("deploy/kubernetes/overlays/").skip(1) {
        let name = overlay.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap();
        assert!(root("deploy/kubernetes/overlays").join(name).join("kustomization.yaml").exists(), "{name}");
    }
}

#[tokio::test]
async fn the_manual_makes_certificates_that_a_worker_trusts_and_tokens_that_the_coordinator_reads() {
    let test = "the_manual_makes_certificates_that_a_worker_trusts_and_tokens_that_the_coordinator_reads";
    if program(test, "openssl", &["version"]).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = script(&["openssl ", "printf ", "for role "]);
    assert_eq!(script.lines().count(), 5, "{script}");
    let made = Command::new("bash").args(["-euc", &script]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();

    let tokens = Tokens::parse(&String::from_utf8(read("tokens")).unwrap()).unwrap();
    let bearer = format!("Bearer {}", String::from_utf8(read("worker-token")).unwrap().trim());
    tokens.check("/groundbreak.v1.WorkerService/Poll", Some(&bearer)).unwrap();

    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    // Two providers are linked into this test.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(read("tls.crt"), read("tls.key")));
    let server = Server::builder().tls_config(tls).unwrap().add_routes(Routes::default());
    let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let trusting = Credentials { authority: Some(read("ca.crt")), ..Credentials::default() };
    trusting.connect(&url).await.unwrap();
    let elsewhere = url.replace("localhost", "127.0.0.1");
    assert!(trusting.connect(&elsewhere).await.is_err(), "a name that is not in the certificate");
    let strangers = Credentials::default();
    assert!(strangers.connect(&url).await.is_err(), "an authority that is not given");
    serving.abort();
}

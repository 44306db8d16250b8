//! The live page in a browser, of a coordinator and workers that are processes of their own.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

#[path = "live_page/browser.rs"]
mod browser;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use browser::Browser;
use groundbreak_tests::cluster::Cluster;
use groundbreak_tests::survey_run::succeed;
use serde_json::{Value, json};

/// A simulated province. Tiles are small, so that there are many jobs and progress is seen.
fn world(folder: &Path) -> String {
    let world = folder.join("world");
    succeed(&["simulate", "--out", world.to_str().unwrap(), "--seed", "7", "--after-resolution", "1.0"], &[]);
    let survey = world.join("survey.toml");
    let text = std::fs::read_to_string(&survey).unwrap();
    std::fs::write(&survey, text.replace("[grid]\n", "[grid]\ntile_px = 256\n")).unwrap();
    survey.to_str().unwrap().to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A coordinator with its HTTP port; the port's address.
fn coordinator(folder: &Path, more: &[&str]) -> (Cluster, String) {
    std::fs::create_dir_all(folder).unwrap();
    let mut cluster = Cluster::new(folder, &format!("file://{}", folder.join("state").display()), &[]);
    let address = format!("127.0.0.1:{}", free_port());
    cluster.coordinator_arguments.extend(["--http".to_owned(), address.clone()]);
    cluster.coordinator_arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    cluster.start_coordinator();
    (cluster, address)
}

/// Status, headers and body of an answer. curl is not needed: a few lines of HTTP/1.0 are.
fn get(address: &str, path: &str, header: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n{header}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split_whitespace().nth(1).unwrap().parse().unwrap(), answer)
}

/// No error of a script, of loading or of the content security policy; nothing asked for but of the port.
async fn assert_quiet(browser: &Browser, address: &str) {
    let console = browser.console().await;
    assert!(console.is_empty(), "{console:#?}");
    let requests = browser.requests().await;
    assert!(!requests.is_empty(), "the guard: requests are seen");
    let own = format!("http://{address}/");
    let elsewhere: Vec<&String> = requests.iter().filter(|url| !url.starts_with(&own)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_follows_a_survey_to_its_end_keeps_what_the_reader_did_and_is_quiet() {
    let Some(browser) = Browser::start().await else {
        println!("skipped: the_page_follows_a_survey: there is no chromium and chromedriver");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let survey_file = world(folder.path());
    let (mut cluster, address) = coordinator(&folder.path().join("cluster"), &[]);

    // Nothing is there yet, and the page says so; a survey appears on it by itself.
    browser.open(&format!("http://{address}/")).await;
    assert!(browser.comes_to("document.body.textContent.includes('No survey yet')").await);
    browser.run("window.loaded_once = true").await;
    let survey = cluster.submit(&survey_file, &[]);
    assert!(browser.comes_to("document.querySelector('.st-running')").await, "{}", cluster.logs());
    assert_eq!(browser.run("return window.loaded_once === true").await, json!(true), "it was not loaded again");
    assert_quiet(&browser, &address).await;

    // No worker: all counties wait, and nothing is said of them.
    browser.open(&format!("http://{address}/surveys/{survey}")).await;
    assert_eq!(browser.run("return document.querySelectorAll('#map .ground.waiting').length").await, json!(5));
    assert!(
        browser
            .comes_to(
                "document.querySelector('[data-part=head] .finding').textContent.includes('No county is done yet')"
            )
            .await
    );

    // The reader zooms the map and looks for a county; the page notes how far the survey is whenever that changes.
    browser
        .run(
            "window.loaded_once = true; window.seen = new Set();
             new MutationObserver(() => {
               seen.add(document.querySelector('.large [role=progressbar]')?.getAttribute('aria-valuenow'));
               if (document.querySelector('.ground.working')) seen.add('working');
             }).observe(document.querySelector('main'), { childList: true, subtree: true });
             document.querySelector('[data-zoom=in]').click();
             const find = document.querySelector('#county-find');
             find.focus(); find.value = 'a'; find.dispatchEvent(new Event('input', { bubbles: true }));
             find.setSelectionRange(1, 1);
             document.querySelector('#county-table thead th button').click();",
        )
        .await;
    let zoomed = browser.run("return document.querySelector('#map svg').getAttribute('viewBox')").await;
    cluster.start_worker();
    assert!(
        browser
            .comes_to(
                "document.querySelector('[data-part=head] .st-complete, [data-part=head] .st-complete-with-gaps')"
            )
            .await,
        "{}",
        cluster.logs()
    );
    let seen = browser.run("return [...window.seen]").await;
    let between = seen.as_array().unwrap().iter().filter_map(|share| share.as_str()?.parse::<f64>().ok());
    assert!(between.filter(|share| *share > 0.0 && *share < 100.0).count() >= 2, "it is told how far it is: {seen}");
    assert!(seen.as_array().unwrap().contains(&json!("working")), "counties are shown at work: {seen}");

    // What was found is there, and what the reader did still is.
    let kept = "return [window.loaded_once === true, document.querySelector('#county-find').value,
        document.activeElement.id, document.querySelector('#map svg').getAttribute('viewBox'),
        document.querySelector('#county-table thead th').getAttribute('aria-sort')]";
    assert_eq!(browser.run(kept).await, json!([true, "a", "county-find", zoomed, "ascending"]));
    let shown = "return { done: document.querySelectorAll('#map .ground:not(.waiting):not(.working)').length,
        gaps: [...document.querySelectorAll('#county-table .status')].filter((s) => s.textContent === 'with gaps').length,
        reasons: document.querySelector('[aria-labelledby=h-gaps] .caveat, [aria-labelledby=h-gaps] table').textContent,
        sites: document.querySelectorAll('.card').length }";
    let shown = browser.run(shown).await;
    assert_eq!(shown["done"], json!(5));
    assert!(shown["gaps"].as_u64().unwrap() > 0, "a gap is shown: {shown}");
    assert!(shown["sites"].as_u64().unwrap() > 0, "{shown}");
    assert!(shown["reasons"].as_str().unwrap().contains("cloud"), "{shown}");
    assert_quiet(&browser, &address).await;

    opens_a_county(&browser, &address).await;
    fits_a_phone(&browser).await;
    leads_to_the_report(&browser, &address, &survey).await;
    browser.quit().await;
    serves_only_what_is_listed(&address, &survey);
}

/// A county's link opens it in place, to its sites with their chips; back leads to all of them.
async fn opens_a_county(browser: &Browser, address: &str) {
    browser
        .run("document.querySelector('#county-find').value = ''; const row = [...document.querySelectorAll('#county-table tbody tr')].find((row) => Number(row.dataset.factories) > 0);
              window.opened = row.dataset.county; row.querySelector('th a').click();")
        .await;
    assert!(browser.comes_to("document.querySelector('#h-sites').textContent.includes(' in ')").await);
    let state = browser
        .run("return [window.loaded_once === true, location.search, [...document.querySelectorAll('.card')].every((card) => card.dataset.county === window.opened)]")
        .await;
    assert_eq!(state[0], json!(true), "in place");
    assert!(state[1].as_str().unwrap().starts_with("?county=") && state[2] == json!(true), "{state}");
    // Its chips come through the coordinator.
    browser.run("document.querySelector('.card img').scrollIntoView()").await;
    assert!(
        browser
            .comes_to(
                "[...document.querySelectorAll('.card img')].slice(0, 2).every((image) => image.naturalWidth > 8)"
            )
            .await
    );
    // The swipe moves with the keys' input.
    let at = browser
        .run("const input = document.querySelector('.frame input'); input.value = 20; input.dispatchEvent(new Event('input', { bubbles: true }));
              return document.querySelector('.frame').style.getPropertyValue('--at')")
        .await;
    assert_eq!(at, json!("20%"));
    browser.run("history.back()").await;
    assert!(browser.comes_to("!document.querySelector('#h-sites').textContent.includes(' in ')").await);
    assert_quiet(browser, address).await;
}

async fn fits_a_phone(browser: &Browser) {
    browser.resize(500, 900).await;
    let wide = "return [document.documentElement.scrollWidth, window.innerWidth]";
    let widths: Value = browser.run(wide).await;
    assert!(widths[0].as_f64() <= widths[1].as_f64(), "nothing sticks out: {widths}");
    browser.resize(1300, 1000).await;
}

async fn leads_to_the_report(browser: &Browser, address: &str, survey: &str) {
    browser.run("document.querySelector('.to-report > a').click()").await;
    assert!(
        browser
            .comes_to("location.pathname.endsWith('/results/report.html') && document.readyState === 'complete'")
            .await
    );
    assert!(browser.run("return location.pathname").await.as_str().unwrap().contains(survey));
    // Its own script runs under the policy.
    assert!(browser.comes_to("document.documentElement.classList.contains('js')").await);
    let console = browser.console().await;
    assert!(console.is_empty(), "{console:#?}");
    let requests = browser.requests().await;
    assert!(
        requests.iter().all(|url| url.starts_with(&format!("http://{address}/")) || url.starts_with("data:image/png")),
        "{requests:?}"
    );
}

fn serves_only_what_is_listed(address: &str, survey: &str) {
    let (status, answer) = get(address, &format!("/surveys/{survey}"), "");
    assert_eq!(status, 200);
    let policy = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("content-security-policy:")).unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    for path in ["results/report.html", "results/counties.csv", "results/manifest.json"] {
        assert_eq!(get(address, &format!("/surveys/{survey}/{path}"), "").0, 200, "{path}");
    }
    for path in [
        "results/../outcome.json",
        "results/%2e%2e/outcome.json",
        "results/..%2foutcome.json",
        "results/nothing.csv",
        "chips/..%2f..%2foutcome.json",
        "chips/outcome.json",
        "chips/x-before.png",
    ] {
        assert_eq!(get(address, &format!("/surveys/{survey}/{path}"), "").0, 404, "{path}");
    }
    assert_eq!(get(address, "/surveys/unknown", "").0, 404);
    let (_, answer) = get(address, &format!("/api/surveys/{survey}"), "");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let document: Value = serde_json::from_str(body).unwrap();
    assert_eq!((document["id"].as_str(), document["page"]["over"].as_bool()), (Some(survey), Some(true)));
}

#[test]
fn where_there_are_tokens_the_page_asks_for_one_and_health_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(
        &tokens,
        "viewer viewer-token-000001 v\nworker worker-token-000002 w\noperator operator-token-0003 o\n",
    )
    .unwrap();
    let (_cluster, address) = coordinator(folder.path(), &["--tokens", tokens.to_str().unwrap()]);
    let basic = |password: &str| {
        let encoded = Command::new("base64")
            .arg("-w0")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let mut child = encoded.unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), format!("me:{password}").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        format!("authorization: Basic {}\r\n", String::from_utf8(output.stdout).unwrap())
    };
    for path in [
        "/",
        "/parts/index",
        "/api/surveys",
        "/surveys/x",
        "/surveys/x/parts/head",
        "/api/surveys/x",
        "/surveys/x/chips/y.png",
        "/surveys/x/results/manifest.json",
        "/assets/live.js",
    ] {
        let (status, answer) = get(&address, path, "");
        assert!(status == 401 && answer.to_ascii_lowercase().contains("www-authenticate: basic"), "{path}: {answer}");
        assert_eq!(get(&address, path, &basic("viewer-token-000002")).0, 401, "{path}");
        assert_eq!(get(&address, path, &basic("worker-token-000002")).0, 403, "{path}");
        assert!([200, 404].contains(&get(&address, path, &basic("viewer-token-000001")).0), "{path}");
    }
    assert_eq!(get(&address, "/", &basic("operator-token-0003")).0, 200);
    assert_eq!(get(&address, "/", "authorization: Bearer viewer-token-000001\r\n").0, 200);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(&address, path, "").0, 200, "{path}");
    }
}

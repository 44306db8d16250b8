//! The composition for one machine.

use std::collections::BTreeSet;
use std::process::Command;

use coordinator::auth::Tokens;
use serde_json::Value;

use crate::files::{assert_understood, bytes, feed, job_memory, option, python, root, text, words, yaml};

const COMPOSE: &str = "deploy/compose/compose.yaml";

fn compose() -> Value {
    yaml(&text(COMPOSE)).remove(0)
}

fn services(compose: &Value) -> impl Iterator<Item = (&String, &Value)> {
    compose["services"].as_object().unwrap().iter()
}

fn is_ours(service: &Value) -> bool {
    service["image"].as_str().unwrap().contains("groundbreak:")
}

/// `${NAME:-default}` as Compose replaces it where NAME is not set.
fn default_of(text: &str) -> &str {
    text.split_once(":-").and_then(|(_, rest)| rest.strip_suffix('}')).unwrap_or(text)
}

#[test]
fn the_composition_is_one_by_the_specification() {
    let test = "the_composition_is_one_by_the_specification";
    let Some(python) = python(test, "check_jsonschema") else { return };
    let check = |text: &str| {
        let mut command = Command::new(&python);
        command.args(["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]);
        command.args(["--default-filetype", "yaml", "-"]);
        let output = feed(&mut command, text);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (is_sound, said) = check(&text(COMPOSE));
    assert!(is_sound, "{said}");
    // And a mistake would be seen, wherever it stands.
    for (word, misspelt) in
        [("stop_grace_period", "stop_grace"), ("retries", "retry"), ("service_healthy", "is_healthy")]
    {
        assert!(text(COMPOSE).contains(word));
        let (is_sound, said) = check(&text(COMPOSE).replace(word, misspelt));
        assert!(!is_sound && said.contains(misspelt), "{misspelt}: {said}");
    }
}

#[test]
fn no_secret_stands_in_the_composition() {
    let (compose, example) = (compose(), text("deploy/compose/.env.example"));
    let names: BTreeSet<&str> = example.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let mut secrets = 0;
    for (service, definition) in services(&compose) {
        for (name, value) in definition["environment"].as_object().into_iter().flatten() {
            if ["KEY", "SECRET", "PASSWORD", "USER", "TOKEN", "MC_HOST"].iter().any(|word| name.contains(word)) {
                secrets += 1;
                let value = value.as_str().unwrap();
                let given = value.split("${").skip(1).all(|part| part.contains(":?"));
                assert!(value.contains("${") && given, "{service}: {name} must come from .env and have no default");
            }
        }
    }
    assert!(secrets >= 6);
    for variable in text(COMPOSE).split("${").skip(1) {
        let name = variable.split([':', '}']).next().unwrap();
        assert!(names.contains(name), "{name} is not in .env.example");
    }
    assert!(
        example
            .lines()
            .filter(|line| line.contains("KEY=") || line.contains("SECRET="))
            .all(|line| line.ends_with("=generated"))
    );
    let ignored = text("deploy/compose/.gitignore");
    assert!(["/.env", "/secrets"].iter().all(|path| ignored.lines().any(|line| line == *path)));
}

#[test]
fn what_prepare_makes_is_random_and_what_the_coordinator_reads() {
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        for file in ["prepare", ".env.example"] {
            std::fs::copy(root("deploy/compose").join(file), folder.path().join(file)).unwrap();
        }
        let run =
            || assert!(Command::new("bash").arg(folder.path().join("prepare")).output().unwrap().status.success());
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        run();
        let made = (read(".env"), read("secrets/tokens"));
        // Again changes nothing: the store would not know the new password.
        run();
        assert_eq!(made, (read(".env"), read("secrets/tokens")));
        let tokens = Tokens::parse(&made.1).unwrap();
        let token = |role: &str| format!("Bearer {}", read(&format!("secrets/{role}-token")).trim());
        for (role, method) in [
            ("operator", "/groundbreak.v1.SurveyService/SubmitSurvey"),
            ("worker", "/groundbreak.v1.WorkerService/Poll"),
            ("viewer", "/groundbreak.v1.SurveyService/ListSurveys"),
        ] {
            tokens.check(method, Some(&token(role))).unwrap();
        }
        for other in ["worker", "viewer"] {
            assert!(tokens.check("/groundbreak.v1.SurveyService/SubmitSurvey", Some(&token(other))).is_err());
        }
        made
    };
    let (first, second) = (make(), make());
    assert!(!first.0.contains("=generated"));
    assert!(first.0 != second.0 && first.1 != second.1);
}

#[test]
fn who_waits_waits_for_something_that_comes() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let waited_for = &compose["services"][other];
            assert!(waited_for.is_object(), "{name} waits for {other}");
            match how["condition"].as_str().unwrap() {
                "service_healthy" => {
                    assert!(waited_for["healthcheck"]["test"].is_array(), "{other} has no healthcheck")
                }
                "service_completed_successfully" => {
                    let restart = waited_for["restart"].as_str().unwrap_or("no");
                    assert!(restart == "no" || restart.starts_with("on-failure"), "{other} never ends");
                }
                other => panic!("{name}: {other}"),
            }
            // Who is always started waits for nobody who is not.
            assert!(
                waited_for["profiles"].is_null() || waited_for["profiles"] == service["profiles"],
                "{name}, {other}"
            );
        }
        for secret in words(&service["secrets"]) {
            assert!(
                compose["secrets"][&secret]["file"].as_str().unwrap().starts_with("./secrets/"),
                "{name}: {secret}"
            );
        }
    }
    let waits = |service: &str, other: &str| compose["services"][service]["depends_on"][other].is_object();
    assert!(
        waits("worker", "coordinator")
            && waits("coordinator", "doctor")
            && waits("doctor", "bucket")
            && waits("bucket", "minio")
    );
}

#[test]
fn commands_are_understood_and_fit_what_they_run_in() {
    let compose = compose();
    let mut commands = Vec::new();
    for (name, service) in services(&compose).filter(|(_, service)| is_ours(service)) {
        let arguments = words(&service["command"]);
        assert_understood(name, &arguments);
        let secrets = words(&service["secrets"]);
        for file in arguments
            .iter()
            .chain(&words(&service["healthcheck"]["test"]))
            .filter_map(|word| word.split_once("=/run/secrets/"))
        {
            assert!(secrets.iter().any(|secret| secret == file.1), "{name}: it has no secret {}", file.1);
        }
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        commands.push(arguments[0].clone());
    }
    commands.sort();
    assert_eq!(commands, ["coordinator", "doctor", "simulate", "submit", "worker"]);
    let health = words(&compose["services"]["coordinator"]["healthcheck"]["test"]);
    assert_eq!(health[..2], ["CMD", "groundbreak"]);
    assert_understood("healthcheck", &health[2..]);

    let worker = &compose["services"]["worker"];
    let grace: u64 = option(&words(&worker["command"]), "--grace").unwrap().parse().unwrap();
    let given: u64 = worker["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap();
    assert!(given >= grace + 10, "a worker is killed {given} s after it was told to go, and finishes for {grace} s");
    assert_eq!(default_of(worker["deploy"]["replicas"].as_str().unwrap()), "3");
    let limit = bytes(default_of(worker["deploy"]["resources"]["limits"]["memory"].as_str().unwrap()));
    let jobs_get = bytes(&option(&words(&compose["services"]["coordinator"]["command"]), "--job-memory").unwrap());
    assert!(jobs_get <= job_memory(limit), "a job of {jobs_get} bytes fits no worker");
}

#[test]
fn ports_are_bound_to_this_machine() {
    for (name, service) in services(&compose()) {
        for port in words(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
}

#[test]
fn the_demo_is_the_survey_of_the_simulated_province_with_its_scenes_in_the_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let world = folder.path().to_string_lossy().into_owned();
    // Coarse pixels, which take no time. The survey of the province has pixels of 1 m, as its scenes before.
    let coarse = ["--before-resolution", "8", "--after-resolution", "8"];
    groundbreak_tests::survey_run::succeed(&[&["simulate", "--out", &world, "--seed", "7"][..], &coarse].concat(), &[]);
    let simulated = std::fs::read_to_string(folder.path().join("survey.toml")).unwrap();
    let demo = text("deploy/compose/demo.toml").replace("s3://groundbreak/world/", "").replace("/data/world/", "");
    let mut expected: toml::Table = toml::from_str(&simulated).unwrap();
    expected["survey"].as_table_mut().unwrap().remove("output");
    assert_eq!(expected["grid"]["resolution_m"].as_float(), Some(8.0));
    expected["grid"]["resolution_m"] = 1.0.into();
    assert_eq!(toml::from_str::<toml::Table>(&demo).unwrap(), expected);
    // What the service `scenes` copies is what the catalog lies in.
    assert!(folder.path().join("scenes/catalog.json").is_file());
    let compose = compose();
    assert_eq!(
        words(&compose["services"]["scenes"]["command"])[2..],
        ["/data/world/scenes", "store/groundbreak/world/scenes"]
    );
    assert_eq!(option(&words(&compose["services"]["world"]["command"]), "--out").unwrap(), "/data/world");
}

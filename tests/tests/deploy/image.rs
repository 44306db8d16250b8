//! The image.

use crate::files::{text, yaml};

const DOCKERFILE: &str = "deploy/docker/Dockerfile";

/// Lines of the Dockerfile that begin with an instruction, in order.
fn instructions(name: &str) -> Vec<String> {
    let prefix = format!("{name} ");
    text(DOCKERFILE).lines().filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).collect()
}

fn workspace() -> toml::Table {
    toml::from_str(&text("Cargo.toml")).unwrap()
}

#[test]
fn the_image_is_built_with_the_projects_rust_and_does_not_run_as_root() {
    let from = instructions("FROM");
    let rust = workspace()["workspace"]["package"]["rust-version"].as_str().unwrap().to_owned();
    assert_eq!(from[0], format!("rust:{rust}-slim-bookworm AS build"));
    let user = instructions("USER").pop().unwrap();
    let (id, group) = user.split_once(':').unwrap();
    assert!(id.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
    assert_eq!(instructions("ENTRYPOINT"), ["[\"/usr/local/bin/groundbreak\"]"]);
    assert!(text(DOCKERFILE).find("USER ").unwrap() > text(DOCKERFILE).rfind("FROM ").unwrap());
    // What is not built from is not sent, and secrets are not.
    let ignored = text("deploy/docker/Dockerfile.dockerignore");
    for path in [".git", "**/target", "deploy/compose/.env", "deploy/compose/secrets"] {
        assert!(ignored.lines().any(|line| line == path), "{path}");
    }
}

#[test]
fn every_place_names_the_version_that_is_built() {
    let version = workspace()["workspace"]["package"]["version"].as_str().unwrap().to_owned();
    let tag = format!("groundbreak:{version}");
    for path in ["deploy/compose/compose.yaml", "deploy/compose/.env.example", DOCKERFILE] {
        assert!(text(path).contains(&tag), "{path}");
    }
    for path in ["base", "overlays/cloud"] {
        let kustomization = yaml(&text(&format!("deploy/kubernetes/{path}/kustomization.yaml"))).remove(0);
        let images = kustomization["images"].as_array().unwrap();
        let ours = images.iter().find(|image| image["name"] == "groundbreak").unwrap();
        assert_eq!(ours["newTag"], version.as_str(), "{path}");
    }
    assert!(text(DOCKERFILE).contains(&format!("org.opencontainers.image.version=\"{version}\"")));
}

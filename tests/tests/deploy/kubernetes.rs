//! The Kubernetes overlays, as `kubectl kustomize` renders them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use coordinator::scaler::JOBS_PER_WORKER;
use serde_json::Value;

use crate::files::{
    assert_understood, bytes, each, job_memory, option, problems, program, python, root, text, words, yaml,
};

const OVERLAYS: [&str; 2] = ["minio", "cloud"];
/// The oldest version that KEDA 2.16 supports, and the newest that there is a schema of.
const VERSIONS: [&str; 2] = ["1.29", "latest"];
/// Label by which pods are chosen.
const NAME: &str = "app.kubernetes.io/name";

/// An overlay as text; rendered once for all tests.
fn rendered(test: &str, overlay: &str) -> Option<String> {
    static RENDERED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut kubectl = program(test, "kubectl", &["version", "--client"])?;
    let mut rendered = RENDERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = rendered.get(overlay) {
        return Some(text.clone());
    }
    let output = kubectl.arg("kustomize").arg(root("deploy/kubernetes/overlays").join(overlay)).output().unwrap();
    assert!(output.status.success(), "{overlay}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    rendered.insert(overlay.to_owned(), text.clone());
    Some(text)
}

/// The objects of an overlay.
struct Cluster(Vec<Value>);

impl Cluster {
    fn of(test: &str, overlay: &str) -> Option<Self> {
        Some(Self(yaml(&rendered(test, overlay)?)))
    }

    fn kind(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }

    fn get(&self, kind: &str, name: &str) -> &Value {
        let found = self.kind(kind).into_iter().find(|object| object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// Workloads by name, with the template of their pods.
    fn pods(&self) -> BTreeMap<String, &Value> {
        let workloads = self.0.iter().filter(|object| object["spec"]["template"].is_object());
        workloads
            .map(|object| (object["metadata"]["name"].as_str().unwrap().to_owned(), &object["spec"]["template"]))
            .collect()
    }
}

fn containers(pod: &Value) -> Vec<&Value> {
    ["containers", "initContainers"]
        .into_iter()
        .flat_map(|key| pod["spec"][key].as_array().into_iter().flatten())
        .collect()
}

/// Whether a selector chooses pods with these labels. An empty one chooses all.
fn selects(selector: &Value, labels: &Value) -> bool {
    let all = selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value);
    all && selector["matchExpressions"].as_array().into_iter().flatten().all(|expression| {
        assert_eq!(expression["operator"], "In");
        let key = expression["key"].as_str().unwrap();
        expression["values"].as_array().unwrap().contains(&labels[key])
    })
}

#[test]
fn every_overlay_is_valid_in_strict_mode() {
    let test = "every_overlay_is_valid_in_strict_mode";
    let Some(python) = python(test, "kubernetes_validate, cloudcoil.models.keda") else { return };
    let mut all = String::new();
    for overlay in OVERLAYS {
        let Some(text) = rendered(test, overlay) else { return };
        all.push_str(&format!("---\n{text}"));
    }
    for version in VERSIONS {
        assert_eq!(problems(&python, &["kubernetes", version], &all), Vec::<String>::new(), "{version}");
    }
}

#[test]
fn a_misspelt_key_would_be_seen_wherever_it_stands() {
    let test = "a_misspelt_key_would_be_seen_wherever_it_stands";
    let Some(python) = python(test, "kubernetes_validate, cloudcoil.models.keda") else { return };
    let Some(text) = rendered(test, "cloud") else { return };
    let mistakes = [
        ("readOnlyRootFilesystem", "readonlyRootFilesystem", "Deployment groundbreak-worker"),
        ("maxUnavailable", "maxUnavailible", "PodDisruptionBudget groundbreak-worker"),
        ("policyTypes", "policyType", "NetworkPolicy deny-all"),
        ("cooldownPeriod", "coolDownPeriod", "ScaledObject groundbreak-worker"),
        ("stabilizationWindowSeconds", "stabilizationWindow", "ScaledObject groundbreak-worker"),
        ("parameter: caCert", "parametr: caCert", "TriggerAuthentication groundbreak-coordinator"),
    ];
    let mut all = String::new();
    for (word, misspelt, _) in mistakes {
        assert!(text.contains(word), "{word}");
        all.push_str(&format!("---\n{}", text.replace(word, misspelt)));
    }
    let found = problems(&python, &["kubernetes", "latest"], &all);
    for (_, misspelt, object) in mistakes {
        let key = misspelt.split(':').next().unwrap();
        assert!(
            found.iter().any(|problem| problem.starts_with(object) && problem.contains(key)),
            "{misspelt}: {found:?}"
        );
    }
}

#[test]
fn no_pod_may_do_more_than_it_needs() {
    for overlay in OVERLAYS {
        let Some(cluster) = Cluster::of("no_pod_may_do_more_than_it_needs", overlay) else { return };
        assert!(cluster.pods().len() >= 2);
        for (name, pod) in cluster.pods() {
            let spec = &pod["spec"];
            assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
            let account = cluster.get("ServiceAccount", spec["serviceAccountName"].as_str().unwrap());
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{name}");
            assert!(spec["securityContext"]["runAsUser"].as_u64().unwrap() > 0, "{name}");
            assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
            for key in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(spec[key].is_null(), "{name}: {key}");
            }
            for container in containers(pod) {
                let rights = &container["securityContext"];
                assert_eq!(rights["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(rights["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(words(&rights["capabilities"]["drop"]), ["ALL"], "{name}");
                assert!(rights["privileged"].is_null() && rights["capabilities"]["add"].is_null(), "{name}");
                for resource in ["cpu", "memory"] {
                    assert!(container["resources"]["requests"][resource].is_string(), "{name}: {resource}");
                }
                assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
                let image = container["image"].as_str().unwrap();
                assert!(image.contains(':') && !image.ends_with(":latest"), "{name}: {image}");
            }
        }
        let namespace = cluster.get("Namespace", "groundbreak");
        assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    }
}

#[test]
fn every_name_that_is_referred_to_is_there() {
    for overlay in OVERLAYS {
        let Some(cluster) = Cluster::of("every_name_that_is_referred_to_is_there", overlay) else { return };
        let pods = cluster.pods();
        for service in cluster.kind("Service") {
            let labels = |pod: &Value| {
                service["spec"]["selector"]
                    .as_object()
                    .unwrap()
                    .iter()
                    .all(|(key, value)| pod["metadata"]["labels"][key] == *value)
            };
            let chosen: Vec<_> = pods.values().filter(|pod| labels(pod)).collect();
            assert_eq!(chosen.len(), 1, "{}", service["metadata"]["name"]);
            for port in service["spec"]["ports"].as_array().unwrap() {
                let ports: Vec<_> =
                    containers(chosen[0]).iter().flat_map(|container| container["ports"].as_array().unwrap()).collect();
                let found = ports.iter().find(|found| found["name"] == port["targetPort"]).unwrap();
                assert_eq!(found["containerPort"], port["port"]);
            }
        }
        for (name, pod) in &pods {
            for container in containers(pod) {
                let ports: Vec<&Value> =
                    container["ports"].as_array().into_iter().flatten().map(|port| &port["name"]).collect();
                for probe in each(container, "httpGet") {
                    assert!(ports.contains(&&probe["port"]), "{name}: {probe}");
                }
                for reference in each(container, "configMapRef") {
                    let settings = cluster.get("ConfigMap", reference["name"].as_str().unwrap());
                    assert!(settings["data"]["GROUNDBREAK_STATE"].is_string());
                }
                let volumes: BTreeSet<&str> = pod["spec"]["volumes"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|volume| volume["name"].as_str().unwrap())
                    .collect();
                let claimed = each(
                    cluster
                        .0
                        .iter()
                        .find(|object| object["metadata"]["name"] == **name && object["spec"]["template"].is_object())
                        .unwrap(),
                    "volumeClaimTemplates",
                );
                for mount in container["volumeMounts"].as_array().unwrap() {
                    let volume = mount["name"].as_str().unwrap();
                    let is_claimed = claimed
                        .iter()
                        .flat_map(|claims| claims.as_array().unwrap())
                        .any(|claim| claim["metadata"]["name"] == volume);
                    assert!(volumes.contains(volume) || is_claimed, "{name}: {volume}");
                }
            }
        }
        for budget in cluster.kind("PodDisruptionBudget") {
            let chosen = pods.values().filter(|pod| selects(&budget["spec"]["selector"], &pod["metadata"]["labels"]));
            assert_eq!(chosen.count(), 1);
        }
    }
}

#[test]
fn secrets_are_not_here_and_the_manual_says_which_there_must_be() {
    let manual = text("docs/operate.md");
    for overlay in OVERLAYS {
        let Some(cluster) = Cluster::of("secrets_are_not_here_and_the_manual_says_which_there_must_be", overlay) else {
            return;
        };
        assert!(cluster.kind("Secret").is_empty(), "{overlay}");
        let mut names: BTreeSet<String> = BTreeSet::new();
        for object in &cluster.0 {
            names.extend(each(object, "secretName").iter().map(|name| name.as_str().unwrap().to_owned()));
            for key in ["secretRef", "secretKeyRef"] {
                names.extend(each(object, key).iter().map(|secret| secret["name"].as_str().unwrap().to_owned()));
            }
            for secret in each(object, "secretTargetRef").iter().flat_map(|list| list.as_array().unwrap()) {
                names.insert(secret["name"].as_str().unwrap().to_owned());
            }
        }
        assert!(names.len() >= 4, "{names:?}");
        for name in names {
            assert!(
                manual.contains(&format!("create secret generic {name}")),
                "docs/operate.md does not say how `{name}` is made"
            );
        }
    }
}

#[test]
fn a_worker_sees_no_key_and_no_other_token_than_its_own() {
    let Some(cluster) = Cluster::of("a_worker_sees_no_key_and_no_other_token_than_its_own", "cloud") else { return };
    let worker = cluster.pods()["groundbreak-worker"];
    let secrets: Vec<&Value> = each(&worker["spec"]["volumes"], "secret");
    let seen: Vec<(String, Vec<String>)> = secrets
        .iter()
        .map(|secret| {
            let items =
                secret["items"].as_array().into_iter().flatten().map(|item| item["key"].as_str().unwrap().to_owned());
            (secret["secretName"].as_str().unwrap().to_owned(), items.collect())
        })
        .collect();
    assert_eq!(
        seen,
        [("groundbreak-tls".into(), vec!["ca.crt".to_owned()]), ("groundbreak-worker-token".into(), vec![])]
    );
}

#[test]
fn commands_are_understood_and_fit_the_pods_that_they_run_in() {
    for overlay in OVERLAYS {
        let Some(cluster) = Cluster::of("commands_are_understood_and_fit_the_pods_that_they_run_in", overlay) else {
            return;
        };
        let pods = cluster.pods();
        let mut jobs_get = 0;
        let mut ours = 0;
        for (name, pod) in &pods {
            for container in containers(pod)
                .into_iter()
                .filter(|container| container["image"].as_str().unwrap().starts_with("groundbreak:"))
            {
                ours += 1;
                let arguments = words(&container["args"]);
                assert_understood(&format!("{overlay}, {name}"), &arguments);
                let mounts: Vec<&str> = container["volumeMounts"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|mount| mount["mountPath"].as_str().unwrap())
                    .collect();
                for file in
                    arguments.iter().filter_map(|word| word.split_once("=/")).map(|(_, path)| format!("/{path}"))
                {
                    assert!(
                        mounts.iter().any(|mount| file.starts_with(&format!("{mount}/"))),
                        "{name}: nothing is mounted where {file} is"
                    );
                }
                if let Some(grace) = option(&arguments, "--grace") {
                    // What is not done by then is handed back, for which the worker takes a few seconds.
                    let given = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
                    assert!(given >= grace.parse::<u64>().unwrap() + 10, "{name}: {given} s");
                }
                if let Some(memory) = option(&arguments, "--job-memory") {
                    jobs_get = bytes(&memory);
                }
            }
        }
        assert_eq!(ours, 2);
        let worker = containers(pods["groundbreak-worker"])[0];
        let limit = bytes(worker["resources"]["limits"]["memory"].as_str().unwrap());
        assert!(jobs_get > 0 && jobs_get <= job_memory(limit), "a job of {jobs_get} bytes fits no worker");
        assert!(
            worker["resources"]["limits"]["cpu"].is_string(),
            "without it, a worker takes every core of its node for its own"
        );
        let coordinator = cluster.get("Deployment", "groundbreak-coordinator");
        assert_eq!(
            (&coordinator["spec"]["replicas"], &coordinator["spec"]["strategy"]["type"]),
            (&1.into(), &"Recreate".into())
        );
    }
}

/// Pods that may send to a pod at a port, both by the sender's rules and by the receiver's.
fn senders(cluster: &Cluster, receiver: &str, port: u64) -> BTreeSet<String> {
    let pods = cluster.pods();
    let to = &pods[receiver]["metadata"]["labels"];
    let policies = cluster.kind("NetworkPolicy");
    let allows = |policy: &Value, of: &Value, direction: &str, peers: &str, peer: &Value| {
        selects(&policy["spec"]["podSelector"], of)
            && policy["spec"][direction].as_array().into_iter().flatten().any(|rule| {
                let is_port = rule["ports"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|allowed| allowed["port"] == port && allowed["protocol"] == "TCP");
                is_port
                    && rule[peers].as_array().unwrap().iter().any(|allowed| {
                        allowed["podSelector"].is_object()
                            && allowed["namespaceSelector"].is_null()
                            && selects(&allowed["podSelector"], peer)
                    })
            })
    };
    pods.iter()
        .filter(|(_, pod)| {
            let from = &pod["metadata"]["labels"];
            policies.iter().any(|policy| allows(policy, from, "egress", "to", to))
                && policies.iter().any(|policy| allows(policy, to, "ingress", "from", from))
        })
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn nobody_talks_to_anybody_but_who_must() {
    let test = "nobody_talks_to_anybody_but_who_must";
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    for overlay in OVERLAYS {
        let Some(cluster) = Cluster::of(test, overlay) else { return };
        let all = cluster.get("NetworkPolicy", "deny-all");
        assert_eq!(all["spec"]["podSelector"], serde_json::json!({}));
        assert_eq!(words(&all["spec"]["policyTypes"]), ["Ingress", "Egress"]);
        assert!(all["spec"]["ingress"].is_null() && all["spec"]["egress"].is_null());
        assert_eq!(senders(&cluster, "groundbreak-coordinator", 7070), set(&["groundbreak-worker"]), "{overlay}");
        assert_eq!(senders(&cluster, "groundbreak-coordinator", 7071), set(&[]), "{overlay}");
        assert_eq!(senders(&cluster, "groundbreak-worker", 7070), set(&[]), "{overlay}");
        // No rule is for everybody, and each names its ports.
        for policy in cluster.kind("NetworkPolicy") {
            for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
                for rule in policy["spec"][direction].as_array().into_iter().flatten() {
                    assert!(
                        !rule[peers].as_array().unwrap().is_empty() && !rule["ports"].as_array().unwrap().is_empty()
                    );
                }
            }
        }
    }
    let Some(minio) = Cluster::of(test, "minio") else { return };
    assert_eq!(senders(&minio, "minio", 9000), set(&["groundbreak-coordinator", "groundbreak-worker", "minio-bucket"]));
    let Some(cloud) = Cluster::of(test, "cloud") else { return };
    let https = cloud.get("NetworkPolicy", "https");
    assert_eq!(each(https, "port"), [443]);
    for inside in ["169.254.0.0/16", "10.0.0.0/8", "fc00::/7"] {
        assert!(
            each(https, "except").iter().any(|except| words(except).iter().any(|range| range == inside)),
            "{inside}"
        );
    }
}

#[test]
fn keda_finds_the_coordinator_and_scales_the_workers_down_to_none() {
    let Some(cluster) = Cluster::of("keda_finds_the_coordinator_and_scales_the_workers_down_to_none", "cloud") else {
        return;
    };
    let scaled = cluster.get("ScaledObject", "groundbreak-worker");
    let target = cluster.get("Deployment", scaled["spec"]["scaleTargetRef"]["name"].as_str().unwrap());
    assert_eq!(target["spec"]["template"]["metadata"]["labels"][NAME], "groundbreak-worker");
    assert!(target["spec"]["replicas"].is_null(), "whoever applies this again would undo what KEDA did");
    assert_eq!(scaled["spec"]["minReplicaCount"], 0);
    let trigger = &scaled["spec"]["triggers"][0];
    assert_eq!(trigger["type"], "external-push");
    let service = cluster.get("Service", "groundbreak-coordinator");
    let (name, space) =
        (service["metadata"]["name"].as_str().unwrap(), service["metadata"]["namespace"].as_str().unwrap());
    assert_eq!(trigger["metadata"]["scalerAddress"], format!("{name}.{space}.svc.cluster.local:7070"));
    assert!(trigger["metadata"][JOBS_PER_WORKER].as_str().unwrap().parse::<u32>().unwrap() > 0);
    let proof = cluster.get("TriggerAuthentication", trigger["authenticationRef"]["name"].as_str().unwrap());
    assert_eq!(proof["spec"]["secretTargetRef"][0]["parameter"], "caCert");
    let Some(minio) = Cluster::of("keda_finds_the_coordinator_and_scales_the_workers_down_to_none", "minio") else {
        return;
    };
    assert_eq!(minio.get("Deployment", "groundbreak-worker")["spec"]["replicas"], 3);
}

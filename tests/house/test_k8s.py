"""The Kubernetes manifests and the image: complete, consistent with the code and each other, and locked down."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from plantprint_api.config import ApiSettings
from plantprint_collector.config import Settings as CollectorSettings

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "deploy" / "k8s" / "base"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yaml").read_text())
SECRET = "plantprint-credentials"  # a name, not a secret
SECRET_KEYS = {"PLANTPRINT_DATABASE_URL": "database-url", "PLANTPRINT_MQTT_URL": "mqtt-url"}

Manifest = dict[str, Any]


def _manifests() -> list[Manifest]:
    return [each for name in KUSTOMIZATION["resources"] for each in yaml.safe_load_all((BASE / name).read_text())]


def _of_kind(*kinds: str) -> list[Manifest]:
    return [each for each in _manifests() if each["kind"] in kinds]


def _settings() -> dict[str, str]:
    lines = (BASE / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


WORKLOADS = {each["metadata"]["name"]: each for each in _of_kind("Deployment", "StatefulSet", "Job")}
workloads = pytest.mark.parametrize("workload", WORKLOADS.values(), ids=list(WORKLOADS))


def _pod(workload: Manifest) -> Manifest:
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def _container(workload: Manifest) -> Manifest:
    (container,) = _pod(workload)["containers"]
    assert isinstance(container, dict)
    return container


def _selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def _pod_labels(workload: Manifest) -> dict[str, str]:
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def test_every_file_is_a_resource_and_every_resource_a_file() -> None:
    files = {path.name for path in BASE.iterdir()} - {"kustomization.yaml", "settings.env"}
    assert len(KUSTOMIZATION["resources"]) == len(files)
    assert set(KUSTOMIZATION["resources"]) == files
    assert KUSTOMIZATION["configMapGenerator"] == [{"name": "plantprint-settings", "envs": ["settings.env"]}]


def test_the_base_holds_what_a_plant_needs_and_names_no_namespace() -> None:
    kinds = sorted(each["kind"] for each in _manifests())
    assert kinds == sorted(
        ["Deployment", "StatefulSet", "Job", "Service", "Service", "PodDisruptionBudget", *["NetworkPolicy"] * 3]
    )
    assert not any("namespace" in each["metadata"] for each in _manifests())
    names = [(each["kind"], each["metadata"]["name"]) for each in _manifests()]
    assert len(set(names)) == len(names)


@workloads
def test_a_pod_is_locked_down(workload: Manifest) -> None:
    pod, container = _pod(workload), _container(workload)
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, "service links set PLANTPRINT_… variables"
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"] for volume in pod["volumes"]]
    assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"])


@workloads
def test_resources_are_asked_for_and_memory_is_limited(workload: Manifest) -> None:
    resources = _container(workload)["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert "memory" in resources["limits"]


@workloads
def test_the_image_is_this_version_and_runs_a_known_command(workload: Manifest) -> None:
    container = _container(workload)
    assert container["image"] == f"plantprint:{PROJECT['version']}"
    assert container["command"] == list(PROJECT["scripts"])
    assert container["args"] in (["collect"], ["serve", "--host", "0.0.0.0"], ["migrate", "--pre"])


def test_the_migration_of_each_version_is_a_job_of_its_own() -> None:
    (job,) = _of_kind("Job")
    assert job["metadata"]["name"] == f"plantprint-migrate-{PROJECT['version'].replace('.', '-')}"
    assert _container(job)["args"] == ["migrate", "--pre"]


@workloads
def test_settings_are_ones_that_the_code_reads(workload: Manifest) -> None:
    known = {f"PLANTPRINT_{n.upper()}" for model in (ApiSettings, CollectorSettings) for n in model.model_fields}
    given = {variable["name"] for variable in _container(workload)["env"]}
    assert given | _settings().keys() <= known
    assert not given & _settings().keys()
    if workload["kind"] != "Job":
        assert _container(workload)["envFrom"] == [{"configMapRef": {"name": "plantprint-settings"}}]


def test_the_settings_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _settings().items():
        monkeypatch.setenv(name, value)
    url = SecretStr("postgresql:///plantprint")
    monkeypatch.setenv("PLANTPRINT_COLLECTOR_CLIENT_ID", "plantprint-collector-0")
    assert ApiSettings(database_url=url).http_port == int(_settings()["PLANTPRINT_HTTP_PORT"])
    grace_s = _pod(WORKLOADS["plantprint-collector"])["terminationGracePeriodSeconds"]
    assert CollectorSettings(database_url=url).drain_s_max < grace_s


@workloads
def test_secrets_are_references_and_never_values(workload: Manifest) -> None:
    for variable in _container(workload)["env"]:
        if variable["name"] in SECRET_KEYS:
            reference = {"secretKeyRef": {"name": SECRET, "key": SECRET_KEYS[variable["name"]]}}
            assert variable == {"name": variable["name"], "valueFrom": reference}


def test_no_file_holds_a_secret() -> None:
    for path in (*BASE.iterdir(), ROOT / "deploy" / "Dockerfile"):
        text = path.read_text()
        assert "kind: Secret" not in text
        assert not re.search(r"://[^\s/@]*:[^\s/@]*@|(?i:\b(?:password|token)\b\s*[:=]\s*\S)", text), path.name
    assert not set(_settings()) & SECRET_KEYS.keys()


def test_each_shard_has_a_fixed_client_id_of_its_own() -> None:
    collector = WORKLOADS["plantprint-collector"]
    env = {variable["name"]: variable for variable in _container(collector)["env"]}
    assert collector["kind"] == "StatefulSet"
    assert env["PLANTPRINT_COLLECTOR_CLIENT_ID"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert collector["spec"]["replicas"] == 1, "two replicas would both take every slot"
    assert sorted(env["PLANTPRINT_COLLECTOR_SLOTS"]["value"]) == list("0123456789abcdef")


@pytest.mark.parametrize("workload", [w for w in WORKLOADS.values() if w["kind"] != "Job"], ids=lambda w: w["kind"])
def test_whoever_serves_is_probed_where_it_answers(workload: Manifest) -> None:
    """On the only port, by name; alive and ready are two questions, and dead takes longer than not ready."""
    container = _container(workload)
    (port,) = container["ports"]
    ready, alive = container["readinessProbe"], container["livenessProbe"]
    assert ready["httpGet"] == {"path": "/readyz", "port": port["name"]}
    assert alive["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert alive["periodSeconds"] * alive["failureThreshold"] > ready["periodSeconds"] * ready["failureThreshold"]


def test_the_api_listens_where_it_is_probed() -> None:
    api = WORKLOADS["plantprint-api"]
    assert api["spec"]["replicas"] == 2
    assert _container(api)["args"] == ["serve", "--host", "0.0.0.0"]
    (port,) = _container(api)["ports"]
    assert port == {"name": "http", "containerPort": int(_settings()["PLANTPRINT_HTTP_PORT"])}


def test_the_collector_listens_where_it_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback unless told otherwise: only the pod tells it otherwise."""
    container = _container(WORKLOADS["plantprint-collector"])
    assert CollectorSettings(database_url=SecretStr("postgresql:///plantprint")).metrics_host == "127.0.0.1"
    for variable in container["env"]:
        if "value" in variable:
            monkeypatch.setenv(variable["name"], variable["value"])
    settings = CollectorSettings(database_url=SecretStr("postgresql:///plantprint"))
    assert settings.metrics_host == "0.0.0.0"
    assert container["ports"] == [{"name": "pages", "containerPort": settings.metrics_port}]


@workloads
def test_a_workload_selects_its_own_pods_only(workload: Manifest) -> None:
    if workload["kind"] == "Job":
        return  # the cluster writes a job's selector
    selector = workload["spec"]["selector"]["matchLabels"]
    assert [name for name, each in WORKLOADS.items() if _selects(selector, _pod_labels(each))] == [
        workload["metadata"]["name"]
    ]


@pytest.mark.parametrize("service", _of_kind("Service"), ids=lambda each: each["metadata"]["name"])
def test_a_service_leads_to_pods_and_ports_that_exist(service: Manifest) -> None:
    spec = service["spec"]
    (workload,) = [each for each in WORKLOADS.values() if _selects(spec["selector"], _pod_labels(each))]
    assert workload["metadata"]["name"] == service["metadata"]["name"]
    names = [port["name"] for port in _container(workload).get("ports", [])]
    assert [port["targetPort"] for port in spec.get("ports", [])] == names
    if workload["kind"] == "StatefulSet":
        assert workload["spec"]["serviceName"] == service["metadata"]["name"]
        assert spec["clusterIP"] == "None"


def test_a_drain_leaves_one_api() -> None:
    (budget,) = _of_kind("PodDisruptionBudget")
    selected = [
        each for each in WORKLOADS.values() if _selects(budget["spec"]["selector"]["matchLabels"], _pod_labels(each))
    ]
    assert [each["metadata"]["name"] for each in selected] == ["plantprint-api"]
    assert budget["spec"]["minAvailable"] < selected[0]["spec"]["replicas"]


def test_the_network_is_closed_but_for_what_is_needed() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in _of_kind("NetworkPolicy")}
    common = policies["plantprint"]
    assert all(_selects(common["podSelector"]["matchLabels"], _pod_labels(each)) for each in WORKLOADS.values())
    assert common["policyTypes"] == ["Ingress", "Egress"]
    assert common["ingress"] == []
    assert {port["port"] for rule in common["egress"] for port in rule["ports"]} == {53, 5432}
    for name in ("plantprint-api", "plantprint-collector"):
        selector = policies[name]["podSelector"]["matchLabels"]
        assert [n for n, each in WORKLOADS.items() if _selects(selector, _pod_labels(each))] == [name]
        (rule,) = policies[name]["ingress"]
        assert [port["port"] for port in rule["ports"]] == [
            port["name"] for port in _container(WORKLOADS[name])["ports"]
        ]
    (scraper,) = policies["plantprint-collector"]["ingress"][0]["from"]
    assert scraper["namespaceSelector"]["matchLabels"], "not from everywhere"
    assert policies["plantprint-collector"]["policyTypes"] == ["Ingress", "Egress"]
    assert {port["port"] for rule in policies["plantprint-collector"]["egress"] for port in rule["ports"]} == {
        1883,
        8883,
    }


def test_the_image_has_what_the_commands_need_and_the_user_of_the_pods() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    extras = re.search(r'"\.\[([a-z,]+)\]"', text)
    assert extras is not None
    assert set(extras[1].split(",")) == {"collector", "api"} <= PROJECT["optional-dependencies"].keys()
    assert "USER 10001:10001" in text
    assert f"plantprint:{PROJECT['version']}" in text
    copied = {name for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for name in line.split()}
    assert all((ROOT / name).exists() or name == "README.md" for name in copied)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "packages"
    ]
    assert {package.split("/")[0] for package in packages} <= copied


def test_the_page_names_the_secret_and_its_keys() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    assert all(word in page for word in (SECRET, *SECRET_KEYS.values(), "PLANTPRINT_COLLECTOR_SLOTS"))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_renders_the_base() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(BASE), "--output", "/dev/stdout"], capture_output=True, text=True, check=True
    )
    rendered = list(yaml.safe_load_all(done.stdout))
    assert len(rendered) == len(_manifests()) + 1
    (settings,) = [each for each in rendered if each["kind"] == "ConfigMap"]
    assert settings["data"] == _settings()
    used = re.findall(r'"configMapRef": \{"name": "([^"]+)"\}', json.dumps(rendered))
    assert used == [settings["metadata"]["name"]] * 2

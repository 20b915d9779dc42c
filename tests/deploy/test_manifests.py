"""The files in deploy/ fit their formats' schemas, and the software: its addresses, options and environment variables."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.app import Settings, create_app
from server.engine import EngineOptions
from server.scale.options import ScaleOptions

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = [
    pytest.param(document, id=f"{path.stem}-{document['kind']}")
    for path in sorted(DEPLOY.glob("kubernetes/*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
DEPLOYMENTS = [entry for entry in MANIFESTS if entry.values[0]["kind"] == "Deployment"]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
ADDRESSES = {rule.rule for rule in create_app(Settings(model="grabcut")).url_map.iter_rules()}


def everywhere(pattern: str) -> set[str]:
    return {found for path in (ROOT / "server").rglob("*.py") for found in re.findall(pattern, path.read_text())}


def options_of_the_server() -> set[str]:
    run = subprocess.run(
        [sys.executable, "-m", "server", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    return set(re.findall(r"--[a-z][a-z-]+", run.stdout))


@pytest.mark.parametrize("version", ["1.29", "1.34"])
@pytest.mark.parametrize("manifest", MANIFESTS)
def test_kubernetes_accepts_the_manifest(manifest: dict[str, Any], version: str) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("manifest", DEPLOYMENTS)
def test_probes_ports_and_volumes_fit(manifest: dict[str, Any]) -> None:
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in ADDRESSES
        assert container[probe]["httpGet"]["port"] == container["ports"][0]["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert manifest["spec"]["selector"]["matchLabels"] == manifest["spec"]["template"]["metadata"]["labels"]
    assert manifest["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"] in ADDRESSES
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == ("gpu" in manifest["metadata"]["name"])


def test_autoscalers_and_the_service_point_at_what_is_there() -> None:
    documents = [entry.values[0] for entry in MANIFESTS]
    names = {document["metadata"]["name"] for document in documents if document["kind"] == "Deployment"}
    scaled = {d["spec"]["scaleTargetRef"]["name"] for d in documents if d["kind"] == "HorizontalPodAutoscaler"}
    assert names == scaled
    (service,) = [document for document in documents if document["kind"] == "Service"]
    for entry in DEPLOYMENTS:
        assert service["spec"]["selector"].items() <= entry.values[0]["metadata"]["labels"].items()
    metric = next(d for d in documents if d["metadata"]["name"] == "arcp-server-gpu" and "Autoscaler" in d["kind"])
    assert metric["spec"]["metrics"][0]["pods"]["metric"]["name"] in everywhere(r'"(arcp_[a-z_]+)"')


def test_compose_fits_its_schema() -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            str(DEPLOY / "compose.yaml"),
        ],
        check=True,
        timeout=120,
    )
    labels = COMPOSE["services"]["server"]["labels"]
    assert labels["traefik.http.services.cut.loadbalancer.healthcheck.path"] in ADDRESSES
    for service in COMPOSE["services"].values():
        if "build" in service:
            assert f" AS on-{service['build']['args']['DEVICE']}\n" in (DEPLOY / "Dockerfile").read_text()


def test_every_setting_named_in_deploy_is_one_that_the_server_reads() -> None:
    known = everywhere(r"ARCP_[A-Z_]+") | {f"ARCP_{field.name.upper()}" for field in fields(EngineOptions)}
    outside = {"ARCP_DOMAIN", "ARCP_ACME_EMAIL"}  # compose.yaml's own
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            assert set(re.findall(r"ARCP_[A-Z_]+", path.read_text())) <= known | outside, path


def test_the_dockerfile_is_sound_and_starts_the_server_as_it_is() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    run = subprocess.run([hadolint, str(DEPLOY / "Dockerfile")], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout
    text = (DEPLOY / "Dockerfile").read_text()
    (start,) = re.findall(r"^ENTRYPOINT (.*)", text, re.MULTILINE)
    commands = [COMPOSE["services"]["server-gpu"]["command"]]
    commands += [d.values[0]["spec"]["template"]["spec"]["containers"][0].get("args", []) for d in DEPLOYMENTS]
    used = {option for command in [json.loads(start), *commands] for option in command if option.startswith("--")}
    assert "--require-gpu" in used
    assert used <= options_of_the_server()
    for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        for source in shlex.split(line):
            assert (ROOT / source).exists(), source
            assert f"!{source}\n" in (DEPLOY / "Dockerfile.dockerignore").read_text()


def test_rays_configuration_names_the_application_and_its_options() -> None:
    (entry,) = yaml.safe_load((DEPLOY / "ray" / "serve.yaml").read_text())["applications"]
    ScaleOptions.parse(entry["args"])
    module, name = entry["import_path"].split(":")
    assert f"def {name}(" in (ROOT / (module.replace(".", "/") + ".py")).read_text()

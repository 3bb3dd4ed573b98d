"""The chart's Ingress, which asks of ingress-nginx what docs/deployment.md asks of nginx."""

import re
from typing import Any

import pytest

from service.settings import Settings
from tests.support import nginx
from tests.support.helm import MISSING, Manifest, one, render

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

_PREFIX = "nginx.ingress.kubernetes.io/"


def ingress(*arguments: str, values: str = "minimal") -> Manifest:
    return one(render("--set", "ingress.enabled=true", *arguments, values=values), "Ingress")


def asked(*arguments: str) -> dict[str, str]:
    annotations: dict[str, str] = ingress(*arguments)["metadata"]["annotations"]
    return {name.removeprefix(_PREFIX): value for name, value in annotations.items()}


def paths(manifest: Manifest) -> list[dict[str, Any]]:
    return [path for rule in manifest["spec"]["rules"] for path in rule["http"]["paths"]]


def test_none_is_made_unless_asked_for_nor_for_a_release_that_only_trains() -> None:
    for arguments in ((), ("--set", "ingress.enabled=true,serve=false,training.enabled=true")):
        assert "Ingress" not in {manifest["kind"] for manifest in render(*arguments)}


def test_requests_go_to_a_port_of_the_service() -> None:
    manifests = render(values="full")
    service = one(manifests, "Service", "service")
    (path,) = paths(one(manifests, "Ingress"))
    backend = path["backend"]["service"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}


def test_nginx_is_asked_for_what_the_documents_say() -> None:
    _, site = nginx.documented([8001, 8002])
    said = dict(
        re.findall(r"(proxy_buffering|client_max_body_size|proxy_read_timeout|proxy_next_upstream) ([^;]+);", site)
    )
    annotations = asked()
    assert annotations["proxy-buffering"] == said["proxy_buffering"]
    assert annotations["proxy-body-size"] == said["client_max_body_size"]
    assert annotations["proxy-read-timeout"] == said["proxy_read_timeout"].removesuffix("s")
    assert annotations["proxy-next-upstream"] == said["proxy_next_upstream"]
    assert float(annotations["proxy-read-timeout"]) > Settings.model_fields["request_deadline_s"].default


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ("settings.MAX_UPLOAD_MB=200", "proxy-body-size", "200m"),
        ("settings.MAX_UPLOAD_MB=1.5", "proxy-body-size", "2m"),
        ("settings.REQUEST_DEADLINE_S=600", "proxy-read-timeout", "630"),
        ("settings.REQUEST_DEADLINE_S=0.5", "proxy-read-timeout", "31"),
    ],
)
def test_nginx_follows_the_settings(settings: str, name: str, value: str) -> None:
    assert asked("--set-json", settings)[name] == value


def test_annotations_of_the_values_are_added_and_win() -> None:
    other = {f"{_PREFIX}proxy-body-size": "1g", "cert-manager.io/cluster-issuer": "letsencrypt"}
    arguments = [f"ingress.annotations.{name.replace('.', chr(92) + '.')}={value}" for name, value in other.items()]
    annotations = asked("--set", ",".join(arguments))
    assert annotations["proxy-body-size"] == "1g"
    assert annotations["cert-manager.io/cluster-issuer"] == "letsencrypt"
    assert annotations["proxy-buffering"] == "off"


def test_prefix_is_taken_off_and_no_other_path_is_answered() -> None:
    manifest = ingress("--set", "settings.ROOT_PATH=/music.v2")
    (path,) = paths(manifest)
    assert path["pathType"] == "ImplementationSpecific"
    target = manifest["metadata"]["annotations"][f"{_PREFIX}rewrite-target"].replace("$", "\\")
    # ingress-nginx matches from the start of the path, in any case of the letters.
    for asked_for, arrives in (("/music.v2/classify", "/classify"), ("/music.v2", "/"), ("/music.v2/", "/")):
        found = re.match(path["path"], asked_for)
        assert found
        assert found.expand(target) == arrives
    assert not re.match(path["path"], "/musicxv2/classify")
    assert not re.match(path["path"], "/music.v2x/classify")


def test_hosts_and_tls_are_those_of_the_values() -> None:
    spec = ingress(values="full")["spec"]
    assert spec["ingressClassName"] == "nginx"
    assert [rule["host"] for rule in spec["rules"]] == ["genre.example.com"]
    assert spec["tls"] == [{"secretName": "genre-tls", "hosts": ["genre.example.com"]}]
    (rule,) = ingress()["spec"]["rules"]
    assert "host" not in rule
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")

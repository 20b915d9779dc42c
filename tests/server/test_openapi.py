"""The description at /openapi.json is true: schemathesis makes requests from it and holds the answers against it."""

from __future__ import annotations

import base64
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance

from server.app import Settings, create_app
from server.cutout import Cutout
from server.fetch import parse_address
from server.results import ResultStore
from tests.server.conftest import saved
from tests.server.dialects.conftest import RGB, cut_red, picture

PICTURES = [saved(picture(), "PNG"), saved(picture(), "JPEG"), saved(picture()[:40, :40], "PNG"), b"no picture"]
schemathesis.openapi.media_type("image/jpeg", st.sampled_from(PICTURES))
schemathesis.openapi.format("byte", st.sampled_from([base64.b64encode(data).decode() for data in PICTURES]))


def cut_with_any_model(image: RGB, model: str, **options: Any) -> Cutout:
    return cut_red(image, "red", **options)


def fetch(url: str) -> bytes:
    parse_address(url)
    return PICTURES[0]


app = create_app(Settings(cut=cut_with_any_model, fetch=fetch), ResultStore("memory://openapi"))
schema = schemathesis.openapi.from_wsgi("/openapi.json", app)


def test_the_server_keeps_to_its_description() -> None:
    answered: set[tuple[str, str, int]] = set()
    for operation in schema.get_all_operations():

        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.ok().as_strategy())
        def holds(case: schemathesis.Case) -> None:
            response = case.call()
            case.validate_response(
                response, excluded_checks=[positive_data_acceptance]
            )  # no schema says what can be cut
            answered.add((case.method, case.path, response.status_code))

        holds()
    for path in ("/v1/cut", "/v1.0/removebg", "/api/remove", "/remove", "/"):
        assert {("POST", path, 200), ("POST", path, 400)} <= answered


@schema.parametrize()
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit],
    suppress_health_check=list(HealthCheck),
)
def test_values_at_the_edges_and_wrong_ones(case: schemathesis.Case) -> None:
    """schemathesis' own coverage of each parameter: limits, wrong types, missing ones, other methods."""
    case.call_and_validate(excluded_checks=[positive_data_acceptance])

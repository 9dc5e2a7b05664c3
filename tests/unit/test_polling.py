"""How often a job is asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from activities.pacing import interval
from genpulse.catalog.clouds import cloud_models

(SPEC,) = (spec for spec in cloud_models(["kling"]) if spec.id == "kling/kling-3.0")


@pytest.mark.parametrize(
    ("age", "called_back", "wait"),
    [
        (0, False, SPEC.poll.least),
        (10 * (SPEC.poll.least + 1), False, SPEC.poll.least + 1),
        (3600, False, SPEC.poll.most),
        (0, True, SPEC.poll.least),
        (90, True, 30),
        (3600, True, 60),
    ],
)
def test_the_older_a_job_the_longer_the_wait(age: float, called_back: bool, wait: float) -> None:
    assert interval(timedelta(seconds=age), SPEC, called_back=called_back) == timedelta(seconds=wait)

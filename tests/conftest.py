"""Settings for all tests: property tests are seeded and never judged by the clock."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "seeded",
    derandomize=True,  # the same cases in every run: a red test is red for everybody
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("search", parent=settings.get_profile("seeded"), derandomize=False)
settings.load_profile("seeded")

"""Search attributes by which operators find runs in the Temporal Web UI; all are keywords."""

from __future__ import annotations

from temporalio.common import SearchAttributeKey

TENANT = SearchAttributeKey.for_keyword("GpTenant")
STATUS = SearchAttributeKey.for_keyword("GpStatus")
MODEL = SearchAttributeKey.for_keyword("GpModel")
OPERATION = SearchAttributeKey.for_keyword("GpOperation")
ERROR = SearchAttributeKey.for_keyword("GpError")

ALL = (TENANT, STATUS, MODEL, OPERATION, ERROR)

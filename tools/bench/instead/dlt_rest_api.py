"""dlt's rest_api source, with a paginator for QuickBooks' queries, into its postgres destination, merged by Id."""

from __future__ import annotations

import os
from typing import Any

import dlt
import requests
from dlt.sources.helpers.rest_client.paginators import BasePaginator
from dlt.sources.rest_api import rest_api_source

API, REALM = os.environ["QBO_URL"], os.environ["QBO_REALM"]
token = requests.post(
    f"{API}/oauth2/v1/tokens/bearer",
    auth=(os.environ["QBO_CLIENT_ID"], os.environ["QBO_CLIENT_SECRET"]),
    data={"grant_type": "refresh_token", "refresh_token": os.environ["QBO_REFRESH_TOKEN"]},
    timeout=60,
).json()["access_token"]


class QueryPages(BasePaginator):
    """STARTPOSITION inside the query's text."""

    def __init__(self) -> None:
        super().__init__()
        self.position = 1

    def statement(self) -> str:
        return f"SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime STARTPOSITION {self.position} MAXRESULTS 1000"

    def init_request(self, request: Any) -> None:
        request.params = {**(request.params or {}), "query": self.statement()}

    def update_state(self, response: Any, data: list[Any] | None = None) -> None:  # noqa: ARG002
        self._has_next_page = len(data or []) == 1000
        self.position += 1000

    def update_request(self, request: Any) -> None:
        request.params = {**(request.params or {}), "query": self.statement()}


source = rest_api_source(
    {
        "client": {
            "base_url": f"{API}/v3/company/{REALM}/",
            "auth": {"type": "bearer", "token": token},
            "headers": {"Accept": "application/json"},
            "paginator": QueryPages(),
        },
        "resources": [
            {
                "name": "invoices",
                "primary_key": "Id",
                "write_disposition": "merge",
                "max_table_nesting": 0,
                "endpoint": {
                    "path": "query",
                    "params": {"minorversion": "75"},
                    "data_selector": "QueryResponse.Invoice",
                },
            }
        ],
    }
)
pipeline = dlt.pipeline(
    "bench",
    destination=dlt.destinations.postgres(os.environ["DATABASE"]),
    dataset_name="dlt_raw",
    pipelines_dir=os.environ["WORK_FOLDER"],
)
pipeline.run(source)

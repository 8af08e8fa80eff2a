"""The simulator is controlled from its own machine only."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from qbo_simulator.control_routes import guarded


async def answer(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="controlled")


def request_from(address: str) -> web.Request:
    transport = Mock()
    transport.get_extra_info.side_effect = lambda name, default=None: (address, 5) if name == "peername" else default
    return make_mocked_request("GET", "/_simulator/", transport=transport)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
async def test_this_machine_may_control_it(address: str) -> None:
    assert (await guarded(answer)(request_from(address))).status == 200


@pytest.mark.parametrize("address", ["10.0.0.5", "172.18.0.3", "fe80::1%eth0", "2001:db8::1"])
async def test_no_other_machine_may(address: str) -> None:
    with pytest.raises(web.HTTPForbidden, match="Forbidden"):
        await guarded(answer)(request_from(address))

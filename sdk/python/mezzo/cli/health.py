"""`mezzo health`: does a service answer, and is it ready?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.text import Text

from mezzo import addresses
from mezzo.cli import exit_codes
from mezzo.cli.completing import member_addresses
from mezzo.cli.errors import print_error
from mezzo.cli.examples import Example, examples
from mezzo.cli.output import console, visible

TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Health:
    """How a service is; a problem where it does not answer."""

    ready: bool
    problem: str = ""


@examples(
    Example("mezzo health $(mezzo members -o name)", "Ask all registries, allocators and gateways.", r" is ready$"),
    Example("mezzo health 127.0.0.1:1", "Exit with 69 where a service does not answer.", "does not answer", code=69),
)
def health(
    address: Annotated[
        list[str],
        typer.Argument(
            metavar="ADDRESS",
            autocompletion=member_addresses,
            help="host:port of a service's gRPC server, or of its HTTP server.",
        ),
    ],
) -> None:
    """Ask services whether they are ready: exit with 1 if one is not, and with 69 if one does not answer."""
    for each in address:
        _check(each)
    found = asyncio.run(_ask_all(address))
    for each, one in zip(address, found, strict=True):
        if one.problem:
            print_error(f"{each} does not answer: {one.problem}")
        else:
            told = ("ready", "green") if one.ready else ("not ready", "red")
            console().print(Text.assemble(visible(each), " is ", told))
    if any(one.problem for one in found):
        raise typer.Exit(exit_codes.UNREACHABLE)
    if not all(one.ready for one in found):
        raise typer.Exit(exit_codes.FAILED)


def _check(text: str) -> None:
    """Raises `typer.BadParameter` for what is no address."""
    if addresses.parse(text) is None:
        raise typer.BadParameter(f"{text!r} is not an address; expected host:port", param_hint="ADDRESS")


async def _ask_all(wanted: list[str]) -> list[Health]:
    return list(await asyncio.gather(*(ask_health(each) for each in wanted)))


async def ask_health(address: str) -> Health:
    """Ask by gRPC, and where nobody speaks that, by HTTP."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with grpc.aio.insecure_channel(address) as channel:
        try:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
            return Health(answer.status == health_pb2.HealthCheckResponse.SERVING)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return Health(ready=False, problem=f"nothing came within {TIMEOUT_SECONDS:g} s")
            return await _ask_by_http(address)


async def _ask_by_http(address: str) -> Health:
    import aiohttp

    from mezzo.cli.api import cause_of

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"http://{address}/health") as answer:
            return Health(answer.status < 400)
    except (aiohttp.ClientConnectionError, TimeoutError) as error:
        return Health(ready=False, problem=cause_of(error))
    except aiohttp.ClientError as error:
        return Health(ready=False, problem=f"it speaks neither gRPC nor HTTP: {error}")

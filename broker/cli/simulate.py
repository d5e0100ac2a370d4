"""`carnet simulate`: realistic traffic of invented patients, at a rate."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Annotated

import typer
from rich.progress import Progress

from broker import plugins, simulation
from broker.cli import output, sending, setup
from broker.cli.send import To, Token
from broker.contracts import Destination


def simulate(
    to: To,
    rate: Annotated[float, typer.Option(min=0.1, max=10_000, help="Messages a second.")] = 20,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long.")] = 30,
    kinds: Annotated[
        str,
        typer.Option(
            help=f"Kinds and shares, like adt=0.6,oru=0.4. Known: {', '.join(simulation.MIX)}."
        ),
    ] = "",
    connections: Annotated[int, typer.Option(min=1, max=256, help="Connections at once.")] = 4,
    patients: Annotated[int, typer.Option(min=1, help="How many invented patients.")] = 5_000,
    seed: Annotated[int, typer.Option(help="The same seed sends the same content.")] = 0,
    document_kb: Annotated[
        int, typer.Option(min=0, max=10_000, help="Size of letters and reports; 0: a few KB.")
    ] = 0,
    token: Token = "",
    json: setup.AsJson = False,
) -> None:
    """Send realistic French traffic (ADT, ORU, MDM, CDA, FHIR) of invented patients.

    MLLP carries HL7v2 only, so there the mix is ADT, ORU and MDM.

        carnet simulate --rate 50 --seconds 60 --to mllp://127.0.0.1:2575
        carnet simulate --kinds fhir=1 --rate 5 --to http://127.0.0.1:8075/

    JSON: {"sent", "outcomes": {outcome: n}, "seconds", "rate", "p50_ms", "p99_ms"}.

    Exit codes: 0 everything accepted, 1 something was not, 2 usage or set-up.
    """
    mix = shares(kinds, hl7v2_only=to.startswith("mllp"))
    traffic = simulation.messages(
        seed,
        mix,
        patients=patients,
        run=f"S{secrets.token_hex(3)}",
        document_bytes=document_kb * 1000,
    )
    total = max(1, round(rate * seconds))
    clients = [
        sending.destination(to, plugins.adapters(), token) for _ in range(min(connections, total))
    ]
    outcomes: Counter[str] = Counter()
    took: deque[float] = deque(maxlen=100_000)
    begun = time.monotonic()
    with Progress(console=output.aside(), transient=True) as progress:
        bar = progress.add_task("sending", total=total)
        for answer, elapsed in paced(traffic, clients, total, rate):
            outcomes[answer.outcome] += 1
            took.append(elapsed)
            progress.advance(bar)
    spent = time.monotonic() - begun
    result = {
        "sent": total,
        "outcomes": dict(outcomes),
        "seconds": round(spent, 3),
        "rate": round(total / spent, 1),
        "p50_ms": quantile(took, 0.5),
        "p99_ms": quantile(took, 0.99),
    }
    if json:
        output.tell(result)
    else:
        said = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.items())
        output.say(
            f"{total} sent in {result['seconds']} s ({result['rate']}/s): {said} · "
            f"answer p50 {result['p50_ms']} ms, p99 {result['p99_ms']} ms"
        )
    raise typer.Exit(output.GOOD if outcomes["accepted"] == total else output.FOUND)


def shares(text: str, *, hl7v2_only: bool) -> dict[str, float]:
    """The mix of kinds: as typed, or the usual one, without what MLLP does not carry."""
    carried = [kind for kind in simulation.MIX if not hl7v2_only or kind in ("adt", "oru", "mdm")]
    if not text:
        return {kind: simulation.MIX[kind] for kind in carried}
    mix = {}
    for part in text.split(","):
        kind, _, share = part.strip().partition("=")
        if kind not in carried:
            raise typer.BadParameter(
                f"'{kind}' is not one of {', '.join(carried)}", param_hint="--kinds"
            )
        try:
            mix[kind] = float(share or 1)
        except ValueError as error:
            raise typer.BadParameter(
                f"the share of {kind} is no number", param_hint="--kinds"
            ) from error
    return mix


def paced(
    traffic: Iterator[simulation.Sample],
    clients: list[Destination],
    total: int,
    rate: float,
) -> Iterator[tuple[sending.Answer, float]]:
    """Send `total` messages at `rate`, each patient's always on the same connection, and yield the answers."""
    inboxes: list[SimpleQueue[sending.Outgoing | None]] = [SimpleQueue() for _ in clients]
    answers: SimpleQueue[tuple[sending.Answer, float]] = SimpleQueue()
    threads = [
        threading.Thread(target=_serve, args=(client, inbox, answers), daemon=True)
        for client, inbox in zip(clients, inboxes, strict=True)
    ]
    for thread in threads:
        thread.start()
    begun = time.monotonic()
    received = 0
    for n in range(total):
        sample = next(traffic)
        inboxes[sample.patient % len(inboxes)].put(
            sending.Outgoing(sample.kind, n, sample.body, sample.media)
        )
        while (due := begun + (n + 1) / rate - time.monotonic()) > 0:
            try:
                yield answers.get(timeout=due)
            except Empty:
                break
            received += 1
    for inbox in inboxes:
        inbox.put(None)
    while received < total:
        yield answers.get()
        received += 1
    for thread in threads:
        thread.join()


def quantile(values: deque[float], share: float) -> float:
    """A quantile in milliseconds."""
    ordered = sorted(values)
    return (
        round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2)
        if ordered
        else 0.0
    )


def _serve(
    client: Destination,
    inbox: SimpleQueue[sending.Outgoing | None],
    answers: SimpleQueue[tuple[sending.Answer, float]],
) -> None:
    while (message := inbox.get()) is not None:
        begun = time.monotonic()
        answer = sending.deliver(client, message)
        answers.put((answer, time.monotonic() - begun))
    client.close()

"""A batch's values at once give what prometheus_client's own histogram gives for each of them."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as Reference

from broker.histogram import Histogram

BOUNDS = (0.001, 0.01, 1.0, 2.5)

batches = st.lists(
    st.tuples(
        st.sampled_from(["lab", 'a "quoted"\\ one']),
        st.lists(st.sampled_from(BOUNDS) | st.floats(0, 10, width=32)),
    )
)


@given(batches)
def test_the_text_is_that_of_the_reference(given_batches: list[tuple[str, list[float]]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = Histogram("carnet_waited", "how long", ("source",), BOUNDS)
    ours.register(mine)
    reference = Reference("carnet_waited", "how long", ("source",), buckets=BOUNDS, registry=theirs)
    for source, values in given_batches:
        mine.labels(source=source).observe_many(values)
        child = reference.labels(source=source)
        for value in values:
            child.observe(value)
    assert _lines(ours) == _lines(theirs)


def _lines(registry: CollectorRegistry) -> list[str]:
    """The exposition without the instants at which metrics were made."""
    return [
        line for line in generate_latest(registry).decode().splitlines() if "_created" not in line
    ]

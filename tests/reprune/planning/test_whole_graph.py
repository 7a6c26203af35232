import numpy as np
import pytest

from reprune.planning.latency_model import WholeGraph

DENSE_SUM, ELEMENTS, OVERHEAD = 1e-3, np.array([4e4, 1e4]), 5e-6


def planted(summed, elements):
    """Return the latency of a graph whose attention, unlike its other activations, costs as much as its operators."""
    return OVERHEAD + 0.95 * summed + 2e-9 * elements[0] + 8e-8 * elements[1]


def graphs(count, seed=0):
    """Return sums and elements of graphs whose kinds of groups are narrowed unlike each other."""
    rng = np.random.default_rng(seed)
    kept = np.concatenate([np.ones((1, 2)), rng.uniform(0.1, 1, (count - 1, 2))])
    return [(DENSE_SUM * share.prod(), ELEMENTS * share) for share in kept]


def learned(count):
    graph = WholeGraph(DENSE_SUM, ELEMENTS, OVERHEAD)
    for summed, elements in graphs(count):
        graph.learn(summed, elements, planted(summed, elements))
    return graph


def errors(graph):
    return np.array(
        [
            graph.latency(summed + graph.rates @ elements) / planted(summed, elements) - 1
            for summed, elements in graphs(50, seed=1)
        ]
    )


def test_before_anything_is_measured_the_sum_is_all_there_is():
    graph = WholeGraph(DENSE_SUM, ELEMENTS, OVERHEAD)
    assert graph.latency(3e-4) == pytest.approx(3e-4)
    assert not graph.rates.any()


def test_the_latest_graph_is_met_exactly():
    for count in (1, 2, 3):
        graph = learned(count)
        summed, elements = graphs(count)[-1]
        assert graph.latency(summed + graph.rates @ elements) == pytest.approx(planted(summed, elements))


def test_a_few_graphs_teach_what_no_table_holds():
    assert np.abs(errors(learned(1))).max() > 0.2
    assert np.abs(errors(learned(5))).max() < 0.03


def test_sums_and_latencies_turn_into_each_other():
    graph = learned(3)
    assert graph.latency(graph.summed(7e-4)) == pytest.approx(7e-4)


def test_rates_are_never_negative_even_where_graphs_are_faster_than_their_operators():
    graph = WholeGraph(DENSE_SUM, ELEMENTS, OVERHEAD)
    for summed, elements in graphs(4):
        graph.learn(summed, elements, OVERHEAD + 0.7 * summed)
    assert (graph.rates >= 0).all()
    assert graph.latency(DENSE_SUM + graph.rates @ ELEMENTS) == pytest.approx(OVERHEAD + 0.7 * DENSE_SUM, rel=0.03)

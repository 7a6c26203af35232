import pytest

from reprune import formatting


@pytest.mark.parametrize(
    ("value", "text"), [(0.9874, "98.7%"), (0.0, "0.0%"), (1.0, "100.0%"), (-0.3, "−0.300"), (1.5, "1.500")]
)
def test_a_mean_score_is_a_percentage_only_where_it_can_be_a_share(value, text):
    assert formatting.score(value) == text

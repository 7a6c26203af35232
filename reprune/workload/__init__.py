"""The user's contract: a model, data and a budget, in one YAML file that names Python entry points."""

from reprune.workload.contract import SPLITS, Evaluation, Workload
from reprune.workload.reading import load, load_evaluation, parse, schema, shipped
from reprune.workload.sections import Budget

__all__ = ["SPLITS", "Budget", "Evaluation", "Workload", "load", "load_evaluation", "parse", "schema", "shipped"]

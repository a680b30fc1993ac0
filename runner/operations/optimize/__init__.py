"""Brings tables to their declared layout: order and partitions of rows, indexes.

choosing    which tables, and which jobs use them
work        what would be done, and doing it while no job of the project uses the table
probing     what the project's reads cost before and after
"""

from runner.operations.optimize.probing import Measurement
from runner.operations.optimize.work import OptimizeOptions, TableOutcome, optimize, survey

__all__ = ["Measurement", "OptimizeOptions", "TableOutcome", "optimize", "survey"]

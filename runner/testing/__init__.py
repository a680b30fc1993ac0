"""What tests of projects and of the engine use in place of the real thing, under the same contract tests."""

from runner.testing.memory_warehouse import MemoryWarehouse

__all__ = ["MemoryWarehouse"]

"""The agent's decisions: facts in, orders out. No I/O, no clock, no randomness."""

from mezzo_agent.core.agent import Agent
from mezzo_agent.core.state import Settings

__all__ = ["Agent", "Settings"]

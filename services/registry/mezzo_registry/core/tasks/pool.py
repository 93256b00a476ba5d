"""What launches are paid out of."""

from dataclasses import dataclass

from mezzo.resources import Resources
from mezzo_registry.core.state.entities import Agent, Framework


@dataclass(slots=True)
class Pool:
    """The offers of one ACCEPT, taken together, and what of them is not used yet."""

    framework: Framework
    agent: Agent
    role: str
    remaining: Resources

"""One judgement of tasks: what the registry admits runs on an agent, or is answered with the end of the task."""

"""The real cores of registry, allocator and agents under a simulated clock, network, disk and election.

One seed decides everything; a failure is a seed and a number of steps. `make sim SEED=7 STEPS=20000`.
"""

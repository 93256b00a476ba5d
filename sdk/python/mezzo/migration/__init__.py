"""What becomes of a Mesos cluster's configuration: which service takes each flag, and what is to be decided.

`flags` has the table, `sources` reads what a machine gives its master or agent.
"""

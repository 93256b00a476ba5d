"""Is what a peer says well formed? Each check raises `InvalidRequest` with the path of the field that is wrong.

Nothing here looks at time or changes anything; what needs the cluster state takes what it needs of them as an argument.
"""

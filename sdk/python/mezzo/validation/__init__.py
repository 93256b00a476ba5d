"""Whether what somebody sends makes sense in itself: the same functions in every service, so that they agree.

Each check raises `InvalidRequest` with the path of the field that is wrong, and changes nothing.
"""

"""A whole cluster in one process and in simulated time: the services as they are, on machines that are not.

Registries, allocators and agents run with their engines, sessions, outboxes, servicers and journals; frameworks and
executors run on the SDK's clients. Simulated is what lies below: time (`loop`), channels and servers of gRPC
(`network`), ZooKeeper and the store (`election`), disks (`disk`), containers (`containers`). One seed decides
everything: what there is and which misfortunes it has (`options`), when these happen (`faults`), what operators and
hostile frameworks do. `checks` says what has to be true, and `planted` has bugs by which that is tried.

`make sim SEED=7 STEPS=20000` runs one seed; a failure prints the seed and every option.
"""

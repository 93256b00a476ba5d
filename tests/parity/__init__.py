"""Which test of Mezzo shows each behaviour that a test of Apache Mesos names; `mesos.tsv` is the list."""

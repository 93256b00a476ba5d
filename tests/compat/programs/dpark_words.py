"""Counts words with DPark, in two stages with a shuffle between. Usage: dpark_words.py OPTIONS_OF_DPARK"""

import json

from dpark import DparkContext

LINES = ["to be or not", "to be that is", "the question"]

context = DparkContext()
words = context.makeRDD(LINES, len(LINES)).flatMap(lambda line: line.split())
counts = words.map(lambda word: (word, 1)).reduceByKey(lambda one, other: one + other, 2)
print(json.dumps(dict(counts.collect())))

"""Some seconds of ordinary Python work on small and large objects: counting, sorting, parsing, joining."""

import json
import random
import re
from collections import Counter, defaultdict

random.seed(1)
SYLLABLES = ["ka", "lo", "mi", "ren", "sta", "tor", "ul", "ve", "fre", "ne"]
vocabulary = ["".join(random.choices(SYLLABLES, k=random.randint(1, 5))) for _ in range(40_000)]

total = Counter()
index = defaultdict(list)
for page in range(600):
    text = " ".join(random.choices(vocabulary, k=10_000))
    words = re.findall(r"[a-z]+", text)
    total.update(words)
    for place, word in enumerate(words):
        if word.startswith("fre"):
            index[word].append((page, place))

document = json.dumps({word: places for word, places in sorted(index.items())})
again = json.loads(document)
assert all([tuple(place) for place in again[word]] == index[word] for word in index)

lines = sorted(f"{count:6} {word}" for word, count in total.items())
print(f"{sum(total.values())} words, {len(total)} different, an index of {len(document)} characters")
print("most frequent:", lines[-1].strip())

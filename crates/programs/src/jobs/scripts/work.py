"""Some seconds of ordinary Python: objects, text, JSON, regular expressions, sorting, threads."""
import collections
import hashlib
import heapq
import json
import pickle
import re
import sys
import threading
import zlib

rounds = int(sys.argv[1])
thread_count = int(sys.argv[2]) if len(sys.argv) > 2 else 4


class Record:
    def __init__(self, number, name, tags):
        self.number, self.name, self.tags = number, name, tags

    def as_dict(self):
        return {"number": self.number, "name": self.name, "tags": self.tags, "half": self.number / 2}


def numbers(seed):
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        yield state >> 33


def work(seed):
    source = numbers(seed)
    digest = hashlib.sha256()
    records = []
    for index in range(6000):
        name = "name-%d-%s" % (next(source) % 10000, "x" * (next(source) % 60))
        records.append(Record(index, name, [str(next(source) % 500) for _ in range(next(source) % 8)]))
    text = json.dumps([record.as_dict() for record in records])
    again = json.loads(text)
    digest.update(str(sum(len(item["tags"]) for item in again)).encode())
    digest.update(pickle.dumps(again, protocol=4)[-2000:])
    words = re.findall(r"name-(\d+)-(x*)", text)
    counts = collections.Counter(len(fill) for _, fill in words)
    digest.update(repr(sorted(counts.items())).encode())
    records.sort(key=lambda record: (record.name, -record.number))
    digest.update(",".join(record.name for record in records).encode())
    index = collections.defaultdict(list)
    for record in records:
        for tag in record.tags:
            index[tag].append(record)
    digest.update(repr(sorted((tag, len(found)) for tag, found in index.items())).encode())
    heap = []
    for value in range(20000):
        heapq.heappush(heap, (next(source), "entry %d" % value))
    digest.update(repr([heapq.heappop(heap) for _ in range(5000)]).encode())
    packed = zlib.compress(text.encode(), 6)
    digest.update(str(len(zlib.decompress(packed))).encode())
    grown = bytearray()
    for value in range(20000):
        grown += b"%d;" % value
    digest.update(bytes(grown))
    digest.update(str(3 ** 20000 % 10 ** 50).encode())
    matrix = [[(row * column) % 97 for column in range(150)] for row in range(150)]
    turned = [list(line) for line in zip(*matrix)]
    digest.update(repr(turned[::7]).encode())
    return digest.hexdigest()


results = {}
for seed in range(rounds):
    results[seed] = work(seed)


def in_thread(seed):
    results[seed] = work(seed)


threads = [threading.Thread(target=in_thread, args=(1000 + seed,)) for seed in range(thread_count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for seed in sorted(results):
    print(seed, results[seed])

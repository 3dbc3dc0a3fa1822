"""Arrays of numpy: large aligned blocks, temporary results, threads of the linear algebra library."""
import numpy as np

generator = np.random.Generator(np.random.PCG64(7))
total = np.uint64(0)
for size in (10, 1000, 50_000, 2_000_000):
    for step in range(6):
        whole = generator.integers(0, 1 << 30, size=size + step, dtype=np.uint64)
        ordered = np.sort(whole)
        unique, counts = np.unique(whole % np.uint64(1000), return_counts=True)
        parts = np.concatenate([ordered[::2], whole[1::3], unique])
        total += parts.sum() + np.uint64(counts.max())
matrix = generator.integers(0, 9, size=(400, 400)).astype(np.float64)
product = matrix @ matrix.T
print(int(total), int(product.sum()), int(np.trace(product)), product.dtype)
names = np.array(["row %d" % number for number in range(50_000)], dtype=object)
print(len(set(names[::3])), names[-1])

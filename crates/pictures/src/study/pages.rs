//! Where live blocks lie: the heap by address at some moments, and what sparse pages hold back.

use hashbrown::HashMap;

/// Bytes of an OS page: what the system can take back at the least.
pub const OS_PAGE: u64 = 4096;

/// Blocks from this size on are kept apart: they fill their pages but for the two at the ends.
const LARGE: u64 = 64 * OS_PAGE;

/// A moment holds at most so many ranges of addresses; they get longer when there are more.
const RANGES: usize = 1 << 15;

/// Cells of the map that is drawn.
const CELLS: usize = 1536;

/// Live bytes by OS page, and the moments taken of them.
#[derive(Debug, Default)]
pub(super) struct Pages {
    small: HashMap<u64, u32>,
    large: HashMap<u64, u64>,
    /// Each moment's ranges with live bytes in them, by number: address >> shift.
    frames: Vec<Vec<(u64, u64)>>,
    shift: u32,
    worst: Stranded,
    stranded: Vec<u64>,
}

/// Bytes on OS pages that are held only for the live blocks beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stranded {
    /// The moment, by its number.
    pub frame: usize,
    /// These bytes.
    pub bytes: u64,
    /// Live bytes at that moment.
    pub live: u64,
    /// The same bytes by the call site of the blocks that hold them back, those with most first. Part of the bytes
    /// may be of unknown blocks.
    pub by_site: Vec<(u32, f64)>,
    /// The same by the class of the blocks' size.
    pub by_size: Vec<(usize, f64)>,
}

/// The heap by address at each moment. Addresses at which nothing ever lived are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapMap {
    /// Bytes of a cell.
    pub cell_bytes: u64,
    /// The first address of each cell.
    pub addresses: Vec<u64>,
    /// Live bytes of each cell at each moment.
    pub frames: Vec<Vec<u64>>,
    /// Bytes of OS pages without which live blocks could not be, beyond the blocks themselves, at each moment.
    pub stranded: Vec<u64>,
}

impl Pages {
    /// Calls `f` with each OS page of a block, and with its bytes there.
    fn each(address: u64, size: u64, mut f: impl FnMut(u64, u32)) {
        let end = address.saturating_add(size);
        let mut at = address;
        while at < end {
            let next = (at / OS_PAGE + 1).saturating_mul(OS_PAGE).min(end);
            f(at / OS_PAGE, (next - at) as u32);
            at = next;
        }
    }

    pub fn enter(&mut self, address: u64, size: u64) {
        if size >= LARGE {
            self.large.insert(address, size);
            return;
        }
        Self::each(address, size, |page, bytes| *self.small.entry(page).or_default() += bytes);
    }

    pub fn leave(&mut self, address: u64, size: u64) {
        if size >= LARGE {
            self.large.remove(&address);
            return;
        }
        Self::each(address, size, |page, bytes| {
            if let Some(live) = self.small.get_mut(&page) {
                *live = live.saturating_sub(bytes);
                if *live == 0 {
                    self.small.remove(&page);
                }
            }
        });
    }

    /// Takes a moment; says whether it is worth finding out who holds back what.
    pub fn frame(&mut self, number: usize) -> bool {
        let live: u64 = self.small.values().map(|&bytes| u64::from(bytes)).sum();
        let stranded = (self.small.len() as u64 * OS_PAGE).saturating_sub(live);
        self.stranded.push(stranded);
        let mut ranges = self.ranges();
        while ranges.len() > RANGES {
            self.shift += 1;
            ranges = self.ranges();
            for frame in &mut self.frames {
                *frame = merged(frame.iter().map(|&(range, bytes)| (range >> 1, bytes)));
            }
        }
        self.frames.push(ranges);
        let is_worse = stranded > self.worst.bytes + self.worst.bytes / 20;
        if is_worse {
            let large = total(self.large.values().copied());
            self.worst = Stranded {
                frame: number,
                bytes: stranded,
                live: live.saturating_add(large),
                ..Stranded::default()
            };
        }
        is_worse
    }

    fn ranges(&self) -> Vec<(u64, u64)> {
        let shift = self.shift;
        let mut ranges: Vec<(u64, u64)> =
            self.small.iter().map(|(&page, &bytes)| (page >> shift, u64::from(bytes))).collect();
        let bytes_of = OS_PAGE << shift;
        for (&address, &size) in &self.large {
            let (first, last) = (address / bytes_of, address.saturating_add(size - 1) / bytes_of);
            // A block of a terabyte is no reason to count its pages; nor are many that lie over each other, as only a damaged
            // trace has them.
            if last - first > RANGES as u64 || ranges.len() > 4 * RANGES + 2 * self.large.len() {
                return ranges_of_many();
            }
            ranges.extend((first..=last).map(|range| {
                let start = range.saturating_mul(bytes_of).max(address);
                let end = (range + 1).saturating_mul(bytes_of).min(address.saturating_add(size));
                (range, end - start)
            }));
        }
        ranges.sort_unstable_by_key(|&(range, _)| range);
        merged(ranges.into_iter())
    }

    /// Charges what lies free on pages to the live blocks there: who holds most of the pages holds back most.
    /// O(live blocks).
    pub fn blame(&mut self, blocks: impl Iterator<Item = (u64, u64, Option<u32>, f32)>) {
        let blocks: Vec<_> = blocks.filter(|&(_, size, ..)| size < LARGE).collect();
        let mut count: HashMap<u64, u32> = HashMap::with_capacity(self.small.len());
        for &(address, size, ..) in &blocks {
            Self::each(address, size, |page, _| *count.entry(page).or_default() += 1);
        }
        let (mut by_site, mut by_size) = (HashMap::<u32, f64>::new(), HashMap::<usize, f64>::new());
        for &(address, size, site, weight) in &blocks {
            let mut held_back = 0.0;
            Self::each(address, size, |page, _| {
                let live = self.small.get(&page).copied().unwrap_or(0);
                let sharers = count.get(&page).copied().unwrap_or(1).max(1);
                held_back += (OS_PAGE as f64 - f64::from(live)).max(0.0) / f64::from(sharers);
            });
            *by_size.entry(super::size_of_class(size)).or_default() += held_back;
            if let Some(site) = site {
                *by_site.entry(site).or_default() += held_back * f64::from(weight);
            }
        }
        self.worst.by_site = most_first(by_site);
        self.worst.by_size = most_first(by_size);
    }

    pub fn finish(self) -> (HeapMap, Stranded) {
        let mut used: Vec<u64> = self.frames.iter().flatten().map(|&(range, _)| range).collect();
        used.sort_unstable();
        used.dedup();
        let mut more = 0;
        while used.len() > CELLS {
            more += 1;
            used.iter_mut().for_each(|range| *range >>= 1);
            used.dedup();
        }
        let place = |range: u64| used.binary_search(&(range >> more)).unwrap_or(0);
        let frames = self.frames.iter().map(|frame| {
            let mut cells = vec![0; used.len()];
            frame
                .iter()
                .for_each(|&(range, bytes)| cells[place(range)] = total([cells[place(range)], bytes]));
            cells
        });
        let cell_bytes = OS_PAGE << (self.shift + more);
        let map = HeapMap {
            cell_bytes,
            frames: frames.collect(),
            addresses: used.iter().map(|range| range * cell_bytes).collect(),
            stranded: self.stranded,
        };
        (map, self.worst)
    }
}

/// More ranges than a moment may hold, so that the ranges get longer.
fn ranges_of_many() -> Vec<(u64, u64)> {
    vec![(0, 0); RANGES + 1]
}

/// The sum, which sizes that no allocator hands out may make as large as numbers get.
pub(crate) fn total(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(0, u64::saturating_add)
}

/// Adds up neighbours with the same number.
fn merged(ranges: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut list: Vec<(u64, u64)> = Vec::new();
    for (range, bytes) in ranges {
        match list.last_mut() {
            Some(last) if last.0 == range => last.1 = total([last.1, bytes]),
            _ => list.push((range, bytes)),
        }
    }
    list
}

fn most_first<K: Ord + Copy>(sums: HashMap<K, f64>) -> Vec<(K, f64)> {
    let mut list: Vec<(K, f64)> = sums.into_iter().collect();
    list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    list
}

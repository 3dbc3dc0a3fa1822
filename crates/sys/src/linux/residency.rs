//! Which parts of a range of addresses are resident, asked of the kernel without allocating.
//!
//! The answer comes from the page tables: by the `PAGEMAP_SCAN` call (Linux 6.7) where there is one, which leaves out the
//! kernel's page of zeros as the resident figure does, else by `mincore`.
//!
//! # Safety
//!
//! Each system call gets a borrowed buffer or a structure of the caller's frame, with its true length. `mincore` and
//! the scan read page tables only, whatever the range.
#![allow(unsafe_code)]

use libc::c_int;

use super::call::syscall;
use super::errno::PreservedErrno;
use super::read_file::ReadFile;
use super::scratch::Zeroed;
use super::touched::mincore;

/// Part of what the kernel fills in for a range of pages alike (`struct page_region`).
#[repr(C)]
#[derive(Clone, Copy)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// The kernel's `struct pm_scan_arg`.
#[repr(C)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const PAGEMAP_SCAN: usize = 0xc060_6610;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const ZERO_PAGE: u64 = 1 << 5;

/// Runs that are kept from one question to the next.
const RUNS: usize = 128;
/// How far beyond a question the kernel is asked at once.
const AHEAD: usize = 64 << 20;
/// Pages that `mincore` is asked for at once.
const CORES: usize = 4096;

/// Answers which parts of ranges are resident. Questions in the order of addresses cost a system call for many.
pub struct Residency {
    /// The descriptor of the page map plus one; 0: none, or not opened yet.
    file: c_int,
    os_page: usize,
    /// Whether what lies in swap space, and the kernel's page of zeros, count as resident.
    swapped: bool,
    /// The range about which `runs` tell, and how many of them there are.
    from: usize,
    to: usize,
    count: usize,
    runs: [PageRegion; RUNS],
    cores: [u8; CORES],
}

// SAFETY: numbers only.
unsafe impl Zeroed for Residency {}

impl Residency {
    /// To be called before the first question: opens the kernel's page map where it can be scanned.
    pub fn begin(&mut self) {
        self.os_page = super::process::auxiliary_value(libc::AT_PAGESZ).max(4096);
        if let Some(file) = ReadFile::open(c"/proc/self/pagemap") {
            self.file = file.into_raw() + 1;
            if self.scan(self.os_page, 2 * self.os_page).is_none() {
                self.end();
            }
        }
        self.forget();
    }

    /// The same for questions about what has ever been touched, as far as [`Residency::scans`] is true.
    pub fn begin_touched(&mut self) {
        self.swapped = true;
        self.begin();
    }

    /// Whether answers come from the kernel's scan, and so agree with its resident figure for any mapping.
    pub fn scans(&self) -> bool {
        self.file != 0
    }

    /// To be called after the last question.
    pub fn end(&mut self) {
        if self.file != 0 {
            drop(ReadFile::from_raw(self.file - 1));
            self.file = 0;
        }
    }

    /// Forgets earlier answers, so that the next ones are of this moment.
    pub fn forget(&mut self) {
        (self.from, self.to, self.count) = (0, 0, 0);
    }

    /// Resident bytes in `[start, end)`.
    pub fn bytes(&mut self, start: usize, end: usize) -> usize {
        let mut sum = 0;
        self.each(start, end, |from, to| sum += to - from);
        sum
    }

    /// Calls `visit` with each resident part of `[start, end)`, in the order of addresses.
    pub fn each(&mut self, start: usize, end: usize, mut visit: impl FnMut(usize, usize)) {
        let mut at = start;
        while at < end {
            if !(self.from <= at && at < self.to) {
                self.ask(at, end);
            }
            let stop = end.min(self.to);
            if stop <= at {
                return;
            }
            let runs = &self.runs[..self.count];
            let first = runs.partition_point(|run| run.end as usize <= at);
            for run in &runs[first..] {
                let (from, to) = (at.max(run.start as usize), stop.min(run.end as usize));
                if run.start as usize >= stop {
                    break;
                }
                if from < to {
                    visit(from, to);
                }
            }
            at = stop;
        }
    }

    /// Fills `runs` for addresses from `at` on, as far as `end` at least if that is possible.
    fn ask(&mut self, at: usize, end: usize) {
        let from = at & !(self.os_page - 1);
        let to = end.next_multiple_of(self.os_page);
        let ahead = to.max(from.saturating_add(AHEAD) & !(self.os_page - 1));
        self.from = from;
        if self.file != 0
            && let Some(reached) = self.scan(from, ahead)
        {
            self.to = reached;
            return;
        }
        // Addresses that are not mapped make the whole question fail.
        let whole = to.min(from + CORES * self.os_page);
        self.to = if self.look(from, whole) { whole } else { self.look_singly(from, whole) };
    }

    /// Scans the page tables; as far as it got.
    fn scan(&mut self, from: usize, to: usize) -> Option<usize> {
        let _preserved = PreservedErrno::new();
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            flags: 0,
            start: from as u64,
            end: to as u64,
            walk_end: 0,
            vec: self.runs.as_mut_ptr().expose_provenance() as u64,
            vec_len: RUNS as u64,
            max_pages: 0,
            category_inverted: if self.swapped { 0 } else { ZERO_PAGE },
            category_mask: if self.swapped { 0 } else { PRESENT | ZERO_PAGE },
            category_anyof_mask: if self.swapped { PRESENT | SWAPPED } else { 0 },
            return_mask: PRESENT,
        };
        // SAFETY: the structure is the one that the call takes, and its vector is as long as it says.
        let filled = unsafe { syscall!(libc::SYS_ioctl, self.file - 1, PAGEMAP_SCAN, &raw mut arguments) };
        if filled < 0 || arguments.walk_end as usize <= from {
            return None;
        }
        self.count = filled as usize;
        Some(arguments.walk_end as usize)
    }

    /// Asks `mincore` about a short range; false when a part of it is not mapped.
    fn look(&mut self, from: usize, to: usize) -> bool {
        let _preserved = PreservedErrno::new();
        let pages = (to - from) / self.os_page;
        // SAFETY: the vector has room for a byte a page.
        let done = unsafe { mincore(from, to - from, self.cores.as_mut_ptr()) };
        if !done {
            return false;
        }
        self.count = 0;
        for page in 0..pages {
            if self.cores[page] & 1 != 0 {
                self.append(from + page * self.os_page);
            }
        }
        true
    }

    /// The same page by page, where some are not mapped; as far as it got.
    fn look_singly(&mut self, from: usize, to: usize) -> usize {
        let _preserved = PreservedErrno::new();
        self.count = 0;
        let mut at = from;
        while at < to && self.count < RUNS {
            // SAFETY: as above, for one page.
            let done = unsafe { mincore(at, self.os_page, self.cores.as_mut_ptr()) };
            if done && self.cores[0] & 1 != 0 {
                self.append(at);
            }
            at += self.os_page;
        }
        at
    }

    /// Notes a resident page behind those noted. The last run takes what finds no room of its own: an overestimate,
    /// which only kernels without the scan can meet, at more than a hundred runs among a few thousand pages.
    fn append(&mut self, page: usize) {
        let end = (page + self.os_page) as u64;
        match self.runs[..self.count].last_mut() {
            Some(run) if run.end == page as u64 => run.end = end,
            Some(run) if self.count == RUNS => run.end = end,
            _ => {
                self.runs[self.count] = PageRegion { start: page as u64, end, categories: PRESENT };
                self.count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;

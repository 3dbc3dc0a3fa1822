//! The shared page: figures of this moment, written where others read them. The layout is `freestone_base::live`.

use core::fmt::{self, Write};

use freestone_base::live::{self, ClassFigure, Figure, word};
use freestone_base::{ClassId, class_info};
use freestone_sys::linux;

use crate::stats::ClassStats;
use crate::{gate, start, stats};
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// The time between two samples of the history at first; it doubles whenever the history is full.
const FIRST_SPACING_NS: u64 = super::TICK_NS;

/// The words of a page, as one thread writes them.
pub(super) struct Page<'a>(pub(super) &'a [AtomicU64]);

impl Page<'_> {
    fn set(&self, place: usize, value: u64) {
        if let Some(word) = self.0.get(place) {
            word.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, place: usize) -> u64 {
        self.0.get(place).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Writes the header of a new page.
    pub(super) fn begin(&self, now_ns: u64) {
        self.set(word::LAYOUT, live::LAYOUT);
        self.set(word::PROCESS, linux::process_id() as u64);
        self.set(word::START, linux::shared::start_time());
        self.set(word::LIBRARY, library_version());
        self.set(word::OPENED, now_ns);
        self.set(word::CACHE, start::mode() as u64);
        self.set(live::HISTORY + 1, FIRST_SPACING_NS);
        self.update(now_ns);
        // Release: who finds the page begun finds it whole.
        if let Some(magic) = self.0.get(word::MAGIC) {
            magic.store(live::MAGIC, Ordering::Release);
        }
    }

    /// Writes the figures of this moment; leaves the old ones while the process forks. O(slabs + caches).
    pub(super) fn update(&self, now_ns: u64) {
        let Some(inside) = gate::enter_patiently() else { return };
        let Some(sequence) = self.0.get(word::SEQUENCE) else { return };
        let number = sequence.load(Ordering::Relaxed);
        sequence.store(number + 1, Ordering::Relaxed);
        // Release: none of the words below is seen without the odd number.
        fence(Ordering::Release);
        self.write_figures(now_ns);
        self.write_classes();
        self.write_sample(now_ns);
        // Release: the even number is seen only with all words.
        sequence.store(number + 2, Ordering::Release);
        drop(inside);
    }

    fn write_figures(&self, now_ns: u64) {
        let stats = stats::collect();
        let (calls, pages, system) = (&stats.calls, &stats.pages, &stats.system);
        let resident = linux::mappings::resident_roughly().unwrap_or(0);
        let other_calls =
            system.map + system.commit + system.purge + system.release + system.moves + system.reserve;
        for &figure in Figure::ALL {
            let value = match figure {
                Figure::Updated => now_ns,
                Figure::Counted => u64::from(start::counting()),
                Figure::Resident => resident as u64,
                Figure::Live => stats.live_bytes as u64,
                Figure::LiveBlocks => stats.live_blocks as u64,
                Figure::PeakLive => stats.peak_live_bytes as u64,
                Figure::Cached => stats.cached_bytes as u64,
                // With the classes, which know it.
                Figure::FreeInSlabs => continue,
                Figure::Slabs => pages.slabs as u64,
                Figure::Large => pages.large as u64,
                Figure::LargeBlocks => pages.large_blocks as u64,
                Figure::FreeDirty => pages.free_dirty as u64,
                Figure::FreeClean => pages.free_clean as u64,
                Figure::Metadata => pages.metadata as u64,
                Figure::PageMap => pages.page_map as u64,
                Figure::Emergency => stats.emergency_bytes as u64,
                Figure::Mapped => pages.mapped as u64,
                Figure::MappedPeak => pages.mapped_peak as u64,
                Figure::Malloc => calls.malloc,
                Figure::Calloc => calls.calloc,
                Figure::Realloc => calls.realloc,
                Figure::Aligned => calls.aligned,
                Figure::Free => calls.free,
                Figure::Failed => calls.failed,
                Figure::Refills => stats.refills as u64,
                Figure::Flushes => stats.flushes as u64,
                Figure::SystemCalls => other_calls,
                Figure::BytesMapped => system.bytes_mapped,
                Figure::BytesPurged => system.bytes_purged,
                Figure::BytesReleased => system.bytes_released,
            };
            self.set(live::figure(figure), value);
        }
    }

    fn write_classes(&self) {
        let mut place = 0;
        let mut free_bytes = 0;
        for class in ClassId::firsts() {
            let entry = stats::of_class(class);
            if entry.slabs == 0 && entry.allocs == 0 {
                continue;
            }
            let info = class_info(class);
            free_bytes += entry.free_in_slabs as u64 * u64::from(info.size);
            let ClassStats { slabs, free_in_slabs, in_caches, in_transfer, .. } = entry;
            let live = (slabs * info.blocks as usize).saturating_sub(free_in_slabs + in_caches + in_transfer);
            for &figure in ClassFigure::ALL {
                let value = match figure {
                    ClassFigure::Size => u64::from(info.size),
                    ClassFigure::Live => live as u64,
                    ClassFigure::InCaches => in_caches as u64,
                    ClassFigure::InTransfer => in_transfer as u64,
                    ClassFigure::FreeInSlabs => free_in_slabs as u64,
                    ClassFigure::Slabs => slabs as u64,
                    ClassFigure::Allocs => entry.allocs,
                    ClassFigure::Frees => entry.frees,
                };
                self.set(live::class(place) + figure as usize, value);
            }
            place += 1;
        }
        self.set(live::CLASSES, place as u64);
        self.set(live::figure(Figure::FreeInSlabs), free_bytes);
    }

    /// Adds a sample when it is time for one. The history always spans the whole life of the page.
    fn write_sample(&self, now_ns: u64) {
        let (count, spacing) = (self.get(live::HISTORY) as usize, self.get(live::HISTORY + 1));
        if now_ns.saturating_sub(self.get(word::OPENED)) < spacing.saturating_mul(count as u64) {
            return;
        }
        let at = |sample: usize| live::HISTORY + 2 + 2 * sample;
        let mut count = count.min(live::SAMPLES);
        if count == live::SAMPLES {
            count /= 2;
            for kept in 1..count {
                self.set(at(kept), self.get(at(2 * kept)));
                self.set(at(kept) + 1, self.get(at(2 * kept) + 1));
            }
            self.set(live::HISTORY + 1, spacing.saturating_mul(2));
        }
        self.set(at(count), self.get(live::figure(Figure::Resident)));
        self.set(at(count) + 1, self.get(live::figure(Figure::Live)));
        self.set(live::HISTORY, count as u64 + 1);
    }

    /// The figures as one JSON object.
    pub(super) fn write_json(&self, out: &mut impl Write) -> fmt::Result {
        write!(out, "{{\"pid\":{},\"cache\":\"{}\"", self.get(word::PROCESS), start::mode().name())?;
        for &figure in Figure::ALL {
            write!(out, ",\"{}\":{}", figure.name(), self.get(live::figure(figure)))?;
        }
        out.write_str(",\"classes\":[")?;
        for place in 0..self.get(live::CLASSES) as usize {
            out.write_str(if place == 0 { "{" } else { ",{" })?;
            for &figure in ClassFigure::ALL {
                let comma = if figure as usize == 0 { "" } else { "," };
                let value = self.get(live::class(place) + figure as usize);
                write!(out, "{comma}\"{}\":{value}", figure.name())?;
            }
            out.write_str("}")?;
        }
        out.write_str("]}\n")
    }
}

/// The version of this library, 16 bits a part.
fn library_version() -> u64 {
    env!("CARGO_PKG_VERSION")
        .split('.')
        .fold(0, |number, part| number << 16 | part.parse::<u64>().unwrap_or(0) & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..live::WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn a_page_is_whole_once_it_has_begun() {
        let words = words();
        let page = Page(&words);
        page.begin(1_000);
        assert_eq!(page.get(word::MAGIC), live::MAGIC);
        assert_eq!(page.get(word::PROCESS), u64::from(std::process::id()));
        assert!(page.get(word::SEQUENCE) > 0 && page.get(word::SEQUENCE).is_multiple_of(2));
        assert!(page.get(live::figure(Figure::Resident)) > 100 << 10);
        let mut text = String::new();
        page.write_json(&mut text).unwrap();
        assert!(text.starts_with("{\"pid\":") && text.ends_with("]}\n"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    #[test]
    fn the_history_spans_the_whole_time() {
        let words = words();
        let page = Page(&words);
        page.set(live::HISTORY + 1, FIRST_SPACING_NS);
        for tick in 0..1_000 {
            page.set(live::figure(Figure::Resident), tick);
            page.write_sample(tick * FIRST_SPACING_NS);
        }
        let (count, spacing) = (page.get(live::HISTORY), page.get(live::HISTORY + 1));
        assert!(count as usize <= live::SAMPLES && count as usize > live::SAMPLES / 2 - 1);
        assert_eq!(spacing, 8 * FIRST_SPACING_NS);
        for sample in 0..count {
            assert_eq!(page.get(live::HISTORY + 2 + 2 * sample as usize), 8 * sample);
        }
    }
}

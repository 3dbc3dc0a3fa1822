//! `freestone classes`: the size classes and what they waste.

use freestone_base::size_class::class_of_word;
use freestone_base::{ClassId, MAX_MEDIUM, PAGE_SIZE, class_info, class_of};
use serde::Serialize;

/// One size class.
#[derive(Clone, Debug, Serialize)]
struct Row {
    class: u8,
    size: u32,
    align: usize,
    /// The smallest request that the class serves.
    least: usize,
    slab_pages: u16,
    slab_bytes: usize,
    blocks: u16,
    tail: usize,
    batch: u16,
    cache_max: u16,
    /// Share of a block that the smallest request leaves unused.
    worst_waste: f64,
    /// The same on average over all sizes that the class serves.
    mean_waste: f64,
}

fn rows() -> Vec<Row> {
    ClassId::firsts()
        .map(|class| {
            let info = class_info(class);
            let (least, most) = served(class);
            let size = f64::from(info.size);
            let waste = |request: f64| (size - request) / size;
            Row {
                class: class.0,
                size: info.size,
                align: info.align as usize,
                least,
                slab_pages: info.slab_pages,
                slab_bytes: usize::from(info.slab_pages) * PAGE_SIZE,
                blocks: info.blocks,
                tail: info.tail(),
                batch: info.batch,
                cache_max: info.cache_max,
                worst_waste: waste(least as f64),
                mean_waste: waste((least + most) as f64 / 2.0),
            }
        })
        .collect()
}

/// The smallest and the largest request that the class serves: by malloc, or where malloc never
/// takes it, by callers content with 8 bytes of alignment.
fn served(class: ClassId) -> (usize, usize) {
    let range = |class_for: fn(usize) -> Option<ClassId>| {
        let mut requests = (1..=MAX_MEDIUM).filter(|&request| class_for(request) == Some(class));
        let least = requests.next()?;
        Some((least, requests.next_back().unwrap_or(least)))
    };
    let size = class_info(class).size as usize;
    range(class_of).or_else(|| range(class_of_word)).unwrap_or((size, size))
}

/// The table as text.
pub fn table() -> String {
    let rows = rows();
    let mut text = format!(
        "{} size classes up to {MAX_MEDIUM} bytes; a page is {PAGE_SIZE} bytes.\n\n{:>7} {:>7} {:>6} {:>6} {:>7} {:>6} \
         {:>6} {:>6} {:>8} {:>8}\n",
        rows.len(),
        "size",
        "from",
        "align",
        "pages",
        "blocks",
        "tail",
        "batch",
        "cache",
        "worst",
        "mean"
    );
    for row in &rows {
        text.push_str(&format!(
            "{:>7} {:>7} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6} {:>6.1} % {:>6.1} %\n",
            row.size,
            row.least,
            row.align,
            row.slab_pages,
            row.blocks,
            row.tail,
            row.batch,
            row.cache_max,
            row.worst_waste * 100.0,
            row.mean_waste * 100.0
        ));
    }
    text.push_str(
        "\n\
         size    bytes of a block               from    smallest request that the class serves\n\
         align   alignment of its blocks        pages   pages of a slab\n\
         blocks  blocks of a slab               tail    bytes of a slab that no block covers\n\
         batch   blocks moved between a cache and the central list at a time\n\
         cache   most blocks that one cache holds\n\
         worst   share of the block that the smallest request leaves unused; mean: that of the average\n        \
         request. Sizes that are not a multiple of 16 serve only callers content with 8 bytes of\n        \
         alignment, such as most Rust types. Six sizes stand there twice: the second time\n        \
         for requests of an alignment above 64 bytes.\n",
    );
    text
}

/// The table as JSON.
pub fn json() -> String {
    let mut text = serde_json::to_string_pretty(&rows()).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_serves_a_range_and_the_ranges_meet() {
        let rows = rows();
        // Behind the largest class come the aligned twins, which serve no size by itself.
        let largest = freestone_base::class_of(freestone_base::MAX_SMALL).unwrap().0;
        let of_malloc = |row: &&Row| row.class <= largest && (row.size == 8 || row.size.is_multiple_of(16));
        let malloc: Vec<_> = rows.iter().filter(of_malloc).collect();
        for pair in malloc.windows(2) {
            assert_eq!(pair[1].least, pair[0].size as usize + 1);
        }
        for row in &rows {
            assert!(row.mean_waste <= row.worst_waste && row.worst_waste < 1.0, "{row:?}");
        }
    }

    #[test]
    fn text_and_json_show_every_class() {
        let classes = ClassId::firsts().count();
        assert!(table().lines().count() > classes);
        let parsed: Vec<serde_json::Value> = serde_json::from_str(&json()).unwrap();
        assert_eq!(parsed.len(), classes);
        assert_eq!(parsed.last().unwrap()["size"], MAX_MEDIUM);
    }
}

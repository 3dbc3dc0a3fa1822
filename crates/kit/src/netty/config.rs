//! What may be set of a pool of buffers.

use super::leak::LeakLevel;

/// Sizes and limits of a [`BufferPool`](super::BufferPool), in bytes where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// A page: a power of two from 4 KiB to 64 KiB.
    pub page: usize,
    /// A chunk: a power of two from eight pages to 1 GiB. Larger requests go to the parent.
    pub chunk: usize,
    /// Arenas; 0 stands for two each CPU.
    pub arenas: usize,
    /// Blocks of each small class that a thread keeps; 0 for none. Rounded up to a power of two.
    pub small_cached: usize,
    /// Blocks of each larger class that a thread keeps; 0 for none. Rounded up to a power of two.
    pub normal_cached: usize,
    /// The largest block that a thread keeps.
    pub most_cached_bytes: usize,
    /// Requests of a thread after which it gives back what it did not need. At least 1.
    pub trim_every: u32,
    /// How closely buffers are watched.
    pub leaks: LeakLevel,
}

impl Config {
    /// Netty's classic figures: pages of 8 KiB, chunks of 16 MiB.
    pub const CLASSIC: Config = Config {
        page: 8 << 10,
        chunk: 16 << 20,
        arenas: 0,
        small_cached: 256,
        normal_cached: 64,
        most_cached_bytes: 32 << 10,
        trim_every: 8192,
        leaks: LeakLevel::Simple,
    };

    /// Those since Netty 4.1.76 (2022): chunks of 4 MiB.
    pub const NEWER: Config = Config { chunk: 4 << 20, ..Config::CLASSIC };

    pub(super) fn check(&self) {
        let page = self.page.is_power_of_two() && (4 << 10..=64 << 10).contains(&self.page);
        assert!(page, "a page of {} bytes", self.page);
        // The longest run that small blocks share has seven pages.
        let chunk = self.chunk.is_power_of_two() && self.chunk >= 8 * self.page && self.chunk <= 1 << 30;
        assert!(chunk, "a chunk of {} bytes, with pages of {}", self.chunk, self.page);
        assert!(self.trim_every > 0, "a trim every 0 requests");
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::CLASSIC
    }
}

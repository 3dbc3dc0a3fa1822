//! Which sizes and alignments are asked for.
//!
//! A [`Mix`] maps a [`Draw`], a handful of small numbers, to a request. Random tests draw the
//! numbers from an [`Rng`]; property tests let proptest draw and shrink them. Either way the
//! same requests come out, and smaller numbers give simpler requests.

use crate::rng::Rng;

/// A size mix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mix {
    /// 0 to 64 bytes.
    Tiny,
    /// 1 byte to 32 KiB, every doubling equally likely.
    Small,
    /// Eight steps to a doubling from 8 bytes to 60 KiB, and one byte to either side of each.
    ClassEdges,
    /// 1 to 64 OS pages, and one byte to either side.
    PageEdges,
    /// 32 KiB to 4 MiB, every doubling equally likely.
    Large,
    /// Up to 64 KiB at alignments from 32 bytes to 2 MiB.
    OverAligned,
    /// All of these, the small ones most often.
    All,
}

/// The numbers from which a [`Mix`] makes a request.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Which kind of request, where the mix has several: below [`Draw::KINDS`].
    pub kind: u8,
    /// The magnitude: below [`Draw::COARSE`].
    pub coarse: u8,
    /// The place within the magnitude: below [`Draw::FINE`].
    pub fine: u16,
    /// On, below or above an edge: below [`Draw::EDGES`].
    pub edge: u8,
    /// Selects the alignment: below [`Draw::ALIGNS`].
    pub align: u8,
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Bytes.
    pub size: usize,
    /// A power of two.
    pub align: usize,
}

impl Draw {
    /// Bound of [`Draw::kind`].
    pub const KINDS: u8 = 100;
    /// Bound of [`Draw::coarse`].
    pub const COARSE: u8 = 128;
    /// Bound of [`Draw::fine`].
    pub const FINE: u16 = 1024;
    /// Bound of [`Draw::edge`].
    pub const EDGES: u8 = 3;
    /// Bound of [`Draw::align`].
    pub const ALIGNS: u8 = 8;

    /// Draws all numbers at random.
    pub fn random(rng: &mut Rng) -> Draw {
        Draw {
            kind: rng.below(Self::KINDS as usize) as u8,
            coarse: rng.below(Self::COARSE as usize) as u8,
            fine: rng.below(Self::FINE as usize) as u16,
            edge: rng.below(Self::EDGES as usize) as u8,
            align: rng.below(Self::ALIGNS as usize) as u8,
        }
    }

    /// The magnitude scaled to `0..bound`; keeps the order, so that shrinking still shrinks.
    fn scaled(self, bound: usize) -> usize {
        self.coarse as usize * bound / Self::COARSE as usize
    }

    /// `edge`, or one byte below or above it.
    fn around(self, edge: usize) -> usize {
        match self.edge {
            0 => edge,
            1 => edge - 1,
            _ => edge + 1,
        }
    }
}

/// `2^exponent` and `fine` 1024ths of it on top.
fn log_uniform(exponent: usize, fine: usize) -> usize {
    (1 << exponent) + ((fine << exponent) >> 10)
}

/// Alignments as ordinary programs ask for them; the simplest first.
const ALIGNS: [usize; Draw::ALIGNS as usize] = [1, 8, 16, 8, 2, 4, 16, 8];

impl Mix {
    /// Every mix.
    pub const ALL: [Mix; 7] =
        [Mix::Tiny, Mix::Small, Mix::ClassEdges, Mix::PageEdges, Mix::Large, Mix::OverAligned, Mix::All];

    /// The request that `draw` stands for.
    ///
    /// ```
    /// use freestone_testkit::{Draw, Mix};
    /// let draw = Draw { kind: 0, coarse: 0, fine: 0, edge: 1, align: 0 };
    /// assert_eq!(Mix::PageEdges.shape(draw).size, 4095);
    /// ```
    pub fn shape(self, draw: Draw) -> Shape {
        let fine = draw.fine as usize;
        let size = match self {
            Mix::Tiny => draw.scaled(65),
            Mix::Small => log_uniform(draw.scaled(15), fine),
            Mix::ClassEdges => draw.around((8 + fine % 8) << draw.scaled(13)),
            Mix::PageEdges => draw.around((1 + draw.scaled(64)) << 12),
            Mix::Large => log_uniform(15 + draw.scaled(7), fine),
            Mix::OverAligned => {
                let size = log_uniform(fine >> 6, (fine & 63) << 4);
                return Shape { size, align: 32 << draw.scaled(17) };
            }
            Mix::All => return Self::kind(draw.kind).shape(draw),
        };
        Shape { size, align: ALIGNS[draw.align as usize % ALIGNS.len()] }
    }

    /// A random request of this mix.
    pub fn random(self, rng: &mut Rng) -> Shape {
        self.shape(Draw::random(rng))
    }

    /// The shares of [`Mix::All`], in hundredths.
    fn kind(kind: u8) -> Mix {
        match kind {
            0..25 => Mix::Tiny,
            25..65 => Mix::Small,
            65..80 => Mix::ClassEdges,
            80..88 => Mix::PageEdges,
            88..93 => Mix::Large,
            _ => Mix::OverAligned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(mix: Mix) -> (usize, usize, usize) {
        let mut rng = Rng::new(3);
        let shapes: Vec<Shape> = (0..50_000).map(|_| mix.random(&mut rng)).collect();
        assert!(shapes.iter().all(|shape| shape.align.is_power_of_two()));
        let sizes = || shapes.iter().map(|shape| shape.size);
        let aligns = shapes.iter().map(|shape| shape.align);
        (sizes().min().unwrap(), sizes().max().unwrap(), aligns.max().unwrap())
    }

    #[test]
    fn each_mix_covers_its_range() {
        assert_eq!(range(Mix::Tiny), (0, 64, 16));
        let (low, high, _) = range(Mix::Small);
        assert!(low == 1 && (32_000..32_768).contains(&high), "{low} {high}");
        assert_eq!(range(Mix::ClassEdges), (7, (15 << 12) + 1, 16));
        assert_eq!(range(Mix::PageEdges), (4095, (64 << 12) + 1, 16));
        let (low, high, _) = range(Mix::Large);
        assert!(low >= 32 << 10 && (4_000_000..4 << 20).contains(&high), "{low} {high}");
        assert_eq!(range(Mix::OverAligned).2, 2 << 20);
        assert_eq!(range(Mix::All).0, 0);
    }
}

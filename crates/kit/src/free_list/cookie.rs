//! The word before a block: whose it is, and whether it is out.

/// Which list a block is from, or that it is a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin(pub u8);

impl Origin {
    /// A list that stands alone.
    pub(super) const ALONE: Origin = Origin(0xff);
    /// A large block.
    pub(super) const LARGE: Origin = Origin(0xfe);
}

/// What a block's cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The block is out.
    Out(Origin),
    /// The block is free.
    Free(Origin),
    /// This is no cookie of ours.
    Nothing,
}

/// A word that is unlikely to stand before an address that is no block: the upper bits are a constant, mixed with the
/// address of the block itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Cookie(u64);

const BRAND: u64 = 0xC00C_1E5F_4EE5_704E << 16;
const OUT: u64 = 1 << 8;

impl Cookie {
    /// The cookie of the block at `address`.
    pub(super) fn new(origin: Origin, out: bool, address: usize) -> Cookie {
        Cookie((BRAND | u64::from(origin.0) | if out { OUT } else { 0 }) ^ ((address as u64) << 16))
    }

    /// What it says about the block at `address`.
    pub(super) fn read(self, address: usize) -> Told {
        let word = self.0 ^ ((address as u64) << 16);
        let origin = Origin(word as u8);
        match word & !0xff {
            rest if rest == BRAND | OUT => Told::Out(origin),
            rest if rest == BRAND => Told::Free(origin),
            _ => Told::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_speaks_of_its_own_block_only() {
        let cookie = Cookie::new(Origin(3), true, 0x1000);
        assert_eq!(cookie.read(0x1000), Told::Out(Origin(3)));
        assert_eq!(cookie.read(0x1010), Told::Nothing);
        assert_eq!(Cookie::new(Origin::ALONE, false, 64).read(64), Told::Free(Origin::ALONE));
        assert_eq!(Cookie(0).read(64), Told::Nothing);
    }
}

//! Two words at a time, as the processor moves them: what blocks are cleared and looked at by.
//!
//! # Safety
//!
//! G1 of `marks.rs`: who names an address has the sixteen bytes there to himself.
#![allow(unsafe_code)]

pub(super) use self::here::Two;

/// Bytes of both.
pub(super) const BYTES: usize = 16;

#[cfg(target_arch = "x86_64")]
mod here {
    use core::arch::asm;
    use core::arch::x86_64::{
        __m128i, _mm_cmpeq_epi32, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_setzero_si128,
        _mm_storeu_si128,
    };
    use core::ptr::with_exposed_provenance_mut;

    /// Two words.
    #[derive(Clone, Copy)]
    pub(in crate::harden) struct Two(__m128i);

    impl Two {
        /// Zeros of which the compiler does not know that they are: it makes no call of a loop that stores them.
        #[inline(always)]
        pub(in crate::harden) fn zeros() -> Two {
            let zeros: __m128i;
            // SAFETY: clears a register.
            unsafe {
                asm!("xorps {0}, {0}", out(xmm_reg) zeros, options(pure, nomem, nostack, preserves_flags));
            }
            Two(zeros)
        }

        /// What stands at `at`. Requires G1.
        #[inline(always)]
        pub(in crate::harden) fn read(at: usize) -> Two {
            // SAFETY: G1.
            Two(unsafe { _mm_loadu_si128(with_exposed_provenance_mut(at)) })
        }

        /// Stores them at `at`. Requires G1.
        #[inline(always)]
        pub(in crate::harden) fn write(self, at: usize) {
            // SAFETY: G1.
            unsafe { _mm_storeu_si128(with_exposed_provenance_mut(at), self.0) };
        }

        #[inline(always)]
        pub(in crate::harden) fn or(self, other: Two) -> Two {
            // SAFETY: every x86-64 processor has it.
            Two(unsafe { _mm_or_si128(self.0, other.0) })
        }

        #[inline(always)]
        pub(in crate::harden) fn is_zero(self) -> bool {
            // SAFETY: every x86-64 processor has it.
            let zeros = unsafe { _mm_setzero_si128() };
            // SAFETY: as above.
            let same = unsafe { _mm_cmpeq_epi32(self.0, zeros) };
            // SAFETY: as above.
            let bits = unsafe { _mm_movemask_epi8(same) };
            bits == 0xffff
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod here {
    use core::ptr::with_exposed_provenance_mut;

    /// Two words.
    #[derive(Clone, Copy)]
    pub(in crate::harden) struct Two([u64; 2]);

    impl Two {
        /// Zeros of which the compiler does not know that they are: it makes no call of a loop that stores them.
        #[inline(always)]
        pub(in crate::harden) fn zeros() -> Two {
            Two(core::hint::black_box([0; 2]))
        }

        /// What stands at `at`. Requires G1.
        #[inline(always)]
        pub(in crate::harden) fn read(at: usize) -> Two {
            // SAFETY: G1.
            Two(unsafe { with_exposed_provenance_mut::<[u64; 2]>(at).read_unaligned() })
        }

        /// Stores them at `at`. Requires G1.
        #[inline(always)]
        pub(in crate::harden) fn write(self, at: usize) {
            // SAFETY: G1.
            unsafe { with_exposed_provenance_mut::<[u64; 2]>(at).write_unaligned(self.0) };
        }

        #[inline(always)]
        pub(in crate::harden) fn or(self, other: Two) -> Two {
            Two([self.0[0] | other.0[0], self.0[1] | other.0[1]])
        }

        #[inline(always)]
        pub(in crate::harden) fn is_zero(self) -> bool {
            self.0[0] | self.0[1] == 0
        }
    }
}

//! What counts handles, and where the counts lie.
//!
//! # Safety
//!
//! The contracts of the traits.
#![allow(unsafe_code)]

/// Counts the handles to one object.
///
/// # Safety
///
/// For the implementer: of all calls of [`release`](Counts::release) and successful ones of
/// [`release_if_unique`](Counts::release_if_unique) exactly the last answers `true`, as many calls as there were handles, and all
/// calls before it happen before it. No other handle and no weak one is there when [`is_unique`](Counts::is_unique) says so. As long as weak
/// handles are there, [`release_block`](Counts::release_block) answers `false`.
pub unsafe trait Counts: Sized {
    /// For the first handle.
    fn first() -> Self;

    /// One handle more. Panics, or ends the process where several threads count, when there are too many.
    fn retain(&self);

    /// One handle less; whether it was the last, whose owner then drops the object.
    fn release(&self) -> bool;

    /// After the object was dropped or moved out, or for a weak handle less: whether the block is to be freed.
    fn release_block(&self) -> bool;

    /// Whether there is one handle, and no weak one.
    fn is_unique(&self) -> bool;

    /// As [`release`](Counts::release) where the handle is the only strong one; else nothing is done.
    fn release_if_unique(&self) -> bool;

    /// The handles, at some moment near the call.
    fn strong(&self) -> usize;

    /// The weak handles, at some moment near the call.
    fn weak(&self) -> usize;
}

/// Counts weak handles too.
///
/// # Safety
///
/// For the implementer: as [`Counts`]; [`upgrade`](WeakCounts::upgrade) succeeds only while there is a strong handle.
pub unsafe trait WeakCounts: Counts {
    /// For one weak handle and none that is strong, to an object that is not there yet.
    fn weak_first() -> Self;

    /// The first strong handle of an object that was not there yet.
    fn begin(&self);

    /// One weak handle more.
    fn retain_weak(&self);

    /// One strong handle more, where there is one.
    fn upgrade(&self) -> bool;
}

/// Where the counts of an object of type `T` lie: in front of it, or in it.
///
/// # Safety
///
/// For the implementer: the counts of one object are always the same, and its handles are all that count there.
pub unsafe trait Place<T: ?Sized>: Sized {
    /// What counts.
    type Counts: Counts;

    /// What lies before an object that has one handle.
    fn first() -> Self;

    /// The counts of an object.
    fn counts<'a>(&'a self, object: &'a T) -> &'a Self::Counts;

    /// As [`Counts::release_block`], when the object is no more.
    fn release_block(&self) -> bool;
}

// SAFETY: in front of the object, where only the handles come.
unsafe impl<T: ?Sized, C: Counts> Place<T> for C {
    type Counts = C;

    #[inline]
    fn first() -> C {
        C::first()
    }

    #[inline]
    fn counts<'a>(&'a self, _object: &'a T) -> &'a C {
        self
    }

    #[inline]
    fn release_block(&self) -> bool {
        Counts::release_block(self)
    }
}

#[cold]
pub(crate) fn too_many() -> ! {
    panic!("an object has more handles than its count can hold (about 4 thousand million)");
}

/// Where other threads count on, there is no way back: the process ends.
#[cold]
pub(crate) fn end_too_many() -> ! {
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            // A panic while another one unwinds aborts.
            panic!("the process ends, since other threads count on");
        }
    }
    let _ends = Ends;
    panic!("an object has more handles than 2 thousand million: were they forgotten?");
}

//! Memory pressure, as the kernel measures it (PSI): when tasks stall for want of memory, everything that can go back does.
//!
//! Watched only if asked (`pressure:1`), by the background thread, which then lives as long as the process: a trigger at the
//! process's own control group, or else at the whole system, tells when tasks stalled for 100 ms within two seconds.

use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_sys::linux::Errno;
use freestone_sys::linux::pressure::Trigger;
use freestone_sys::linux::socket::own_descriptors;

use crate::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use crate::{background, message};

static WATCHED: AtomicBool = AtomicBool::new(false);
/// The trigger's number among the descriptors of the background thread, or -1.
static TRIGGER: AtomicI32 = AtomicI32::new(-1);

/// Whether pressure is to be watched.
pub(crate) fn is_watched() -> bool {
    WATCHED.load(Ordering::Relaxed)
}

/// Has pressure watched, or not.
pub(crate) fn watch(watched: bool) {
    WATCHED.store(watched, Ordering::Relaxed);
    background::ring();
}

/// Whether there is pressure now. On the background thread, which gets descriptors of its own for it.
pub(crate) fn is_felt() -> bool {
    if !is_watched() {
        Trigger::close(TRIGGER.swap(-1, Ordering::Relaxed));
        return false;
    }
    let number = TRIGGER.load(Ordering::Relaxed);
    if number >= 0
        && let Some(fired) = Trigger::has_fired(number)
    {
        return fired;
    }
    let opened = if own_descriptors() { Trigger::open() } else { Err(Errno(libc::ENOSYS)) };
    TRIGGER.store(opened.unwrap_or(-1), Ordering::Relaxed);
    if let Err(errno) = opened {
        WATCHED.store(false, Ordering::Relaxed);
        let mut text = FixedText::<160>::new();
        let _ =
            write!(text, "pressure:1 cannot take effect: the kernel gives no trigger (error {})", errno.0);
        message::say(&text);
    }
    false
}

/// In a child of fork, and when a background thread begins: the trigger went with the descriptors of the last one.
pub(crate) fn forget_trigger() {
    TRIGGER.store(-1, Ordering::Relaxed);
}

//! What pages are drawn with. A chart is HTML around an SVG that is stretched to the width there is; its labels are
//! HTML, placed by per cent, so that they keep their size.

pub mod axis;
pub mod bars;
pub mod flame;
pub mod levels;
pub mod map;
pub mod plot;

//! A service as a list of calls, with a leak, a fragmentation and a churn planted in it, or without.

use std::collections::HashMap;

use freestone_pictures::event::{Call, Event};
use freestone_pictures::report::Sources;
use freestone_pictures::stacks::{StackId, Stacks};
use freestone_pictures::study::study;

/// Requests that the service answers.
const REQUESTS: u64 = 4000;

/// Blocks at addresses such as a simple allocator hands out: the last freed of the same size, else the next higher.
struct Heap {
    events: Vec<Event>,
    sizes: HashMap<u64, u64>,
    free: HashMap<u64, Vec<u64>>,
    top: u64,
    now: u64,
}

impl Heap {
    fn place(&mut self, size: u64) -> u64 {
        let room = size.next_multiple_of(16);
        let address = self.free.get_mut(&room).and_then(Vec::pop).unwrap_or_else(|| {
            self.top += room;
            self.top - room
        });
        self.sizes.insert(address, size);
        address
    }

    fn call(&mut self, call: Call, stack: Option<StackId>) {
        self.now += 700;
        let thread = 1 + (self.now / 700 % 2) as u32;
        self.events.push(Event { time: self.now, thread, call, stack: stack.map(|stack| (stack, 1.0)) });
    }

    fn allocate(&mut self, size: u64, stack: StackId) -> u64 {
        let address = self.place(size);
        self.call(Call::Allocate { address, size }, Some(stack));
        address
    }

    fn free(&mut self, address: u64) {
        let size = self.sizes.remove(&address).expect("a live block");
        self.free.entry(size.next_multiple_of(16)).or_default().push(address);
        self.call(Call::Free { address, untouched: 0 }, None);
    }

    fn resize(&mut self, from: u64, size: u64, stack: StackId) -> u64 {
        let to = self.place(size);
        let old = self.sizes.remove(&from).expect("a live block");
        self.free.entry(old.next_multiple_of(16)).or_default().push(from);
        self.call(Call::Resize { from, to, size }, Some(stack));
        to
    }
}

/// Which faults are planted.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub leak: bool,
    pub fragmentation: bool,
    pub churn: bool,
}

impl Faults {
    pub const ALL: Faults = Faults { leak: true, fragmentation: true, churn: true };
}

/// All that is known of a run of the service.
pub fn sources(faults: Faults) -> Sources {
    let mut stacks = Stacks::default();
    let mut stack = |frames: &str| stacks.enter(frames.split(';'));
    let push = "<alloc::raw_vec::RawVec<T> as Grow>::grow;__rust_realloc;realloc";
    let rows = stack("main;orders::start;orders::load_rows;__rust_alloc;malloc");
    let entry = stack("main;orders::start;orders::index::insert<K, V>;__rust_alloc;malloc");
    let body = stack(&format!("main;orders::serve;orders::read_body;{push}"));
    let line = stack("main;orders::serve;orders::log_line;alloc::fmt::format;__rust_alloc;malloc");
    let session = stack("main;orders::serve;orders::sessions::remember;__rust_alloc;malloc");
    let page = stack("main;orders::serve;orders::render;operator new(unsigned long);malloc");
    let mut heap = Heap {
        events: Vec::new(),
        sizes: HashMap::new(),
        free: HashMap::new(),
        top: 0x7f00_0000_0000,
        now: 0,
    };

    // The rows go again; what of the index lies among them stays.
    let mut loaded = Vec::new();
    for number in 0..40_000 {
        loaded.push(heap.allocate(200, rows));
        if faults.fragmentation && number % 40 == 0 {
            heap.allocate(96, entry);
        }
    }
    for row in loaded {
        heap.free(row);
    }
    let mut pages = Vec::new();
    for request in 0..REQUESTS {
        if faults.churn {
            let mut block = heap.allocate(64, body);
            for power in 7..14 {
                block = heap.resize(block, 1 << power, body);
            }
            for _ in 0..6 {
                let text = heap.allocate(80, line);
                heap.free(text);
            }
            heap.free(block);
        }
        if faults.leak {
            heap.allocate(512, session);
        }
        pages.push(heap.allocate(3000 + request % 7 * 512, page));
        if pages.len() > 200 {
            let oldest = pages.remove(0);
            heap.free(oldest);
        }
    }
    let studied = study(&heap.events);
    Sources {
        command: "orders --port 8080".into(),
        made_from: "Made from a test.".into(),
        studied: Some(studied),
        stacks,
        ..Sources::default()
    }
}

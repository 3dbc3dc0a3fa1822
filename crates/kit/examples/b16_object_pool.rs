//! Request contexts that are used again: reset when they come back, dropped when they have grown, exiled when in doubt.

use freestone_kit::object_pool::{ObjectPool, Options, Pooled, Recycle};

/// What a server keeps for one request.
#[derive(Default)]
struct Context {
    path: String,
    body: Vec<u8>,
    served: usize,
}

impl Recycle for Context {
    fn reset(&mut self) {
        self.path.clear();
        self.body.clear();
        self.served += 1;
    }

    fn retained(&self) -> usize {
        self.path.capacity() + self.body.capacity()
    }
}

/// One shard, so that what is printed does not depend on the CPU.
static CONTEXTS: ObjectPool<Context> = ObjectPool::with_options(
    Context::default,
    Options { most_retained: 64 << 10, shards: 1, ..Options::DEFAULT },
);

fn serve(path: &str, body: usize) -> usize {
    let mut context = CONTEXTS.get();
    assert!(context.path.is_empty() && context.body.is_empty(), "nobody sees another's data");
    context.path.push_str(path);
    context.body.resize(body, b'x');
    context.served
}

fn main() {
    for path in ["/", "/news", "/about"] {
        println!("{path} by a context that served {} before", serve(path, 1000));
    }
    serve("/upload", 1 << 20);
    println!("after an upload: a new one, that served {}", serve("/", 10));

    let mut late = CONTEXTS.get();
    late.path.push_str("/slow");
    Pooled::exile(&mut late);
    drop(late);
    println!("after an exile: a new one, that served {}", serve("/", 10));

    drop([(); 8].map(|()| CONTEXTS.get()));
    println!("eight at once, then two ages with one request in between");
    CONTEXTS.age();
    println!("  a victim that served {}", serve("/", 10));
    CONTEXTS.age();
    CONTEXTS.age();
    println!("  and after two more without: {}", serve("/", 10));
    println!("{:#?}", CONTEXTS.stats());
}

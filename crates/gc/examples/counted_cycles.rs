//! A document tree with links both ways, collected in slices between two frames.

use freestone_gc::counted::cycles::{Cc, Cycles, Slot, WeakCc};
use freestone_gc::links;

/// An element keeps its children and its parent: every tree is a circle, and any element keeps its document.
struct Element {
    name: String,
    parent: Slot<Option<Cc<Element>>>,
    children: Slot<Vec<Cc<Element>>>,
}
links!(Element { parent, children });

impl Drop for Element {
    fn drop(&mut self) {
        if self.name == "document" {
            println!("  a document is gone");
        }
    }
}

fn add(cycles: &Cycles, parent: &Cc<Element>, name: &str) -> Cc<Element> {
    let child = cycles.alloc(Element {
        name: name.into(),
        parent: Slot::new(Some(parent.clone())),
        children: Slot::default(),
    });
    parent.children.borrow_mut().push(child.clone());
    child
}

fn document(cycles: &Cycles, sections: usize) -> Cc<Element> {
    let root =
        cycles.alloc(Element { name: "document".into(), parent: Slot::default(), children: Slot::default() });
    for section in 0..sections {
        let section = add(cycles, &root, &format!("section {section}"));
        (0..10).for_each(|_| drop(add(cycles, &section, "paragraph")));
    }
    root
}

fn main() {
    let cycles = Cycles::new();
    let kept = document(&cycles, 20);
    let old = document(&cycles, 20);
    let cursor: WeakCc<Element> = Cc::downgrade(&old.children.borrow()[3]);
    println!("{} elements", cycles.stats().objects);

    println!("the old document is closed:");
    drop(old);
    println!(
        "  still {} elements, the cursor is at {:?}",
        cycles.stats().objects,
        cursor.upgrade().map(|it| it.name.clone())
    );

    // A frame does 100 units of the collector's work at most, and goes on editing.
    let mut frames = 1;
    while !cycles.collect_slice(100) {
        frames += 1;
        drop(add(&cycles, &kept, "note"));
    }
    println!("  collected over several frames: {}", frames > 5);
    println!("  the cursor is nowhere: {}", cursor.upgrade().is_none());
    println!("  all else is there: {}", cycles.stats().objects == 221 + frames - 1);
    assert_eq!(
        kept.children.borrow()[0].parent.borrow().as_ref().map(|it| it.name.as_str()),
        Some("document")
    );

    println!("the last one is closed:");
    drop(kept);
    cycles.collect();
    println!("  {} elements", cycles.stats().objects);
}

//! Misuse that types do not exclude: it ends with a message, and nothing is broken.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use freestone_gc::{Gc, GcCell, GcRefCell, Generational, Heap, MarkSweep, Rooted, Trace};

#[derive(Trace)]
struct Holder<'gc> {
    far: Vec<GcCell<Option<Gc<'gc, u32>>>>,
    near: GcRefCell<u32>,
}

fn panics(what: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(what)).expect_err("this is misuse");
    match payload.downcast::<&str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => *payload.downcast::<String>().expect("a text"),
    }
}

#[test]
fn a_cell_elsewhere_is_not_opened() {
    Heap::<(), Generational>::new(|_| ()).mutate(|mc, ()| {
        let holder = mc.alloc(Holder { far: vec![GcCell::new(None)], near: GcRefCell::new(1) });
        let said = panics(|| holder.set(mc, |holder| &holder.far[0], Some(mc.alloc(1))));
        assert!(said.contains("does not lie in the object itself"), "{said}");
        *holder.write(mc, |holder| &holder.near).borrow_mut() = 2;
        assert_eq!(*holder.near.borrow(), 2);
    });
}

#[test]
fn a_root_of_another_heap_is_refused() {
    let mut one = Heap::<(), MarkSweep>::new(|_| ());
    let mut other = Heap::<(), MarkSweep>::new(|_| ());
    let root: Rooted<u32> = one.mutate(|mc, ()| mc.root(mc.alloc(1)));
    let said = panics(|| {
        other.mutate(|mc, ()| {
            let _ = mc.get(&root);
        })
    });
    assert!(said.contains("a root of another heap"), "{said}");
    assert_eq!(one.mutate(|mc, ()| *mc.get(&root)), 1);
}

#[test]
fn a_cell_is_borrowed_by_many_or_by_one() {
    Heap::<(), MarkSweep>::new(|_| ()).mutate(|mc, ()| {
        let cell = mc.alloc(GcRefCell::new(1));
        let read = cell.borrow();
        assert!(cell.write_all(mc).try_borrow_mut().is_err());
        drop(read);
        *cell.borrow_mut(mc) = 2;
        // A borrow that is forgotten stays: the cell is of no use any more, and is collected as any other.
        std::mem::forget(cell.borrow_mut(mc));
        assert!(cell.try_borrow().is_err());
    });
}

/// A destructor that tries to get at its own heap.
#[derive(Trace)]
struct Meddler {
    #[gc(leaf)]
    heap: Rc<RefCell<Option<Heap<(), MarkSweep>>>>,
    #[gc(leaf)]
    refused: Rc<RefCell<bool>>,
}

impl Drop for Meddler {
    fn drop(&mut self) {
        // Whoever collects has borrowed the heap, so nobody else can allocate in it.
        *self.refused.borrow_mut() |= self.heap.try_borrow_mut().is_err();
    }
}

#[test]
fn a_destructor_does_not_get_at_its_heap() {
    let heap = Rc::new(RefCell::new(Some(Heap::<(), MarkSweep>::new(|_| ()))));
    let refused = Rc::new(RefCell::new(false));
    let meddler = Meddler { heap: Rc::clone(&heap), refused: Rc::clone(&refused) };
    heap.borrow_mut().as_mut().expect("it is there").mutate(|mc, ()| {
        let _ = mc.alloc(meddler);
    });
    heap.borrow_mut().as_mut().expect("it is there").collect();
    assert!(*refused.borrow());
}

#[test]
fn what_is_confined_does_not_travel() {
    #[derive(Trace)]
    struct Local {
        #[gc(leaf)]
        _shared: Rc<()>,
    }
    let mut heap = Heap::<(), MarkSweep>::new(|_| ());
    heap.mutate(|mc, ()| {
        let _ = mc.alloc(Local { _shared: Rc::new(()) });
    });
    let confined = heap.into_travelling().err().expect("it held an Rc");
    assert!(confined.to_string().contains("Local"), "{confined}");

    let mut heap = Heap::<(), MarkSweep>::new(|_| ());
    let root: Rooted<u32> = heap.mutate(|mc, ()| mc.root(mc.alloc(1)));
    let mut heap = heap.into_travelling().err().expect("there is a root outside").heap;
    drop(root);
    heap.mutate(|mc, ()| {
        let _ = mc.alloc(1);
    });
    let mut heap = heap.into_travelling().expect("nothing is confined");
    let said = panics(|| {
        heap.mutate(|mc, ()| {
            let _ = mc.alloc(Local { _shared: Rc::new(()) });
        })
    });
    assert!(said.contains("cannot be sent"), "{said}");
    let said = panics(|| heap.mutate(|mc, ()| drop::<Rooted<u32>>(mc.root(mc.alloc(1)))));
    assert!(said.contains("stays in its thread"), "{said}");
}

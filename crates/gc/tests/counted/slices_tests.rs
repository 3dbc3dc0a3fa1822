//! Slices, texts, trait objects, and thin handles.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use freestone_gc::counted::{Arc, AtomicCounts, Global, LeanArc, LeanRc, LocalCount, Rc, Thin};
use freestone_kit::{C, Counting, Stats};

use super::handles_tests::Told;

#[test]
fn slices_are_made_in_place() {
    let heap = Counting::new(C);
    let one = LeanRc::slice_in(3, |n| n.to_string(), &heap);
    assert_eq!(one[..], ["0", "1", "2"]);
    drop(one.clone());
    drop(one);
    assert_eq!(heap.stats().live_blocks, 0);
    let moved: Arc<[String]> = vec![String::from("a"), String::from("b")].into();
    assert_eq!(moved.concat(), "ab");
    assert!(Rc::<[u8]>::from([]).is_empty());
    assert_eq!((0..5).collect::<Rc<[u64]>>()[..], [0, 1, 2, 3, 4]);
    assert_eq!(&*LeanArc::<str>::from(String::from("text")), "text");
    assert_eq!(&*Rc::<[u16]>::from(&[1, 2, 3][..]), [1, 2, 3]);
}

#[test]
fn an_element_that_cannot_be_made_leaves_nothing_behind() {
    let drops = Cell::new(0);
    let heap = Counting::new(C);
    let make = |n| if n == 3 { panic!("on purpose") } else { Told(&drops) };
    assert!(catch_unwind(AssertUnwindSafe(|| Rc::slice_in(5, make, &heap))).is_err());
    assert_eq!((drops.get(), heap.stats().live_blocks), (3, 0));
    let make = |n| if n == 2 { panic!("on purpose") } else { Told(&drops) };
    let thin = || Thin::<_, _, LocalCount, _>::make_in(Told(&drops), 5, make, &heap);
    assert!(catch_unwind(AssertUnwindSafe(thin)).is_err());
    assert_eq!((drops.get(), heap.stats().live_blocks), (6, 0));
}

#[test]
#[should_panic(expected = "longer than any memory")]
fn a_slice_longer_than_memory_is_refused() {
    _ = Rc::slice_in(usize::MAX / 4, |_| 0_u64, Global);
}

#[test]
fn room_is_filled_later() {
    let mut room = Rc::<[u32]>::uninit_in(2, Global);
    for place in Rc::get_mut(&mut room).unwrap() {
        place.write(7);
    }
    assert_eq!(room.len(), 2);
}

#[test]
fn objects_are_seen_as_what_they_also_are() {
    trait Shape {
        fn area(&self) -> u64;
    }
    #[repr(align(64))]
    struct Square(u64);
    impl Shape for Square {
        fn area(&self) -> u64 {
            self.0 * self.0
        }
    }
    let heap = Counting::new(C);
    let square = Rc::new_in(Square(3), &heap);
    let shape: Rc<dyn Shape, _> = Rc::unsize(square.clone(), |it| it);
    let weak = Rc::downgrade(&square).unsize(|it| it as &dyn Shape).unwrap();
    drop(square);
    assert_eq!(shape.area() + weak.upgrade().unwrap().area(), 18);
    drop((shape, weak));
    assert_eq!(heap.stats().live_blocks, 0);
    let boxed: Box<dyn Shape> = Box::new(Square(2));
    let shape = Arc::from_box_in(boxed, &heap);
    assert_eq!(shape.clone().area(), 4);
    drop(shape);
    assert_eq!(heap.stats().live_blocks, 0);
    let any: LeanRc<dyn Any> = LeanRc::unsize(LeanRc::new(7_u8), |it| it);
    let any = any.downcast::<i32>().unwrap_err();
    assert_eq!(*any.downcast::<u8>().unwrap(), 7);
    let bytes: Rc<[u8]> = Rc::unsize(Rc::new([1, 2, 3]), |it| it);
    assert_eq!(bytes.len(), 3);
}

#[test]
fn a_part_is_not_the_whole() {
    fn message(work: impl FnOnce()) -> String {
        let error = catch_unwind(AssertUnwindSafe(work)).unwrap_err();
        error.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).into())
    }
    let part = message(|| _ = Rc::unsize::<[u8]>(Rc::new([1_u8, 2]), |it| &it[..1]));
    let other = message(|| _ = Rc::unsize::<u8>(Rc::new(1_u8), |_| &9));
    #[repr(align(64))]
    struct Wide([u8; 64]);
    let aligned = message(|| _ = Rc::unsize::<[u8]>(Rc::new(Wide([0; 64])), |it| &it.0));
    assert!([part, other, aligned].iter().all(|text| text.contains("the whole object")));
}

#[test]
fn thin_handles_count_and_drop_as_wide_ones() {
    let drops = Cell::new(0);
    let heap = Counting::new(C);
    let mut thin: Thin<Told, Told, AtomicCounts, _> = Thin::make_in(Told(&drops), 3, |_| Told(&drops), &heap);
    assert!(Thin::get_mut(&mut thin).is_some());
    let other = thin.clone();
    assert!(Thin::get_mut(&mut thin).is_none() && Thin::ptr_eq(&thin, &other));
    assert_eq!((Thin::strong_count(&thin), thin.slice.len()), (2, 3));
    let wide = Thin::into_wide(other);
    drop(thin);
    assert_eq!((drops.get(), wide.slice.len()), (0, 3));
    drop(wide);
    assert_eq!(drops.get(), 4);
    assert_eq!(heap.stats().live_blocks, 0);
    let aligned: Thin<u8, u128, LocalCount> = Thin::new(1, &[2, 3]);
    assert_eq!((aligned.header, aligned.slice[1]), (1, 3));
    let empty: Thin<(), u8, LocalCount> = Thin::new((), &[]);
    assert!(empty.slice.is_empty() && format!("{empty:?}").contains("slice: []"));
}

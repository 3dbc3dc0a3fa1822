//! Counted handles of every kind: interned names, a document that is copied when it changes, objects that hold their count.

use std::collections::HashSet;
use std::fmt::Display;

use freestone_gc::counted::{Arc, Intrusive, LeanRc, LocalCount, Rc, Thin};
use freestone_gc::intrusive;
use freestone_kit::{Bump, C, Counting, Stats};

/// Each name is kept once: a set of handles that is asked by the text itself.
fn interning() {
    let mut names: HashSet<LeanRc<str>> = HashSet::new();
    let mut intern = |text: &str| match names.get(text) {
        Some(known) => known.clone(),
        None => {
            let fresh = LeanRc::from(text);
            names.insert(LeanRc::clone(&fresh));
            fresh
        }
    };
    let (one, again) = (intern("width"), intern("width"));
    println!("one text for both: {}", LeanRc::ptr_eq(&one, &again));
}

/// Whoever changes a shared page gets a copy of his own; the others go on reading theirs, on any thread.
fn copy_on_write() {
    let mut page = Arc::new(vec!["first line"]);
    let printed = page.clone();
    let printer = std::thread::spawn(move || printed.len());
    Arc::make_mut(&mut page).push("second line");
    println!("printed {} line, edited {}", printer.join().unwrap(), page.len());
}

/// A parent that its children know but do not keep.
struct Folder {
    name: String,
    parent: freestone_gc::counted::Weak<Folder, freestone_gc::counted::LocalCounts>,
}

fn weak_parents() {
    let home = Rc::new(Folder { name: "home".into(), parent: Default::default() });
    let child = Rc::new(Folder { name: "music".into(), parent: Rc::downgrade(&home) });
    let path = |folder: &Folder| {
        let parent = folder.parent.upgrade().map_or("-".into(), |parent| parent.name.clone());
        format!("{parent}/{}", folder.name)
    };
    println!("{}", path(&child));
    drop(home);
    println!("{}", path(&child));
}

/// A node whose count lies where there was padding: no byte more for being shared.
#[derive(Default)]
struct Glyph {
    code: u32,
    count: LocalCount,
    width: f64,
}
intrusive!(Glyph, count: LocalCount);

fn intrusive_counts() {
    let plain = size_of::<(u32, f64)>();
    let glyph = Intrusive::new(Glyph { code: 65, width: 0.5, ..Glyph::default() });
    let line = vec![glyph.clone(); 3];
    let wide: f64 = line.iter().map(|glyph| glyph.width).sum();
    println!("{} bytes, counted or not: {}", size_of::<Glyph>(), size_of::<Glyph>() == plain);
    println!("{} glyphs of code {}, {wide} wide", Intrusive::strong_count(&glyph) - 1, glyph.code);
}

/// A row with its name and its numbers in one block, behind one pointer.
fn thin_rows() {
    let row: Thin<&str, u16, LocalCount> = Thin::new("row", &[1, 2, 3]);
    println!("{} {:?}, a handle of {} bytes", row.header, &row.slice, size_of_val(&row));
}

/// Any allocator of the kit; and objects seen as what they can do.
fn allocators_and_traits() {
    let bump: Bump<_> = Bump::new(Counting::new(C));
    let shown: Vec<Rc<dyn Display, _>> =
        vec![Rc::unsize(Rc::new_in(1, &bump), |it| it), Rc::unsize(Rc::new_in("two", &bump), |it| it)];
    let texts: Vec<String> = shown.iter().map(|it| it.to_string()).collect();
    println!("{texts:?} in {} block of the system", bump.parent().stats().live_blocks);
}

fn main() {
    interning();
    copy_on_write();
    weak_parents();
    intrusive_counts();
    thin_rows();
    allocators_and_traits();
}

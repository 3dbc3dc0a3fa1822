//! Stacks of calls, each kept once, and the one line by which a call site is named.

use hashbrown::HashMap;

/// A stack of a [`Stacks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(pub u32);

/// Stacks, each a list of functions from the outermost to the innermost.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    names: Vec<String>,
    by_name: HashMap<String, u32>,
    stacks: Vec<Vec<u32>>,
    by_stack: HashMap<Vec<u32>, StackId>,
}

impl Stacks {
    /// The stack with these frames, from the outermost to the innermost; the same frames give the same stack.
    pub fn enter<S: AsRef<str>>(&mut self, frames: impl IntoIterator<Item = S>) -> StackId {
        let frames: Vec<u32> = frames.into_iter().map(|frame| self.name_id(frame.as_ref())).collect();
        if let Some(&id) = self.by_stack.get(&frames) {
            return id;
        }
        let id = StackId(self.stacks.len() as u32);
        self.by_stack.insert(frames.clone(), id);
        self.stacks.push(frames);
        id
    }

    fn name_id(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.by_name.get(name) {
            return id;
        }
        let id = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.by_name.insert(name.to_owned(), id);
        id
    }

    /// The frames of a stack from the outermost to the innermost; none for a stack of somebody else.
    pub fn frames(&self, id: StackId) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        let stack = self.stacks.get(id.0 as usize).map_or(&[][..], Vec::as_slice);
        stack.iter().map(|&name| self.names[name as usize].as_str())
    }

    /// How many stacks there are.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// The call site in one line: the innermost function that is the program's own and not the allocator's or a
    /// standard collection's, and who called it.
    ///
    /// ```
    /// use freestone_pictures::stacks::Stacks;
    /// let mut stacks = Stacks::default();
    /// let id = stacks.enter(["main", "load", "<alloc::vec::Vec<T> as Clone>::clone", "__rust_alloc", "malloc"]);
    /// assert_eq!(stacks.site(id), "load ← main");
    /// let id = stacks.enter(["main at a.c:9", "load at a.c:5", "xmalloc at a.c:3"]);
    /// assert_eq!(stacks.site(id), "load at a.c:5 ← main at a.c:9");
    /// let id = stacks.enter(["_start", "main at a.cc:9", "load at a.cc:5", "make<T> at c++/12/bits/unique_ptr.h:1065"]);
    /// assert_eq!(stacks.site(id), "load at a.cc:5 ← main at a.cc:9");
    /// ```
    pub fn site(&self, id: StackId) -> String {
        let mut own = self.frames(id).rev().skip_while(|name| is_plumbing(name));
        match (own.next(), own.find(|name| !is_plumbing(name))) {
            (Some(inner), Some(outer)) => format!("{inner} ← {outer}"),
            (Some(inner), None) => inner.to_owned(),
            _ => self.frames(id).next_back().unwrap_or("(unknown)").to_owned(),
        }
    }

    /// The function that a site is named after, alone.
    pub fn function(&self, id: StackId) -> &str {
        let own = self.frames(id).rev().find(|name| !is_plumbing(name));
        own.or_else(|| self.frames(id).next_back()).unwrap_or("(unknown)")
    }
}

/// Functions that allocate on behalf of their caller, and those that call the program: nobody looks for them.
fn is_plumbing(name: &str) -> bool {
    // Behind the function may stand ` at FILE:LINE`.
    let (name, file) = name.split_once(" at ").unwrap_or((name, ""));
    const WHOLE: [&str; 24] = [
        "malloc",
        "calloc",
        "realloc",
        "reallocarray",
        "free",
        "memalign",
        "aligned_alloc",
        "posix_memalign",
        "valloc",
        "strdup",
        "strndup",
        "xmalloc",
        "xrealloc",
        "xcalloc",
        "_dl_start_user",
        "[unknown]",
        "_start",
        "__libc_start_main",
        "__libc_start_main_impl",
        "__libc_start_call_main",
        "start_thread",
        "clone",
        "clone3",
        "__clone3",
    ];
    const BEGINNINGS: [&str; 15] = [
        "alloc::",
        "<alloc::",
        "core::",
        "<core::",
        "std::",
        "<std::",
        "hashbrown::",
        "<hashbrown::",
        "__rust_",
        "__rg_",
        "__rustc::",
        "operator new",
        "operator delete",
        "__gnu_cxx::",
        "void std::",
    ];
    WHOLE.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || name.starts_with("freestone::")
        || name.starts_with("<freestone::")
        || in_standard_library(file) == Some(0)
}

/// Where the path within the sources of a standard library begins, of Rust or C++, if the file is one of them.
///
/// ```
/// use freestone_pictures::stacks::in_standard_library;
/// let file = "/rustc/0123456789/library/alloc/src/vec/mod.rs";
/// assert_eq!(in_standard_library(file).map(|at| &file[at..]), Some("library/alloc/src/vec/mod.rs"));
/// let file = "/usr/include/c++/12/bits/stl_vector.h";
/// assert_eq!(in_standard_library(file).map(|at| &file[at..]), Some("c++/12/bits/stl_vector.h"));
/// let file = "/opt/libc++/include/c++/v1/vector";
/// assert_eq!(in_standard_library(file).map(|at| &file[at..]), Some("c++/v1/vector"));
/// for own in ["/home/me/library/src/main.rs", "/home/me/c++/src/main.cc", "/home/me/c++/2.cc"] {
///     assert_eq!(in_standard_library(own), None);
/// }
/// ```
pub fn in_standard_library(file: &str) -> Option<usize> {
    const OF_RUST: [&str; 3] = ["library/alloc/src/", "library/core/src/", "library/std/src/"];
    let folders = |name: &'static str| {
        let found = file.match_indices(name).map(|(at, _)| at);
        found.filter(|&at| at == 0 || file[..at].ends_with('/'))
    };
    // Behind it stands the version, which is v1 for LLVM's.
    let has_version = |at: &usize| {
        let version = file[at + 4..].split_once('/').map_or("", |(version, _)| version);
        version == "v1" || version.starts_with(|c: char| c.is_ascii_digit())
    };
    let rust = OF_RUST.into_iter().find_map(|name| folders(name).next());
    rust.or_else(|| folders("c++/").find(has_version))
}

/// Reads folded stacks: a line each, functions from the outermost to the innermost with semicolons between them, a
/// space, and a number. Lines that are empty or begin with `#` are skipped.
///
/// # Errors
///
/// The first line that is none, by its number.
///
/// ```
/// use freestone_pictures::stacks::{Stacks, read_folded};
/// let mut stacks = Stacks::default();
/// let read = read_folded("main;load 4096\nmain;Vec<A, B> 12\n", &mut stacks)?;
/// assert_eq!(read.len(), 2);
/// assert_eq!(read[0].1, 4096);
/// assert!(read_folded("main;load\n", &mut stacks).unwrap_err().starts_with("line 1 "));
/// # Ok::<(), String>(())
/// ```
pub fn read_folded(text: &str, stacks: &mut Stacks) -> Result<Vec<(StackId, u64)>, String> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(n, line)| {
            let (frames, number) = line.rsplit_once(' ').unwrap_or((line, ""));
            let number = number.parse().map_err(|_| {
                format!(
                    "line {n} is no folded stack: it should be `outer;inner NUMBER`, but ends with '{number}'"
                )
            })?;
            Ok((stacks.enter(frames.split(';')), number))
        })
        .collect()
}

//! Names of functions as people write them, and which are the allocator's own.

/// Demangles a name of Rust or C++; any other stands as it is. Rust's hash is left out.
pub(crate) fn demangled(name: &str) -> String {
    if let Ok(name) = rustc_demangle::try_demangle(name) {
        return format!("{name:#}");
    }
    // A C++ name may be crafted to be very long: then the mangled one stands.
    let options = cpp_demangle::DemangleOptions::new().no_return_type();
    if name.starts_with("_Z")
        && let Ok(symbol) = cpp_demangle::Symbol::new(name)
        && let Ok(name) = symbol.demangle_with_options(&options)
    {
        return name;
    }
    name.into()
}

/// Whether a linker's name says by itself which module, class or namespace it belongs to.
pub(crate) fn is_mangled(name: &str) -> bool {
    name.starts_with("_Z") || name.starts_with("_R")
}

/// The whole name that a symbol tells of a function of which only the last part, `name`, is known; `None` if it is another function's.
pub(crate) fn qualified(name: &str, symbol: &str) -> Option<String> {
    let last = name.split(['<', '(']).next().filter(|last| !last.is_empty())?;
    let whole = is_mangled(symbol).then(|| demangled(symbol))?;
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let parts = whole.match_indices(last);
    let mut alone = parts
        .filter(|&(at, _)| !whole[..at].ends_with(is_word) && !whole[at + last.len()..].starts_with(is_word));
    alone.next().is_some().then_some(whole)
}

/// The names of C and C++ that stand for the request itself.
const REQUESTS: [&str; 22] = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "posix_memalign",
    "aligned_alloc",
    "valloc",
    "pvalloc",
    "cfree",
    "free",
    "__libc_malloc",
    "__libc_calloc",
    "__libc_realloc",
    "__rust_alloc",
    "__rust_alloc_zeroed",
    "__rust_realloc",
    "__rdl_alloc",
    "__rg_alloc",
    "__rg_alloc_zeroed",
    "__rg_realloc",
    "__rdl_realloc",
];

/// Whether the function is on the way from a request to the profile: the reader wants to see who asked. That is never `RawVec`, through
/// which every vector and string of Rust's grows: without debugging information it would be the innermost function of nearly all stacks.
pub(crate) fn is_request(function: &str) -> bool {
    let function = function.trim_start_matches('<');
    REQUESTS.contains(&function)
        || function.starts_with("freestone::")
        || function.starts_with("freestone_malloc::")
        || function.starts_with("operator new")
        || function.starts_with("__rustc::__r")
        || function.starts_with("__rustc[")
        || function.starts_with("alloc::alloc::")
        || function.starts_with("alloc::raw_vec::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_people_write_them() {
        assert_eq!(
            demangled("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"),
            "core::fmt::Write::write_fmt"
        );
        assert_eq!(demangled("_RNvCskwGfYPst2Cb_3foo16example_function"), "foo::example_function");
        assert_eq!(
            demangled("_ZNSt6vectorIiSaIiEE9push_backERKi"),
            "std::vector<int, std::allocator<int> >::push_back(int const&)"
        );
        assert_eq!(demangled("main"), "main");
        assert_eq!(demangled("_Zbroken"), "_Zbroken");
    }

    #[test]
    fn a_symbol_completes_a_name_that_is_its_last_part() {
        let whole = |name, symbol| qualified(name, symbol);
        assert_eq!(
            whole("example_function", "_RNvCskwGfYPst2Cb_3foo16example_function").as_deref(),
            Some("foo::example_function")
        );
        assert_eq!(
            whole("push_back<int>", "_ZNSt6vectorIiSaIiEE9push_backERKi").as_deref(),
            Some("std::vector<int, std::allocator<int> >::push_back(int const&)")
        );
        // Another function's, one whose name only begins alike, C's, and none.
        for (name, symbol) in [
            ("other", "_RNvCskwGfYPst2Cb_3foo16example_function"),
            ("example", "_RNvCskwGfYPst2Cb_3foo16example_function"),
            ("main", "main"),
            ("<", "_ZNSt6vectorIiSaIiEE9push_backERKi"),
        ] {
            assert_eq!(qualified(name, symbol), None, "{name} {symbol}");
        }
    }

    #[test]
    fn who_asked_is_told_from_what_served() {
        for own in [
            "malloc",
            "operator new(unsigned long)",
            "freestone::front::malloc_slow",
            "<freestone::global::Freestone as core::alloc::global::GlobalAlloc>::alloc",
            "alloc::alloc::alloc",
            "alloc::raw_vec::RawVecInner<A>::finish_grow",
            "<alloc::raw_vec::RawVec<u8>>::grow_one",
        ] {
            assert!(is_request(own), "{own}");
        }
        for other in ["main", "alloc::vec::Vec<T>::push", "my::malloc", "freestone_bench::main"] {
            assert!(!is_request(other), "{other}");
        }
    }
}

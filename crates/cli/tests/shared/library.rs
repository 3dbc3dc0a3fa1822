//! The library that is preloaded.

use std::sync::OnceLock;

/// The one that `FREESTONE_LIB` names, else a release build, made when it is first asked for.
pub fn library() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let path = freestone_programs::library::find_or_build().unwrap_or_else(|error| panic!("{error}"));
        path.into_os_string().into_string().expect("a path of text")
    })
}

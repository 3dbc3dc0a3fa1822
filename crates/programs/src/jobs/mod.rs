//! The jobs, one file for each family of programs.

mod archives;
mod bind;
pub mod compilers;
mod database;
mod debugger;
mod documents;
mod git;
mod languages;
mod loaded;
mod media;
mod memcached;
mod nginx;
mod postgres;
mod preloads;
pub mod python;
mod redis;
pub mod scripts;
mod sequences;
mod shell;
pub mod text;
mod virtual_machines;
mod web;

use crate::job::Job;

/// All jobs, in the order in which they are listed and run.
pub fn all() -> Vec<&'static Job> {
    let families: [&[Job]; 21] = [
        loaded::JOBS,
        python::JOBS,
        scripts::JOBS,
        shell::JOBS,
        compilers::JOBS,
        git::JOBS,
        database::JOBS,
        redis::JOBS,
        memcached::JOBS,
        postgres::JOBS,
        nginx::JOBS,
        web::JOBS,
        bind::JOBS,
        media::JOBS,
        virtual_machines::JOBS,
        archives::JOBS,
        debugger::JOBS,
        languages::JOBS,
        documents::JOBS,
        sequences::JOBS,
        preloads::JOBS,
    ];
    families.into_iter().flatten().collect()
}

/// The job called `name`.
pub fn find(name: &str) -> Option<&'static Job> {
    all().into_iter().find(|job| job.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_plain() {
        let mut names: Vec<_> = all().iter().map(|job| job.name).collect();
        let plain =
            |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(names.iter().all(|name| plain(name)), "{names:?}");
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

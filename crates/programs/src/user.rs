//! A user without rights, for programs that refuse to run as root.

use std::path::Path;

use crate::job::Outcome;
use crate::os;

/// A user and its main group.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

impl User {
    /// Whom to step down to: nobody at all unless this process is root.
    pub fn unprivileged() -> Option<User> {
        if !os::is_root() {
            return None;
        }
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        find(&accounts, "postgres").or_else(|| find(&accounts, "nobody"))
    }

    /// Gives a file or folder to the user.
    pub fn own(&self, path: &Path) -> Outcome {
        Ok(std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))?)
    }
}

fn find(accounts: &str, name: &str) -> Option<User> {
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let accounts = "nobody2:x:1:2::/:/\nnobody:x:65534:65533:n:/:/bin/false\n";
        let user = find(accounts, "nobody").unwrap();
        assert_eq!((user.uid, user.gid), (65534, 65533));
        assert!(find(accounts, "postgres").is_none());
    }
}

//! What the container allows: the memory limits of control groups, version 2 and 1.
//!
//! The file `/proc/self/cgroup` names the process's group in each hierarchy; the least limit of the group and of all groups
//! above it binds. Inside of a container the group's own path may not be visible below the mount: then what lies at the
//! mount's root is the container's.

use core::ffi::CStr;

use super::read_file::beginning;

/// The longest path of a group that is followed.
const PATH: usize = 1024;
/// Room for the name of a file of a group.
pub(super) const NAME: usize = PATH + 100;

/// The name of a file of the process's group in the unified hierarchy, where there is one below the root.
pub(super) fn own_file<'a>(name: &'a mut [u8; NAME], file: &[u8]) -> Option<&'a CStr> {
    let mut buffer = [0; 4096];
    let groups = beginning(c"/proc/self/cgroup", &mut buffer)?;
    let path = groups.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    join(name, &[b"/sys/fs/cgroup", path.strip_suffix(b"/").unwrap_or(path), b"/", file])
}

/// The parts in a row, terminated.
fn join<'a>(name: &'a mut [u8; NAME], parts: &[&[u8]]) -> Option<&'a CStr> {
    let mut len = 0;
    for part in parts {
        name.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    CStr::from_bytes_until_nul(name.get(..=len)?).ok()
}

/// Bytes that the control groups of this process may use; `None` where nothing is limited.
pub fn memory_limit() -> Option<usize> {
    let mut buffer = [0; 4096];
    let groups = beginning(c"/proc/self/cgroup", &mut buffer).unwrap_or(b"");
    let mut least = None;
    for line in groups.split(|&byte| byte == b'\n') {
        let mut fields = line.splitn(3, |&byte| byte == b':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let limit = if controllers.is_empty() {
            let unified = of_group(b"/sys/fs/cgroup", path, b"memory.max");
            // Beside version 1, the unified hierarchy has a mount of its own.
            unified.or_else(|| of_group(b"/sys/fs/cgroup/unified", path, b"memory.max"))
        } else if controllers.split(|&byte| byte == b',').any(|controller| controller == b"memory") {
            of_group(b"/sys/fs/cgroup/memory", path, b"memory.limit_in_bytes")
        } else {
            None
        };
        least = match (least, limit) {
            (Some(least), Some(limit)) => Some(usize::min(least, limit)),
            (least, limit) => least.or(limit),
        };
    }
    least
}

/// The least limit of the group at `path` and those above it.
fn of_group(mount: &[u8], path: &[u8], file: &[u8]) -> Option<usize> {
    let mut least: Option<usize> = None;
    let mut path = if path.len() > PATH { b"" } else { path };
    loop {
        path = path.strip_suffix(b"/").unwrap_or(path);
        if let Some(limit) = read_limit(&[mount, path, b"/", file]) {
            least = Some(least.map_or(limit, |least| least.min(limit)));
        }
        match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => path = &path[..slash],
            None => return least,
        }
    }
}

/// The number in the file whose path is these parts, where it limits anything.
fn read_limit(parts: &[&[u8]]) -> Option<usize> {
    let mut name = [0; NAME];
    let mut buffer = [0; 64];
    parse_limit(beginning(join(&mut name, parts)?, &mut buffer)?)
}

/// `max`, or a number; version 1 says "no limit" by one close to the largest.
fn parse_limit(text: &[u8]) -> Option<usize> {
    let digits = text.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    let mut number = 0usize;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add((digit - b'0') as usize)?;
    }
    (number < 1 << 60).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_or_none() {
        assert_eq!(parse_limit(b"max\n"), None);
        assert_eq!(parse_limit(b"536870912\n"), Some(512 << 20));
        assert_eq!(parse_limit(b"9223372036854771712\n"), None);
        assert_eq!(parse_limit(b""), None);
        assert_eq!(parse_limit(b"99999999999999999999999\n"), None);
    }

    #[test]
    fn the_least_limit_up_to_the_root_binds() {
        let root = std::env::temp_dir().join(format!("freestone-cgroup-{}", std::process::id()));
        let group = root.join("a/b");
        std::fs::create_dir_all(&group).unwrap();
        let mount = root.to_str().unwrap().as_bytes();
        std::fs::write(root.join("a/memory.max"), "4096\n").unwrap();
        std::fs::write(group.join("memory.max"), "max\n").unwrap();
        assert_eq!(of_group(mount, b"/a/b", b"memory.max"), Some(4096));
        std::fs::write(group.join("memory.max"), "100\n").unwrap();
        assert_eq!(of_group(mount, b"/a/b", b"memory.max"), Some(100));
        assert_eq!(of_group(mount, b"/elsewhere", b"memory.max"), None);
        std::fs::write(root.join("memory.max"), "7\n").unwrap();
        assert_eq!(of_group(mount, b"/elsewhere", b"memory.max"), Some(7));
        assert_eq!(of_group(mount, b"/", b"memory.max"), Some(7));
        std::fs::remove_dir_all(&root).unwrap();
        // Whatever this machine says, it is no nonsense.
        assert!(memory_limit().is_none_or(|limit| limit > 1 << 20));
    }
}

//! "Did you mean …?": the closest of the words that are allowed.

/// The word of `allowed` that is closest to `given`, if one is close enough to be meant.
pub fn closest<'a>(given: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let tolerated = (given.chars().count() / 3).max(1);
    allowed
        .into_iter()
        .map(|word| {
            // A word cut short is meant more surely than one with letters exchanged.
            let cut = given.len() >= 2 && word.to_lowercase().starts_with(&given);
            (if cut { 0 } else { distance(&given, &word.to_lowercase()) }, word)
        })
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, _)| distance <= tolerated)
        .map(|(_, word)| word)
}

/// Letters to insert, remove, replace or exchange with their neighbour. O(length × length).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            rows[i][j] = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

/// The sentence to append to a complaint about `given`, or nothing when no word is close.
pub fn hint<'a>(given: &str, allowed: impl IntoIterator<Item = &'a str>) -> String {
    closest(given, allowed).map_or(String::new(), |word| format!(" Did you mean '{word}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let words = ["run", "classes", "stats", "help"];
        assert_eq!(closest("stat", words), Some("stats"));
        assert_eq!(closest("clases", words), Some("classes"));
        assert_eq!(closest("rum", words), Some("run"));
        assert_eq!(closest("frobnicate", words), None);
        assert_eq!(closest("", words), None);
    }

    #[test]
    fn distances_are_exact() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("rnu", "run"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}

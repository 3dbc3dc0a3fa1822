//! How full a cell of a map is, in a few steps that differ in lightness.

/// Steps: 0 is nothing, 1 held and empty, 2 to 8 from nearly empty to full.
pub const LEVELS: usize = 9;

/// The step of a cell of `whole` bytes, of which `live` are live and `held` are held from the system.
///
/// ```
/// use freestone_pictures::charts::levels::level;
/// assert_eq!(level(0, 0, 4096), 0);
/// assert_eq!(level(0, 100, 4096), 1);
/// assert_eq!(level(1, 4096, 4096), 2);
/// assert_eq!(level(4096, 4096, 4096), 8);
/// ```
pub fn level(live: u64, held: u64, whole: u64) -> u8 {
    match (live, held) {
        (0, 0) => 0,
        (0, _) => 1,
        _ => 2 + (u128::from(live.min(whole)) * 6 / u128::from(whole.max(1))) as u8,
    }
}

/// A row of steps in short: each step a digit, followed by a letter when it repeats: `a` for 2 in a row, `b` for 3, …,
/// `z` for 27.
///
/// ```
/// use freestone_pictures::charts::levels::pack;
/// assert_eq!(pack(&[0, 0, 0, 8, 1, 1]), "0b81a");
/// assert_eq!(pack(&[3; 30]), "3z3b");
/// ```
pub fn pack(levels: &[u8]) -> String {
    let mut text = String::new();
    for run in levels.chunk_by(|a, b| a == b) {
        for part in run.chunks(27) {
            text.push(char::from(b'0' + part[0].min(8)));
            if part.len() > 1 {
                text.push(char::from(b'a' + part.len() as u8 - 2));
            }
        }
    }
    text
}

/// The paths of a picture whose columns are moments and whose rows are cells, one path for each step but the first:
/// rectangles in units of a column and a row. The lowest cell is at the bottom. Rectangles span as many rows, then as
/// many columns as are alike.
pub fn paths(columns: &[Vec<u8>]) -> Vec<String> {
    let mut paths = vec![String::new(); LEVELS];
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
    // Runs that are still growing to the right, by their first row: (first column, length, step).
    let mut open: Vec<(usize, usize, usize, u8)> = Vec::new();
    for (x, column) in columns.iter().enumerate() {
        let mut runs = Vec::new();
        let mut row = 0;
        for run in column.chunk_by(|a, b| a == b) {
            if run[0] > 0 {
                runs.push((row, run.len(), run[0]));
            }
            row += run.len();
        }
        let (stay, end): (Vec<_>, Vec<_>) = open
            .into_iter()
            .partition(|&(_, row, len, level)| runs.binary_search(&(row, len, level)).is_ok());
        end.into_iter().for_each(|run| rectangle(&mut paths, rows, x, run));
        open = stay;
        for (row, len, level) in runs {
            if !open.iter().any(|&(_, r, l, v)| (r, l, v) == (row, len, level)) {
                open.push((x, row, len, level));
            }
        }
    }
    open.into_iter().for_each(|run| rectangle(&mut paths, rows, columns.len(), run));
    paths
}

fn rectangle(paths: &mut [String], rows: usize, end: usize, (x, row, len, level): (usize, usize, usize, u8)) {
    let (y, width) = (rows - row - len, end - x);
    let text = format!("M{x} {y}h{width}v{len}h-{width}z");
    paths[usize::from(level).min(LEVELS - 1)].push_str(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_painted_once_and_by_its_step() {
        let columns: Vec<Vec<u8>> =
            (0..20_u8).map(|x| (0..30_u8).map(|y| (x / 5 * 3 + y / 7 * 2) % 9).collect()).collect();
        let mut painted = vec![vec![0_u8; 30]; 20];
        for (level, path) in paths(&columns).iter().enumerate() {
            for part in path.split('M').filter(|part| !part.is_empty()) {
                let numbers: Vec<usize> =
                    part.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
                let [x, y, width, height, ..] = numbers[..] else { panic!("{part}") };
                for column in &mut painted[x..x + width] {
                    for cell in &mut column[30 - y - height..30 - y] {
                        assert_eq!(*cell, 0);
                        *cell = level as u8;
                    }
                }
            }
        }
        assert_eq!(painted, columns);
    }

    #[test]
    fn no_moment_and_no_cell_make_no_picture() {
        assert!(paths(&[]).iter().chain(&paths(&[vec![], vec![]])).all(String::is_empty));
    }
}

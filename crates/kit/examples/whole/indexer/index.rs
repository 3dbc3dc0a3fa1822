//! The index: made in parts by threads that share a queue of files, put together by the one that asked.

use super::lex::{Token, tokens};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// So many tokens in a row are looked for elsewhere.
const RUN: usize = 16;

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: usize,
    pub line: usize,
}

/// A function and the names that it calls.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub calls: BTreeSet<String>,
}

/// What is known of a file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    pub lines: usize,
    pub functions: Vec<Function>,
    /// The text in small letters, for phrases.
    pub text: Box<str>,
}

impl File {
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or("?")
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Index {
    pub files: Vec<Arc<File>>,
    pub words: BTreeMap<String, Vec<Place>>,
    pub runs: HashMap<u64, Vec<Place>>,
}

/// What one thread has found out about one file.
struct Part {
    number: usize,
    file: File,
    words: HashMap<String, Vec<usize>>,
    runs: Vec<(u64, usize)>,
}

/// The texts below the folders, in order.
pub fn files_below(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut waiting: VecDeque<PathBuf> = folders.iter().cloned().collect();
    let mut files = BTreeSet::new();
    while let Some(folder) = waiting.pop_front() {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.expect("a folder's entry can be read").path()) {
            if path.is_dir() {
                waiting.push_back(path);
            } else if path.extension().is_some_and(|ext| ["rs", "md", "toml"].iter().any(|&text| ext == text))
            {
                files.insert(path);
            }
        }
    }
    files.into_iter().collect()
}

impl Index {
    /// Reads the files on so many threads.
    pub fn of(paths: Vec<PathBuf>, threads: usize) -> Index {
        let queue = Arc::new(Mutex::new(paths.into_iter().enumerate().collect::<VecDeque<_>>()));
        let (sender, parts) = mpsc::channel::<Box<Part>>();
        let readers: Vec<_> = (0..threads)
            .map(|_| {
                let (queue, sender) = (Arc::clone(&queue), sender.clone());
                thread::spawn(move || {
                    loop {
                        let Some((number, path)) = queue.lock().expect("no reader panics").pop_front() else {
                            break;
                        };
                        sender.send(Box::new(Part::of(number, path))).expect("the index listens to the end");
                    }
                })
            })
            .collect();
        drop(sender);
        let mut index = Index::default();
        let mut files = BTreeMap::new();
        for part in parts {
            // What a reader has taken is freed here, and much of it lives on.
            let Part { number, file, words, runs } = *part;
            for (word, lines) in words {
                let places = lines.into_iter().map(|line| Place { file: number, line });
                index.words.entry(word).or_default().extend(places);
            }
            for (run, line) in runs {
                index.runs.entry(run).or_default().push(Place { file: number, line });
            }
            files.insert(number, Arc::new(file));
        }
        readers.into_iter().for_each(|reader| reader.join().expect("no reader panics"));
        index.files = files.into_values().collect();
        // The parts came as they were ready.
        index.words.values_mut().for_each(|places| places.sort_unstable());
        index.words.values_mut().for_each(Vec::shrink_to_fit);
        index.runs.retain(|_, places| places.len() > 1);
        index.runs.shrink_to_fit();
        index
    }
}

impl Part {
    fn of(number: usize, path: PathBuf) -> Part {
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let tokens = tokens(&text);
        let mut words = HashMap::<String, Vec<usize>>::new();
        for (line, token) in &tokens {
            let (Token::Word(of) | Token::Text(of) | Token::Comment(of)) = token else { continue };
            for word in of.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.len() > 1) {
                words.entry(word.to_lowercase()).or_default().push(*line);
            }
        }
        let code: Vec<&(usize, Token)> =
            tokens.iter().filter(|(_, token)| !matches!(token, Token::Comment(_))).collect();
        let runs = code.windows(RUN).map(|run| (hash(run), run[0].0)).collect();
        let functions = if is_rust(&path) { functions(&code) } else { Vec::new() };
        let lines = text.lines().count();
        let text = text.to_lowercase().into_boxed_str();
        Part { number, file: File { path, lines, functions, text }, words, runs }
    }
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "rs")
}

fn hash(run: &[&(usize, Token)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    run.iter().for_each(|(_, token)| token.hash(&mut hasher));
    hasher.finish()
}

/// `fn NAME`, and each `NAME (` up to the next `fn`.
fn functions(code: &[&(usize, Token)]) -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    for pair in code.windows(2) {
        match (&pair[0].1, &pair[1].1) {
            (Token::Word(first), Token::Word(name)) if first == "fn" => {
                functions.push(Function { name: name.clone(), calls: BTreeSet::new() });
            }
            (Token::Word(name), Token::Mark('(')) => {
                if let Some(function) = functions.last_mut().filter(|function| function.name != *name) {
                    function.calls.insert(name.clone());
                }
            }
            _ => {}
        }
    }
    functions
}

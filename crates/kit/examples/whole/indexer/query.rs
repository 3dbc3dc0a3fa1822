//! Questions: words, phrases in quotes, `&`, `|`, `!` and parentheses.

use super::index::Index;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// What is asked.
pub enum Query {
    Word(String),
    Phrase(String),
    Both(Box<Query>, Box<Query>),
    Either(Box<Query>, Box<Query>),
    Not(Box<Query>),
}

impl Query {
    /// The files that it holds of.
    pub fn answer(&self, index: &Index) -> BTreeSet<usize> {
        match self {
            Query::Word(word) => {
                index.words.get(word).into_iter().flatten().map(|place| place.file).collect()
            }
            Query::Phrase(phrase) => {
                let holds = |&file: &usize| index.files[file].text.contains(phrase.as_str());
                (0..index.files.len()).filter(holds).collect()
            }
            Query::Both(one, other) => &one.answer(index) & &other.answer(index),
            Query::Either(one, other) => &one.answer(index) | &other.answer(index),
            Query::Not(of) => &(0..index.files.len()).collect() - &of.answer(index),
        }
    }
}

type Source<'q> = Peekable<Chars<'q>>;

fn skip(source: &mut Source) -> Option<char> {
    while source.next_if(|c| c.is_whitespace()).is_some() {}
    source.peek().copied()
}

pub fn parse(text: &str) -> Result<Query, String> {
    let mut source = text.chars().peekable();
    let query = either(&mut source)?;
    match skip(&mut source) {
        None => Ok(query),
        Some(more) => Err(format!("{more:?} is not expected there")),
    }
}

fn either(source: &mut Source) -> Result<Query, String> {
    let mut query = both(source)?;
    while skip(source) == Some('|') {
        source.next();
        query = Query::Either(Box::new(query), Box::new(both(source)?));
    }
    Ok(query)
}

fn both(source: &mut Source) -> Result<Query, String> {
    let mut query = single(source)?;
    while skip(source) == Some('&') {
        source.next();
        query = Query::Both(Box::new(query), Box::new(single(source)?));
    }
    Ok(query)
}

fn single(source: &mut Source) -> Result<Query, String> {
    match skip(source) {
        Some('!') => {
            source.next();
            Ok(Query::Not(Box::new(single(source)?)))
        }
        Some('(') => {
            source.next();
            let query = either(source)?;
            source.next_if_eq(&')').map(|_| query).ok_or_else(|| String::from("a parenthesis is not closed"))
        }
        Some('"') => {
            source.next();
            Ok(Query::Phrase(source.by_ref().take_while(|&c| c != '"').collect()))
        }
        Some(c) if c.is_alphanumeric() => {
            Ok(Query::Word(std::iter::from_fn(|| source.next_if(|c| c.is_alphanumeric())).collect()))
        }
        other => Err(format!("a word is expected, not {other:?}")),
    }
}

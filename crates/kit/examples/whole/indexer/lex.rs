//! From a text to its tokens: enough of Rust that strings, comments and lifetimes are told apart. Other texts are
//! words and marks.

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    Word(String),
    Number(String),
    Text(String),
    Comment(String),
    Mark(char),
}

/// A text being read.
struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn next(&mut self) -> Option<char> {
        let next = self.chars.get(self.at).copied();
        self.at += usize::from(next.is_some());
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) -> String {
        let mut taken = String::new();
        while self.at < self.chars.len() && wanted(self.peek(0)) {
            taken.extend(self.next());
        }
        taken
    }

    /// Behind an opening quote, to the closing one.
    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(next) = self.next() {
            match next {
                '\\' => text.extend(self.next()),
                _ if next == quote => break,
                _ => text.push(next),
            }
        }
        text
    }

    /// Behind the `r` of a raw string, if it is one.
    fn raw(&mut self) -> Option<String> {
        let hashes = (0..).take_while(|&ahead| self.peek(ahead) == '#').count();
        if self.peek(hashes) != '"' {
            return None;
        }
        self.at += hashes + 1;
        let mut text = String::new();
        while let Some(next) = self.next() {
            if next == '"' && (0..hashes).all(|ahead| self.peek(ahead) == '#') {
                self.at += hashes;
                break;
            }
            text.push(next);
        }
        Some(text)
    }

    /// Behind `/*`, to the end of the outermost.
    fn nested(&mut self) -> String {
        let (mut depth, mut text) = (1, String::new());
        while let Some(next) = self.next() {
            match (next, self.peek(0)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    text.push(next);
                    continue;
                }
            }
            self.next();
            if depth == 0 {
                break;
            }
        }
        text
    }

    fn token(&mut self) -> Option<Token> {
        self.take_while(char::is_whitespace);
        let first = self.next()?;
        Some(match (first, self.peek(0)) {
            ('/', '/') => Token::Comment(self.take_while(|next| next != '\n')),
            ('/', '*') => {
                self.next();
                Token::Comment(self.nested())
            }
            ('"', _) => Token::Text(self.quoted('"')),
            // A character, not a lifetime.
            ('\'', next) if next == '\\' || self.peek(1) == '\'' => Token::Text(self.quoted('\'')),
            ('r', '#' | '"') => self.raw().map_or(Token::Word(String::from("r")), Token::Text),
            _ if first.is_ascii_digit() => {
                let rest = self.take_while(|next| next.is_ascii_alphanumeric() || next == '_');
                Token::Number(format!("{first}{rest}"))
            }
            _ if first.is_alphabetic() || first == '_' => {
                let rest = self.take_while(|next| next.is_alphanumeric() || next == '_');
                Token::Word(format!("{first}{rest}"))
            }
            _ => Token::Mark(first),
        })
    }
}

/// Each token with its line, the first of which is 1.
pub fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, line: 1 };
    std::iter::from_fn(|| {
        reader.take_while(char::is_whitespace);
        let line = reader.line;
        reader.token().map(|token| (line, token))
    })
    .collect()
}

//! Arguments of the soak programs.

use lexopt::{Arg, Parser, ValueExt};
use std::time::{Duration, Instant};

/// What a program was told.
#[derive(Clone, Copy, Debug)]
pub struct Args {
    /// How long to work.
    pub seconds: u64,
    /// Threads that work.
    pub threads: usize,
    /// Connections of the server.
    pub connections: usize,
    /// Chooses the work.
    pub seed: u64,
}

impl Default for Args {
    fn default() -> Self {
        Args { seconds: 20, threads: 8, connections: 600, seed: 1 }
    }
}

const USAGE: &str = "options: --seconds N, --threads N, --connections N, --seed N";

impl Args {
    /// Reads the command line; explains it and ends the process when it is wrong.
    pub fn from_command_line() -> Args {
        Args::parse(Parser::from_env()).unwrap_or_else(|error| {
            eprintln!("{error}\n{USAGE}");
            std::process::exit(2)
        })
    }

    fn parse(mut parser: Parser) -> Result<Args, lexopt::Error> {
        let mut args = Args::default();
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("seconds") => args.seconds = parser.value()?.parse()?,
                Arg::Long("threads") => args.threads = parser.value()?.parse()?,
                Arg::Long("connections") => args.connections = parser.value()?.parse()?,
                Arg::Long("seed") => args.seed = parser.value()?.parse()?,
                other => return Err(other.unexpected()),
            }
        }
        Ok(args)
    }

    /// When to stop, counted from now.
    pub fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let args = Args::parse(Parser::from_args(["--seconds", "3", "--seed=9"])).unwrap();
        assert_eq!((args.seconds, args.seed, args.threads), (3, 9, 8));
        assert!(Args::parse(Parser::from_args(["--second", "3"])).is_err());
    }
}

//! One program to start: a command, its role, and what it reads.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::job::Outcome;
use crate::user::User;

/// What a program is to a job; see [`crate::place`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The program under test.
    Subject,
    /// Drives a server under test.
    Client,
    /// Prepares or inspects.
    Tool,
}

/// One program to start.
#[derive(Debug)]
pub struct Step {
    pub(crate) command: Command,
    pub(crate) role: Role,
    pub(crate) input: Option<PathBuf>,
}

impl Step {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Step {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Step {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Step {
        self.command.env(name, value);
        self
    }

    /// Starts in `folder` instead of the run's own.
    pub fn within(mut self, folder: &Path) -> Step {
        self.command.current_dir(folder);
        self
    }

    /// Reads standard input from a file; by default it is empty.
    pub fn input(mut self, file: &Path) -> Step {
        self.input = Some(file.into());
        self
    }

    /// The command, for one who starts and measures it in a way of their own.
    pub fn into_command(self) -> Outcome<Command> {
        let Step { mut command, input, .. } = self;
        command.stdin(match input {
            Some(path) => Stdio::from(File::open(path)?),
            None => Stdio::null(),
        });
        Ok(command)
    }

    /// Runs as another user, where there is one to step down to.
    pub fn user(mut self, user: Option<&User>) -> Step {
        if let Some(user) = user {
            self.command.uid(user.uid).gid(user.gid);
        }
        self
    }
}

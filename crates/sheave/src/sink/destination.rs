//! Where lines end up: a file that can be opened anew after rotation, or a standard stream.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// Takes bytes, and may block while it does.
pub(crate) trait Destination: Send + 'static {
    /// Writes some of the bytes, as [`Write::write`] does.
    ///
    /// # Errors
    ///
    /// As the kernel says it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Opens it anew, because the old file has been moved away. Keeps the old one when that fails.
    ///
    /// # Errors
    ///
    /// As the kernel says it.
    fn reopen(&mut self) -> io::Result<()>;

    /// What to call it in a message.
    fn name(&self) -> String;
}

/// A file that is appended to.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens or creates the file. The folder must exist.
    ///
    /// # Errors
    ///
    /// A line that names the file, the reason and the remedy.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        match append(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file }),
            Err(error) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let remedy = match (error.kind(), folder) {
                    (io::ErrorKind::NotFound, Some(folder)) => format!("create the folder {}", folder.display()),
                    (io::ErrorKind::PermissionDenied, _) => "let this user write to it".to_owned(),
                    (io::ErrorKind::IsADirectory, _) => "it is a folder: name a file in it".to_owned(),
                    _ => "see to it".to_owned(),
                };
                Err(Failure::start(format!(
                    "cannot open the access log {}: {error}; {remedy}, or choose another file with --access-log",
                    path.display()
                )))
            }
        }
    }
}

impl Destination for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = append(&self.path)?;
        Ok(())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Standard output or standard error, without the buffer and the lock of the standard library.
#[derive(Debug)]
pub(crate) struct StandardStream {
    file: File,
    name: &'static str,
}

impl StandardStream {
    /// Standard output.
    ///
    /// # Errors
    ///
    /// A line that says so if it is closed.
    pub(crate) fn output() -> Result<Self, Failure> {
        Self::of(&io::stdout(), "standard output")
    }

    /// Standard error.
    ///
    /// # Errors
    ///
    /// A line that says so if it is closed.
    pub(crate) fn error() -> Result<Self, Failure> {
        Self::of(&io::stderr(), "standard error")
    }

    fn of(stream: &impl AsFd, name: &'static str) -> Result<Self, Failure> {
        match stream.as_fd().try_clone_to_owned() {
            Ok(descriptor) => Ok(Self { file: descriptor.into(), name }),
            Err(error) => Err(Failure::start(format!("cannot write to {name}: {error}; open it, or log to a file"))),
        }
    }
}

impl Destination for StandardStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn name(&self) -> String {
        self.name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_do_when_a_file_cannot_be_opened() {
        let folder = std::env::temp_dir();
        for (path, part) in [
            (folder.join("sheave-no-such-folder/access.log"), "create the folder"),
            (folder.clone(), "name a file in it"),
        ] {
            let error = LogFile::open(&path).expect_err("cannot be opened").to_string();
            assert!(error.contains(part) && error.contains(&path.display().to_string()), "{error}");
        }
    }
}

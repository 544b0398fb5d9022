//! Programming languages: source file, compile step and run command.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::Command;
use super::limits::Limits;
use super::path::SandboxPath;
use super::problem::Problem;

/// A step that compiles source. It runs in a separate sandbox with separate limits. Only the
/// declared products reach the sandbox of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Compile {
    /// The compiler and its arguments.
    pub command: Command,
    /// The compiler's limits.
    pub limits: Limits,
    /// The files that the compiler produces, as patterns beneath the working directory.
    pub produces: Vec<String>,
}

impl Compile {
    /// Creates a compile step with [`Limits::for_compiling`] that produces the files matching
    /// `produces`.
    #[must_use]
    pub fn new<S: Into<String>>(command: Command, produces: impl IntoIterator<Item = S>) -> Self {
        Self {
            command,
            limits: Limits::for_compiling(),
            produces: produces.into_iter().map(Into::into).collect(),
        }
    }

    /// Sets the limits of the step.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// A programming language of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Language {
    /// The name.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// File name extensions, without the dot.
    pub extensions: Vec<String>,
    /// The path of the source, beneath the working directory.
    pub file: SandboxPath,
    /// The compile step, if there is one.
    pub compile: Option<Compile>,
    /// The command that runs the program. The evaluation's arguments follow it.
    pub run: Command,
}

impl Language {
    /// Creates a language. The source is written to `file`, and `run` runs it.
    #[must_use]
    pub fn new(name: impl Into<String>, file: SandboxPath, run: Command) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            extensions: Vec::new(),
            file,
            compile: None,
            run,
        }
    }

    /// Returns Python as in [`Languages::builtin`].
    #[must_use]
    pub fn python() -> Self {
        script("python", "main.py", "python3")
            .with_aliases(["python3", "py"])
            .with_extensions(["py"])
    }

    /// Adds other names.
    #[must_use]
    pub fn with_aliases<S: Into<String>>(mut self, aliases: impl IntoIterator<Item = S>) -> Self {
        self.aliases.extend(aliases.into_iter().map(Into::into));
        self
    }

    /// Adds file name extensions, without the dot.
    #[must_use]
    pub fn with_extensions<S: Into<String>>(
        mut self,
        extensions: impl IntoIterator<Item = S>,
    ) -> Self {
        self.extensions.extend(extensions.into_iter().map(Into::into));
        self
    }

    /// Adds a compile step.
    #[must_use]
    pub fn with_compile(mut self, compile: Compile) -> Self {
        self.compile = Some(compile);
        self
    }

    /// Returns the problems of this language.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let field = format!("language.{}", self.name);
        let mut problems = self.run.problems(&format!("{field}.run"));
        if self.name.is_empty() {
            problems.push(Problem::new("language", "has an empty name"));
        }
        if self.file.is_root() {
            problems.push(Problem::new(
                format!("{field}.file"),
                "is the working directory; it must be a file",
            ));
        }
        if let Some(compile) = &self.compile {
            problems.extend(compile.command.problems(&format!("{field}.compile")));
            problems.extend(compile.limits.problems(&format!("{field}.compile.limits")));
            for pattern in &compile.produces {
                problems
                    .extend(super::collect::pattern_problem(&format!("{field}.produces"), pattern));
            }
        }
        problems
    }
}

/// The languages of a host, by name, alias and extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Languages(BTreeMap<String, Language>);

impl Default for Languages {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Languages {
    /// Creates an empty set of languages.
    #[must_use]
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Returns the built-in languages. The sandbox's root file system must contain their tools.
    ///
    /// | name | source | compile | run |
    /// | --- | --- | --- | --- |
    /// | `python` (`python3`, `py`) | `main.py` | | `python3 main.py` |
    /// | `sh` (`shell`) | `main.sh` | | `sh main.sh` |
    /// | `bash` | `main.bash` | | `bash main.bash` |
    /// | `node` (`javascript`, `js`) | `main.js` | | `node main.js` |
    /// | `c` | `main.c` | `cc -std=gnu17 -O2 -o main main.c -lm` | `./main` |
    /// | `c++` (`cpp`, `cxx`) | `main.cpp` | `c++ -std=gnu++20 -O2 -o main main.cpp` | `./main` |
    /// | `rust` (`rs`) | `main.rs` | `rustc --edition 2021 -O -o main main.rs` | `./main` |
    /// | `go` (`golang`) | `main.go` | `go build -o main main.go` | `./main` |
    #[must_use]
    pub fn builtin() -> Self {
        let mut languages = Self::none();
        for language in builtin() {
            languages.register(language);
        }
        languages
    }

    /// Adds a language, and replaces a language with the same name.
    pub fn register(&mut self, language: Language) {
        self.0.insert(language.name.clone(), language);
    }

    /// Returns the language with this name or alias.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Language> {
        self.0
            .get(name)
            .or_else(|| self.0.values().find(|l| l.aliases.iter().any(|alias| alias == name)))
    }

    /// Returns the language of files with this extension (without the dot).
    #[must_use]
    pub fn by_extension(&self, extension: &str) -> Option<&Language> {
        self.0.values().find(|language| language.extensions.iter().any(|known| known == extension))
    }

    /// Returns the names of all languages, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the problems of all languages.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.0.values().flat_map(Language::problems).collect()
    }
}

/// Returns the path of a built-in language's source.
fn file(name: &str) -> SandboxPath {
    SandboxPath::new(name).unwrap_or_else(|_| SandboxPath::root())
}

/// Returns an interpreted language.
fn script(name: &str, source: &str, interpreter: &str) -> Language {
    Language::new(name, file(source), Command::new([interpreter, source]))
}

fn builtin() -> Vec<Language> {
    let compiled = |name: &str, source: &str, command: Command| {
        // Compilers search `PATH` for the assembler and the linker.
        let command = command.with_env("PATH", "/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin");
        Language::new(name, file(source), Command::new(["./main"]))
            .with_compile(Compile::new(command, ["main"]))
    };
    vec![
        Language::python(),
        script("sh", "main.sh", "sh").with_aliases(["shell"]).with_extensions(["sh"]),
        script("bash", "main.bash", "bash").with_extensions(["bash"]),
        script("node", "main.js", "node")
            .with_aliases(["javascript", "js"])
            .with_extensions(["js", "mjs", "cjs"]),
        compiled(
            "c",
            "main.c",
            Command::new(["cc", "-std=gnu17", "-O2", "-o", "main", "main.c", "-lm"]),
        )
        .with_extensions(["c"]),
        compiled(
            "c++",
            "main.cpp",
            Command::new(["c++", "-std=gnu++20", "-O2", "-o", "main", "main.cpp"]),
        )
        .with_aliases(["cpp", "cxx"])
        .with_extensions(["cpp", "cc", "cxx"]),
        compiled(
            "rust",
            "main.rs",
            Command::new(["rustc", "--edition", "2021", "-O", "-o", "main", "main.rs"]),
        )
        .with_aliases(["rs"])
        .with_extensions(["rs"]),
        compiled(
            "go",
            "main.go",
            // The Go command refuses to run without a cache directory.
            Command::new(["go", "build", "-o", "main", "main.go"])
                .with_env("GOCACHE", "/tmp/go-cache")
                .with_env("GOPATH", "/tmp/go")
                .with_env("GO111MODULE", "off"),
        )
        .with_aliases(["golang"])
        .with_extensions(["go"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_languages_are_valid() {
        let languages = Languages::builtin();
        assert_eq!(languages.problems(), []);
        let names: Vec<_> = languages.names().collect();
        assert_eq!(names, ["bash", "c", "c++", "go", "node", "python", "rust", "sh"]);
        assert!(languages.0.values().all(|language| !language.file.is_root()));
    }

    #[test]
    fn language_is_found_by_name_alias_and_extension() {
        let languages = Languages::builtin();
        assert_eq!(languages.get("py").unwrap().name, "python");
        assert_eq!(languages.get("c++").unwrap().name, "c++");
        assert_eq!(languages.by_extension("rs").unwrap().name, "rust");
        assert!(languages.get("cobol").is_none());
        assert!(languages.by_extension("").is_none());
    }

    #[test]
    fn register_adds_and_replaces() {
        let mut languages = Languages::builtin();
        let lua =
            Language::new("lua", "main.lua".try_into().unwrap(), Command::new(["lua", "main.lua"]));
        languages.register(lua.with_extensions(["lua"]));
        assert_eq!(languages.by_extension("lua").unwrap().name, "lua");
        let isolated = Command::new(["python3", "-I", "main.py"]);
        languages.register(Language::new("python", "main.py".try_into().unwrap(), isolated));
        assert_eq!(languages.get("python").unwrap().run.argv.len(), 3);
    }
}

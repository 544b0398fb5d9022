//! Programming languages: where the source goes, how it is compiled, how it is run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::Command;
use super::limits::Limits;
use super::path::SandboxPath;
use super::problem::Problem;

/// A step that turns source into what is run. It happens in a sandbox of its own, under limits of its own; only the
/// files that it is declared to produce are carried into the sandbox in which the program runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Compile {
    /// The compiler and its arguments.
    pub command: Command,
    /// The compiler's limits.
    pub limits: Limits,
    /// Which files it produces, as patterns beneath the working directory. Nothing else is carried over.
    pub produces: Vec<String>,
}

impl Compile {
    /// A compile step under [`Limits::for_compiling`] that produces the files matching `produces`.
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

/// A programming language, as a host offers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Language {
    /// The name by which evaluations ask for it.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// File name extensions, without the dot.
    pub extensions: Vec<String>,
    /// Where the source goes, beneath the working directory.
    pub file: SandboxPath,
    /// The compile step, if there is one.
    pub compile: Option<Compile>,
    /// What to run. The evaluation's own arguments are put after it.
    pub run: Command,
}

impl Language {
    /// A language whose source goes to `file` and is run by `run`.
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

    /// Python, as [`Languages::builtin`] has it.
    #[must_use]
    pub fn python() -> Self {
        script("python", "main.py", "python3")
            .with_aliases(["python3", "py"])
            .with_extensions(["py"])
    }

    /// Adds other names for it.
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

    /// What is wrong with this language.
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

/// The languages that a host offers, by name, alias and extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Languages(BTreeMap<String, Language>);

impl Default for Languages {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Languages {
    /// No language at all.
    #[must_use]
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// The built-in languages. Their tools must be in the sandbox's root file system.
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

    /// Adds a language, in place of one of the same name.
    pub fn register(&mut self, language: Language) {
        self.0.insert(language.name.clone(), language);
    }

    /// The language with this name or alias.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Language> {
        self.0
            .get(name)
            .or_else(|| self.0.values().find(|l| l.aliases.iter().any(|alias| alias == name)))
    }

    /// The language of files with this extension (without the dot).
    #[must_use]
    pub fn by_extension(&self, extension: &str) -> Option<&Language> {
        self.0.values().find(|language| language.extensions.iter().any(|known| known == extension))
    }

    /// The names of all languages, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.0.values().flat_map(Language::problems).collect()
    }
}

fn file(name: &str) -> SandboxPath {
    SandboxPath::new(name).unwrap_or_else(|_| SandboxPath::root())
}

fn script(name: &str, source: &str, interpreter: &str) -> Language {
    Language::new(name, file(source), Command::new([interpreter, source]))
}

fn builtin() -> Vec<Language> {
    let compiled = |name: &str, source: &str, command: Command| {
        // Compilers look for assembler and linker in `PATH`.
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
            // The Go command needs a place for its cache, and refuses to run without one.
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
    fn the_builtin_languages_are_sound() {
        let languages = Languages::builtin();
        assert_eq!(languages.problems(), []);
        let names: Vec<_> = languages.names().collect();
        assert_eq!(names, ["bash", "c", "c++", "go", "node", "python", "rust", "sh"]);
        assert!(languages.0.values().all(|language| !language.file.is_root()));
    }

    #[test]
    fn a_language_is_found_by_name_alias_and_extension() {
        let languages = Languages::builtin();
        assert_eq!(languages.get("py").unwrap().name, "python");
        assert_eq!(languages.get("c++").unwrap().name, "c++");
        assert_eq!(languages.by_extension("rs").unwrap().name, "rust");
        assert!(languages.get("cobol").is_none());
        assert!(languages.by_extension("").is_none());
    }

    #[test]
    fn a_host_can_add_and_replace() {
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

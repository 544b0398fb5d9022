//! The pages of `docs/guide`, compiled as documentation tests.

macro_rules! pages {
    ($($name:ident: $path:literal,)*) => {
        $(
            #[doc = include_str!(concat!("../docs/guide/", $path))]
            struct $name;
        )*
    };
}

pages! {
    Backends: "backends.md",
    Ci: "ci.md",
    Embed: "embed.md",
    Files: "files.md",
    Grading: "grading.md",
    Limits: "limits.md",
    Network: "network.md",
    Operate: "operate.md",
    Secrets: "secrets.md",
    Sessions: "sessions.md",
}

//! The environment variables with which programs find the proxy.

use crucible_core::Command;
use crucible_guest::protocol::PROXY_PORT;

/// The variables that clients read. Some read only the upper case form, some only the lower case.
const NAMES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Returns `NAME=value` for each variable that the command does not set itself, in either case.
pub(crate) fn proxy_variables(command: &Command) -> Vec<String> {
    let is_set = |name: &str| command.env.keys().any(|set| set.eq_ignore_ascii_case(name));
    let unset = NAMES.into_iter().filter(|name| !is_set(name));
    unset
        .flat_map(|name| [name.to_owned(), name.to_ascii_lowercase()])
        .map(|name| format!("{name}=http://127.0.0.1:{PROXY_PORT}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_variables_keep_those_of_the_command() {
        let command = Command::new(["x"]);
        let all = proxy_variables(&command);
        assert_eq!(all.len(), 6);
        assert!(all.contains(&"https_proxy=http://127.0.0.1:3128".to_owned()));
        let own = proxy_variables(&command.with_env("https_proxy", "http://elsewhere:1"));
        assert_eq!(own.len(), 4);
        assert!(
            own.iter().all(|variable| !variable.to_ascii_lowercase().starts_with("https_proxy")),
            "{own:?}"
        );
    }
}

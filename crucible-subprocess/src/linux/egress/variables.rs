//! The environment variables by which programs find the proxy.

use crucible_core::Command;
use crucible_guest::protocol::PROXY_PORT;

/// What clients look at, without regard to case: some know only the one, some only the other.
const NAMES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// `NAME=value` for each variable that the command does not set itself, in whatever case.
pub(in super::super) fn variables(command: &Command) -> Vec<String> {
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
    fn what_the_command_sets_itself_stays() {
        let command = Command::new(["x"]);
        let all = variables(&command);
        assert_eq!(all.len(), 6);
        assert!(all.contains(&"https_proxy=http://127.0.0.1:3128".to_owned()));
        let own = variables(&command.with_env("https_proxy", "http://elsewhere:1"));
        assert_eq!(own.len(), 4);
        assert!(
            own.iter().all(|variable| !variable.to_ascii_lowercase().starts_with("https_proxy")),
            "{own:?}"
        );
    }
}

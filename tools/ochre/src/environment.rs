//! The environment the command gets: the caller's, without what only means something on the
//! host (sockets, sessions) and without what looks like a secret, since guests are for code one
//! does not trust. `--env NAME` passes one of those after all.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Variables that point into the host.
const HOST_ONLY: [&str; 20] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "OCHRE_ROOT",
    "OLDPWD",
    "SSH_AGENT_PID",
    "SSH_AUTH_SOCK",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "STY",
    "TMUX",
    "TMUX_PANE",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
];

/// Parts of names that secrets have.
const SECRET: [&str; 6] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY"];

/// `NAME=VALUE` of everything the command gets.
pub fn filtered(asked_for: &[OsString]) -> Vec<OsString> {
    let given: Vec<(OsString, OsString)> = asked_for.iter().filter_map(|word| pair(word)).collect();
    let own = std::env::vars_os().filter(|(name, _)| passes(name));
    let own = own.filter(|(name, _)| !given.iter().any(|(n, _)| n == name));
    own.chain(given.iter().cloned())
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            variable
        })
        .collect()
}

/// `NAME=VALUE` as it is, `NAME` with the caller's value.
fn pair(word: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = word.as_bytes();
    match bytes.iter().position(|b| *b == b'=') {
        Some(at) => {
            let (name, value) = (OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]));
            Some((name.to_owned(), value.to_owned()))
        }
        None => std::env::var_os(word).map(|value| (word.to_owned(), value)),
    }
}

fn passes(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !HOST_ONLY.contains(&name.as_ref()) && !SECRET.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_sockets_stay_on_the_host() {
        for name in ["SSH_AUTH_SOCK", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"] {
            assert!(!passes(OsStr::new(name)), "{name}");
        }
        assert!(passes(OsStr::new("PATH")));
    }

    #[test]
    fn a_given_variable_may_hold_equal_signs() {
        let (name, value) = pair(OsStr::new("A=b=c")).expect("a pair");
        assert_eq!((name, value), (OsString::from("A"), OsString::from("b=c")));
    }
}

//! What `./x run` itself promises: statuses, byte-exact streams, environment, shares, roots.

use crate::tool::{self, describe, run, setting};
use std::path::PathBuf;
use std::process::Output;

/// A test by its name.
pub type Test = (&'static str, fn() -> Result<(), String>);

/// All of them.
pub const TESTS: &[Test] = &[
    ("exit_status_is_the_commands", || status(&["sh", "-c", "exit 7"], 7)),
    ("a_killed_command_gives_128_and_the_signal", || status(&["sh", "-c", "kill -9 $$"], 137)),
    ("an_unknown_command_gives_127_and_one_line", unknown_command),
    ("a_file_that_is_no_program_gives_126", || status(&["/etc/passwd"], 126)),
    ("stdin_arrives_byte_for_byte", stdin_exact),
    ("stdout_arrives_byte_for_byte", stdout_exact),
    ("stdout_and_stderr_stay_apart", apart),
    ("a_reader_that_leaves_ends_the_writer", reader_leaves),
    ("arguments_arrive_byte_for_byte", arguments),
    ("ids_directory_and_environment_are_the_callers", surroundings),
    ("writes_stay_in_the_guest", writes_stay),
    ("a_share_is_read_only_unless_asked", shares),
    ("a_directory_can_be_the_root", root_directory),
    ("a_guest_past_its_time_gives_124", past_its_time),
];

fn expect(right: bool, output: &Output) -> Result<(), String> {
    if right { Ok(()) } else { Err(describe(output)) }
}

fn status(command: &[&str], wanted: i32) -> Result<(), String> {
    let output = run(&[], command, b"")?;
    expect(output.status.code() == Some(wanted), &output)
}

fn unknown_command() -> Result<(), String> {
    let output = run(&[], &["no-such-command"], b"")?;
    let line = b"ochre: no-such-command: command not found\n";
    expect(output.status.code() == Some(127) && output.stderr == line, &output)
}

/// Bytes of every value in no simple order.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..count).map(step).collect()
}

fn stdin_exact() -> Result<(), String> {
    let bytes = noise(5_000_000);
    let output = run(&[], &["sha256sum"], &bytes)?;
    let file = scratch("stdin-exact")?.join("bytes");
    std::fs::write(&file, &bytes).map_err(|e| e.to_string())?;
    let host = std::process::Command::new("sha256sum").arg(&file).output().map_err(|e| e.to_string())?;
    expect(output.stdout.get(..64) == host.stdout.get(..64) && output.status.success(), &output)
}

fn stdout_exact() -> Result<(), String> {
    let bytes = noise(2_000_000);
    let output = run(&[], &["cat"], &bytes)?;
    if output.stdout == bytes { Ok(()) } else { Err(format!("{} bytes came back", output.stdout.len())) }
}

fn apart() -> Result<(), String> {
    let output = run(&[], &["sh", "-c", "echo out; echo err >&2"], b"")?;
    expect(output.stdout == b"out\n" && output.stderr == b"err\n", &output)
}

fn reader_leaves() -> Result<(), String> {
    let _slot = tool::slot();
    let mut command = tool::run_command(&["--timeout", "60"]);
    command.arg("yes").stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let mut first = [0; 2];
    if let Some(mut pipe) = child.stdout.take() {
        use std::io::Read;
        pipe.read_exact(&mut first).map_err(|e| e.to_string())?;
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    const SIGPIPE: i32 = 13;
    let right = &first == b"y\n" && status.code() == Some(128 + SIGPIPE);
    if right { Ok(()) } else { Err(format!("{first:?}, {status}")) }
}

fn arguments() -> Result<(), String> {
    let output = run(&[], &["printf", "<%s>", "", "a b", "line\nline", "\u{e9}*$HOME"], b"")?;
    expect(output.stdout == "<><a b><line\nline><\u{e9}*$HOME>".as_bytes(), &output)
}

fn surroundings() -> Result<(), String> {
    let script = "echo $PWD $OCHRE_PROBE ${SSH_AUTH_SOCK-none}; id -u; id -g; umask";
    let output = run(&["--env", "OCHRE_PROBE=1=2", "--cwd", "/usr/share"], &["sh", "-c", script], b"")?;
    let host = std::process::Command::new("sh").args(["-c", "id -u; id -g; umask"]).output();
    let host = host.map_err(|e| e.to_string())?.stdout;
    let wanted = [b"/usr/share 1=2 none\n".as_slice(), &host].concat();
    expect(output.stdout == wanted, &output)
}

fn writes_stay() -> Result<(), String> {
    let file = scratch("writes-stay")?.join("file");
    std::fs::write(&file, "host\n").map_err(|e| e.to_string())?;
    let shown = file.display();
    let script = format!("echo guest > {shown} && cat {shown} && rm {shown} && ! test -e {shown}");
    let output = run(&[], &["sh", "-c", &script], b"")?;
    let untouched = std::fs::read_to_string(&file).is_ok_and(|t| t == "host\n");
    expect(output.stdout == b"guest\n" && output.status.success() && untouched, &output)
}

fn shares() -> Result<(), String> {
    let dir = scratch("shares")?;
    std::fs::write(dir.join("in"), "from the host\n").map_err(|e| e.to_string())?;
    let shown = dir.display();
    let options = [format!("{shown}:/mnt/ro"), format!("{shown}:/mnt/rw:rw")];
    let script = "cat /mnt/ro/in; echo x > /mnt/ro/no 2>/dev/null && echo writable; echo guest > /mnt/rw/out; sync";
    let output = run(&["--share", &options[0], "--share", &options[1]], &["sh", "-c", script], b"")?;
    let written = std::fs::read_to_string(dir.join("out")).unwrap_or_default();
    expect(output.stdout == b"from the host\n" && written == "guest\n" && !dir.join("no").exists(), &output)
}

fn root_directory() -> Result<(), String> {
    let dir = scratch("root-directory")?;
    for sub in ["bin", "etc", "proc", "dev", "sys", "tmp"] {
        std::fs::create_dir_all(dir.join(sub)).map_err(|e| e.to_string())?;
    }
    let source = "#include <stdio.h>\nint main(void) { puts(\"own root\"); return 3; }\n";
    std::fs::write(dir.join("etc/a.c"), source).map_err(|e| e.to_string())?;
    let built =
        std::process::Command::new("cc").args(["-static", "-o", "bin/hello", "etc/a.c"]).current_dir(&dir).status();
    if !built.is_ok_and(|s| s.success()) {
        return Err("cc cannot build a static program here".to_owned());
    }
    let root = dir.display().to_string();
    let output = run(&["--rootfs", &root], &["/bin/hello"], b"")?;
    expect(output.stdout == b"own root\n" && output.status.code() == Some(3), &output)
}

fn past_its_time() -> Result<(), String> {
    let output = run(&["--timeout", if setting().oracle { "15" } else { "5" }], &["sleep", "1000"], b"")?;
    expect(output.status.code() == Some(124), &output)
}

/// An empty folder of the build directory.
fn scratch(name: &str) -> Result<PathBuf, String> {
    let dir = setting().target.join("ochre/scratch").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    dir.canonicalize().map_err(|e| e.to_string())
}

//! Definitions that would need more memory or time than any machine has: rbake stops with an error that names the limit.
//!
//! Limits are on sizes and steps, never on time. Without a limit, a test would not end, or would use all memory.

#![expect(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "texts are easier to read if they are built in one place"
)]

use test_case::test_case;

use crate::support::project::TestProject;

const TARGET: &str = "target \"default\" {}\n";

// A string of 8 MiB called `v20`.
fn large_string() -> String {
    let mut text = "v0 = \"xxxxxxxx\"\n".to_owned();
    for step in 0..20 {
        text += &format!("v{} = \"${{v{step}}}${{v{step}}}\"\n", step + 1);
    }
    text
}

fn nested(open: &str, inside: &str, close: &str) -> String {
    const LEVELS: usize = 100_000;
    format!(
        "a = {}{inside}{}\n",
        open.repeat(LEVELS),
        close.repeat(LEVELS)
    )
}

#[track_caller]
fn refused(project: &TestProject, words: &str) {
    let output = project.rbake(&["--print"]);
    assert_eq!(output.code, Some(3), "{output}");
    assert_eq!(output.stdout, "", "{output}");
    assert!(
        output.stderr.contains(words),
        "`{words}` is missing: {output}"
    );
}

#[test_case(&nested("(", "1", ")"), "nested too deeply"; "parentheses")]
#[test_case(&nested("[", "1", "]"), "nested too deeply"; "lists")]
#[test_case(&nested("{a = ", "1", "}"), "nested too deeply"; "objects")]
#[test_case(&nested("\"${", "1", "}\""), "nested too deeply"; "templates")]
#[test_case(&nested("upper(", "\"\"", ")"), "nested too deeply"; "calls")]
#[test_case(&nested("!", "true", ""), "nested too deeply"; "operators before")]
#[test_case(&nested("true ? 1 : ", "1", ""), "nested too deeply"; "conditionals")]
#[test_case(&nested("1 + ", "1", ""), "too many operators"; "operators between")]
#[test_case(&"a {\n".repeat(100_000), "nested too deeply"; "blocks")]
#[test_case(&format!("a = 1 {}", "/* ".repeat(300_000)), "this comment is not closed"; "comments")]
#[test_case("a = range(1000000000)", "1024 values"; "range")]
#[test_case("a = setproduct(range(1000), range(1000), range(1000))", "262144 elements"; "products")]
#[test_case("a = format(\"%1000000000d\", 1)", "16 MiB"; "widths")]
#[test_case("a = 1e1000000000", "not a number"; "exponents")]
#[test_case("a = bcrypt(\"x\", 31)", "maximum of 16"; "hashes")]
#[test_case(
    "function \"f\" {\n  params = [x]\n  result = f(x)\n}\na = f(1)", "calls itself"; "functions that call themselves"
)]
#[test_case("a = regexall(\"(((a{100}){100}){100}){100}\", \"a\")", "expression too large"; "patterns")]
#[test_case(
    "target \"t\" {\n  name = \"t${a}${b}${c}\"\n  matrix = { a = range(1000), b = range(1000), c = range(1000) }\n}",
    "100000 targets"; "matrices"
)]
fn oversized_definitions(text: &str, words: &str) {
    let text = format!("{TARGET}{text}\n");
    refused(&TestProject::new().file("docker-bake.hcl", &text), words);
}

#[test]
fn deeply_nested_json() {
    for text in ["[".repeat(1_000_000), "{\"a\":".repeat(1_000_000)] {
        let text = format!("{{\"target\": {{\"default\": {{\"args\": {{\"a\": {text}");
        refused(
            &TestProject::new().file("docker-bake.json", &text),
            "nested too deeply",
        );
    }
}

// Each call is short but expensive: rbake counts a step for each part of the arguments that it reads.
#[test_case("length([v20])", "20,000,000 steps"; "arguments")]
#[test_case("can(regex(\"(\\\\pL{1000}|${x}){100}\", \"\"))", "20,000,000 steps"; "patterns")]
fn expensive_calls(call: &str, words: &str) {
    let large = large_string();
    let text =
        format!("{TARGET}{large}a = [for x in range(1000) : [for y in range(1000) : {call}]]\n");
    refused(&TestProject::new().file("docker-bake.hcl", &text), words);
}

#[test]
fn matches_that_scan_the_whole_text() {
    let text = "A".repeat(100_000);
    let text = format!("{TARGET}a = regexall(\".*[^A-Z]|[A-Z]\", \"{text}\")\n");
    refused(
        &TestProject::new().file("docker-bake.hcl", &text),
        "512 MiB",
    );
}

#[test]
fn inheritance_of_too_many_values() {
    let args: String = (0..5_000).map(|n| format!("    A{n} = \"1\"\n")).collect();
    let parents = vec!["\"base\""; 20_000].join(", ");
    let text = format!(
        "target \"base\" {{\n  args = {{\n{args}  }}\n}}\ntarget \"default\" {{\n  inherits = [{parents}]\n}}\n"
    );
    refused(
        &TestProject::new().file("docker-bake.hcl", &text),
        "50,000,000",
    );
}

// The number of paths to `t0` is exponential, but the work is not.
#[test]
fn diamonds_of_inheritance_are_allowed() {
    let mut text = "target \"t0\" { args = { A = \"0\" } }\n".to_owned();
    for n in 1..=60 {
        let before = n - 1;
        text += &format!(
            "target \"l{n}\" {{ inherits = [\"t{before}\"] }}\ntarget \"r{n}\" {{ inherits = [\"t{before}\"] }}\n\
             target \"t{n}\" {{ inherits = [\"l{n}\", \"r{n}\"] }}\n"
        );
    }
    let project = TestProject::new().file("docker-bake.hcl", &text);
    let output = project.rbake(&["--print", "t60"]);
    assert_eq!(output.code, Some(0), "{output}");
}

#[test]
fn long_chains_are_allowed() {
    let mut text = String::new();
    for n in 0..5_000 {
        let next = n + 1;
        text += &format!("target \"i{n}\" {{ inherits = [\"i{next}\"] }}\n");
        text += &format!("group \"g{n}\" {{ targets = [\"g{next}\"] }}\n");
        text += &format!("target \"l{n}\" {{\n  contexts = {{ base = \"target:l{next}\" }}\n}}\n");
        text += &format!("variable \"v{n}\" {{ default = v{next} }}\n");
    }
    text += "target \"i5000\" {}\ntarget \"g5000\" {}\ntarget \"l5000\" {}\nvariable \"v5000\" { default = 1 }\n";
    let project = TestProject::new().file("docker-bake.hcl", &text);
    let output = project.rbake(&["--print", "i0", "g0", "l0"]);
    assert_eq!(output.code, Some(0), "{output}");
}

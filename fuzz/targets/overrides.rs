//! Any lines as the values of `--set`, on a definition with every kind of attribute.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rbake::definition::source::DefinitionSources;

const DEFINITION: &str = r#"
group "default" { targets = ["app", "db"] }
target "base" {
  args       = { A = "1", "a.b" = "2" }
  labels     = { l = "1" }
  tags       = ["x/a:1"]
  platforms  = ["linux/amd64"]
  cache-from = ["x/c", "type=local,src=c"]
  cache-to   = ["type=inline"]
  output     = ["type=image"]
  secret     = ["id=FOO,env=FOO"]
  attest     = ["type=provenance,mode=max"]
  ulimits    = ["nofile=1:2"]
  contexts   = { src = "./src" }
  resources  = { memory = "1g" }
  extra-hosts = { h = "1.2.3.4" }
}
target "app" { inherits = ["base"] }
target "db" {
  inherits = ["base"]
  contexts = { app = "target:app" }
}
"#;

fuzz_target!(|text: &str| {
    let sets: Vec<&str> = text.lines().collect();
    let sources = DefinitionSources::of([("docker-bake.hcl", DEFINITION)]);
    rbake_fuzz::print(sources, &["default"], &sets);
});

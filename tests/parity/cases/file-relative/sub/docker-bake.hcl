target "app" {
  context  = "."
  contexts = { shared = "../shared", t = "target:base", i = "docker-image://x", c = "cwd://y", o = "oci-layout://z", a = "/abs" }
}
target "base" { context = "base/.." }
target "implicit" {}
target "heir" { inherits = ["base"] }
target "child" { inherits = ["implicit"] }
target "reference" { context = target.base.context }
target "cwd" { context = "cwd://x" }
target "git" { context = "https://github.com/a/b.git" }

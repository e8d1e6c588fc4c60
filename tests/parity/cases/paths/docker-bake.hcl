target "plain" {
  context    = "./a/../b/"
  dockerfile = "./x/../D"
}
target "cwd" {
  context    = "cwd://foo/"
  dockerfile = "test"
}
target "cwd-dockerfile" { dockerfile = "cwd://Dockerfile.app" }
target "absolute" { context = "/a//b/." }
target "up" { context = "../../x" }
target "git" { context = "https://github.com/a/b.git#main:sub/.." }
target "short" { context = "github.com/a/b" }
target "scp" {
  context = "https://github.com/a//b"
}
target "http" { context = "http://example.com//a/../x.tar" }
target "image" { context = "docker-image://alpine" }
target "cwd-only" { context = "cwd://" }
target "builtin" { context = BAKE_CMD_CONTEXT }
target "contexts" { contexts = { a = "./x/", b = "cwd://y/../z", c = "/abs/" } }

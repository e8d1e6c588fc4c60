group "g" { targets = ["a", "b"] }
target "a" {}
target "b" {}
target "default" { args = { v = join(",", group.g.targets) } }

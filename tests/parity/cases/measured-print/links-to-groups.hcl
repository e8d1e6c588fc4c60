group "g" { targets = ["a"] }
target "a" {}
target "b" { contexts = { x = "target:g" } }

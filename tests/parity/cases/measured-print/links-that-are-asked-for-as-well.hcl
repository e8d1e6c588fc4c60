target "base" { output = ["type=image"] }
target "app" { contexts = { base = "target:base" } }

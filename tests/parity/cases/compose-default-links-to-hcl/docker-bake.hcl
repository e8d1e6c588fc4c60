target "z" { contexts = { base = "target:a" } }

target "default" { pull = true ? "true" : "false" }

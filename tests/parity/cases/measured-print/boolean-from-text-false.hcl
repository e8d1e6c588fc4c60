target "default" { pull = "false" }

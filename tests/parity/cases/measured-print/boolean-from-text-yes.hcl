target "default" { pull = "yes" }

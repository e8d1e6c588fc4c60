target "default" { pull = "True" }

target "default" { pull = "0" }

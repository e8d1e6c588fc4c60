target "default" { args = { v = "h" } }

target "t" { args = { A = "a" } }

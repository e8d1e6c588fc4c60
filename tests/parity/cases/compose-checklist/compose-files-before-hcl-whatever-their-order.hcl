target "a" { args = { A = "hcl", B = "hcl" } }
